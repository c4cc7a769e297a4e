#include "appliance/daemons/cli/policy_load.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <cstdio>

#include "appliance/channel/long_message.h"
#include "appliance/channel/policy_messages.h"
#include "appliance/daemons/cli/client.h"
#include "appliance/daemons/cli/output.h"
#include "appliance/daemons/config_alerts.h"
#include "appliance/daemons/config_policy.h"
#include "appliance/daemons/guard_member.h"
#include "appliance/daemons/listeners.h"
#include "netfilter/checks.h"
#include "netfilter/guard/requests.h"

namespace stele::daemons::cli {
namespace {

constexpr int kAnswerSeconds = 60;  // the log and the largest policy take less

}  // namespace

void SayOfFile(const std::string& file, std::uint32_t line, const std::string& text) {
  const std::string where = line == 0 ? file : file + ":" + std::to_string(line);
  std::fprintf(stderr, "%s\n", Safe(where + ": " + text).c_str());
}

std::optional<NamedPolicy> LoadPolicy(const std::string& file, int& status) {
  const auto config = LoadConfig(file, true);
  if (!config) {
    std::fprintf(stderr, "stele: %s\n", Safe(config.error().context).c_str());
    status = config.error().code == Code::kInvalid ? kExitUsage : kExitCannotTell;
    return std::nullopt;
  }
  auto policy = PolicyOf(*config);
  if (policy) {
    auto ways_out = CheckWaysOut(*config, *policy);
    return NamedPolicy{file, std::move(*policy), std::move(ways_out)};
  }
  SayOfFile(file, policy.error().line, policy.error().text);
  status = kExitUsage;
  return std::nullopt;
}

bool SayErrors(const NamedPolicy& named) {
  bool errors = false;
  for (const netfilter::Finding& finding : netfilter::CheckPolicy(named.policy)) {
    if (finding.severity != netfilter::Severity::kError) continue;
    SayOfFile(named.file, finding.line, finding.text);
    errors = true;
  }
  return errors;
}

Result<nlohmann::json> AskGuard(const Home& home, const nlohmann::json& request) {
  auto connection = ConnectUnix(GuardSocket(home));
  if (!connection) {
    return Fail(Code::kUnavailable,
                connection.error().context + " (it needs a running stele up, and policy.enforce = true in stele.toml)");
  }
  const timeval limit{kAnswerSeconds, 0};
  if (::setsockopt(connection->get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0)
    return FailErrno("limit the wait for stele-guard");
  const std::string text = request.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  STELE_TRY_VOID(channel::SendLong(connection->get(), channel::kPolicyRequestPart, channel::kPolicyRequest, text));
  channel::LongMessage answer(channel::kPolicyAnswerPart, channel::kPolicyAnswer, limits::kPolicyRequestBytes);
  for (bool whole = false; !whole;) {
    const auto frame = channel::Receive(connection->get(), /*wait=*/true);
    if (!frame) return Fail(Code::kUnavailable, "stele-guard gave no answer: " + frame.error().context);
    STELE_TRY(whole, answer.Take(*frame));
  }
  auto parsed = nlohmann::json::parse(answer.text(), nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) return Fail(Code::kUnavailable, "stele-guard's answer is not understood");
  return parsed;
}

}  // namespace stele::daemons::cli
