#include "appliance/daemons/config_policy.h"

#include <algorithm>

#include "appliance/base/text.h"

namespace stele::daemons {
namespace {

using Problem = std::optional<std::string>;
using netfilter::Zone;
using netfilter::ZoneKind;

Problem ReadPorts(const toml::node& node, netfilter::Protocol protocol, std::vector<netfilter::Port>& out) {
  const toml::array* list = node.as_array();
  if (list == nullptr || list->size() > limits::kFlowPorts) {
    return "must be a list of at most " + std::to_string(limits::kFlowPorts) + " ports";
  }
  for (const toml::node& member : *list) {
    const auto number = member.value_exact<std::int64_t>();
    if (!number || *number < 1 || *number > 65'535) return "must be a list of ports from 1 to 65535";
    out.push_back({protocol, static_cast<std::uint16_t>(*number)});
  }
  return std::nullopt;
}

// A name that can stand in names of the ruleset.
Problem ReadFlowName(const toml::node& node, std::string& out) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
  };
  out = node.value_exact<std::string>().value_or("");
  if (!out.empty() && out.size() <= limits::kZoneNameBytes && std::all_of(out.begin(), out.end(), plain))
    return std::nullopt;
  return "must have 1 to " + std::to_string(limits::kZoneNameBytes) + " letters, digits and hyphens";
}

Problem ReadFlow(const toml::table& table, netfilter::Flow& out) {
  for (const auto& [key, node] : table) {
    Problem problem;
    if (key.str() == "name") {
      problem = ReadFlowName(node, out.name);
    } else if (key.str() == "to") {
      problem = ReadPrefixes(node, out.destinations);
    } else if (key.str() == "tcp_ports") {
      problem = ReadPorts(node, netfilter::Protocol::kTcp, out.ports);
    } else if (key.str() == "udp_ports") {
      problem = ReadPorts(node, netfilter::Protocol::kUdp, out.ports);
    } else {
      return "unknown key " + EscapeForTerminal(AsBytes(key.str()));
    }
    if (problem) return std::string(key.str()) + " " + *problem;
  }
  std::sort(out.ports.begin(), out.ports.end());
  return out.name.empty() ? Problem("has no name") : std::nullopt;
}

bool IsWildcard(const IpAddress& address) {
  return address == IpAddress{} || address == ParseIpPrefix("0.0.0.0")->address;
}

Zone IngestZoneOf(const IngestZone& from) {
  Zone zone;
  zone.name = from.name;
  zone.interface = from.interface;
  zone.line = from.line;
  for (const std::string& text : from.addresses) zone.addresses.push_back(ParseIpPrefix(text)->address);
  zone.sources = from.allowed_sources;
  for (const IngestDoor& door : kIngestDoors) {
    const std::optional<std::uint16_t> port = from.*door.port;
    if (!port) continue;
    const bool datagrams = std::string_view(door.transport) == "udp";
    zone.doors.push_back({door.name, {datagrams ? netfilter::Protocol::kUdp : netfilter::Protocol::kTcp, *port}});
  }
  zone.limits = from.source_limits;
  return zone;
}

// The viewer listens on one address, which must be one of the zone's.
Problem AddViewer(const Config& config, Zone& zone) {
  const IpAddress viewer = ParseIpPrefix(config.viewer_address)->address;
  if (zone.addresses.empty()) zone.addresses = {viewer};
  const bool reached = std::find(zone.addresses.begin(), zone.addresses.end(), viewer) != zone.addresses.end();
  if (!reached && !IsWildcard(viewer)) {
    return "zone " + zone.name + ": the viewer listens on " + config.viewer_address +
           " (viewer.address), which is no address of this zone";
  }
  zone.doors.push_back({"viewer", {netfilter::Protocol::kTcp, config.viewer_port}});
  return std::nullopt;
}

}  // namespace

Problem ReadPrefixes(const toml::node& node, std::vector<IpPrefix>& out) {
  constexpr const char* kWrong = "must be an address, a prefix, or a list of them";
  const auto take = [&out](const toml::node& one) -> Problem {
    const auto text = one.value_exact<std::string>();
    if (!text) return kWrong;
    const auto prefix = ParseIpPrefix(*text);
    if (!prefix) return EscapeForTerminal(AsBytes(prefix.error().context));
    out.push_back(*prefix);
    return std::nullopt;
  };
  const toml::array* list = node.as_array();
  if (list == nullptr) return take(node);
  if (list->size() > limits::kConfigList) return kWrong;
  for (const toml::node& member : *list) {
    if (auto problem = take(member)) return problem;
  }
  return std::nullopt;
}

Problem ReadFlows(const toml::node& node, std::vector<netfilter::Flow>& out) {
  const toml::array* list = node.as_array();
  if (list == nullptr || list->size() > limits::kFlowsPerZone) {
    return "must be tables, [[zones.flows]], at most " + std::to_string(limits::kFlowsPerZone);
  }
  for (const toml::node& member : *list) {
    const std::string which = "number " + std::to_string(out.size() + 1) + ": ";
    const toml::table* table = member.as_table();
    if (table == nullptr) return which + "must be a table: [[zones.flows]]";
    netfilter::Flow flow;
    flow.line = table->source().begin.line;
    if (const Problem problem = ReadFlow(*table, flow)) return which + *problem;
    out.push_back(std::move(flow));
  }
  return std::nullopt;
}

Problem ReadSystemDoors(const toml::node& node, netfilter::Protocol protocol, std::vector<netfilter::Door>& out) {
  std::vector<netfilter::Port> ports;
  if (auto problem = ReadPorts(node, protocol, ports)) return problem;
  for (const netfilter::Port& port : ports) out.push_back({netfilter::PortText(port), port});
  return std::nullopt;
}

std::optional<ZoneKind> OtherZoneKind(const toml::node* name) {
  const auto text = name != nullptr ? name->value<std::string>() : std::nullopt;
  for (std::size_t kind = 1; text && kind < netfilter::kZoneKinds.size(); ++kind) {
    if (*text == netfilter::kZoneKinds[kind]) return static_cast<ZoneKind>(kind);
  }
  return std::nullopt;
}

tl::expected<netfilter::Policy, PolicyProblem> ZonesOf(const Config& config) {
  netfilter::Policy policy;
  for (const IngestZone& zone : config.zones) policy.zones.push_back(IngestZoneOf(zone));
  for (Zone zone : config.other_zones) {
    if (zone.kind == ZoneKind::kOperator) {
      if (Problem problem = AddViewer(config, zone)) return tl::unexpected(PolicyProblem{zone.line, *problem});
    }
    policy.zones.push_back(std::move(zone));
  }
  return policy;
}

tl::expected<netfilter::Policy, PolicyProblem> PolicyOf(const Config& config) {
  auto policy = ZonesOf(config);
  const auto named = [](const Zone& zone) { return !zone.interface.empty(); };
  if (policy && std::none_of(policy->zones.begin(), policy->zones.end(), named))
    return tl::unexpected(PolicyProblem{0, "no zone names an interface: there is no network policy"});
  return policy;
}

}  // namespace stele::daemons
