// For the tests of stele-receive: the real listener and link on a thread of their own, a ledger that keeps what it is
// sent and answers when told, a clock that stands still, and clients on the loopback, plain and TLS.
#pragma once

#include <openssl/ssl.h>

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <future>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "appliance/base/system.h"
#include "appliance/daemons/receive_json_lines.h"
#include "appliance/daemons/receive_relp.h"
#include "appliance/daemons/receive_signed.h"
#include "appliance/daemons/receive_stream.h"
#include "appliance/daemons/receive_syslog.h"
#include "appliance/ingest/tls.h"
#include "tests/unit/tls_material.h"

namespace stele::receive {

struct KeptRecord {
  record::Kind kind = record::Kind::kSyslog;
  std::uint16_t flags = 0;
  nlohmann::json source;  // as declared
  std::string payload;
};

// The other end of the channel. Commits at once, unless it holds its answers or refuses.
class KeepingLedger {
 public:
  explicit KeepingLedger(UniqueFd channel);
  ~KeepingLedger();
  KeepingLedger(const KeepingLedger&) = delete;
  KeepingLedger& operator=(const KeepingLedger&) = delete;

  void Hold(bool hold);                             // false: everything held is committed, in order
  void AnswerHeld(std::size_t index, bool commit);  // one of those held, out of order
  void Refuse(bool refuse);
  [[nodiscard]] std::size_t held() const;
  [[nodiscard]] std::vector<KeptRecord> records() const;
  [[nodiscard]] std::size_t source_count() const;

 private:
  struct OpenFrame {
    std::uint64_t id = 0;
    std::uint32_t count = 0;
  };
  void Run();
  void Take(const channel::Frame& frame);
  void Answer(const OpenFrame& frame, bool commit);

  UniqueFd channel_;
  mutable std::mutex mutex_;
  bool hold_ = false;
  bool refuse_ = false;
  std::vector<OpenFrame> held_;
  std::vector<KeptRecord> records_;
  std::vector<nlohmann::json> sources_;
  Bytes large_;  // a record in parts
  std::uint64_t next_sequence_ = 100;
  std::thread thread_;
};

class ManualClock final : public Clock {
 public:
  std::int64_t WallNs() override { return 1'768'478'400'000'000'000; }
  std::int64_t BoottimeNs() override { return now_ns_; }
  void Advance(std::int64_t ms) { now_ns_ += ms * 1'000'000; }

 private:
  std::atomic<std::int64_t> now_ns_{1'000'000'000'000};
};

enum class Way { kSyslog, kSyslogTls, kJsonLines, kRelp, kOwn };

struct RigOptions {
  Way way = Way::kSyslog;
  std::shared_ptr<const ingest::TlsContext> tls;
  std::vector<std::string> tokens;
  std::vector<ingest::Sender> senders;
  std::shared_ptr<const ingest::SourceKeys> keys;
  std::shared_ptr<const ingest::SyslogKeys> syslog_keys;
  std::size_t message_bytes_max = limits::kMessageBytesDefault;
  bool ipv6 = false;
  std::size_t connections_per_address_max = limits::kConnectionsPerAddress;
  RelpRefusal relp_refusal = RelpRefusal::kClose;
  StreamFactory own;
};

class Rig {
 public:
  explicit Rig(RigOptions options = {});
  ~Rig();
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;

  template <typename Action>
  auto Do(Action action) {
    std::packaged_task<decltype(action())()> task(action);
    auto result = task.get_future();
    boost::asio::post(context_, [&task] { task(); });
    return result.get();
  }
  template <typename Condition>
  bool Eventually(Condition condition) {
    for (int i = 0; i < 1'000; ++i) {
      if (Do(condition)) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }
  // So many records have reached the ledger; gives them.
  std::vector<KeptRecord> Records(std::size_t count);
  // Time passes, and the deadlines are looked at.
  void Pass(std::int64_t ms);
  std::uint64_t connections() {
    return Do([this] { return listener.connections; });
  }
  bool GoneWithin(std::int64_t ms) {
    Pass(ms);
    return connections() == 0;
  }

  SignatureAlarms& alarms() { return *alarms_; }  // on the rig's thread
  SignedSyslog& signed_syslog() { return *signed_syslog_; }

  std::uint16_t port = 0;
  bool ipv6 = false;
  Listener listener;
  ManualClock clock;
  std::unique_ptr<KeepingLedger> ledger;
  std::unique_ptr<StreamListener> stream;

 private:
  SystemEntropy entropy_;
  boost::asio::io_context context_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{context_.get_executor()};
  std::unique_ptr<LedgerLink> link_;
  Listener alarm_account_;
  std::unique_ptr<SignatureAlarms> alarms_;
  std::unique_ptr<SignedSyslog> signed_syslog_;
  StreamBudget budget_;
  ResentMemory resent_{entropy_};
  std::thread thread_;
};

class PlainClient {
 public:
  explicit PlainClient(const Rig& rig);
  bool Send(std::string_view octets);
  void EndSending();        // half-closes
  std::string ReadToEnd();  // until the other side closes; at most 10 s
  std::string ReadLine();
  [[nodiscard]] int fd() const { return fd_.get(); }
  void Close() { fd_.reset(); }

 private:
  UniqueFd fd_;
};

struct TlsClientOptions {
  int version_min = TLS1_2_VERSION;
  int version_max = TLS1_3_VERSION;
  const test::Material* certificate = nullptr;
};

class TlsClient {
 public:
  explicit TlsClient(const Rig& rig, const TlsClientOptions& options = {});
  ~TlsClient();
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;
  // The handshake as the client sees it. In TLS 1.3 a server that refuses the certificate says so only later: see
  // Refused().
  bool Handshake();
  bool Refused();  // after Handshake(): the next read fails instead of finding an open connection
  bool Send(std::string_view octets);
  std::string ReadLine();
  std::string ReadToEnd();
  void EndSending();  // close_notify; still reads
  [[nodiscard]] SSL* ssl() const { return ssl_; }

 private:
  PlainClient plain_;
  SSL_CTX* context_ = nullptr;
  SSL* ssl_ = nullptr;
};

std::string Counted(std::string_view message);  // RFC 6587 octet counting

// One authority, what it signed, and what it did not, for the whole test program.
struct TestPki {
  test::Material authority, server, client, other_client, expired_client, stranger_authority, stranger, self_signed;
};
const TestPki& Pki();
std::shared_ptr<const ingest::TlsContext> ServerTls(const std::function<void(ingest::TlsOptions&)>& change = nullptr);

}  // namespace stele::receive
