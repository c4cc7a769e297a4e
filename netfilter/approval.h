// A person's signed word that a policy may replace another: a small file, made by `stele policy approve` or by hand
// with openssl (docs/segmentation.md). It is for one log, one change and a limited time, so it is of no use a second
// time.
//
//   file      := statement "\n" base64(signature) "\n"          Ed25519 (RFC 8032) over the octets of the statement
//   statement := "stele policy approval v1\n" "log " hex "\n" "policy " hex "\n" "replaces " hex "\n" "entry " N "\n"
//                "approver " name "\n" "expires " time "\n"      time: RFC 3339, UTC, whole seconds
//
// log: the log id. policy, replaces: digests (policy_text.h). entry: the sequence number by which the replaced one came
// into force: when it comes into force again, that is another change.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/base/bytes.h"

namespace stele::limits {

inline constexpr std::size_t kApprovers = 64;
inline constexpr std::size_t kApproverNameBytes = 64;
inline constexpr std::size_t kApprovalBytes = 1 * 1024;

}  // namespace stele::limits

namespace stele::netfilter {

struct Approver {
  std::string name;  // of letters, digits, and . - _ @
  std::array<std::byte, 32> public_key{};
};
[[nodiscard]] bool IsApproverName(std::string_view name);

struct ApprovalSubject {
  std::string log;  // 64 hexadecimal digits each
  std::string policy;
  std::string replaces;
  std::uint64_t entry = 0;
  bool operator==(const ApprovalSubject&) const = default;
};

struct Approval {
  ApprovalSubject subject;
  std::string approver;
  std::int64_t expires_ns = 0;
  std::string statement;  // what was signed
  std::array<std::byte, 64> signature{};
};

[[nodiscard]] std::string ApprovalStatement(const ApprovalSubject& subject, std::string_view approver,
                                            std::int64_t expires_ns);
[[nodiscard]] std::string ApprovalText(std::string_view statement, ByteView signature);
[[nodiscard]] Result<Approval> ParseApproval(std::string_view text);  // kInvalid: not in this form

// Who of `approvers` has approved, in the order of `texts`. kDenied says which file is refused and why: a stranger, a
// signature that is not theirs, another log or change, expired, the same person twice, fewer than `needed`.
[[nodiscard]] Result<std::vector<const Approver*>> CheckApprovals(const std::vector<std::string>& texts,
                                                                  const ApprovalSubject& subject,
                                                                  const std::vector<Approver>& approvers,
                                                                  std::size_t needed, std::int64_t now_ns);

}  // namespace stele::netfilter
