#include "appliance/daemons/courier_member.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "appliance/alerts/alert.h"
#include "appliance/base/limits.h"
#include "appliance/base/system.h"
#include "appliance/witness/cosigned.h"
#include "appliance/witness/url.h"

namespace stele::daemons {
namespace {

using nlohmann::json;

constexpr std::size_t kCertificateBytesMax = 64 * limits::kKiB;
constexpr const char* kSeedFile = "alerts.seed";          // signs webhooks
constexpr const char* kPublicKeyFile = "alerts.pub.pem";  // for whoever verifies them
constexpr unsigned kSecretMode = 0600;
constexpr unsigned kPublicMode = 0644;
constexpr const char* kSystemAuthorities = "/etc/ssl/certs/ca-certificates.crt";

Result<std::string> AuthoritiesFor(const Home& home, const Config& config, const ledger::WitnessPolicy& policy) {
  bool tls = false;
  for (const ledger::WitnessPolicy::Witness& witness : policy.witnesses) {
    if (witness.url.empty()) continue;
    const auto url = witness::ParseUrl(witness.url);
    if (!url) return Fail(Code::kInvalid, "witness.policy: " + witness.name + ": " + url.error().context);
    tls = tls || url->tls;
  }
  const std::filesystem::path file =
      config.witness_tls_ca.empty() ? std::filesystem::path(kSystemAuthorities) : home.dir / config.witness_tls_ca;
  std::error_code failed;
  if (tls && !std::filesystem::exists(file, failed))
    return Fail(Code::kInvalid,
                "witness.tls_ca: there is no " + file.string() + ", and a witness has an https address");
  return file.string();
}

// Adds what the witness half needs.
Result<void> TellWitnesses(const Home& home, const Config& config, const std::string& vkey, json& told) {
  STELE_TRY(const std::string text, ReadWitnessPolicy(home, config));
  STELE_TRY(const ledger::VerifyKey log, ledger::ParseVkey(vkey));
  const auto policy = witness::ParsePolicyFor(text, log);
  if (!policy) return Fail(Code::kInvalid, config.witness_policy + ":" + policy.error().context);
  told["policy"] = text;
  STELE_TRY(told["ca_path"], AuthoritiesFor(home, config, *policy));
  told["quorum_max_age_s"] = QuorumMaxAgeS(config);
  return {};
}

// The key that signs alerts, made once; its public half lies beside it for whoever verifies.
Result<Hash> AlertSeed(const Home& home) {
  Hash seed{};
  const auto kept = ReadFile(home.Keys() / kSeedFile, seed.size());
  if (!kept && kept.error().code != Code::kNotFound) return tl::unexpected(kept.error());
  if (kept && kept->size() != seed.size())
    return Fail(Code::kCorrupt, (home.Keys() / kSeedFile).string() + " is no seed of 32 bytes");
  if (kept) {
    std::copy(kept->begin(), kept->end(), seed.begin());
  } else {
    SystemEntropy entropy;
    entropy.Fill(seed);
    STELE_TRY_VOID(WriteFileDurably(home.Keys() / kSeedFile, seed, kSecretMode));
  }
  STELE_TRY(const alerts::AlertKey key, alerts::AlertKeyOf(seed));
  STELE_TRY_VOID(WriteFileDurably(home.Keys() / kPublicKeyFile, AsBytes(alerts::PublicKeyPem(key)), kPublicMode));
  return seed;
}

Result<std::string> TextOfFile(const Home& home, const std::string& file) {
  if (file.empty()) return std::string();
  STELE_TRY(const Bytes text, ReadFile(home.dir / file, kCertificateBytesMax));
  return std::string(AsText(text));
}

// Adds what the flows need.
Result<void> TellFlows(const Home& home, const Config& config, const LogNames& log, json& told) {
  json flows = json::array();
  for (const AlertFlowConfig& flow : config.alert_flows) {
    const std::string where = "alerts.flows: " + flow.name + ": ";
    const std::filesystem::path ca = flow.ca.empty() ? std::filesystem::path(kSystemAuthorities) : home.dir / flow.ca;
    std::error_code failed;
    if (!std::filesystem::exists(ca, failed)) return Fail(Code::kInvalid, where + "ca: there is no " + ca.string());
    const auto certificate = TextOfFile(home, flow.certificate);
    const auto key = TextOfFile(home, flow.key);
    if (!certificate) return Fail(Code::kInvalid, where + "certificate: " + Describe(certificate.error()));
    if (!key) return Fail(Code::kInvalid, where + "key: " + Describe(key.error()));
    flows.push_back({{"name", flow.name},
                     {"to", flow.to},
                     {"ca_path", ca.string()},
                     {"server_name", flow.server_name},
                     {"certificate_pem", *certificate},
                     {"key_pem", *key},
                     {"receipts", flow.receipts}});
  }
  STELE_TRY(const Hash seed, AlertSeed(home));
  std::string viewer_url = config.alerts_viewer_url.empty() ? log.viewer_url : config.alerts_viewer_url;
  while (!viewer_url.empty() && viewer_url.back() == '/') viewer_url.pop_back();
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = 0;
  told["alerts"] = {{"seed", HexOf(seed)},
                    {"log_id", log.log_id},
                    {"origin", log.origin},
                    {"host", host.data()},
                    {"viewer_url", viewer_url},
                    {"alarm_after_ms", config.alerts_alarm_after_s * 1'000},
                    {"retry_ms_max", config.alerts_retry_max_s * 1'000},
                    {"flows", std::move(flows)}};
  return {};
}

}  // namespace

Result<std::string> ReadWitnessPolicy(const Home& home, const Config& config) {
  STELE_TRY(const Bytes text, ReadFile(home.dir / config.witness_policy, ledger::kPolicyBytesMax));
  return std::string(AsText(text));
}

std::int64_t QuorumMaxAgeS(const Config& config) {
  constexpr std::int64_t kMsPerSecond = 1'000;
  return 3 * std::max(config.heartbeat_interval_ms / kMsPerSecond, config.witness_interval_s) + 10;
}

json FeedsJson(const Config& config) {
  json feeds = json::object();
  for (const AlertFlowConfig& flow : config.alert_flows)
    feeds[flow.name] = {{"losses", flow.losses}, {"sources", flow.sources}};
  return feeds;
}

Result<std::optional<MemberSpec>> CourierMember(const Home& home, const Config& config, const LogNames& log) {
  if (config.witness_policy.empty() && config.alert_flows.empty()) return std::optional<MemberSpec>();
  if (::mkdir(home.Courier().c_str(), 0700) != 0 && errno != EEXIST)
    return FailErrno("make " + home.Courier().string());
  json told = {
      {"dir", home.Courier().string()}, {"vkey", log.vkey}, {"interval_ms", config.witness_interval_s * 1'000}};
  if (!config.witness_policy.empty()) STELE_TRY_VOID(TellWitnesses(home, config, log.vkey, told));
  if (!config.alert_flows.empty()) STELE_TRY_VOID(TellFlows(home, config, log, told));
  MemberSpec member;
  member.name = kCourierName;
  STELE_TRY(member.executable, FindExecutable(kCourierName));
  member.socket = UnitSocket(config, kCourierName);
  member.configuration_json = told.dump(-1, ' ', false, json::error_handler_t::replace);
  member.network = ProcessNetwork::kShared;
  return std::optional<MemberSpec>(std::move(member));
}

}  // namespace stele::daemons
