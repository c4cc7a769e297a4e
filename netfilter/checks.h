// What is wrong with a policy, found on the model before anything of it reaches the kernel.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "netfilter/policy.h"

namespace stele::netfilter {

enum class Severity : std::uint8_t {
  kError,    // contradicts itself or cannot be: never applied
  kCutOff,   // would leave outside whoever applies it: only when forced
  kWarning,  // can be, and is probably not meant: rules that say nothing new, holes, wide or talkative flows
};

struct Finding {
  Severity severity = Severity::kError;
  std::uint32_t line = 0;  // of the file; 0: none
  std::string text;        // "zone plant: ..."
};

// Errors first, each group in the order of the policy. A policy without errors compiles.
[[nodiscard]] std::vector<Finding> CheckPolicy(const Policy& policy);

// The zones whose interface is none of `interfaces`.
[[nodiscard]] std::vector<Finding> CheckInterfaces(const Policy& policy, const std::vector<std::string>& interfaces);

// Whether the operators still get in: from each of these addresses, or from anywhere where none is given.
[[nodiscard]] std::vector<Finding> CheckOperators(const Policy& policy, const std::vector<IpAddress>& from);

}  // namespace stele::netfilter
