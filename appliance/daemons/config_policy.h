// The network policy in stele.toml, read from where the rest of the appliance has its zones: no second truth. An ingest
// zone's doors are the listeners that its receiver has; the operator zone's door is the viewer's. A policy there is as
// soon as a zone names an interface.
//
//   [[zones]]  any ingest zone (config.h), and
//              interface = "eth1"
//              connections_per_source = 256   connections_per_source_per_s = 50   datagrams_per_source_per_s = 0 (no
//              limit) sources_at_a_time = 1024       also in [ingest], for all zones
//   [[zones]]  name = "operator" | "management" | "archive" | "witness" | "alert", and the same four limits
//              interface = "eth0"             address = "203.0.113.5" or a list; of the operator zone: the viewer's, if
//              not given allowed_sources = [...]        router_advertisements = false tcp_ports = [22] udp_ports = []
//              of the management zone: what listens there and is not Stele's
//   [policy]   watch = false                  watch_interval_s = 10
//              watch_entries_per_interval = 32                watch_entries_per_hour = 600
//   [[zones.flows]]  name = "siem"            to = "203.0.113.61" or a list of addresses and prefixes
//              tcp_ports = [6514]             udp_ports = []      in all but the operator zone
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "appliance/daemons/config.h"

#ifndef TOML_EXCEPTIONS
#define TOML_EXCEPTIONS 0
#endif
#include <toml++/toml.h>

namespace stele::daemons {

// What is wrong, as a clause; nothing when all is well.
[[nodiscard]] std::optional<std::string> ReadPrefixes(const toml::node& node, std::vector<IpPrefix>& out);
[[nodiscard]] std::optional<std::string> ReadFlows(const toml::node& node, std::vector<netfilter::Flow>& out);
// Ports of the system, each a door by its own name: "tcp/22".
[[nodiscard]] std::optional<std::string> ReadSystemDoors(const toml::node& node, netfilter::Protocol protocol,
                                                         std::vector<netfilter::Door>& out);

// The kind of a zone by its name, unless it is an ingest zone. `name`: may be nullptr.
[[nodiscard]] std::optional<netfilter::ZoneKind> OtherZoneKind(const toml::node* name);

// Where the policy and the rest of the file disagree, with the line of the zone.
struct PolicyProblem {
  std::uint32_t line = 0;
  std::string text;
};
// Every zone of the file with its doors, whether or not it names an interface.
[[nodiscard]] tl::expected<netfilter::Policy, PolicyProblem> ZonesOf(const Config& config);
// The same where it is a policy. Not checked beyond that (netfilter/checks.h).
[[nodiscard]] tl::expected<netfilter::Policy, PolicyProblem> PolicyOf(const Config& config);

}  // namespace stele::daemons
