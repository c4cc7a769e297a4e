// Whether a policy may replace the one in force, and the entry that says so before it does. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "netfilter/approval.h"
#include "netfilter/policy.h"

namespace stele::limits {

inline constexpr std::size_t kPolicyWhyBytes = 1 * kKiB;
inline constexpr std::size_t kPolicyDiffClauses = 256;  // in one entry; then how many more
inline constexpr std::size_t kPolicyClauseBytes = 512;

}  // namespace stele::limits

namespace stele::guard {

inline constexpr const char* kNoPolicy = "0000000000000000000000000000000000000000000000000000000000000000";

// The policy in force, and by which change.
struct InForce {
  std::string text;  // netfilter/policy_text.h; empty: none yet
  std::string digest = kNoPolicy;
  std::uint64_t entry = 0;  // sequence number of its `policy_change`
  std::int64_t since_ns = 0;
  std::string who;
  bool operator==(const InForce&) const = default;
};

// What stele.toml says of changes ([policy]).
struct Rules {
  std::string log_id;
  bool restore = false;  // drift is put back
  std::size_t approvals = 0;
  std::vector<netfilter::Approver> approvers;
};

struct Wish {
  std::string policy;  // its text
  std::string who;
  std::string why;
  bool force = false;
  std::vector<std::string> approvals;                  // texts of files
  std::vector<IpAddress> from;                         // operators who must still get in
  std::optional<std::vector<std::string>> interfaces;  // those there are; none: not known
};

struct Change {
  InForce after;        // without entry and time
  std::string ruleset;  // netfilter/compile.h
  std::string payload;  // of the `policy_change` entry
  std::vector<std::string> diff;
};

struct Verdict {
  std::optional<Change> change;      // none: refused
  bool wrong = false;                // the policy contradicts itself, or is none
  std::vector<std::string> reasons;  // of the refusal
  std::vector<std::string> warnings;
};

// `approvals_needed` is false for the first policy of a log alone.
[[nodiscard]] Verdict Judge(const Wish& wish, const InForce& current, const Rules& rules, std::int64_t now_ns,
                            bool approvals_needed = true);

// The other two entries of a change; `text`: why it failed.
[[nodiscard]] std::string AppliedPayload(const std::string& digest, bool at_start);
[[nodiscard]] std::string FailedPayload(const std::string& digest, const std::string& text);

// At most kPolicyDiffClauses clauses of bounded length.
[[nodiscard]] std::vector<std::string> BoundedClauses(std::vector<std::string> clauses);

}  // namespace stele::guard
