// stele-query without its descriptors: requests come in, are authenticated, routed, answered by the workers, recorded in
// the log, and only then answered. Descriptors, queues and the loop are the daemon's (appliance/daemons/stele_query.cc).
//
// The rule that matters: what was read is told to the ledger first, and no byte of an answer leaves before the ledger has
// said that the access entry is durable. If it cannot be, the answer is 503 cannot_record.
// Thread safety: one thread, the loop's.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "appliance/channel/api_messages.h"
#include "appliance/channel/append_messages.h"
#include "appliance/channel/channel.h"
#include "appliance/query/sessions.h"
#include "appliance/query/tree_access.h"
#include "appliance/query/users.h"
#include "appliance/query/workers.h"

namespace stele::query {

using FrontId = std::uint64_t;

// A front: stele-web's channel, stele-courier's, or one client of the local socket with its uid as the kernel says it.
struct Front {
  FrontId id = 0;
  std::optional<uid_t> local_uid;
  bool courier = false;
};

// How the service reaches its neighbours.
class Outlet {
 public:
  virtual ~Outlet() = default;
  // Queues a frame. A front that is gone swallows it.
  virtual void ToFront(FrontId front, channel::Type type, Bytes body) = 0;
  [[nodiscard]] virtual std::size_t QueuedBytes(FrontId front) const = 0;
  // False when there is no ledger.
  [[nodiscard]] virtual bool ToLedger(channel::Type type, ByteView body) = 0;
};

struct ServiceConfig {
  uid_t owner_uid = 0;  // of the store: this uid on the local socket is the local operator
  std::string version;
  std::string origin;
  std::string sandbox;  // a word for status
  TreeAccess tree = {};
  std::string cosigned_path = {};  // ReadsConfig
};

class Service {
 public:
  static constexpr std::int64_t kRecordTimeoutNs = 10'000'000'000;
  static constexpr std::int64_t kStatusTimeoutNs = 3'000'000'000;
  static constexpr std::int64_t kTailCommentNs = 15'000'000'000;
  static constexpr std::int64_t kTailSummaryNs = 60'000'000'000;
  static constexpr std::size_t kTailQueuedBytesMax = 1 << 20;
  static constexpr std::uint64_t kTailBehindMax = 200'000;  // records behind, of a reader that takes nothing
  static constexpr std::size_t kTailsPerUser = 3;
  static constexpr std::size_t kHeavyPerUser = 4;
  static constexpr std::size_t kOpenRequestsMax = 512;
  static constexpr std::size_t kAnswersQueuedBytesMax = 32 << 20;  // of one front, before new requests are refused
  static constexpr std::size_t kHashesWaitingMax = 8;
  static constexpr std::size_t kAttestsMax = 8;
  static constexpr std::uint64_t kBundleAheadBytesMax = 4 << 20;  // of what a paced front has taken
  static constexpr std::int64_t kAttestTimeoutNs = 40'000'000'000;
  static constexpr double kRequestsPerSecond = 20;
  static constexpr double kRequestsBurst = 60;
  static constexpr double kTreePerSecond = 200;  // /log/...: small answers, many of them
  static constexpr double kTreeBurst = 400;

  Service(ServiceConfig config, Clock& clock, Entropy& entropy, Workers& workers, Outlet& outlet, UserBook users,
          std::string unknown_user_hash);

  void OnRequest(const Front& front, channel::ApiRequest request);
  void OnCancel(FrontId front, std::uint64_t id);
  void OnFrontGone(FrontId front);
  void OnTaken(FrontId front, const channel::ApiTaken& taken);  // a download's client has taken so much
  void OnFrontDrained(FrontId front);  // its queue has room again: tails go on

  void OnLedgerGone();  // everything that waited for it fails
  // kCommitted, kRefused, kPosition, kStatusAnswer. An error: the channel is to be closed.
  [[nodiscard]] Result<void> OnLedgerFrame(channel::Type type, ByteView body);

  // The network of the running configuration, as the supervisor renders it (docs/api.md, GET /api/v1/network).
  void SetNetwork(std::string json) { network_json_ = std::make_shared<const std::string>(std::move(json)); }

  void OnTick();  // about once a second
  // Nothing new is taken; tails are closed and said so in the log. True when nothing is open any more.
  [[nodiscard]] bool Finish();

  [[nodiscard]] std::size_t open_requests() const { return requests_.size(); }
  [[nodiscard]] std::size_t tails() const { return tails_.size(); }
  [[nodiscard]] std::uint64_t position() const { return position_; }
  [[nodiscard]] std::string TakeNotice();  // a line for the daemon's log, empty when there is none

 private:
  using Key = std::pair<FrontId, std::uint64_t>;
  struct Caller {
    Identity identity;
    std::string peer;
    std::optional<Hash> session;      // the token's hash
    std::string certificate_sha256;
  };
  struct Request {
    Caller caller;
    std::uint64_t number = 0;  // counts requests, named in the access entry
    std::string action;
    std::string object;
    bool head = false;
    bool heavy = false;
    bool recording = false;   // its access entry is on the way
    bool unrecorded = false;  // nobody reads any record: stele-courier's hashes and alarms, and the metrics
    ReadRequest read;
    std::shared_ptr<std::atomic<bool>> cancelled;
  };
  struct Tail {
    std::shared_ptr<const Matcher> matcher;
    std::string query;
    std::uint64_t next = 0;
    bool pumping = false;
    std::uint64_t rows = 0;
    std::uint64_t rows_recorded = 0;
    std::int64_t sent_ns = 0;
    std::int64_t recorded_ns = 0;
    Request request;
  };
  struct PendingAttest {
    Key key;
    std::int64_t deadline_ns = 0;
  };
  struct OpenBundle {
    std::shared_ptr<Bundle> bundle;
    Request request;
    bool pumping = false;
    bool paced = false;  // by the front's words; a local client's queue paces by itself
    std::uint64_t sent_bytes = 0;
    std::uint64_t taken_bytes = 0;
  };
  using Then = std::function<void(bool recorded)>;
  struct Pending {
    Then then;
    std::int64_t deadline_ns = 0;
  };
  struct Bucket {
    double tokens = 0;
    std::int64_t filled_ns = 0;
  };

  // service.cc
  [[nodiscard]] std::optional<Caller> Authenticate(const Front& front, const channel::ApiRequest& request);
  [[nodiscard]] std::optional<Answer> Route(const channel::ApiRequest& request, Request& out) const;
  [[nodiscard]] std::optional<Answer> Forbidden(const Request& request) const;
  [[nodiscard]] bool TakeToken(const Identity& identity, bool tree);
  void StartCourier(const Key& key, const channel::ApiRequest& request);
  [[nodiscard]] std::optional<Answer> RouteTree(std::string_view path, Request& out) const;
  [[nodiscard]] bool MayFetchTree(const Request& request) const;
  void RecordTreeReaders(std::int64_t now_ns);
  void StartRead(const Key& key, Request request);
  void RunRead(const Key& key);
  void Complete(const Key& key, Answer answer);
  void Respond(const Key& key, const Answer& answer, bool head);
  void SendBody(const Key& key, std::string_view body, bool end);
  void Record(const Request& request, const Answer& answer, std::string_view action, std::string_view result, Then then);
  void FinishPending(std::uint64_t frame_id, bool recorded);
  void StartStatus(const Key& key);
  void StatusCame(const std::string& json);
  [[nodiscard]] Answer StatusAnswer(const std::string& ledger_json, Call call) const;

  // service_attest.cc
  void StartAttest(const Key& key, Request request);
  void AttestCame(std::uint64_t number, bool granted, const std::string& text);
  void PrepareBundle(const Key& key);
  void BundleReady(const Key& key, Answer answer, std::shared_ptr<Bundle> bundle);
  void PumpBundle(const Key& key);
  void EndBundle(const Key& key);
  void TickAttests(std::int64_t now_ns);

  // service_requests.cc
  void SignIn(const Key& key, const Front& front, const channel::ApiRequest& request);
  void PasswordChecked(const Key& key, const std::string& name, const std::string& peer, const std::string& old_token, bool right);
  void SignOut(const Key& key, const Front& front, const channel::ApiRequest& request);
  void Session(const Key& key, const Front& front, const channel::ApiRequest& request);
  void StartTail(const Key& key, Request request);
  void OpenTail(const Key& key, Tail tail);
  void PumpTails();
  void PumpTail(const Key& key, Tail& tail);
  void TickTail(const Key& key, Tail& tail, std::int64_t now_ns);
  void EndTail(const Key& key, bool tell_front);
  [[nodiscard]] bool StillAllowed(const Request& request, std::int64_t now_ns);

  ServiceConfig config_;
  Clock& clock_;
  Entropy& entropy_;
  Workers& workers_;
  Outlet& outlet_;
  UserBook users_;
  std::string unknown_user_hash_;
  std::shared_ptr<const std::string> network_json_;
  SessionTable sessions_;
  SignInDelays delays_;
  std::map<Key, Request> requests_;
  std::map<Key, Tail> tails_;
  std::map<std::uint64_t, PendingAttest> attests_;  // by request number: waiting for the TPM
  std::map<Key, OpenBundle> bundles_;
  std::map<std::uint64_t, Pending> pending_;  // by frame id: waiting for kCommitted
  std::map<std::string, Bucket> buckets_;
  TreeReaders<Request> tree_readers_;
  std::vector<Key> waiting_for_status_;
  std::int64_t status_deadline_ns_ = 0;
  std::size_t hashes_ = 0;
  std::uint64_t next_frame_ = 1;
  std::uint64_t next_number_ = 1;
  std::uint64_t position_ = 0;
  channel::FrameBuilder builder_;
  std::string notice_;
  bool finishing_ = false;
};

}  // namespace stele::query
