#include "appliance/daemons/policy_json.h"

#include <algorithm>

#include "appliance/daemons/config_policy.h"

namespace stele::daemons {
namespace {

using namespace netfilter;
using nlohmann::json;

const char* SeverityText(Severity severity) {
  switch (severity) {
    case Severity::kError:
      return "error";
    case Severity::kCutOff:
      return "cut_off";
    case Severity::kWarning:
      return "warning";
  }
  return "";
}

const char* TrafficText(Traffic traffic) {
  switch (traffic) {
    case Traffic::kDoor:
      return "in";
    case Traffic::kEcho:
      return "echo";
    case Traffic::kFlow:
      return "out";
  }
  return "";
}

std::string AddressText(const IpAddress& address) { return IpPrefixText({address, 128}); }

// The first of them, and beside them how many there are where that is not all.
void PutPrefixes(const std::vector<IpPrefix>& prefixes, std::size_t count_max, const std::string& name, json& out) {
  json& list = out[name] = json::array();
  for (std::size_t i = 0; i < std::min(prefixes.size(), count_max); ++i) list.push_back(IpPrefixText(prefixes[i]));
  if (prefixes.size() > count_max) out[name + "_total"] = prefixes.size();
}

json FlowJson(const Flow& flow) {
  json out{{"name", flow.name}, {"ports", json::array()}};
  PutPrefixes(flow.destinations, limits::kNetworkPrefixes, "destinations", out);
  for (const Port& port : flow.ports) out["ports"].push_back(PortText(port));
  return out;
}

json WholeZoneJson(const Zone& zone, bool zones_listed) {
  json out = ZoneJson(zone);
  PutPrefixes(zone.sources, limits::kNetworkPrefixes, "sources", out);
  out["process"] = ProcessOf(zone.kind);
  if (zone.kind == ZoneKind::kIngest && zones_listed) out["process"] = "stele-receive@" + zone.name;
  out["doors"] = json::array();
  for (const Door& door : zone.doors) {
    out["doors"].push_back({{"service", door.service},
                            {"protocol", std::string(ProtocolText(door.port.protocol))},
                            {"port", door.port.number}});
  }
  out["flows"] = json::array();
  for (const Flow& flow : zone.flows) out["flows"].push_back(FlowJson(flow));
  out["limits"] = {{"connections", zone.limits.connections},
                   {"connections_per_s", zone.limits.connections_per_s},
                   {"datagrams_per_s", zone.limits.datagrams_per_s},
                   {"sources", zone.limits.sources}};
  if (zone.router_advertisements) out["router_advertisements"] = true;
  return out;
}

// A zone is always named; its lists only while there is room.
json ZonesJson(const Policy& policy, bool zones_listed) {
  json out = json::array();
  std::size_t bytes = 0;
  for (const Zone& zone : policy.zones) {
    json whole = WholeZoneJson(zone, zones_listed);
    bytes += whole.dump().size();
    if (bytes <= limits::kNetworkZonesBytes) {
      out.push_back(std::move(whole));
    } else {
      out.push_back({{"name", zone.name},
                     {"kind", whole["kind"]},
                     {"interface", zone.interface},
                     {"process", whole["process"]},
                     {"cut", true}});
    }
  }
  return out;
}

void PutReach(const Policy& policy, json& out) {
  const Matrix matrix = MatrixOf(policy);
  json& rows = out["reach"] = json::array();
  std::size_t bytes = 0;
  for (const Reach& reach : matrix.rows) {
    json row = ReachJson(reach, limits::kNetworkPrefixes / 2);
    bytes += row.dump().size();
    if (bytes > limits::kNetworkReachBytes) break;
    rows.push_back(std::move(row));
  }
  out["reach_total"] = matrix.rows.size();
}

void UseBoundPorts(std::span<const BoundDoor> bound, Policy& policy) {
  for (Zone& zone : policy.zones) {
    for (Door& door : zone.doors) {
      const auto same = [&](const BoundDoor& one) { return one.zone == zone.name && one.service == door.service; };
      const auto at = std::find_if(bound.begin(), bound.end(), same);
      if (at != bound.end()) door.port.number = at->port;
    }
  }
}

}  // namespace

json ReachJson(const Reach& reach, std::size_t peers_max) {
  json out{{"direction", TrafficText(reach.traffic)},
           {"zone", reach.zone},
           {"interface", reach.interface},
           {"service", reach.service}};
  PutPrefixes(reach.peers.Prefixes(), peers_max, "peers", out);
  const bool echo = reach.traffic == Traffic::kEcho;
  const bool flow = reach.traffic == Traffic::kFlow;
  out["protocol"] = echo ? (IsV4(reach.address) ? "icmp" : "icmpv6") : std::string(ProtocolText(reach.port.protocol));
  if (!echo) out["port"] = reach.port.number;
  if (!echo) out["process"] = reach.process;
  if (!flow) out["address"] = AddressText(reach.address);
  return out;
}

json FindingJson(const Finding& finding) {
  return {{"severity", SeverityText(finding.severity)}, {"line", finding.line}, {"text", finding.text}};
}

json ZoneJson(const Zone& zone) {
  json out{{"name", zone.name},
           {"kind", std::string(kZoneKinds[static_cast<std::size_t>(zone.kind)])},
           {"interface", zone.interface},
           {"addresses", json::array()}};
  for (const IpAddress& address : zone.addresses) out["addresses"].push_back(AddressText(address));
  PutPrefixes(zone.sources, std::numeric_limits<std::size_t>::max(), "sources", out);
  return out;
}

json NetworkJson(const Config& config, std::span<const BoundDoor> bound) {
  const auto checked = PolicyOf(config);
  auto zones = checked ? *checked : ZonesOf(config).value_or(Policy{});
  UseBoundPorts(bound, zones);
  json out{{"configured", checked.has_value()},
           {"problem", checked ? "" : checked.error().text},
           {"zones", ZonesJson(zones, config.zones_listed)},
           {"reach", json::array()},
           {"reach_total", 0},
           {"findings", json::array()}};
  if (!checked) return out;
  PutReach(zones, out);
  for (const Finding& finding : CheckPolicy(zones)) {
    if (out["findings"].size() < limits::kNetworkFindings) out["findings"].push_back(FindingJson(finding));
  }
  return out;
}

}  // namespace stele::daemons
