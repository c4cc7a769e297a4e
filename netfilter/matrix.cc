#include "netfilter/matrix.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace stele::netfilter {
namespace {

AddressSet OneFamily(const std::vector<IpPrefix>& prefixes, bool v4) {
  std::vector<IpPrefix> ours;
  std::copy_if(prefixes.begin(), prefixes.end(), std::back_inserter(ours),
               [v4](const IpPrefix& prefix) { return IsV4(prefix) == v4; });
  return AddressSet(ours);
}

std::string ProcessName(const Zone& zone) {
  std::string name(ProcessOf(zone.kind));
  if (zone.kind == ZoneKind::kIngest) name += "@" + zone.name;
  return name;
}

std::string ListText(const AddressSet& set) {
  std::string out;
  for (const IpPrefix& prefix : set.Prefixes()) out += (out.empty() ? "" : ", ") + IpPrefixText(prefix);
  return out;
}

// What makes two rows the same field, whatever their zones are called.
using Field = std::tuple<Traffic, std::string, IpAddress, Port>;
Field FieldOf(const Reach& reach) { return {reach.traffic, reach.interface, reach.address, reach.port}; }

// Flows of both families have one field: the ranges of the two never meet.
std::map<Field, Reach> Fields(const Matrix& matrix) {
  std::map<Field, Reach> out;
  for (const Reach& row : matrix.rows) {
    const auto [at, fresh] = out.emplace(FieldOf(row), row);
    if (!fresh) at->second.peers.Add(row.peers);
  }
  return out;
}

void Compare(const Matrix& rows, const std::map<Field, Reach>& others, bool opens, std::vector<Change>& out) {
  for (const Reach& row : rows.rows) {
    const auto other = others.find(FieldOf(row));
    Change change{opens, row};
    if (other != others.end()) change.reach.peers = row.peers.Without(other->second.peers);
    if (!change.reach.peers.empty()) out.push_back(std::move(change));
  }
}

void CompareLimits(const Zone& older, const Zone& newer, std::vector<std::string>& out) {
  const auto compare = [&](const char* what, std::uint32_t from, std::uint32_t to) {
    const auto text = [](std::uint32_t n) { return n == 0 ? std::string("no limit") : std::to_string(n); };
    if (from != to) out.push_back("zone " + newer.name + ": " + what + " from " + text(from) + " to " + text(to));
  };
  compare("connections of a source", older.limits.connections, newer.limits.connections);
  compare("new connections of a source a second", older.limits.connections_per_s, newer.limits.connections_per_s);
  compare("datagrams of a source a second", older.limits.datagrams_per_s, newer.limits.datagrams_per_s);
  compare("sources told apart", older.limits.sources, newer.limits.sources);
  if (older.router_advertisements != newer.router_advertisements) {
    out.push_back("zone " + newer.name + ": router advertisements are " +
                  (newer.router_advertisements ? "taken now" : "no longer taken"));
  }
}

}  // namespace

Matrix MatrixOf(const Policy& policy) {
  Matrix matrix;
  for (const Zone& zone : policy.zones) {
    Reach reach{Traffic::kDoor, zone.name, zone.interface, ProcessName(zone), "", {}, {}, {}};
    for (const IpAddress& address : zone.addresses) {
      reach.peers = OneFamily(zone.sources, IsV4(address));
      reach.address = address;
      if (reach.peers.empty()) continue;
      for (const Door& door : zone.doors) {
        reach.service = door.service;
        reach.port = door.port;
        matrix.rows.push_back(reach);
      }
      matrix.rows.push_back({Traffic::kEcho, zone.name, zone.interface, "", "echo", reach.peers, address, {}});
    }
    for (const Flow& flow : zone.flows) {
      for (const bool v4 : {true, false}) {
        const AddressSet destinations = OneFamily(flow.destinations, v4);
        if (destinations.empty() || !HasFamily(zone, v4)) continue;
        for (const Port& port : flow.ports) {
          matrix.rows.push_back(
              {Traffic::kFlow, zone.name, zone.interface, ProcessName(zone), flow.name, destinations, {}, port});
        }
      }
    }
  }
  return matrix;
}

const Reach* Permits(const Matrix& matrix, const Probe& probe) {
  const auto at = std::find_if(matrix.rows.begin(), matrix.rows.end(), [&](const Reach& row) {
    return row.traffic == probe.traffic && row.interface == probe.interface && row.peers.Contains(probe.peer) &&
           (row.traffic == Traffic::kFlow || row.address == probe.own) &&
           (row.traffic == Traffic::kEcho || row.port == probe.port);
  });
  return at == matrix.rows.end() ? nullptr : &*at;
}

std::string ReachText(const Reach& reach) {
  const std::string there = ListText(reach.peers) + " on " + reach.interface + " (zone " + reach.zone + ")";
  const std::string here = IpPrefixText({reach.address, 128});
  switch (reach.traffic) {
    case Traffic::kDoor:
      return there + " -> " + here + " " + PortText(reach.port) + " (" + reach.service + ", " + reach.process + ")";
    case Traffic::kEcho:
      return there + " -> " + here + " echo requests";
    case Traffic::kFlow:
      return reach.process + " -> " + there + " " + PortText(reach.port) + " (" + reach.service + ")";
  }
  return "";
}

PolicyDiff DiffOf(const Policy& older, const Policy& newer) {
  const Matrix before = MatrixOf(older);
  const Matrix after = MatrixOf(newer);
  PolicyDiff diff;
  Compare(before, Fields(after), false, diff.changes);
  Compare(after, Fields(before), true, diff.changes);
  for (const Zone& zone : newer.zones) {
    const auto same = std::find_if(older.zones.begin(), older.zones.end(),
                                   [&zone](const Zone& other) { return other.name == zone.name; });
    if (same != older.zones.end()) CompareLimits(*same, zone, diff.limits);
  }
  return diff;
}

std::vector<std::string> DiffTexts(const PolicyDiff& diff) {
  std::vector<std::string> out;
  for (const Change& change : diff.changes) out.push_back((change.opens ? "opens " : "closes ") + ReachText(change.reach));
  for (const std::string& limit : diff.limits) out.push_back("limit " + limit);
  return out;
}

}  // namespace stele::netfilter
