// A policy as an nftables ruleset: one table, `inet stele`. Pure: the same policy gives the same bytes. The text is
// written the way nft lists it, so that what the kernel holds can be compared with it line by line (ruleset.h).
//
// What arrives (chain input): the zone of a packet is what zones4 and zones6 say of its interface and source; its
// number is the packet's mark. doors4 and doors6 say what the zone may reach. Each packet of a connection passes here,
// not only the first one: what a new policy no longer allows ends with it, and what it still allows goes on. UDP to a
// door is not tracked, so that a flood of it fills no table. What leaves (chain output): answers from a door to its
// zone, flows, neighbour discovery; nothing else.
#pragma once

#include <string>

#include "netfilter/policy.h"

namespace stele::netfilter {

inline constexpr const char* kTableName = "stele";  // of family inet

// `policy` has no errors (checks.h).
[[nodiscard]] std::string CompilePolicy(const Policy& policy);

}  // namespace stele::netfilter
