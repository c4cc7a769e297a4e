#include "netfilter/guard/change.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "appliance/base/hash.h"
#include "appliance/base/limits.h"
#include "netfilter/checks.h"
#include "netfilter/compile.h"
#include "netfilter/matrix.h"
#include "netfilter/policy_text.h"

namespace stele::guard {
namespace {

using netfilter::Finding;
using netfilter::Severity;
using nlohmann::json;

constexpr std::size_t kReasonsMax = 32;

std::string Dump(const json& object) { return object.dump(-1, ' ', false, json::error_handler_t::replace); }

// Sorts the findings into reasons and warnings; true when the policy can be.
bool Sort(const std::vector<Finding>& findings, const Wish& wish, Verdict& verdict) {
  for (const Finding& finding : findings) {
    const bool refused = finding.severity == Severity::kError || (finding.severity == Severity::kCutOff && !wish.force);
    std::vector<std::string>& list = refused ? verdict.reasons : verdict.warnings;
    if (list.size() < kReasonsMax) list.push_back(finding.text);
  }
  return verdict.reasons.empty();
}

std::vector<Finding> OperatorsAndInterfaces(const netfilter::Policy& policy, const Wish& wish) {
  std::vector<Finding> findings = netfilter::CheckOperators(policy, wish.from);
  if (!wish.interfaces) return findings;
  for (Finding& finding : netfilter::CheckInterfaces(policy, *wish.interfaces)) {
    finding.severity = Severity::kCutOff;  // it may come later, and the rules go by its name
    findings.push_back(std::move(finding));
  }
  return findings;
}

json ApprovalsJson(const std::vector<const netfilter::Approver*>& who, const std::vector<std::string>& texts) {
  json out = json::array();
  for (std::size_t i = 0; i < who.size(); ++i) {
    out.push_back({{"name", who[i]->name}, {"key", HexOf(who[i]->public_key)}, {"text", texts[i]}});
  }
  return out;
}

Verdict Refused(std::string reason, bool wrong = false) {
  Verdict verdict;
  verdict.reasons.push_back(std::move(reason));
  verdict.wrong = wrong;
  return verdict;
}

}  // namespace

std::vector<std::string> BoundedClauses(std::vector<std::string> clauses) {
  const std::size_t all = clauses.size();
  if (all > limits::kPolicyDiffClauses) {
    clauses.resize(limits::kPolicyDiffClauses);
    clauses.push_back("and " + std::to_string(all - limits::kPolicyDiffClauses) + " more");
  }
  for (std::string& clause : clauses) {
    if (clause.size() <= limits::kPolicyClauseBytes) continue;
    clause.resize(limits::kPolicyClauseBytes);
    clause += " ...";
  }
  return clauses;
}

Verdict Judge(const Wish& wish, const InForce& current, const Rules& rules, std::int64_t now_ns,
              bool approvals_needed) {
  if (wish.why.empty() || wish.why.size() > limits::kPolicyWhyBytes) {
    return Refused("a change needs a reason of at most " + std::to_string(limits::kPolicyWhyBytes) + " octets");
  }
  const auto policy = netfilter::ParsePolicyText(wish.policy);
  if (!policy) return Refused(policy.error().context, /*wrong=*/true);
  Verdict verdict;
  if (!Sort(netfilter::CheckPolicy(*policy), wish, verdict)) {
    verdict.wrong = true;
    return verdict;
  }
  if (!Sort(OperatorsAndInterfaces(*policy, wish), wish, verdict)) return verdict;
  netfilter::Policy older;
  if (!current.text.empty()) {
    auto parsed = netfilter::ParsePolicyText(current.text);
    if (!parsed) return Refused("the policy in force cannot be read: " + parsed.error().context);
    older = std::move(*parsed);
  }
  Change change;
  change.after.text = wish.policy;
  change.after.digest = netfilter::PolicyDigest(wish.policy);
  change.after.who = wish.who;
  const netfilter::ApprovalSubject subject{rules.log_id, change.after.digest, current.digest, current.entry};
  const auto approved = netfilter::CheckApprovals(wish.approvals, subject, rules.approvers,
                                                  approvals_needed ? rules.approvals : 0, now_ns);
  if (!approved) {
    verdict.reasons.push_back(approved.error().context);
    return verdict;
  }
  change.diff = BoundedClauses(netfilter::DiffTexts(netfilter::DiffOf(older, *policy)));
  change.ruleset = netfilter::CompilePolicy(*policy);
  change.payload = Dump({{"event", "policy_change"},
                         {"digest", change.after.digest},
                         {"replaces", current.digest},
                         {"policy", change.after.text},
                         {"who", wish.who},
                         {"why", wish.why},
                         {"diff", change.diff},
                         {"approvals", ApprovalsJson(*approved, wish.approvals)},
                         {"forced", wish.force}});
  if (change.payload.size() > limits::kMessageBytesDefault) {
    verdict.reasons.push_back("the policy is too long for an entry of the log");
    return verdict;
  }
  verdict.change = std::move(change);
  return verdict;
}

std::string AppliedPayload(const std::string& digest, bool at_start) {
  json entry = {{"event", "policy_applied"}, {"digest", digest}};
  if (at_start) entry["at_start"] = true;
  return Dump(entry);
}

std::string FailedPayload(const std::string& digest, const std::string& text) {
  return Dump({{"event", "policy_failed"}, {"digest", digest}, {"text", text}});
}

}  // namespace stele::guard
