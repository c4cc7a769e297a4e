#include "appliance/daemons/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <thread>

#include "appliance/base/system.h"
#include "appliance/base/text.h"
#include "appliance/daemons/cli/client.h"
#include "appliance/daemons/config.h"
#include "appliance/daemons/courier_member.h"
#include "appliance/daemons/family.h"
#include "appliance/daemons/first_run.h"
#include "appliance/daemons/guard_member.h"
#include "appliance/daemons/guard_watch_member.h"
#include "appliance/daemons/listeners.h"
#include "appliance/daemons/policy_json.h"
#include "appliance/daemons/reclaim_at_start.h"
#include "appliance/daemons/tpm_source.h"
#include "appliance/daemons/version.h"
#include "appliance/daemons/watches.h"
#include "appliance/daemons/zone_networks.h"
#include "appliance/daemons/zones.h"
#include "appliance/sandbox/sandbox.h"
#include "appliance/store/medium.h"
#include "appliance/witness/cosigned.h"

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
constexpr std::size_t kConfigurationBytes = 2 * limits::kChannelFrameBytes;  // of a member; more would not wait in its control channel
constexpr std::size_t kUnheardMax = 64;  // deaths and alarms while the ledger is down

// Members by index, in the order they are started; links and stop order refer to it. A receiver for each zone follows.
enum MemberIndex : std::size_t { kAnchor, kLedger, kQuery, kWeb, kFirstReceiver };
constexpr std::array<const char*, kFirstReceiver> kNames{"stele-anchor", "stele-ledger", "stele-query", "stele-web"};

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

std::string UrlOf(const BoundListener& listener) {
  const bool loopback = listener.address.starts_with("127.") || listener.address.starts_with("[::1]");
  return "https://" + (loopback ? "localhost:" + std::to_string(listener.port) : listener.address) + "/";
}

// What each process is told; the members are those of docs/processes.md.
struct Parts {
  const Home& home;
  Config& config;  // the running one: a reload changes what may change
  const Identity& identity;
  const BoundListener& viewer;
  std::vector<ReceiverGear>& receivers;  // one for each zone, in their order; a reload changes their TLS
  ZoneNetworks& zone_networks;
  const TpmSource& tpm;
  int query_socket;
  const std::optional<netfilter::Policy>& policy;  // to be enforced: of stele.toml at the start
  int guard_socket;
  const std::vector<GuardedNamespace>& guarded;  // none: the supervisor's own
  const std::optional<GuardWatchGear>& guard_watch;
  ReclaimLists& reclaim;
};

json SourcesJson(const Config& config) { return json::parse(channel::EncodeSourceRules(config.sources), nullptr, false); }

std::string ReceiverConfigurationOf(std::size_t zone, const Parts& parts) {
  const IngestZone& of = parts.config.zones[zone];
  return ReceiveConfiguration(of, parts.config.sources, parts.receivers[zone].tls_json,
                              parts.zone_networks.active() ? of.interface : std::string());
}

json NetworkOfParts(const Parts& parts) {
  std::vector<BoundDoor> bound{{"operator", "viewer", parts.viewer.port}};
  for (std::size_t i = 0; i < parts.receivers.size(); ++i) {
    for (const auto& listener : parts.receivers[i].listeners)
      bound.push_back({parts.config.zones[i].name, listener.name, listener.port});
  }
  return NetworkJson(parts.config, bound);
}

std::string ConfigurationOf(MemberIndex index, const Parts& parts) {
  const Config& config = parts.config;
  const Identity& identity = parts.identity;
  const auto tls_of = [](const ServerCertificate& server) {
    return json{{"certificate_pem", server.certificate_pem}, {"key_pem", server.key_pem}};
  };
  switch (index) {
    case kLedger: {
      json configuration{{"store_dir", parts.home.Store().string()},
                  {"segment_bytes", config.segment_bytes},
                  {"partitions", config.partitions},
                  {"reserve_bytes", config.reserve_bytes},
                  {"genesis_payload_b64", Base64Of(AsBytes(identity.genesis_payload))},
                  {"checkpoint_interval_ms", config.checkpoint_interval_ms},
                  {"heartbeat_interval_ms", config.heartbeat_interval_ms},
                  {"commit_window_ms", config.commit_window_ms},
                  {"config_sha256", HexOf(config.sha256)},
                  {"sources", SourcesJson(config)},
                  {"codec", config.codec}};
      json holds = json::array();
      for (const store::Hold& hold : config.retention_holds) {
        holds.push_back({{"name", hold.name}, {"reason", hold.reason}, {"from_ns", hold.from_ns}, {"to_ns", hold.to_ns}});
      }
      configuration["retention"] = {{"keep_s", config.retention_keep_s},
                                    {"holds", std::move(holds)},
                                    {"epoch", identity.epoch.number},
                                    {"ordered", store::UnitsOf(parts.reclaim.waiting)},
                                    {"reclaimed", store::UnitsOf(parts.reclaim.done)}};
      if (identity.epoch.number > 0) {
        configuration["epoch"] = {{"payload_b64", Base64Of(AsBytes(identity.epoch.payload))},
                                  {"size", identity.epoch.size},
                                  {"root", HexOf(identity.epoch.root)}};
      }
      return configuration.dump();
    }
    case kAnchor:
      return json{{"state_dir", parts.home.State().string()},
                  {"provisioning_path", identity.record.string()},
                  {"pcr", config.pcr},
                  {"anchor_interval_ms", config.anchor_interval_ms},
                  {"nv_budget", config.nv_budget},
                  {"origin", identity.origin}}
          .dump();
    case kQuery:
      return json{{"store_dir", parts.home.Store().string()},
                  {"partitions", config.partitions},
                  {"log_id", identity.log_id},
                  {"state_dir", parts.home.State().string()},
                  {"origin", identity.origin},
                  {"vkey", identity.verification_key},
                  {"tree_serve", config.tlog_serve},
                  {"tree_entries", config.tlog_entries},
                  {"cosigned_path", config.witness_policy.empty() ? std::string() : (parts.home.Courier() / witness::kCosignedFile).string()},
                  {"witness_policy_path", config.witness_policy.empty() ? std::string() : (parts.home.dir / config.witness_policy).string()},
                  {"ek_chain_path", parts.home.EkChain().string()},
                  {"feeds", FeedsJson(config)},
                  {"cosigned_only", config.witness_quorum_missing == "closed"},
                  {"cosigned_max_age_s", QuorumMaxAgeS(config)},
                  {"network", NetworkOfParts(parts)}}
          .dump();
    case kWeb: {
      json tls = tls_of(identity.certificates.viewer);
      tls["client_ca_pem"] = identity.certificates.ca_pem;
      json hosts = {"localhost", "127.0.0.1", "::1"};
      for (const auto& name : NamesOf(config.viewer_address)) hosts.push_back(name);
      for (const auto& host : config.hosts) hosts.push_back(host);
      return json{{"tls", tls}, {"hosts", hosts}}.dump();
    }
    case kFirstReceiver:
      break;
  }
  return "{}";
}

ProcessNetwork NetworkOf(const Config& config) {
  if (config.network_namespace == "off") return ProcessNetwork::kShared;
  return config.network_namespace == "auto" ? ProcessNetwork::kEmptyWherePermitted : ProcessNetwork::kEmptyAlways;
}

Result<MemberSpec> Member(const std::string& name, const char* executable, std::string configuration_json,
                          const Config& config) {
  MemberSpec member;
  member.name = name;
  STELE_TRY(member.executable, FindExecutable(executable));
  member.socket = UnitSocket(config, executable);
  member.configuration_json = std::move(configuration_json);
  if (member.configuration_json.size() > kConfigurationBytes) {
    return Fail(Code::kInvalid, "the configuration of " + name + " takes more than 128 KiB");
  }
  member.stop_limit = kStopLimit;
  member.network = NetworkOf(config);
  return member;
}

Result<std::vector<MemberSpec>> Members(const Parts& parts) {
  std::vector<MemberSpec> members;
  for (std::size_t i = 0; i < kFirstReceiver; ++i) {
    STELE_TRY(MemberSpec member,
              Member(kNames[i], kNames[i], ConfigurationOf(static_cast<MemberIndex>(i), parts), parts.config));
    members.push_back(std::move(member));
  }
  for (std::size_t i = 0; i < parts.receivers.size(); ++i) {
    STELE_TRY(MemberSpec member,
              Member(parts.config.zones[i].process, "stele-receive", ReceiverConfigurationOf(i, parts), parts.config));
    member.own = ReceiveChannels(parts.receivers[i]);
    if (parts.zone_networks.active()) {
      member.network = ProcessNetwork::kGiven;
      member.network_fd = parts.zone_networks.fd(i);
    }
    members.push_back(std::move(member));
  }
  members[kLedger].stop_limit = kLedgerStopLimit;
  members[kAnchor].own.push_back({{"tpm", parts.tpm.channel_name(), ""}, [&tpm = parts.tpm] { return tpm.Connect(); }});
  members[kAnchor].own.push_back(DuplicateOf({"seed", "seed", ""}, parts.identity.seed.fd()));
  members[kWeb].own.push_back(ListenerChannel(parts.viewer));
  members[kQuery].own.push_back(DuplicateOf({"api-socket", "cli", ""}, parts.query_socket));
  if (parts.guard_watch) {
    STELE_TRY(std::string configuration, GuardWatchConfiguration(parts.config));
    STELE_TRY(MemberSpec watch, Member(kGuardWatchName, kGuardWatchName, std::move(configuration), parts.config));
    watch.own = GuardWatchChannels(*parts.guard_watch);
    members.push_back(std::move(watch));
  }
  STELE_TRY(auto courier, CourierMember(parts.home, parts.config,
                                        {parts.identity.log_id, parts.identity.origin, parts.identity.verification_key,
                                         UrlOf(parts.viewer)}));
  if (courier) members.push_back(std::move(*courier));
  if (parts.policy) {
    STELE_TRY(MemberSpec guard,
              GuardMember(parts.home, parts.config, *parts.policy, parts.identity.log_id, parts.guard_socket,
                                                  parts.guarded));
    members.push_back(std::move(guard));
  }
  return members;
}

std::optional<std::size_t> IndexOf(const std::vector<MemberSpec>& members, std::string_view name) {
  const auto at =
      std::find_if(members.begin(), members.end(), [name](const MemberSpec& member) { return member.name == name; });
  if (at == members.end()) return std::nullopt;
  return static_cast<std::size_t>(at - members.begin());
}

// A receiver for each zone follows the first members; then stele-guard-watch, stele-courier and stele-guard, where there
// are such.
std::vector<LinkSpec> Links(const Config& config, const std::vector<MemberSpec>& members) {
  std::vector<LinkSpec> links{{kLedger, kAnchor, {"anchor", "anchor", ""}, {"ledger", "ledger", ""}},
                              {kLedger, kQuery, {"query", "query", ""}, {"ledger", "ledger", ""}},
                              {kQuery, kWeb, {"web", "web", ""}, {"query", "query", ""}}};
  for (std::size_t i = 0; i < config.zones.size(); ++i) {
    links.push_back({kLedger, kFirstReceiver + i, {"receive", config.zones[i].name, ""}, {"ledger", "ledger", ""}});
  }
  if (const auto watch = IndexOf(members, kGuardWatchName))
    links.push_back({kLedger, *watch, {"watch", kGuardWatchName, ""}, {"ledger", "ledger", ""}});
  if (const auto courier = IndexOf(members, kCourierName))
    links.push_back({kQuery, *courier, {"courier", "courier", ""}, {"query", "query", ""}});
  if (const auto guard = IndexOf(members, kGuardName))
    links.push_back({kLedger, *guard, {"guard", "guard", ""}, {"ledger", "ledger", ""}});
  return links;
}

// One appliance while it runs.
class Appliance {
 public:
  using Reload = std::function<Result<Config>()>;
  Appliance(const Parts& parts, TpmSource& tpm, std::vector<MemberSpec> members, Reload reload)
      : parts_(parts),
        tpm_(tpm),
        reload_(std::move(reload)),
        links_(Links(parts.config, members)),
        member_count_(members.size()),
        guard_(IndexOf(members, kGuardName)),
        family_(std::move(members), links_, [this](const FamilyEvent& event) { On(event); }) {
    family_.LimitRestartDelay(std::chrono::milliseconds(parts.config.restart_delay_max_ms));
  }

  int Run() {
    TellZones();
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
      TendZones();
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
    } else if (event.member.name == "stele-ledger" && what == "reclaim") {
      if (const auto kept = TakeReclaimOrders(parts_.home, notice.value("orders", json()).dump(), parts_.reclaim); !kept)
        LogWarning("what the ledger wants reclaimed is not kept: " + Describe(kept.error()));
    } else if (event.member.name == kCourierName && what == "alarm") {
      RaiseAlarm({TextIn(notice, "alarm"), TextIn(notice, "text")});
    } else if ((event.member.name == kCourierName && (what == "witnesses" || what == "alerts")) ||
               (event.member.name == kGuardName && what == "policy") ||
               (event.member.name == kGuardWatchName && what == "violations")) {
      last_notice_[what] = event.text;
      if (ledger_hears_) (void)family_.Tell(kLedger, channel::Type::kNotice, event.text);  // best effort: for the status
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
    next_handover_ = now + kBetweenHandovers;
    auto connection = tpm_.Connect();
    if (!connection) {  // asked for until it is there
      if (!std::exchange(tpm_absent_, true)) LogWarning("no TPM: " + Describe(connection.error()));
      return;
    }
    tpm_absent_ = false;
    tpm_wanted_ = false;
    family_.Give(kAnchor, {{"tpm", tpm_.channel_name(), ""}, [&connection] { return std::move(connection); }});
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
    if (std::any_of(later.begin(), later.end(), ConcernsListeners)) {
      RaiseAlarm(
          {"restart_needed", "the listeners of stele.toml are not those that run; a restart is needed for " + waiting});
    }
    LogInfo("configuration read again" + (waiting.empty() ? "" : "; these keys take effect at the next start: " + waiting));
    ReloadCertificates();
    (void)family_.Reconfigure(kQuery, ConfigurationOf(kQuery, parts_));  // down: it starts with the new one
    TellGuard(*fresh);
    json ledger = json::parse(ConfigurationOf(kLedger, parts_), nullptr, false);
    family_.SetConfiguration(kLedger, ledger.dump());
    if (!later.empty()) ledger["at_next_start"] = later;
    (void)family_.Tell(kLedger, channel::Type::kConfigure, ledger.dump());  // one that is down records it when it starts
  }

  // The guard says so when the zones of stele.toml are no longer those of the policy in force.
  void TellGuard(const Config& fresh) {
    if (!guard_) return;
    const auto policy = CheckedPolicy(fresh, parts_.home.Config());
    if (!policy) return RaiseAlarm({"configuration_refused", "the zones of stele.toml are no policy: " + policy.error().context});
    (void)family_.Reconfigure(*guard_, GuardConfiguration(parts_.home, parts_.config, *policy, parts_.identity.log_id));
  }

  // The receivers' certificates and the authorities they trust, from their files again; on any error a zone's stay as
  // they are.
  void ReloadCertificates() {
    const auto certificates = RenewCertificates(parts_.home, parts_.config);
    for (std::size_t i = 0; i < parts_.receivers.size(); ++i) {
      const IngestZone& zone = parts_.config.zones[i];
      auto tls = certificates ? ReadZoneTls(parts_.home, parts_.config, zone, *certificates)
                              : Result<std::string>(tl::unexpected(certificates.error()));
      if (tls) {
        parts_.receivers[i].tls_json = std::move(*tls);
      } else {
        LogError("certificates of " + zone.process + " not reloaded: " + Describe(tls.error()));
      }
      std::string configuration = ReceiverConfigurationOf(i, parts_);
      if (configuration.size() + sizeof(channel::Type) > limits::kChannelFrameBytes) {
        LogError(zone.process + " keeps its configuration: the new one is too large");
        continue;
      }
      (void)family_.Reconfigure(kFirstReceiver + i, std::move(configuration));  // down: it starts with the new one
      if (tls) LogInfo("certificates of " + zone.process + " read again");
    }
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
    std::set<std::filesystem::path> configured;
    for (const IngestZone& zone : parts_.config.zones) {
      if (!zone.tls_certificate.empty()) configured.insert(parts_.home.dir / zone.tls_certificate);
    }
    const auto certificates = CertificatesToWatch(parts_.home.Keys(), configured);
    for (const Alarm& alarm : certificate_watch_.Observe(certificates, clock.WallNs() / kNsPerSecond)) RaiseAlarm(alarm);
  }

  // An interface that comes and goes is an alarm, and stands in the status.
  void TendZones() {
    const auto now = std::chrono::steady_clock::now();
    if (!parts_.zone_networks.active() || now < next_zones_) return;
    next_zones_ = now + kRound;
    const auto changes = parts_.zone_networks.Tend();
    for (const std::string& change : changes) RaiseAlarm({"zone_interface", change});
    if (!changes.empty()) TellZones();
  }
  void TellZones() {
    if (!parts_.zone_networks.active()) return;
    const json notice = {{"event", "zone_networks"}, {"detail", parts_.zone_networks.ToJson()}};
    last_notice_["zone_networks"] = notice.dump();
    if (ledger_hears_)
      (void)family_.Tell(kLedger, channel::Type::kNotice, notice.dump());  // best effort: for the status
  }

  static bool Readable(int fd) {
    pollfd one{fd, POLLIN, 0};
    return ::poll(&one, 1, 0) == 1;
  }

  // Everybody serves: tell people, the first time, and then programs: who finds run/ready.json finds everything said.
  void Announce() {
    changed_ = false;
    json ports = {{"viewer", parts_.viewer.port}};
    json urls = {{"viewer", UrlOf(parts_.viewer)}};
    json zones = json::object();
    for (std::size_t i = 0; i < parts_.receivers.size(); ++i) {
      const IngestZone& zone = parts_.config.zones[i];
      json& told = zones[zone.name];
      told = {{"process", zone.process}, {"addresses", zone.addresses}, {"ports", json::object()}};
      for (const auto& listener : parts_.receivers[i].listeners) {
        told["ports"][listener.name] = listener.port;
        if (listener.name == "https-json") told["url"] = UrlOf(listener);
      }
      if (parts_.config.zones_listed) continue;
      ports.update(told["ports"]);
      if (told.contains("url")) urls["ingest"] = told["url"];
    }
    json pids = {{"stele", ::getpid()}};
    json sandboxes = json::object();
    std::string network;
    for (const auto& member : family_.Status()) {
      pids[member.name] = member.pid;
      const json detail = json::parse(member.detail_json, nullptr, false);
      if (!detail.is_object()) continue;
      sandboxes[member.name] = detail;
      const bool outside = member.name == kCourierName || member.name == kGuardName;
      if (!outside) network = sandbox::NetworkOfAll(network, detail.value("network", ""));
    }
    if (tpm_.embedded()) pids["swtpm"] = tpm_.pid();
    const json ready = {{"version", kVersion},
                        {"dir", parts_.home.dir.string()},
                        {"log_id", parts_.identity.log_id},
                        {"origin", parts_.identity.origin},
                        {"tpm", tpm_.embedded() ? "embedded" : tpm_.channel_name()},
                        {"address", parts_.config.zones.front().addresses.front()},
                        {"ports", ports},
                        {"zones", zones},
                        {"urls", urls},
                        {"pids", pids},
                        {"ready", sandboxes},
                        {"network", network},
                        {"zone_networks", parts_.zone_networks.ToJson()},
                        {"socket", parts_.home.QuerySocket().string()},
                        {"policy_enforced", guard_.has_value()}};
    if (!announced_ && !parts_.reclaim.done.empty()) {  // the log says so now
      parts_.reclaim.done.clear();
      if (const auto kept = KeepReclaimLists(parts_.home, parts_.reclaim); !kept) LogWarning(Describe(kept.error()));
    }
    if (!announced_) Welcome(urls["viewer"].get<std::string>());
    announced_ = true;
    if (const auto written = WriteFileDurably(parts_.home.ReadyFile(), AsBytes(ready.dump(2) + "\n"), 0600); !written) {
      LogError(Describe(written.error()));
    }
  }

  void Welcome(const std::string& viewer_url) const {
    Say("");
    for (std::size_t i = 0; i < parts_.receivers.size(); ++i) {
      SayNetwork(parts_.config.zones[i].name);
      const std::string zone = parts_.config.zones_listed ? parts_.config.zones[i].name + "  " : "";
      for (const auto& listener : parts_.receivers[i].listeners)
        Say("  " + zone + listener.name + "  " + listener.address);
    }
    Say("");
    Say("Open " + viewer_url + " in a browser.");
    for (const auto& line : parts_.identity.sign_in) Say(line);
    Say("");
    Say("Running. Stop with Ctrl-C.");
  }

  void SayNetwork(const std::string& zone) const {
    const json networks = parts_.zone_networks.ToJson();
    if (!networks.is_object()) return;
    const json& one = networks[zone];
    std::string line = "  " + zone + "  in a network namespace of its own with " + one["interface"].get<std::string>();
    if (const auto outside = one["outside"].get<std::string>(); !outside.empty()) {
      line += ", made; its outer end is " + outside;
      for (const auto& address : one["outside_addresses"]) line += " " + address.get<std::string>();
    }
    Say(line);
  }

  // Receivers first, so that nothing new arrives; the ledger then makes the last checkpoint and anchor; the anchor and
  // its TPM go last.
  bool Stop() {
    Say("Stopping: last checkpoint and anchor ...");
    std::vector<std::size_t> order(member_count_ - kFirstReceiver);  // the receivers, stele-courier, stele-guard
    std::iota(order.begin(), order.end(), std::size_t{kFirstReceiver});
    order.insert(order.end(), {kWeb, kQuery, kLedger, kAnchor});
    const bool well = family_.Stop(order);
    tpm_.Stop();
    Say(well ? "Stopped." : "Stopped, not cleanly: see the messages above.");
    return well;
  }

  // A text of the alarm that stele-courier asks for.
  static std::string TextIn(const json& notice, const char* name) {
    const json alarm = notice.value("alarm", json::object());
    return alarm.is_object() && alarm.contains(name) && alarm[name].is_string() ? alarm[name].get<std::string>() : std::string();
  }

  Parts parts_;
  TpmSource& tpm_;
  std::map<std::string, std::string> last_notice_;
  std::vector<std::string> unheard_;
  bool changed_ = true;
  bool announced_ = false;
  bool tpm_died_ = false;
  bool tpm_wanted_ = false;
  bool tpm_absent_ = false;  // said so already
  std::chrono::steady_clock::time_point next_handover_{};
  bool ledger_hears_ = false;
  Reload reload_;
  TimeSyncWatch time_watch_;
  CertificateWatch certificate_watch_;
  std::chrono::steady_clock::time_point next_watch_{};
  std::chrono::steady_clock::time_point next_certificates_{};
  std::chrono::steady_clock::time_point next_zones_{};
  std::vector<LinkSpec> links_;
  std::size_t member_count_;
  std::optional<std::size_t> guard_;  // among the members
  Family family_;
};

Result<Config> ConfigOf(const Home& home, const UpOptions& options) {
  const bool named = !options.config.empty();
  STELE_TRY(Config config, LoadConfig(named ? std::filesystem::path(options.config) : home.Config(), named));
  if (!options.listen.empty()) {
    if (config.zones_listed)
      return Fail(Code::kInvalid, "--listen has no place beside [[zones]]: each zone names its own address");
    config.zones.front().addresses = {options.listen};
    config.viewer_address = options.listen;
  }
  if (options.netns) config.network_namespace = "zones";
  config.unit_sockets = options.units;
  if (!options.units.empty() && config.network_namespace == "zones")
    return Fail(Code::kInvalid, "--units has no place beside processes.network_namespace = \"zones\": a unit says which network its process is in");
  return config;
}

// run/ready.json goes when the appliance stops. Where it is still there, the run before was cut off: its sockets and what was in
// them are gone, uncounted. The file's time is the last at which everything is known to have served; 0: nothing was cut off.
std::int64_t DiedSinceNs(const Home& home) {
  struct stat status {};
  if (::stat(home.ReadyFile().c_str(), &status) != 0) return 0;
  return status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec;
}

// Where zones have networks of their own: those, and the one that everybody else is in.
std::vector<GuardedNamespace> NamespacesToGuard(const Config& config, const ZoneNetworks& zone_networks, int own) {
  std::vector<GuardedNamespace> guarded;
  if (!zone_networks.active()) return guarded;
  guarded.push_back({"appliance", own});
  for (std::size_t i = 0; i < config.zones.size(); ++i) guarded.push_back({config.zones[i].name, zone_networks.fd(i)});
  return guarded;
}

Result<int> Up(const Home& home, const UpOptions& options, Config config, const std::optional<netfilter::Policy>& policy) {
  STELE_TRY_VOID(MakeHome(home));
  STELE_TRY(const UniqueFd lock, LockHome(home));
  const std::int64_t died_since_ns = DiedSinceNs(home);
  std::error_code ignored;  // a leftover of a killed run, or nothing
  std::filesystem::remove(home.ReadyFile(), ignored);
  STELE_TRY_VOID(CatchStopSignals());
  RaiseDescriptorLimit();
  Say(std::string("Stele ") + kVersion + " in " + home.dir.string());
  ReclaimLists reclaim = ReclaimFirst(home, config, &Say);
  STELE_TRY(const std::uint32_t sealed, store::SealAgain(config.partitions));
  if (!config.partitions.empty()) Say("the log is on partitions, " + std::to_string(sealed) + " of them full and sealed");
  STELE_TRY(ZoneNetworks zone_networks, ZoneNetworks::Make(config));
  std::vector<int> networks;  // of zones that have one of their own
  for (std::size_t i = 0; i < config.zones.size(); ++i) {
    if (zone_networks.fd(i) >= 0) networks.push_back(zone_networks.fd(i));
  }
  // Before the rules: nothing is dropped unheard.
  STELE_TRY(const auto guard_watch, OpenGuardWatch(config, networks));
  const UniqueFd own_network(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  const std::vector<GuardedNamespace> guarded = NamespacesToGuard(config, zone_networks, own_network.get());
  if (policy) STELE_TRY_VOID(KeepPolicy(home, config, *policy, guarded));
  std::vector<ReceiverGear> receivers(config.zones.size());
  for (std::size_t i = 0; i < receivers.size(); ++i) {
    STELE_TRY(receivers[i].listeners, BindZone(config.zones[i], zone_networks.fd(i)));
    STELE_TRY_VOID(MakePages(receivers[i], died_since_ns));
  }
  STELE_TRY(const BoundListener viewer, BindListener("viewer", "https", config.viewer_address, config.viewer_port));
  STELE_TRY(TpmSource tpm, TpmSource::Open(home, config.tpm));
  STELE_TRY(const Identity identity, MakeOrLoadIdentity(home, config, tpm, {}, &Say));
  STELE_TRY(const UniqueFd query_socket, BindUnixListener(home.QuerySocket()));
  for (std::size_t i = 0; i < receivers.size(); ++i) {
    STELE_TRY(receivers[i].tls_json, ReadZoneTls(home, config, config.zones[i], identity.certificates));
  }
  UniqueFd guard_socket;
  if (policy) {
    STELE_TRY(guard_socket, BindUnixListener(GuardSocket(home)));
  }
  const Parts parts{home,          config, identity,           viewer, receivers,
                    zone_networks, tpm,    query_socket.get(), policy, guard_socket.get(), guarded, guard_watch, reclaim};
  STELE_TRY(auto members, Members(parts));
  Say("Log " + identity.log_id + (identity.fresh ? " (new)" : ""));
  const auto reload = [&home, &options] { return ConfigOf(home, options); };
  const int exit_status = Appliance(parts, tpm, std::move(members), reload).Run();
  std::filesystem::remove(home.QuerySocket(), ignored);
  std::filesystem::remove(GuardSocket(home), ignored);
  return exit_status;
}

}  // namespace

int RunUp(const Home& home, const UpOptions& options) {
  const auto config = ConfigOf(home, options);
  if (!config) {
    (void)cli::Complain(config.error());
    return cli::kExitUsage;
  }
  std::optional<netfilter::Policy> policy;
  if (config->policy.enforce) {
    auto checked = CheckedPolicy(*config, options.config.empty() ? home.Config() : std::filesystem::path(options.config));
    if (!checked) return cli::Complain(checked.error());
    policy = std::move(*checked);
  }
  const auto exit_status = Up(home, options, *config, policy);
  return exit_status ? *exit_status : cli::Complain(exit_status.error());
}

}  // namespace stele::daemons
