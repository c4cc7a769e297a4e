// Texts of policies, approvals and listings. Oracles: a text that is one gives itself back, and a ruleset that is read
// again where it has no errors; a statement that is read is the one its parts make.
#include <cstdint>

#include "netfilter/approval.h"
#include "netfilter/checks.h"
#include "netfilter/compile.h"
#include "netfilter/drop_counts.h"
#include "netfilter/matrix.h"
#include "netfilter/policy_text.h"
#include "netfilter/ruleset.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace stele;
  using namespace stele::netfilter;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto policy = ParsePolicyText(text)) {
    STELE_CHECK(PolicyText(*policy) == text);
    STELE_CHECK(DiffTexts(DiffOf(*policy, *policy)).empty());
    bool good = true;
    for (const Finding& finding : CheckPolicy(*policy)) good = good && finding.severity != Severity::kError;
    if (good) STELE_CHECK(ParseRuleset(CompilePolicy(*policy)).has_value());
  }
  if (const auto approval = ParseApproval(text)) {
    STELE_CHECK(ApprovalText(approval->statement, approval->signature).size() == text.size());
    const auto again = ParseApproval(ApprovalText(
        ApprovalStatement(approval->subject, approval->approver, approval->expires_ns), approval->signature));
    STELE_CHECK(again.has_value());
    STELE_CHECK(again->subject == approval->subject);
  }
  (void)DropCountsOf(text);
  return 0;
}
