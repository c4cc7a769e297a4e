// stele-guard-watch as a member of the family: only with `[policy] watch = true`. The supervisor opens the sockets of
// the kernel's log groups, which takes CAP_NET_ADMIN (with --units it has stele-guard open them), and keeps them: what is dropped while no watcher runs waits there
// or is counted.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "appliance/daemons/config.h"
#include "appliance/daemons/family.h"

namespace stele::daemons {

inline constexpr const char* kGuardWatchName = "stele-guard-watch";

struct GuardWatchGear {
  std::vector<UniqueFd> sockets;  // of each network in turn (netfilter/nflog.h)
  UniqueFd page;                  // watch_page.h
};

// Nothing where the configuration does not ask for it. Sockets of this network namespace, and of those in `networks`
// (descriptors of /proc/PID/ns/net). kInvalid: there is no policy; kDenied, kUnavailable: netfilter/nflog.h.
[[nodiscard]] Result<std::optional<GuardWatchGear>> OpenGuardWatch(const Config& config,
                                                                   std::span<const int> networks = {});
// What it is told (docs/processes.md), and what it gets at each start; `gear` must outlive them.
[[nodiscard]] Result<std::string> GuardWatchConfiguration(const Config& config);
[[nodiscard]] std::vector<OwnChannel> GuardWatchChannels(const GuardWatchGear& gear);

}  // namespace stele::daemons
