// Policies out of files, and what is said of them: for the commands of `stele policy`.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "appliance/daemons/home.h"
#include "netfilter/checks.h"

namespace stele::daemons::cli {

struct NamedPolicy {
  std::string file;
  netfilter::Policy policy;
  std::vector<netfilter::Finding> ways_out;  // that flows of alerts lack
};

// Nothing: it has been said why not, and the exit status is 2 (a file that cannot be read: 3).
[[nodiscard]] std::optional<NamedPolicy> LoadPolicy(const std::string& file, int& status);

void SayOfFile(const std::string& file, std::uint32_t line, const std::string& text);  // on standard error
// Says every error; true when there is one.
[[nodiscard]] bool SayErrors(const NamedPolicy& named);

// One question to the guard of a running appliance (netfilter/guard/requests.h). kUnavailable: none runs, or it does
// not enforce a policy.
[[nodiscard]] Result<nlohmann::json> AskGuard(const Home& home, const nlohmann::json& request);

}  // namespace stele::daemons::cli
