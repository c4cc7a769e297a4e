// The channel from stele-receive to stele-ledger: batches records into frames, keeps every frame until it is committed, and
// sends what was not acknowledged again, flagged `possible_duplicate`, when the ledger comes back.
//
// Bounded: at most limits::kChannelCredits frames are open; beyond, Ready() is false and the listeners stop reading (TCP
// and HTTP senders wait; a UDP socket's drops are counted by the kernel and recorded as loss).
// Thread safety: everything on the io_context's one thread.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <deque>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "appliance/base/limits.h"
#include "appliance/base/seams.h"
#include "appliance/channel/append_messages.h"
#include "appliance/channel/channel.h"
#include "appliance/daemons/receive_accounts.h"
#include "appliance/daemons/receive_gate.h"
#include "appliance/daemons/receive_quota.h"

namespace stele::receive {

// How many are open now, seen by the receiver that follows should this one die.
class Gauge {
 public:
  void Mirror(std::atomic<std::uint64_t>* mirror) { mirror_ = mirror; }
  Gauge& operator=(std::uint64_t value) {
    value_ = value;
    if (mirror_ != nullptr) *mirror_ = value;
    return *this;
  }
  Gauge& operator++() { return *this = value_ + 1; }
  Gauge& operator--() { return *this = value_ - 1; }
  operator std::uint64_t() const { return value_; }  // NOLINT(google-explicit-constructor)  // it is a number

 private:
  std::uint64_t value_ = 0;
  std::atomic<std::uint64_t>* mirror_ = nullptr;
};

// One way in, as configured, and its account.
struct Listener {
  std::string name;
  std::string zone;  // of the receiver: the same for all its listeners
  std::string transport;
  std::string address;
  std::uint64_t received = 0;  // kept by the listener itself; the account has the number that is shown
  std::uint64_t refused = 0;   // connections and requests turned away
  Gauge connections;
  std::uint64_t sources = 0;
  std::uint64_t handshakes_failed = 0;  // TLS; counted in `refused` too
  std::string handshake_failure;        // the last one: peer and reason
  std::int64_t handshake_failure_ns = 0;
  std::int64_t certificate_not_after_s = 0;  // of our TLS certificate; 0: no TLS
  void HandshakeFailed(const record::Peer& peer, const std::string& why, std::int64_t now_ns);
  Account own_account{};
  Account* account = &own_account;  // or a row of the page, from before the listener is opened
  bool counts_its_batches = false;  // `taken` is counted as the kernel hands the records over, not by LedgerLink::Add()

  // Losses whose source is known, of those not yet recorded; bounded, the rest is recorded without a source.
  struct Loser {
    std::uint64_t count = 0;
    std::string peer;
  };
  using Losers = std::map<std::pair<Cause, std::uint32_t>, Loser>;  // by cause and local source
  Losers losers;

  void Lose(Cause cause, std::uint64_t count, std::int64_t now_ns) { account->Lose(cause, count, now_ns); }
  void LoseOf(Cause cause, std::uint32_t source, const record::Peer& peer, std::uint64_t count, std::int64_t now_ns);
};

class LedgerLink {
 public:
  struct Outcome {
    bool committed = false;
    std::uint64_t first_sequence = 0;
    std::uint32_t count = 0;        // records of the frame, committed or not
    std::size_t first_record = 0;   // AddWaited: which of `records` the frame begins with
    std::vector<Hash> leaves;       // as many as count where they were asked for and the ledger gave them
  };
  using Done = std::function<void(const Outcome&)>;

  LedgerLink(boost::asio::io_context& context, Clock& clock, Entropy& entropy);

  void Connect(UniqueFd descriptor);  // the first, and each that replaces it
  [[nodiscard]] bool Ready() const;   // there is credit: listeners may read
  void WhenReady(std::function<void()> resume);  // called once, when Ready() turns true
  [[nodiscard]] bool contended() const { return !when_ready_.empty(); }  // others wait: turns should be short

  // Who may send. Under kRefusedSource everything is counted as lost and dropped.
  [[nodiscard]] SourceGate& gate() { return gate_; }

  // The local number of a source, declared to the ledger before its first use. Listener by index into the caller's list.
  // `identity`: a JSON object as text (TlsIdentity::ToJson, {"sender":"name"}), or empty; `target`: what a request's path named. Another
  // identity or target from one address is another source.
  [[nodiscard]] std::uint32_t SourceOf(std::size_t listener_index, Listener& listener, const record::Peer& peer,
                                       std::string_view identity, bool& overflow, std::string_view target = {});

  // One record nobody waits for. Larger than a frame: cut into parts.
  void Add(Listener& listener, record::Kind kind, std::uint16_t flags, std::uint32_t source, std::int64_t wall_ns,
           const record::Peer& peer, ByteView payload);
  void FlushSoon();  // at the end of this turn of the loop
  void Flush();

  // Records somebody waits for, as frames of their own: done is called for each frame. A frame that the store refused may be
  // heard of before earlier ones that it took; Outcome::first_record tells them apart.
  struct WaitedRecord {
    std::uint16_t flags = 0;
    ByteView payload;
  };
  // Returns the number of frames; done is called as often.
  std::size_t AddWaited(Listener& listener, record::Kind kind, std::uint32_t source, std::int64_t wall_ns,
                        const record::Peer& peer, const std::vector<WaitedRecord>& records, const Done& done, bool wants_leaves = false);
  [[nodiscard]] const std::string& newest_note() const { return newest_note_; }  // of the ledger's checkpoints; empty: none yet

  // Loss entries, which belong to no listener's balance, as one frame; its number goes into the page before it is sent.
  struct LossEntry {
    std::uint32_t source = 0;
    std::string payload;
  };
  void AddLosses(const std::vector<LossEntry>& entries, const Done& done);

  [[nodiscard]] Accounts& accounts() { return accounts_; }
  [[nodiscard]] bool settled() const { return settled_; }
  // Quotas per source. A stream listener asks MayReadInNs() before it reads from a connection and waits so long (0: read now);
  // what it adds is charged by itself. Datagrams are taken or refused one by one.
  [[nodiscard]] SourceQuotas& quotas() { return quotas_; }
  [[nodiscard]] std::int64_t MayReadInNs(std::uint32_t source) { return quotas_.WaitNs(source, clock_.BoottimeNs()); }
  void SendCounters(const std::string& json_text);
  [[nodiscard]] bool connected() const { return fd_.valid(); }
  [[nodiscard]] bool idle() const { return open_.empty() && builder_.count() == 0; }

 private:
  struct OpenFrame {
    std::uint64_t id = 0;
    channel::Type type = channel::Type::kRecords;
    std::vector<Bytes> bodies;  // one, or the parts of a large record
    std::size_t sent = 0;       // bodies sent on this channel
    std::uint32_t count = 0;
    std::size_t first_record = 0;  // of a waited frame
    std::vector<std::pair<Listener*, std::uint32_t>> shares;
    Done done;
    std::vector<Hash> leaves;   // received so far
  };
  struct SourceKey {
    std::size_t listener = 0;
    std::array<std::byte, 16> address{};
    std::string identity;
    std::string target;
    bool operator==(const SourceKey&) const = default;
  };
  struct SourceKeyHash {
    std::size_t operator()(const SourceKey& key) const;
  };

  void StartFrame();
  void Share(std::vector<std::pair<Listener*, std::uint32_t>>& shares, Listener& listener, record::Kind kind);
  void Queue(OpenFrame frame);
  void Pump();
  void WaitReadable();
  void WaitWritable();
  void Resume();
  void HandleSettled(ByteView body);
  void HandleReadable();
  void TakeReceipt(channel::Receipt receipt);
  void Finish(std::uint64_t frame_id, Outcome outcome);
  void Disconnect(std::string_view why);
  void MarkPossibleDuplicates();
  void Refuse(Listener& listener, const record::Peer& peer, std::uint64_t count);
  std::uint32_t NewSource(std::size_t listener_index, const Listener& listener, std::string_view peer, std::string_view identity,
                          std::string_view target);

  boost::asio::io_context& context_;
  Clock& clock_;
  Entropy& entropy_;
  Accounts accounts_;
  SourceQuotas quotas_;
  boost::asio::posix::stream_descriptor fd_wait_;
  UniqueFd fd_;
  std::uint64_t generation_ = 0;
  bool waiting_writable_ = false;
  bool settled_ = false;  // the ledger has answered kSettle: records may be sent
  Bytes receive_buffer_;

  channel::FrameBuilder builder_;
  Bytes spent_;  // of the frame that was answered last
  std::vector<std::pair<Listener*, std::uint32_t>> builder_shares_;
  bool flush_posted_ = false;
  std::deque<OpenFrame> open_;
  std::size_t unsent_ = 0;  // frames at the back of open_ that are not wholly sent

  SourceGate gate_;
  std::vector<std::string> declarations_;  // by local number - 1
  std::size_t declared_ = 0;               // how many of them this channel has been told
  std::unordered_map<SourceKey, std::uint32_t, SourceKeyHash> sources_;
  std::size_t last_listener_ = 0;  // of the source that was asked for last: datagrams come in runs
  std::array<std::byte, 16> last_address_{};
  std::uint32_t last_source_ = 0;  // 0: none
  std::map<std::size_t, std::uint32_t> overflow_sources_;
  std::deque<std::function<void()>> when_ready_;
  std::string newest_note_;
};

}  // namespace stele::receive
