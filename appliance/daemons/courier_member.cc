#include "appliance/daemons/courier_member.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "appliance/base/system.h"
#include "appliance/witness/cosigned.h"
#include "appliance/witness/url.h"

namespace stele::daemons {
namespace {

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

}  // namespace

Result<std::string> ReadWitnessPolicy(const Home& home, const Config& config) {
  STELE_TRY(const Bytes text, ReadFile(home.dir / config.witness_policy, ledger::kPolicyBytesMax));
  return std::string(AsText(text));
}

std::int64_t QuorumMaxAgeS(const Config& config) {
  constexpr std::int64_t kMsPerSecond = 1'000;
  return 3 * std::max(config.heartbeat_interval_ms / kMsPerSecond, config.witness_interval_s) + 10;
}

Result<std::optional<MemberSpec>> CourierMember(const Home& home, const Config& config, const std::string& vkey) {
  if (config.witness_policy.empty()) return std::optional<MemberSpec>();
  STELE_TRY(const std::string text, ReadWitnessPolicy(home, config));
  STELE_TRY(const ledger::VerifyKey log, ledger::ParseVkey(vkey));
  const auto policy = witness::ParsePolicyFor(text, log);
  if (!policy) return Fail(Code::kInvalid, config.witness_policy + ":" + policy.error().context);
  STELE_TRY(const std::string ca_path, AuthoritiesFor(home, config, *policy));
  if (::mkdir(home.Courier().c_str(), 0700) != 0 && errno != EEXIST)
    return FailErrno("make " + home.Courier().string());
  MemberSpec member;
  member.name = kCourierName;
  STELE_TRY(member.executable, FindExecutable(kCourierName));
  member.configuration_json = nlohmann::json{
      {"dir", home.Courier().string()},
      {"vkey", vkey},
      {"policy", text},
      {"ca_path", ca_path},
      {"interval_ms", config.witness_interval_s * 1'000},
      {"quorum_max_age_s",
       QuorumMaxAgeS(config)}}.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  member.network = ProcessNetwork::kShared;
  return std::optional<MemberSpec>(std::move(member));
}

}  // namespace stele::daemons
