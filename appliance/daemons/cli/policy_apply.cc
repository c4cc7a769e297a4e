// stele policy apply, stele policy show: questions to the guard of a running appliance.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <map>

#include "appliance/base/system.h"
#include "appliance/base/text.h"
#include "appliance/daemons/cli/client.h"
#include "appliance/daemons/cli/output.h"
#include "appliance/daemons/cli/policy_change.h"
#include "appliance/daemons/cli/policy_load.h"
#include "appliance/daemons/config_policy.h"
#include "netfilter/approval.h"
#include "netfilter/policy_text.h"

namespace stele::daemons::cli {
namespace {

using nlohmann::json;

// Who applies it from elsewhere must not lock themselves out: sshd says where they are ("192.0.2.7 50000 22").
std::optional<std::string> OwnAddress() {
  const char* connection = std::getenv("SSH_CONNECTION");
  if (connection == nullptr) return std::nullopt;
  const std::string text(connection);
  std::string address = text.substr(0, text.find(' '));
  const auto parsed = ParseIpPrefix(address);
  if (!parsed || parsed->bits != 128) return std::nullopt;
  return address;
}

// The request; nothing when it has been said why not.
std::optional<json> RequestOf(const PolicyChangeOptions& options, const netfilter::Policy& policy, int& status) {
  json request = {{"op", "apply"},         {"policy", netfilter::PolicyText(policy)},
                  {"why", options.why},    {"force", options.force},
                  {"from", json::array()}, {"approvals", json::array()}};
  for (const std::string& text : options.from) {
    const auto address = ParseIpPrefix(text);
    if (!address || address->bits != 128) {
      std::fprintf(stderr, "stele: --from: %s is no address\n", Safe(text).c_str());
      status = kExitUsage;
      return std::nullopt;
    }
    request["from"].push_back(text);
  }
  if (const auto own = OwnAddress()) request["from"].push_back(*own);
  for (const std::string& file : options.approvals) {
    const auto text = ReadFile(file, limits::kApprovalBytes);
    if (!text) {
      status = Complain(text.error());
      return std::nullopt;
    }
    request["approvals"].push_back(std::string(AsText(*text)));
  }
  return request;
}

void PrintList(std::FILE* out, const json& answer, const char* member, const std::string& before) {
  const json list = answer.value(member, json::array());
  for (const json& one : list) {
    if (one.is_string()) std::fprintf(out, "%s%s\n", before.c_str(), Safe(one.get_ref<const std::string&>()).c_str());
  }
}

int ExitOf(const std::string& result) {
  static const std::map<std::string, int, std::less<>> kStatus{{"applied", kExitYes}, {"unchanged", kExitYes},
                                                               {"refused", kExitNo},  {"failed", kExitNo},
                                                               {"wrong", kExitUsage}, {"cannot", kExitCannotTell}};
  const auto at = kStatus.find(result);
  return at == kStatus.end() ? kExitCannotTell : at->second;
}

// What is in force from now on is not what the next start listens to.
void CompareWithHome(const Home& home, const netfilter::Policy& policy) {
  const auto config = LoadConfig(home.Config(), false);
  const auto configured = config ? PolicyOf(*config) : tl::unexpected(PolicyProblem{});
  if (configured && netfilter::PolicyText(*configured) == netfilter::PolicyText(policy)) return;
  std::fprintf(stderr,
               "stele: the zones of %s are others: Stele listens as that file says, so put this one in its place\n",
               Safe(home.Config().string()).c_str());
}

}  // namespace

int RunPolicyApply(const Home& home, const PolicyChangeOptions& options) {
  int status = kExitYes;
  const auto named = LoadPolicy(options.file, status);
  if (!named) return status;
  if (SayErrors(*named)) return kExitUsage;
  const auto request = RequestOf(options, named->policy, status);
  if (!request) return status;
  const auto answer = AskGuard(home, *request);
  if (!answer) return Complain(answer.error());
  const std::string result = TextOf(*answer, "result");
  if (options.json) {
    PrintJson(*answer);
    return ExitOf(result);
  }
  PrintList(stderr, *answer, "warnings", "warning: ");
  if (result == "applied") {
    PrintList(stdout, *answer, "diff", "");
    Print(fmt::format("in force, entry {}: {}\n", NumberOf(*answer, "entry"), TextOf(*answer, "digest")));
    CompareWithHome(home, named->policy);
  } else if (result == "unchanged") {
    Print(fmt::format("it is in force already, entry {}: {}\n", NumberOf(*answer, "entry"), TextOf(*answer, "digest")));
  } else {
    const char* what = result == "failed" ? "not applied, the old rules stay" : "not applied";
    std::fprintf(stderr, "stele: %s\n", what);
    PrintList(stderr, *answer, "reasons", "  ");
  }
  return ExitOf(result);
}

int RunPolicyShow(const Home& home, const PolicyChangeOptions& options) {
  const auto answer = AskGuard(home, {{"op", "show"}});
  if (!answer) return Complain(answer.error());
  if (options.json) {
    PrintJson(*answer);
    return TextOf(*answer, "result") == "in_force" ? kExitYes : kExitNo;
  }
  if (TextOf(*answer, "result") != "in_force") {
    Print("no policy is in force yet\n");
    return kExitNo;
  }
  Print(fmt::format("in force since {}, entry {}, by {}\ndigest {}\n", FormatTime(NumberOf(*answer, "since_ns")),
                    NumberOf(*answer, "entry"), TextOf(*answer, "who"), TextOf(*answer, "digest")));
  Print(Safe(answer->value("policy", "")) + "\n");
  return kExitYes;
}

}  // namespace stele::daemons::cli
