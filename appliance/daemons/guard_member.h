// stele-guard as a member of the family: only where stele.toml says policy.enforce. It stays in the network whose rules
// it keeps.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "appliance/daemons/config.h"
#include "appliance/daemons/family.h"
#include "appliance/daemons/home.h"
#include "netfilter/policy.h"

namespace stele::daemons {

inline constexpr const char* kGuardName = "stele-guard";

[[nodiscard]] inline std::filesystem::path GuardDir(const Home& home) { return home.State() / "guard"; }
[[nodiscard]] inline std::filesystem::path GuardSocket(const Home& home) { return home.Run() / "guard.sock"; }

// The policy of this configuration, without errors of its own (netfilter/checks.h). kInvalid names `file` and the line.
[[nodiscard]] Result<netfilter::Policy> CheckedPolicy(const Config& config, const std::filesystem::path& file);

// What the guard is told; `log_id` may be empty before the log has one.
[[nodiscard]] std::string GuardConfiguration(const Home& home, const Config& config, const netfilter::Policy& policy,
                                             const std::string& log_id);

// A network namespace whose rules are kept; the descriptor outlives the member.
struct GuardedNamespace {
  std::string name;
  int descriptor = -1;
};

// Before any listener is bound: the policy that was in force is in place again. Makes the guard's folder. With units of
// its own (Config::unit_sockets) the start of the machine has loaded the policy of stele.toml before. kUnavailable: it
// cannot be done here; the guard has said why.
[[nodiscard]] Result<void> KeepPolicy(const Home& home, const Config& config, const netfilter::Policy& policy,
                                      const std::vector<GuardedNamespace>& namespaces);

// `socket`: listening, for the command line. No namespaces: the supervisor's own.
[[nodiscard]] Result<MemberSpec> GuardMember(const Home& home, const Config& config, const netfilter::Policy& policy,
                                             const std::string& log_id, int socket,
                                             const std::vector<GuardedNamespace>& namespaces);

}  // namespace stele::daemons
