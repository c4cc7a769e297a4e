// Section [policy] of stele.toml: whether the network policy is enforced, and who must agree to a change of it.
//
//   [policy]             enforce = false              restore = false              approvals = 0              at_start
//   = "keep"
//   [[policy.approvers]] name = "alice"               public_key = PEM, JWK or base64url of an Ed25519 key
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "netfilter/approval.h"

#ifndef TOML_EXCEPTIONS
#define TOML_EXCEPTIONS 0
#endif
#include <toml++/toml.h>

namespace stele::daemons {

struct EnforceConfig {
  bool enforce = false;
  bool restore = false;
  std::string at_start = "keep";  // or "apply": a start brings the policy of stele.toml into force
  std::size_t approvals = 0;
  std::vector<netfilter::Approver> approvers;
};

// What is wrong, as a clause; nothing when all is well. No name and no key twice.
[[nodiscard]] std::optional<std::string> ReadApprovers(const toml::node& node, std::vector<netfilter::Approver>& out);

// What the keys say together.
[[nodiscard]] std::optional<std::string> ProblemOfEnforce(const EnforceConfig& config);

}  // namespace stele::daemons
