// stele-receive: takes bytes off the wire of one zone and hands them to the ledger (docs/processes.md). It parses
// hostile bytes, so it owns nothing: inherited sockets, one channel, no file, no way out.
#include <algorithm>

#include <boost/asio/steady_timer.hpp>
#include <nlohmann/json.hpp>

#include "appliance/base/system.h"
#include "appliance/channel/control.h"
#include "appliance/daemons/program.h"
#include "appliance/daemons/receive_json.h"
#include "appliance/daemons/receive_json_lines.h"
#include "appliance/daemons/receive_losses.h"
#include "appliance/daemons/receive_relp.h"
#include "appliance/daemons/receive_signed.h"
#include "appliance/daemons/receive_syslog.h"
#include "appliance/ingest/tls.h"
#include "appliance/sandbox/profiles.h"

namespace stele::receive {
namespace {

using nlohmann::json;

// The member `tls` of the configuration (docs/processes.md). Total: what is missing is an error of TlsContext::Make.
ingest::TlsOptions TlsOptionsOf(const json& tls) {
  ingest::TlsOptions options;
  options.certificate_pem = tls.value("certificate_pem", "");
  options.key_pem = tls.value("key_pem", "");
  options.allow_tls12 = tls.value("min", "1.3") == "1.2";
  const std::string auth = tls.value("client_auth", "none");
  options.client_auth = auth == "require"   ? ingest::ClientAuth::kRequire
                        : auth == "request" ? ingest::ClientAuth::kRequest
                                            : ingest::ClientAuth::kNone;
  options.client_ca_pem = tls.value("client_ca_pem", "");
  for (const std::string& text : tls.value("client_fingerprints", std::vector<std::string>())) {
    if (const auto fingerprint = ingest::ParseFingerprint(text)) options.client_fingerprints.push_back(*fingerprint);
  }
  return options;
}

struct Ways {
  std::vector<std::unique_ptr<UdpListener>> udp;
  std::vector<std::unique_ptr<StreamListener>> streams;
  std::vector<std::unique_ptr<JsonSink>> sinks;
  std::vector<std::unique_ptr<ingest::HttpJsonServer>> https;
};

class Receiver {
 public:
  Receiver(boost::asio::io_context& context, json configuration)
      : context_(context),
        configuration_(std::move(configuration)),
        link_(context, clock_, entropy_),
        losses_(link_, clock_),
        timer_(context),
        control_(context),
        signature_alarms_(link_, loss_account_) {
    loss_account_.zone = configuration_.value("zone", "default");
  }

  Result<void> Take(channel::GivenChannel given) {
    if (given.what.role == "ledger") {
      link_.Connect(std::move(given.descriptor));
      return {};
    }
    if (given.what.role == "resent-page") return resent_.UsePage(std::move(given.descriptor));
    if (given.what.role == "accounts") {
      STELE_TRY_VOID(link_.accounts().Map(given.descriptor));
      link_.accounts().Inherit(clock_.WallNs());
      return {};
    }
    if (given.what.role != "listener") return Fail(Code::kInvalid, "unknown role " + given.what.role);
    const json detail = json::parse(given.what.detail_json, nullptr, false);
    if (!detail.is_object()) return Fail(Code::kInvalid, "listener " + given.what.name + ": no detail");
    auto listener = std::make_unique<Listener>();
    listener->name = given.what.name;
    listener->zone = loss_account_.zone;
    listener->transport = detail.value("transport", "");
    listener->address = detail.value("address", "");
    STELE_TRY(listener->account, link_.accounts().RowOf(listener->name, clock_.WallNs()));
    // A connection whose sender waits for answers loses nothing unseen when the receiver dies.
    if (listener->transport == "tcp" || listener->transport == "tls")
      listener->connections.Mirror(&listener->account->connections);
    listeners_.push_back(std::move(listener));
    return Open(*listeners_.back(), listeners_.size() - 1, std::move(given.descriptor));
  }

  // What a reload may change: who may send, how much, and whose signatures are known. All or nothing.
  Result<void> UseRules(const json& configuration) {
    STELE_TRY(JsonTrust trust, JsonTrustOf(configuration));
    STELE_TRY(channel::SourceRules rules,
              channel::DecodeSourceRules(configuration.value("sources", json::object()).dump()));
    std::vector<IpPrefix> allowed;
    for (const std::string& text : configuration.value("allowed_sources", std::vector<std::string>())) {
      STELE_TRY(const IpPrefix prefix, ParseIpPrefix(text));
      allowed.push_back(prefix);
    }
    link_.gate().Use(std::move(rules));
    link_.gate().UseZone(loss_account_.zone, std::move(allowed));
    const auto number = [&configuration](const char* name) { return configuration.value(name, std::uint64_t{0}); };
    link_.quotas().Limit({number("source_records_per_s"), number("source_bytes_per_s")});
    *trust_ = std::move(trust);
    for (auto& one : ways_.https) one->UseSenders(trust_->sender_set(), trust_->keys);
    for (auto& one : ways_.sinks) one->UseKeys(trust_->keys);
    return {};
  }

  // Before the listeners are taken: they hand on what is signed.
  Result<void> UseSyslogKeys() {
    STELE_TRY(auto keys, SyslogKeysOf(configuration_.value("syslog_keys", json::array())));
    if (!keys->empty()) {
      signed_syslog_ = std::make_unique<SignedSyslog>(link_, clock_, loss_account_, signature_alarms_, std::move(keys));
    }
    return {};
  }

  void Start() {
    for (auto& one : ways_.udp) one->Start();
    for (auto& one : ways_.streams) one->Start();
    for (auto& one : ways_.https) one->Start();
    control_.assign(channel::kControlFd);
    WaitControl();
    Tick();
  }

 private:
  Result<void> Open(Listener& listener, std::size_t index, UniqueFd socket) {
    SyslogOptions options;
    options.message_bytes_max = configuration_.value("message_bytes_max", limits::kMessageBytesDefault);
    options.signed_syslog = signed_syslog_.get();
    if (listener.transport == "udp") {
      ways_.udp.push_back(
          std::make_unique<UdpListener>(context_, link_, clock_, listener, index, std::move(socket), options));
    } else if (listener.transport == "tcp") {
      AddStream(listener, index, std::move(socket), {},
                SyslogFactory(link_, entropy_, budget_, listener, options, ingest::Framing::kAuto));
    } else if (listener.transport == "tls") {
      STELE_TRY_VOID(
          AddTlsStream(listener, index, std::move(socket),
                       SyslogFactory(link_, entropy_, budget_, listener, options, ingest::Framing::kCounted)));
    } else if (listener.transport == "relp") {
      AddStream(listener, index, std::move(socket), {},
                RelpFactory(link_, entropy_, budget_, resent_, listener, OptionsOfRelp()));
    } else if (listener.transport == "relp-tls") {
      STELE_TRY_VOID(AddTlsStream(listener, index, std::move(socket),
                                  RelpFactory(link_, entropy_, budget_, resent_, listener, OptionsOfRelp())));
    } else if (listener.transport == "json-lines-tls") {
      JsonLinesOptions lines;
      lines.message_bytes_max = options.message_bytes_max;
      lines.listener_index = index;
      lines.trust = trust_;
      lines.alarms = &signature_alarms_;
      STELE_TRY_VOID(AddTlsStream(listener, index, std::move(socket),
                                  JsonLinesFactory(link_, entropy_, budget_, listener, lines)));
    } else if (listener.transport == "https-json") {
      const json tls = configuration_.value("tls", json::object());
      ingest::HttpJsonOptions https;
      https.certificate_pem = tls.value("certificate_pem", "");
      https.key_pem = tls.value("key_pem", "");
      https.tokens = trust_->tokens;
      https.senders = trust_->senders;
      https.keys = trust_->keys;
      ways_.sinks.push_back(std::make_unique<JsonSink>(link_, listener, index, signature_alarms_, https.keys));
      STELE_TRY(auto server,
                ingest::HttpJsonServer::Make(context_, std::move(socket), https, *ways_.sinks.back(), clock_));
      ways_.https.push_back(std::move(server));
      STELE_TRY(listener.certificate_not_after_s, ingest::NotAfterOf(https.certificate_pem));
      https_listeners_.push_back(&listener);
    } else {
      return Fail(Code::kInvalid, "listener " + listener.name + ": unknown transport " + listener.transport);
    }
    return {};
  }

  [[nodiscard]] RelpOptions OptionsOfRelp() const {
    return {configuration_.value("message_bytes_max", limits::kMessageBytesDefault),
            configuration_.value("relp_refusal", "close") == "answer" ? RelpRefusal::kAnswer : RelpRefusal::kClose,
            signed_syslog_.get()};
  }

  void AddStream(Listener& listener, std::size_t index, UniqueFd socket, StreamOptions options, StreamFactory factory) {
    ways_.streams.push_back(std::make_unique<StreamListener>(
        context_, link_, clock_, budget_, listener, index, std::move(socket), std::move(options), std::move(factory)));
  }

  Result<void> AddTlsStream(Listener& listener, std::size_t index, UniqueFd socket, StreamFactory factory) {
    if (!tls_) {
      STELE_TRY(tls_, ingest::TlsContext::Make(TlsOptionsOf(configuration_.value("tls", json::object()))));
    }
    StreamOptions options;
    options.connections_max = limits::kTlsConnections;
    options.tls = tls_;
    AddStream(listener, index, std::move(socket), std::move(options), std::move(factory));
    listener.certificate_not_after_s = tls_->not_after_s();
    tls_streams_.push_back({ways_.streams.back().get(), &listener});
    return {};
  }

  // A later kConfigure: the certificate and whom it trusts, for new connections. All or nothing.
  void Reconfigure(ByteView body) {
    const json fresh = json::parse(AsText(body), nullptr, false);
    const json tls = fresh.is_object() ? fresh.value("tls", json()) : json();
    if (!tls.is_object()) return LogError("a configuration without tls: nothing changed");
    const ingest::TlsOptions options = TlsOptionsOf(tls);
    auto made = ingest::TlsContext::Make(options);
    if (!made) return LogError("certificates stay as they were: " + Describe(made.error()));
    for (std::size_t i = 0; i < ways_.https.size(); ++i) {
      if (const auto done = ways_.https[i]->Reload(options.certificate_pem, options.key_pem); !done) {
        return LogError("certificates stay as they were: " + Describe(done.error()));
      }
      https_listeners_[i]->certificate_not_after_s = (*made)->not_after_s();
    }
    tls_ = std::move(*made);
    for (const TlsStreamOf& one : tls_streams_) {
      one.stream->UseTls(tls_);
      one.listener->certificate_not_after_s = tls_->not_after_s();
    }
    LogInfo("new connections use the certificate that ends at " + std::to_string(tls_->not_after_s()));
  }

  // Once a second: stalled connections, kernel drops, loss entries, counters for the status.
  void Tick() {
    for (auto& one : ways_.udp) one->PollKernelDrops();
    for (auto& one : ways_.streams) one->Sweep();
    for (std::size_t i = 0; i < ways_.https.size(); ++i) {
      const ingest::HttpJsonCounters& c = ways_.https[i]->counters();
      https_listeners_[i]->connections = c.connections_open;
      https_listeners_[i]->handshakes_failed = c.handshakes_failed;
      https_listeners_[i]->refused =
          c.connections_refused + c.requests_refused + c.handshakes_failed + c.events_refused;
    }
    link_.accounts().Alive(clock_.WallNs());
    losses_.Tick(listeners_);
    RecordRefused();
    signature_alarms_.Tick(clock_.WallNs());
    if (signed_syslog_) signed_syslog_->Tick();
    json list = json::array();
    for (const auto& l : listeners_) list.push_back(ListenerCounters(*l));
    link_.SendCounters(json{{"listeners", list}}.dump(-1, ' ', false, json::error_handler_t::replace));
    // Answers to what was committed last still go out.
    const auto idle = [](const auto& one) { return one->idle(); };
    const bool answered = std::all_of(ways_.streams.begin(), ways_.streams.end(), idle);
    const bool taken = std::all_of(ways_.udp.begin(), ways_.udp.end(), idle);
    if (stopping_ && ((link_.idle() && answered && taken) || --stop_turns_left_ <= 0)) {
      context_.stop();
      return;
    }
    timer_.expires_after(std::chrono::milliseconds(stopping_ ? 50 : 1000));
    timer_.async_wait([this](const boost::system::error_code& error) {
      if (!error) Tick();
    });
  }

  void RecordRefused() {
    if (!link_.Ready()) return;  // counted further; recorded when there is room
    for (const std::string& entry : link_.gate().TakeEntries(clock_.WallNs(), stopping_)) {
      link_.Add(loss_account_, record::Kind::kLoss, 0, 0, clock_.WallNs(), record::Peer{}, AsBytes(entry));
    }
    link_.FlushSoon();
  }

  void WaitControl() {
    control_.async_wait(boost::asio::posix::descriptor_base::wait_read, [this](const boost::system::error_code& error) {
      if (!error && HandleControl()) WaitControl();
    });
  }

  // False: stopping, no more is expected.
  bool HandleControl() {
    auto frame = channel::Receive(channel::kControlFd, false, true);
    if (!frame && frame.error().code == Code::kUnavailable) return true;
    if (frame && frame->type == channel::Type::kTakeChannel && frame->descriptors.size() == 1) {
      const auto what = channel::DecodeTakeChannel(frame->body);
      if (what && what->role == "ledger") link_.Connect(std::move(frame->descriptors[0]));
      return true;
    }
    if (frame && frame->type == channel::Type::kConfigurePart) configuration_parts_ += AsText(frame->body);
    if (frame && frame->type == channel::Type::kConfigure) {
      configuration_parts_ += AsText(frame->body);
      const json fresh = json::parse(configuration_parts_, nullptr, false);
      const auto used = UseRules(fresh.is_object() ? fresh : json::object());
      if (!used) LogError("the new configuration is not used: " + Describe(used.error()));
      Reconfigure(AsBytes(configuration_parts_));
      configuration_parts_.clear();
    }
    if (frame && frame->type != channel::Type::kStop) return true;
    stopping_ = true;
    for (auto& one : ways_.udp) one->Stop();
    for (auto& one : ways_.streams) one->Stop();
    for (auto& one : ways_.https) one->Stop();
    link_.Flush();
    timer_.expires_after(std::chrono::milliseconds(1));
    timer_.async_wait([this](const boost::system::error_code& error) {
      if (!error) Tick();
    });
    return false;
  }

  boost::asio::io_context& context_;
  json configuration_;
  std::string configuration_parts_;  // of one that is being told
  SystemClock clock_;
  SystemEntropy entropy_;
  LedgerLink link_;
  StreamBudget budget_;
  LossRecorder losses_;
  ResentMemory resent_{entropy_};
  boost::asio::steady_timer timer_;
  boost::asio::posix::stream_descriptor control_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<Listener*> https_listeners_;
  struct TlsStreamOf {
    StreamListener* stream;
    Listener* listener;
  };
  std::vector<TlsStreamOf> tls_streams_;
  std::shared_ptr<JsonTrust> trust_ = std::make_shared<JsonTrust>();  // shared with the sessions of JSON lines
  std::shared_ptr<const ingest::TlsContext> tls_;                     // shared with the connections that began with it
  Listener loss_account_;  // loss and alarm entries are ours, they belong to no listener's balance
  SignatureAlarms signature_alarms_;
  std::unique_ptr<SignedSyslog> signed_syslog_;  // null: no keys are registered
  Ways ways_;
  bool stopping_ = false;
  int stop_turns_left_ = 100;
};

Result<int> Main() {
  STELE_TRY_VOID(HashSelfTest());
  auto given = channel::ReceiveStartUp(channel::kControlFd);
  if (!given) {
    if (given.error().code == Code::kNotFound) return 0;
    return tl::unexpected(given.error());
  }
  json configuration = json::parse(given->configuration_json, nullptr, false);
  if (!configuration.is_object()) return Fail(Code::kInvalid, "configuration: not a JSON object");
  SetLogName(configuration.value("process", "stele-receive"));
  boost::asio::io_context context(1);
  Receiver receiver(context, configuration);
  STELE_TRY_VOID(receiver.UseRules(configuration));
  STELE_TRY_VOID(receiver.UseSyslogKeys());
  // The accounts come before the listeners that are entered in them.
  std::stable_partition(given->channels.begin(), given->channels.end(),
                        [](const channel::GivenChannel& one) { return one.what.role == "accounts"; });
  for (channel::GivenChannel& one : given->channels) STELE_TRY_VOID(receiver.Take(std::move(one)));
  sandbox::Profile profile = sandbox::ReceiveProfile();
  profile.interface = configuration.value("interface", "");
  STELE_TRY(const sandbox::Report report, sandbox::LockDown(profile));
  receiver.Start();
  STELE_TRY_VOID(channel::SendReady(channel::kControlFd, report.ToJson()));
  context.run();
  return 0;
}

}  // namespace
}  // namespace stele::receive

int main() { return stele::daemons::RunProgram("stele-receive", stele::receive::Main); }
