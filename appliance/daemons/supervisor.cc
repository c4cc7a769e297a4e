#include "appliance/daemons/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "appliance/base/system.h"
#include "appliance/base/text.h"
#include "appliance/daemons/cli/client.h"
#include "appliance/daemons/config.h"
#include "appliance/daemons/config_senders.h"
#include "appliance/daemons/family.h"
#include "appliance/daemons/first_run.h"
#include "appliance/daemons/ingest_tls.h"
#include "appliance/daemons/listeners.h"
#include "appliance/daemons/receive_accounts.h"
#include "appliance/daemons/receive_resent.h"
#include "appliance/daemons/tpm_source.h"
#include "appliance/daemons/version.h"
#include "appliance/daemons/watches.h"

namespace stele::daemons {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr milliseconds kRound{1'000};
constexpr milliseconds kStopLimit{10'000};
constexpr milliseconds kLedgerStopLimit{60'000};  // a last commit, checkpoint and anchor on a slow disk and a slow TPM
constexpr std::uint64_t kStartAttempts = 4;       // of a member that was never ready: then the start has failed

constexpr milliseconds kBetweenHandovers{1'000};  // of TPM connections: one that fails at once is not tried in a loop
constexpr milliseconds kBetweenWatches{5'000};
constexpr milliseconds kBetweenCertificateWatches{3'600'000};
constexpr std::size_t kUnheardMax = 64;  // deaths and alarms while the ledger is down

// Members by index, in the order they are started; links and stop order refer to it.
enum MemberIndex : std::size_t { kAnchor, kLedger, kQuery, kReceive, kWeb, kMemberCount };

void Say(const std::string& line) {
  std::printf("%s\n", EscapeForTerminal(AsBytes(line)).c_str());
  std::fflush(stdout);
}

// Signals as a readable descriptor. A handler and not signalfd: a blocked signal would stay blocked in swtpm.
UniqueFd g_stop_read;   // NOLINT(cert-err58-cpp)  // no allocation, cannot throw
UniqueFd g_stop_write;  // NOLINT(cert-err58-cpp)
constexpr char kStopByte = 's';
constexpr char kHangUpByte = 'h';
extern "C" void OnSignal(int signal) {
  const int saved = errno;
  const char byte = signal == SIGHUP ? kHangUpByte : kStopByte;
  (void)!::write(g_stop_write.get(), &byte, 1);  // full: the wish is known already
  errno = saved;
}
bool g_had_terminal = false;

Result<void> CatchStopSignals() {
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return FailErrno("make a pipe");
  g_stop_read = UniqueFd(ends[0]);
  g_stop_write = UniqueFd(ends[1]);
  struct sigaction action {};
  action.sa_handler = OnSignal;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    if (::sigaction(signal, &action, nullptr) != 0) return FailErrno("catch signals");
  }
  (void)::signal(SIGPIPE, SIG_IGN);  // cannot fail
  g_had_terminal = ::isatty(STDOUT_FILENO) == 1;
  return {};
}

enum class Wish { kNone, kReload, kStop };
// SIGHUP means "read the configuration and the certificates again", unless it came because the terminal is gone.
Wish TakeWish() {
  Wish wish = Wish::kNone;
  char byte = 0;
  while (::read(g_stop_read.get(), &byte, 1) == 1) {
    if (byte == kStopByte || (g_had_terminal && ::isatty(STDOUT_FILENO) != 1)) return Wish::kStop;
    wish = Wish::kReload;
  }
  return wish;
}

// 4,096 connections need more descriptors than the usual soft limit; the daemons inherit ours.
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);  // fewer connections otherwise, and the receiver says so
}

struct Listeners {
  std::vector<BoundListener> ingest;
  BoundListener viewer;
};

Result<Listeners> BindAll(const Config& config) {
  Listeners all;
  const struct {
    const char* name;
    const char* transport;
    std::optional<std::uint16_t> port;
  } wanted[] = {{"syslog-udp", "udp", config.syslog_udp_port},
                {"syslog-tcp", "tcp", config.syslog_tcp_port},
                {"https-json", "https-json", config.https_json_port},
                {"syslog-tls", "tls", config.syslog_tls_port},
                {"json-lines-tls", "json-lines-tls", config.json_lines_tls_port},
                {"relp", "relp", config.relp_port},
                {"relp-tls", "relp-tls", config.relp_tls_port}};
  for (const auto& listener : wanted) {
    if (!listener.port) continue;
    STELE_TRY(auto bound, BindListener(listener.name, listener.transport, config.ingest_address, *listener.port));
    all.ingest.push_back(std::move(bound));
  }
  STELE_TRY(all.viewer, BindListener("viewer", "https", config.viewer_address, config.viewer_port));
  return all;
}

std::string UrlOf(const BoundListener& listener) {
  const bool loopback = listener.address.starts_with("127.") || listener.address.starts_with("[::1]");
  return "https://" + (loopback ? "localhost:" + std::to_string(listener.port) : listener.address) + "/";
}

// What each process is told; the members are those of docs/processes.md.
struct Parts {
  const Home& home;
  Config& config;  // the running one: a reload changes what may change
  const Identity& identity;
  const Listeners& listeners;
  const TpmSource& tpm;
  int query_socket;
  int resent_page;
  std::string ingest_tls_json;
  int accounts;  // the receiver's page, docs/processes.md
};

// Outlives every receiver: what clients may send again after one has died (receive_resent.h).
Result<UniqueFd> MakeResentPage() {
  UniqueFd page(::memfd_create("stele-resent", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!page.valid() || ::ftruncate(page.get(), static_cast<off_t>(receive::kResentPageBytes)) != 0 ||
      ::fcntl(page.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return FailErrno("make the page of remembered messages");
  }
  return page;
}

// A duplicate of a descriptor of ours for each start of a member.
OwnChannel DuplicateOf(const channel::TakeChannel& what, int fd) {
  return {what, [fd, name = what.name]() -> Result<UniqueFd> {
            UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
            if (!copy.valid()) return FailErrno("duplicate " + name);
            return copy;
          }};
}

json SourcesJson(const Config& config) { return json::parse(channel::EncodeSourceRules(config.sources), nullptr, false); }

std::string ReceiveConfiguration(const Config& config, const std::string& ingest_tls_json) {
  return json{{"zone", config.zone},
              {"message_bytes_max", config.message_bytes_max},
              {"relp_refusal", config.relp_refusal},
              {"tls", json::parse(ingest_tls_json, nullptr, false)},
              {"tokens", config.tokens},
              {"source_records_per_s", config.source_records_per_s},
              {"source_bytes_per_s", config.source_bytes_per_s},
              {"senders", SendersJson(config.senders)},
              {"keys", SourceKeysJson(config.keys)},
              {"syslog_keys", SyslogKeysJson(config.syslog_keys)},
              {"sources", SourcesJson(config)}}
      .dump();
}

std::string ConfigurationOf(MemberIndex index, const Parts& parts) {
  const Config& config = parts.config;
  const Identity& identity = parts.identity;
  const auto tls_of = [](const ServerCertificate& server) {
    return json{{"certificate_pem", server.certificate_pem}, {"key_pem", server.key_pem}};
  };
  switch (index) {
    case kReceive:
      return ReceiveConfiguration(config, parts.ingest_tls_json);
    case kLedger:
      return json{{"store_dir", parts.home.Store().string()},
                  {"segment_bytes", config.segment_bytes},
                  {"reserve_bytes", config.reserve_bytes},
                  {"genesis_payload_b64", Base64Of(AsBytes(identity.genesis_payload))},
                  {"checkpoint_interval_ms", config.checkpoint_interval_ms},
                  {"heartbeat_interval_ms", config.heartbeat_interval_ms},
                  {"commit_window_ms", config.commit_window_ms},
                  {"config_sha256", HexOf(config.sha256)},
                  {"sources", SourcesJson(config)},
                  {"codec", config.codec}}
          .dump();
    case kAnchor:
      return json{{"state_dir", parts.home.State().string()},
                  {"seed_path", parts.home.SeedFile().string()},
                  {"provisioning_path", parts.home.ProvisioningRecord().string()},
                  {"pcr", config.pcr},
                  {"anchor_interval_ms", config.anchor_interval_ms},
                  {"origin", identity.origin}}
          .dump();
    case kQuery:
      return json{{"store_dir", parts.home.Store().string()},
                  {"state_dir", parts.home.State().string()},
                  {"origin", identity.origin},
                  {"provisioning_path", parts.home.ProvisioningRecord().string()},
                  {"vkey", identity.verification_key}}
          .dump();
    case kWeb: {
      json tls = tls_of(identity.certificates.viewer);
      tls["client_ca_pem"] = identity.certificates.ca_pem;
      json hosts = {"localhost", "127.0.0.1", "::1"};
      for (const auto& name : NamesOf(config.viewer_address)) hosts.push_back(name);
      for (const auto& host : config.hosts) hosts.push_back(host);
      return json{{"tls", tls}, {"hosts", hosts}}.dump();
    }
    case kMemberCount: break;
  }
  return "{}";
}

OwnChannel ListenerChannel(const BoundListener& listener) {
  return DuplicateOf({"listener", listener.name, listener.DetailJson()}, listener.descriptor.get());
}

ProcessNetwork NetworkOf(const Config& config) {
  if (config.network_namespace == "off") return ProcessNetwork::kShared;
  return config.network_namespace == "require" ? ProcessNetwork::kEmptyAlways : ProcessNetwork::kEmptyWherePermitted;
}

Result<std::vector<MemberSpec>> Members(const Parts& parts) {
  std::vector<MemberSpec> members(kMemberCount);
  const std::array<const char*, kMemberCount> names{"stele-anchor", "stele-ledger", "stele-query", "stele-receive", "stele-web"};
  for (std::size_t i = 0; i < kMemberCount; ++i) {
    members[i].name = names[i];
    STELE_TRY(members[i].executable, FindExecutable(names[i]));
    members[i].configuration_json = ConfigurationOf(static_cast<MemberIndex>(i), parts);
    if (members[i].configuration_json.size() + sizeof(channel::Type) > limits::kChannelFrameBytes) {
      return Fail(Code::kInvalid, std::string("the configuration of ") + names[i] + " takes more than 64 KiB");
    }
    members[i].stop_limit = i == kLedger ? kLedgerStopLimit : kStopLimit;
    members[i].network = NetworkOf(parts.config);
  }
  members[kAnchor].own.push_back({{"tpm", parts.tpm.embedded() ? "swtpm" : "device", ""}, [&tpm = parts.tpm] { return tpm.Connect(); }});
  members[kReceive].own.push_back(DuplicateOf({"accounts", "accounts", ""}, parts.accounts));
  for (const auto& listener : parts.listeners.ingest) members[kReceive].own.push_back(ListenerChannel(listener));
  members[kWeb].own.push_back(ListenerChannel(parts.listeners.viewer));
  members[kReceive].own.push_back(DuplicateOf({"resent-page", "resent", ""}, parts.resent_page));
  members[kQuery].own.push_back(DuplicateOf({"api-socket", "cli", ""}, parts.query_socket));
  return members;
}

std::vector<LinkSpec> Links(const Config& config) {
  return {{kLedger, kAnchor, {"anchor", "anchor", ""}, {"ledger", "ledger", ""}},
          {kLedger, kReceive, {"receive", config.zone, ""}, {"ledger", "ledger", ""}},
          {kLedger, kQuery, {"query", "query", ""}, {"ledger", "ledger", ""}},
          {kQuery, kWeb, {"web", "web", ""}, {"query", "query", ""}}};
}

// One appliance while it runs.
class Appliance {
 public:
  using Reload = std::function<Result<Config>()>;
  Appliance(const Parts& parts, TpmSource& tpm, std::vector<MemberSpec> members, Reload reload)
      : parts_(parts),
        tpm_(tpm),
        reload_(std::move(reload)),
        family_(std::move(members), Links(parts.config), [this](const FamilyEvent& event) { On(event); }) {
    family_.LimitRestartDelay(std::chrono::milliseconds(parts.config.restart_delay_max_ms));
  }

  int Run() {
    if (const auto started = family_.Start(); !started) {
      LogError(Describe(started.error()));
      return cli::kExitCannotTell;
    }
    int exit_status = cli::kExitYes;
    for (Wish wish = Wish::kNone; wish != Wish::kStop; wish = TakeWish()) {
      if (wish == Wish::kReload) ReadAgain();
      const std::array wake{g_stop_read.get(), tpm_.watch_fd()};
      family_.Pump(tpm_died_ ? milliseconds(250) : kRound, std::span(wake).first(tpm_.watch_fd() >= 0 ? 2 : 1));
      WatchTpm();
      WatchMachine();
      if (const MemberStatus* stuck = family_.CannotStart(kStartAttempts)) {
        LogError(stuck->name + " cannot start; giving up");
        exit_status = cli::kExitCannotTell;
        break;
      }
      if (family_.AllReady() && changed_) Announce();
    }
    std::error_code ignored;  // absent when it never served
    std::filesystem::remove(parts_.home.ReadyFile(), ignored);
    return Stop() ? exit_status : cli::kExitCannotTell;
  }

 private:
  void On(const FamilyEvent& event) {
    if (event.event == "says") return Hear(event);
    changed_ = true;
    const std::string line = event.member.name + " " + event.event + (event.text.empty() ? "" : ": " + event.text);
    if (event.event == "died" || event.event == "killed") {
      LogWarning(line);
    } else if (!announced_ && event.event == "ready") {
      Say("  " + event.member.name + " is locked down and serving (pid " + std::to_string(event.member.pid) + ")");
    }
    TellLedger(event);
  }

  // A member's notice. stele-anchor says so when its connection to the TPM has failed: it gets a fresh one.
  void Hear(const FamilyEvent& event) {
    const json notice = json::parse(event.text, nullptr, false);
    const std::string what = notice.is_object() && notice.contains("event") && notice["event"].is_string()
                                 ? notice["event"].get<std::string>()
                                 : std::string();
    if (event.member.name == "stele-anchor" && what == "tpm_lost") {
      tpm_wanted_ = true;
    } else {
      LogInfo(event.member.name + ": " + event.text);
    }
  }

  // The ledger keeps the list of processes for the status and records every death. What happens while it is down, its own
  // death included, it hears when it is ready again.
  void TellLedger(const FamilyEvent& event) {
    json notice = {{"event", event.event},
                   {"process", event.member.name},
                   {"pid", event.member.pid},
                   {"restarts", event.member.restarts},
                   {"text", event.text}};
    const json detail = json::parse(event.member.detail_json, nullptr, false);
    if (event.event == "ready" && detail.is_object()) notice["detail"] = detail;
    const std::string text = notice.dump(-1, ' ', false, json::error_handler_t::replace);
    const bool ledger = event.member.name == "stele-ledger";
    if (ledger) ledger_hears_ = event.event == "ready";
    if (event.event == "died" && !ledger_hears_) {
      if (unheard_.size() < kUnheardMax) unheard_.push_back(text);
      return;
    }
    last_notice_[event.member.name] = text;
    if (ledger && ledger_hears_) {
      for (const auto& one : unheard_) (void)family_.Tell(kLedger, channel::Type::kNotice, one);  // best effort
      unheard_.clear();
      for (const auto& [name, last] : last_notice_) (void)family_.Tell(kLedger, channel::Type::kNotice, last);
    } else if (ledger_hears_) {
      (void)family_.Tell(kLedger, channel::Type::kNotice, text);  // best effort: the status lags, nothing is lost
    }
  }

  void WatchTpm() {
    if (tpm_.embedded() && (tpm_died_ || Readable(tpm_.watch_fd()))) {
      if (!tpm_died_) LogWarning("the embedded TPM has died; starting it again");
      tpm_died_ = true;
      if (const auto again = tpm_.StartAgain(); !again) {
        LogError("the embedded TPM cannot be started: " + Describe(again.error()));
        return;
      }
      tpm_died_ = false;
      tpm_wanted_ = true;
    }
    const auto now = std::chrono::steady_clock::now();
    if (!tpm_wanted_ || now < next_handover_) return;
    tpm_wanted_ = false;
    next_handover_ = now + kBetweenHandovers;
    family_.Give(kAnchor, {{"tpm", tpm_.embedded() ? "swtpm" : "device", ""}, [this] { return tpm_.Connect(); }});
  }

  // A file that is wrong changes nothing, and says so on the terminal and in the log.
  void ReadAgain() {
    const auto fresh = reload_();
    if (!fresh) {
      LogError("the configuration is not used, the old one stays: " + Describe(fresh.error()));
      RaiseAlarm({"configuration_refused", "a changed configuration was refused, the old one stays: " + fresh.error().context});
      return;
    }
    const std::vector<std::string> later = TakeLive(parts_.config, *fresh);
    std::string waiting;
    for (const auto& key : later) waiting += (waiting.empty() ? "" : ", ") + key;
    LogInfo("configuration read again" + (waiting.empty() ? "" : "; these keys take effect at the next start: " + waiting));
    ReloadCertificates();
    json ledger = json::parse(ConfigurationOf(kLedger, parts_), nullptr, false);
    family_.SetConfiguration(kLedger, ledger.dump());
    if (!later.empty()) ledger["at_next_start"] = later;
    (void)family_.Tell(kLedger, channel::Type::kConfigure, ledger.dump());  // one that is down records it when it starts
  }

  // The receiver's certificate and the authorities it trusts, from their files again; on any error those stay as they are.
  void ReloadCertificates() {
    const auto certificates = RenewCertificates(parts_.home, parts_.config);
    auto tls = certificates ? IngestTlsJson(parts_.home.dir, parts_.config, certificates->ingest)
                            : Result<std::string>(tl::unexpected(certificates.error()));
    if (tls) {
      parts_.ingest_tls_json = std::move(*tls);
    } else {
      LogError("certificates not reloaded: " + Describe(tls.error()));
    }
    std::string configuration = ConfigurationOf(kReceive, parts_);
    if (configuration.size() + sizeof(channel::Type) > limits::kChannelFrameBytes) {
      return LogError("stele-receive keeps its configuration: the new one is too large");
    }
    (void)family_.Reconfigure(kReceive, std::move(configuration));  // down: it starts with the new one
    if (tls) LogInfo("certificates of the ingest listeners read again");
  }

  void RaiseAlarm(const Alarm& alarm) {
    LogWarning("alarm: " + alarm.text);
    const json notice = {{"event", "alarm"}, {"alarm", {{"alarm", alarm.name}, {"text", alarm.text}}}};
    const std::string text = notice.dump(-1, ' ', false, json::error_handler_t::replace);
    if (ledger_hears_ && family_.Tell(kLedger, channel::Type::kNotice, text)) return;
    if (unheard_.size() < kUnheardMax) unheard_.push_back(text);
  }

  // What no sandboxed process may ask: whether the clock is kept, when the certificates end.
  void WatchMachine() {
    const auto now = std::chrono::steady_clock::now();
    if (now < next_watch_) return;
    next_watch_ = now + kBetweenWatches;
    SystemClock clock;
    if (const auto alarm = time_watch_.Observe(KernelTimeIsSynchronised(), clock.BoottimeNs())) RaiseAlarm(*alarm);
    if (now < next_certificates_) return;
    next_certificates_ = now + kBetweenCertificateWatches;
    constexpr std::int64_t kNsPerSecond = 1'000'000'000;
    for (const Alarm& alarm : certificate_watch_.Observe(CertificateEnds(parts_.home.Keys()), clock.WallNs() / kNsPerSecond)) {
      RaiseAlarm(alarm);
    }
  }

  static bool Readable(int fd) {
    pollfd one{fd, POLLIN, 0};
    return ::poll(&one, 1, 0) == 1;
  }

  // Everybody serves: tell programs (run/ready.json) and, the first time, people.
  void Announce() {
    changed_ = false;
    json ports = {{"viewer", parts_.listeners.viewer.port}};
    json urls = {{"viewer", UrlOf(parts_.listeners.viewer)}};
    for (const auto& listener : parts_.listeners.ingest) {
      ports[listener.name] = listener.port;
      if (listener.transport == "https-json") urls["ingest"] = UrlOf(listener);
    }
    json pids = {{"stele", ::getpid()}};
    json sandboxes = json::object();
    std::string network = "empty namespace";  // of all, or not at all
    for (const auto& member : family_.Status()) {
      pids[member.name] = member.pid;
      const json detail = json::parse(member.detail_json, nullptr, false);
      if (!detail.is_object()) continue;
      sandboxes[member.name] = detail;
      if (detail.value("network", "") != network) network = "host";
    }
    if (tpm_.embedded()) pids["swtpm"] = tpm_.pid();
    const json ready = {{"version", kVersion},
                        {"dir", parts_.home.dir.string()},
                        {"log_id", parts_.identity.log_id},
                        {"origin", parts_.identity.origin},
                        {"tpm", tpm_.embedded() ? "embedded" : "device"},
                        {"address", parts_.config.ingest_address},
                        {"ports", ports},
                        {"urls", urls},
                        {"pids", pids},
                        {"ready", sandboxes},
                        {"network", network},
                        {"socket", parts_.home.QuerySocket().string()}};
    if (const auto written = WriteFileDurably(parts_.home.ReadyFile(), AsBytes(ready.dump(2) + "\n"), 0600); !written) {
      LogError(Describe(written.error()));
    }
    if (!announced_) Welcome(urls["viewer"].get<std::string>());
    announced_ = true;
  }

  void Welcome(const std::string& viewer_url) const {
    Say("");
    for (const auto& listener : parts_.listeners.ingest) Say("  " + listener.name + "  " + listener.address);
    Say("");
    Say("Open " + viewer_url + " in a browser.");
    for (const auto& line : parts_.identity.sign_in) Say(line);
    Say("");
    Say("Running. Stop with Ctrl-C.");
  }

  // Receivers first, so that nothing new arrives; the ledger then makes the last checkpoint and anchor; the anchor and its
  // TPM go last.
  bool Stop() {
    Say("Stopping: last checkpoint and anchor ...");
    constexpr std::array<std::size_t, kMemberCount> kOrder{kReceive, kWeb, kQuery, kLedger, kAnchor};
    const bool well = family_.Stop(kOrder);
    tpm_.Stop();
    Say(well ? "Stopped." : "Stopped, not cleanly: see the messages above.");
    return well;
  }

  Parts parts_;
  TpmSource& tpm_;
  std::map<std::string, std::string> last_notice_;
  std::vector<std::string> unheard_;
  bool changed_ = true;
  bool announced_ = false;
  bool tpm_died_ = false;
  bool tpm_wanted_ = false;
  std::chrono::steady_clock::time_point next_handover_{};
  bool ledger_hears_ = false;
  Reload reload_;
  TimeSyncWatch time_watch_;
  CertificateWatch certificate_watch_;
  std::chrono::steady_clock::time_point next_watch_{};
  std::chrono::steady_clock::time_point next_certificates_{};
  Family family_;
};

Result<Config> ConfigOf(const Home& home, const UpOptions& options) {
  const bool named = !options.config.empty();
  STELE_TRY(Config config, LoadConfig(named ? std::filesystem::path(options.config) : home.Config(), named));
  if (!options.listen.empty()) {
    config.ingest_address = options.listen;
    config.viewer_address = options.listen;
  }
  return config;
}

// run/ready.json goes when the appliance stops. Where it is still there, the run before was cut off: its sockets and what was in
// them are gone, uncounted. The file's time is the last at which everything is known to have served; 0: nothing was cut off.
std::int64_t DiedSinceNs(const Home& home) {
  struct stat status {};
  if (::stat(home.ReadyFile().c_str(), &status) != 0) return 0;
  return status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec;
}

Result<int> Up(const Home& home, const UpOptions& options, Config config) {
  STELE_TRY_VOID(MakeHome(home));
  STELE_TRY(const UniqueFd lock, LockHome(home));
  const std::int64_t died_since_ns = DiedSinceNs(home);
  std::error_code ignored;  // a leftover of a killed run, or nothing
  std::filesystem::remove(home.ReadyFile(), ignored);
  STELE_TRY_VOID(CatchStopSignals());
  RaiseDescriptorLimit();
  Say(std::string("Stele ") + kVersion + " in " + home.dir.string());
  STELE_TRY(const Listeners listeners, BindAll(config));
  STELE_TRY(TpmSource tpm, TpmSource::Open(home, config.tpm));
  STELE_TRY(const Identity identity, MakeOrLoadIdentity(home, config, tpm, &Say));
  STELE_TRY(const UniqueFd query_socket, BindUnixListener(home.QuerySocket()));
  STELE_TRY(const UniqueFd resent_page, MakeResentPage());
  STELE_TRY(std::string ingest_tls, IngestTlsJson(home.dir, config, identity.certificates.ingest));
  STELE_TRY(const UniqueFd accounts, receive::MakeAccountsPage(died_since_ns));
  const Parts parts{home,  config, identity, listeners, tpm, query_socket.get(), resent_page.get(), std::move(ingest_tls), accounts.get()};
  STELE_TRY(auto members, Members(parts));
  Say("Log " + identity.log_id + (identity.fresh ? " (new)" : ""));
  const auto reload = [&home, &options] { return ConfigOf(home, options); };
  const int exit_status = Appliance(parts, tpm, std::move(members), reload).Run();
  std::filesystem::remove(home.QuerySocket(), ignored);
  return exit_status;
}

}  // namespace

int RunUp(const Home& home, const UpOptions& options) {
  const auto config = ConfigOf(home, options);
  if (!config) {
    (void)cli::Complain(config.error());
    return cli::kExitUsage;
  }
  const auto exit_status = Up(home, options, *config);
  return exit_status ? *exit_status : cli::Complain(exit_status.error());
}

int RunProvision(const Home& home, const UpOptions& options) {
  const auto config = ConfigOf(home, options);
  if (!config) {
    (void)cli::Complain(config.error());
    return cli::kExitUsage;
  }
  const auto provisioned = [&]() -> Result<Identity> {
    STELE_TRY_VOID(MakeHome(home));
    STELE_TRY(const UniqueFd lock, LockHome(home));
    STELE_TRY(TpmSource tpm, TpmSource::Open(home, config->tpm));
    return MakeOrLoadIdentity(home, *config, tpm, &Say);
  }();
  if (!provisioned) return cli::Complain(provisioned.error());
  Say("log id      " + provisioned->log_id);
  Say("origin      " + provisioned->origin);
  Say("vkey        " + provisioned->verification_key);
  Say("record      " + home.ProvisioningRecord().string());
  for (const auto& line : provisioned->sign_in) Say(line);
  return cli::kExitYes;
}

}  // namespace stele::daemons
