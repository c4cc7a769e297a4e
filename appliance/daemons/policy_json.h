// The network policy as JSON: what `stele policy check --json` prints and what the viewer's Network screen is drawn
// from (docs/segmentation.md, docs/api.md).
#pragma once

#include <cstddef>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "appliance/daemons/config.h"
#include "netfilter/checks.h"
#include "netfilter/matrix.h"

namespace stele::limits {

// Of the network in stele-query's configuration, so that all of it fits the control channel. Beyond it lists are cut
// and counted, never left out in silence.
inline constexpr std::size_t kNetworkZonesBytes = 48 * kKiB;
inline constexpr std::size_t kNetworkReachBytes = 40 * kKiB;
inline constexpr std::size_t kNetworkPrefixes = 32;
inline constexpr std::size_t kNetworkFindings = 64;

}  // namespace stele::limits

namespace stele::daemons {

// {"direction":"in"|"echo"|"out","zone","interface","peers":[...],"peers_total","address"?,"protocol","port"?,"service",
// "process"?}; `peers_total` only where not all of them are listed.
[[nodiscard]] nlohmann::json ReachJson(const netfilter::Reach& reach,
                                       std::size_t peers_max = std::numeric_limits<std::size_t>::max());
// {"severity":"error"|"cut_off"|"warning","line","text"}
[[nodiscard]] nlohmann::json FindingJson(const netfilter::Finding& finding);
// {"name","kind","interface","addresses":[...],"sources":[...]}
[[nodiscard]] nlohmann::json ZoneJson(const netfilter::Zone& zone);

// What listens, by its zone, name and port: a port 0 in the configuration is any free one.
struct BoundDoor {
  std::string zone;
  std::string service;
  std::uint16_t port = 0;
};

// The network of a running appliance for GET /api/v1/network: {"configured","problem","zones":[...],"reach":[...],
// "reach_total","findings":[...]}. Zones are there without a policy, too.
[[nodiscard]] nlohmann::json NetworkJson(const Config& config, std::span<const BoundDoor> bound);

}  // namespace stele::daemons
