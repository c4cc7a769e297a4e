#include "appliance/daemons/guard_member.h"

#include <poll.h>
#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <nlohmann/json.hpp>

#include "appliance/base/limits.h"
#include "appliance/channel/control.h"
#include "appliance/channel/long_message.h"
#include "appliance/daemons/config_policy.h"
#include "appliance/daemons/process.h"
#include "appliance/daemons/zones.h"
#include "netfilter/checks.h"
#include "netfilter/policy_text.h"

namespace stele::daemons {
namespace {

using nlohmann::json;

constexpr const char* kNamespaceRole = "network-namespace";
constexpr std::chrono::milliseconds kKeepLimit{60'000};  // the largest policy takes about a second

json ConfigurationJson(const Home& home, const Config& config, const netfilter::Policy& policy,
                       const std::string& log_id) {
  json approvers = json::array();
  for (const netfilter::Approver& one : config.policy.approvers) {
    approvers.push_back({{"name", one.name}, {"public_key", HexOf(one.public_key)}});
  }
  return {{"dir", GuardDir(home).string()},         {"log_id", log_id},
          {"restore", config.policy.restore},       {"at_start", config.policy.at_start},
          {"approvals", config.policy.approvals},   {"approvers", std::move(approvers)},
          {"policy", netfilter::PolicyText(policy)}};
}

std::string Dump(const json& object) { return object.dump(-1, ' ', false, json::error_handler_t::replace); }

}  // namespace

Result<netfilter::Policy> CheckedPolicy(const Config& config, const std::filesystem::path& file) {
  const auto fail = [&file](std::uint32_t line, const std::string& text) {
    return Fail(Code::kInvalid, file.string() + (line == 0 ? "" : ":" + std::to_string(line)) + ": " + text);
  };
  auto policy = PolicyOf(config);
  if (!policy) return fail(policy.error().line, policy.error().text);
  for (const netfilter::Finding& finding : netfilter::CheckPolicy(*policy)) {
    if (finding.severity == netfilter::Severity::kError) return fail(finding.line, finding.text);
  }
  return std::move(*policy);
}

std::string GuardConfiguration(const Home& home, const Config& config, const netfilter::Policy& policy,
                               const std::string& log_id) {
  return Dump(ConfigurationJson(home, config, policy, log_id));
}

Result<void> KeepPolicy(const Home& home, const Config& config, const netfilter::Policy& policy,
                        const std::vector<GuardedNamespace>& namespaces) {
  if (::mkdir(GuardDir(home).c_str(), 0700) != 0 && errno != EEXIST)
    return FailErrno("make " + GuardDir(home).string());
  if (!config.unit_sockets.empty()) return {};  // the start of the machine has loaded it already
  STELE_TRY(const auto executable, FindExecutable(kGuardName));
  STELE_TRY(Process process, StartProcess(executable));
  json configuration = ConfigurationJson(home, config, policy, "");
  configuration["only_kept"] = true;
  STELE_TRY_VOID(channel::SetBlocking(process.control.get(), true));
  auto told = channel::SendLong(process.control.get(), channel::Type::kConfigurePart, channel::Type::kConfigure,
                                Dump(configuration));
  for (const GuardedNamespace& one : namespaces) {
    if (told) told = channel::SendTakeChannel(process.control.get(), {kNamespaceRole, one.name, ""}, one.descriptor);
  }
  if (told) told = channel::Send(process.control.get(), channel::Type::kStart, {});
  const auto how = Ended(process.pid, kKeepLimit);
  if (how == "exit status 0") return {};
  if (!how) KillProcess(process.pid);
  return Fail(Code::kUnavailable,
              "policy.enforce: the network policy cannot be enforced here: " +
                  (how ? "stele-guard ended with " + *how : std::string("stele-guard takes too long")));
}

Result<MemberSpec> GuardMember(const Home& home, const Config& config, const netfilter::Policy& policy,
                               const std::string& log_id, int socket, const std::vector<GuardedNamespace>& namespaces) {
  MemberSpec member;
  member.name = kGuardName;
  STELE_TRY(member.executable, FindExecutable(kGuardName));
  member.socket = UnitSocket(config, kGuardName);
  member.configuration_json = GuardConfiguration(home, config, policy, log_id);
  member.own.push_back(DuplicateOf({"policy-socket", "cli", ""}, socket));
  for (const GuardedNamespace& one : namespaces)
    member.own.push_back(DuplicateOf({kNamespaceRole, one.name, ""}, one.descriptor));
  member.network = ProcessNetwork::kShared;
  return member;
}

}  // namespace stele::daemons
