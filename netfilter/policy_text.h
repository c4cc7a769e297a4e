// A policy as one text, the same for the same policy: what the log keeps, what digests and approvals are made over,
// what travels from the command line to the guard. It has no secrets and no comments of stele.toml.
//
//   text   := {"zones":[zone,...]}                  JSON, members in the order of their names, no white space
//   zone   := {"addresses":["10.20.0.1"],"doors":[{"port":"tcp/514","service":"syslog-tcp"}],"flows":[flow,...],
//              "interface":"eth1","kind":"ingest","limits":{"connections":N,"connections_per_s":N,"datagrams_per_s":N,
//              "sources":N},"name":"machines","router_advertisements":false,"sources":["10.20.0.0/16"]}
//   flow   := {"name":"siem","ports":["tcp/6514"],"to":["203.0.113.61"]}
#pragma once

#include <string>
#include <string_view>

#include "appliance/base/bytes.h"
#include "netfilter/policy.h"

namespace stele::limits {

inline constexpr std::size_t kPolicyTextBytes = 1 * kMiB;
inline constexpr std::size_t kPolicyZones = 4'096;
inline constexpr std::size_t kPolicyNameBytes = 64;  // of a zone, flow or service in the text

}  // namespace stele::limits

namespace stele::netfilter {

[[nodiscard]] std::string PolicyText(const Policy& policy);     // without the lines of the file
[[nodiscard]] std::string PolicyDigest(std::string_view text);  // SHA-256, 64 hexadecimal digits

// kInvalid: not such a text, or another than PolicyText() gives for what it says: a policy has one digest. Names hold
// nothing that means something to nft; whether the policy makes sense is another question (checks.h).
[[nodiscard]] Result<Policy> ParsePolicyText(std::string_view text);

}  // namespace stele::netfilter
