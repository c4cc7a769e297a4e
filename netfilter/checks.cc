#include "netfilter/checks.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <tuple>

#include "netfilter/address_set.h"
#include "netfilter/matrix.h"

namespace stele::netfilter {
namespace {

constexpr std::size_t kInterfaceNameBytes = 15;  // IFNAMSIZ - 1
constexpr unsigned kWideV4 = 96 + 24;
constexpr unsigned kWideV6 = 48;

bool IsInterfaceName(std::string_view name) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
           c == '_';
  };
  return !name.empty() && name.size() <= kInterfaceNameBytes && name != "." && name != ".." &&
         std::all_of(name.begin(), name.end(), plain);
}

const std::vector<IpPrefix>& NoHosts() {  // what is never the address of one host elsewhere
  static const std::vector<IpPrefix> kNoHosts = [] {
    std::vector<IpPrefix> out;
    for (const char* text : {"0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "255.255.255.255", "::", "::1", "ff00::/8"}) {
      out.push_back(*ParseIpPrefix(text));
    }
    return out;
  }();
  return kNoHosts;
}

bool IsNoHost(const IpPrefix& prefix) {
  return std::any_of(NoHosts().begin(), NoHosts().end(),
                     [&](const IpPrefix& no) { return no.bits <= prefix.bits && no.Contains(prefix.address); });
}

bool CoversV4(const IpPrefix& prefix) {  // "::/0" and its like would take in ::ffff:0:0/96
  return prefix.bits < 96 && prefix.Contains(ParseIpPrefix("0.0.0.0")->address);
}

std::string AddressText(const IpAddress& address) { return IpPrefixText({address, 128}); }

class Checker {
 public:
  explicit Checker(const Policy& policy) : policy_(policy) {}

  std::vector<Finding> Check() {
    CheckNames();
    for (const Zone& zone : policy_.zones) {
      CheckZone(zone);
      for (const Flow& flow : zone.flows) CheckFlow(zone, flow);
    }
    CheckSharedInterfaces();
    CheckAddresses();
    CheckOverlaps();
    CheckFlowOverlaps();
    std::stable_sort(findings_.begin(), findings_.end(),
                     [](const Finding& a, const Finding& b) { return a.severity < b.severity; });
    return std::move(findings_);
  }

 private:
  void Add(Severity severity, std::uint32_t line, std::string text) {
    findings_.push_back({severity, line, std::move(text)});
  }
  void Wrong(const Zone& zone, const std::string& text) {
    Add(Severity::kError, zone.line, "zone " + zone.name + ": " + text);
  }
  void Warn(const Zone& zone, const std::string& text) {
    Add(Severity::kWarning, zone.line, "zone " + zone.name + ": " + text);
  }
  void Wrong(const Zone& zone, const Flow& flow, const std::string& text) {
    Add(Severity::kError, flow.line, "zone " + zone.name + ": flow " + flow.name + ": " + text);
  }
  void Warn(const Zone& zone, const Flow& flow, const std::string& text) {
    Add(Severity::kWarning, flow.line, "zone " + zone.name + ": flow " + flow.name + ": " + text);
  }

  void CheckNames() {
    std::set<std::string> names;
    for (const Zone& zone : policy_.zones) {
      if (!names.insert(zone.name).second) Wrong(zone, "is there twice");
    }
  }

  void CheckZone(const Zone& zone) {
    if (!IsInterfaceName(zone.interface)) {
      Wrong(zone, zone.interface.empty() ? "names no interface" : "the name of its interface is none");
    } else if (zone.interface == "lo") {
      Wrong(zone, "the loopback is no zone: what happens on it is never filtered");
    }
    if (zone.addresses.empty()) Wrong(zone, "has no address");
    for (const IpAddress& address : zone.addresses) {
      if (!IsNoHost({address, 128})) continue;
      Wrong(zone, AddressText(address) + " is not the address of an interface: name those it has");
    }
    CheckSources(zone);
    CheckDoors(zone);
    if (zone.limits.connections == 0 || zone.limits.connections_per_s == 0 || zone.limits.sources == 0 ||
        zone.limits.sources > limits::kPolicySourcesMax) {
      Wrong(zone, "has a limit that lets nothing through");
    }
    if (!MayHaveFlows(zone.kind) && !zone.flows.empty())
      Wrong(zone, "no connection begins here: this kind of zone has no flows");
    if (zone.router_advertisements && !HasFamily(zone, false))
      Warn(zone, "takes router advertisements and has no IPv6 address");
  }

  void CheckSources(const Zone& zone) {
    for (const IpPrefix& prefix : zone.sources) {
      if (IsNoHost(prefix)) Wrong(zone, "no host has a source address in " + IpPrefixText(prefix));
      if (CoversV4(prefix))
        Wrong(zone, IpPrefixText(prefix) + " is more than IPv6 hosts have: 2000::/3 is all of the Internet");
      if (!HasFamily(zone, IsV4(prefix))) {
        Warn(zone, "hole: " + IpPrefixText(prefix) + " may send and the zone has no address of that family");
      }
    }
    std::vector<IpPrefix> sorted = zone.sources;  // of two where one contains the other, the wider one comes first
    std::sort(sorted.begin(), sorted.end(), [](const IpPrefix& a, const IpPrefix& b) {
      return std::tie(a.address, a.bits) < std::tie(b.address, b.bits);
    });
    const IpPrefix* wider = nullptr;
    for (const IpPrefix& prefix : sorted) {
      if (wider != nullptr && wider->Contains(prefix.address)) {
        Warn(zone, "shadowed: " + IpPrefixText(prefix) + " says nothing that " + IpPrefixText(*wider) + " does not");
      } else {
        wider = &prefix;
      }
    }
  }

  void CheckDoors(const Zone& zone) {
    std::map<Port, std::string> seen;
    for (const Door& door : zone.doors) {
      if (door.port.number == 0) Wrong(zone, door.service + " has port 0: a policy needs to know which");
      const auto [at, fresh] = seen.emplace(door.port, door.service);
      if (!fresh) Wrong(zone, PortText(door.port) + " is given twice: " + at->second + " and " + door.service);
    }
    if (zone.doors.empty() && zone.flows.empty())
      Warn(zone, "hole: nothing may be reached from it, and nothing goes to it");
    if (zone.doors.empty()) return;
    if (zone.sources.empty()) Warn(zone, "hole: it listens and nobody is allowed to send");
    for (const IpAddress& address : zone.addresses) {
      const bool reached = std::any_of(zone.sources.begin(), zone.sources.end(),
                                       [&](const IpPrefix& prefix) { return IsV4(prefix) == IsV4(address); });
      if (!reached && !zone.sources.empty())
        Warn(zone, "hole: nobody who is allowed has the family of " + AddressText(address));
    }
  }

  void CheckFlow(const Zone& zone, const Flow& flow) {
    if (flow.destinations.empty()) Wrong(zone, flow, "names no destination");
    if (flow.ports.empty()) Wrong(zone, flow, "names no port");
    std::set<Port> ports;
    for (const Port& port : flow.ports) {
      if (port.number == 0) Wrong(zone, flow, "port 0 is no port");
      if (!ports.insert(port).second) Wrong(zone, flow, PortText(port) + " is given twice");
      if (port.number == 53 || port.number == 853) {
        Warn(zone, flow, "names are asked through it: who answers may be told anything");
      }
    }
    for (const IpPrefix& prefix : flow.destinations) {
      if (IsNoHost(prefix)) Wrong(zone, flow, "nobody has an address in " + IpPrefixText(prefix));
      if (CoversV4(prefix)) Wrong(zone, flow, IpPrefixText(prefix) + " is more than IPv6 hosts have");
      if (!HasFamily(zone, IsV4(prefix))) {
        Wrong(zone, flow, "the zone has no address of the family of " + IpPrefixText(prefix));
      }
      if (prefix.bits < (IsV4(prefix) ? kWideV4 : kWideV6))
        Warn(zone, flow, IpPrefixText(prefix) + " is wide for a way out");
    }
  }

  void CheckSharedInterfaces() {
    std::map<std::string, const Zone*> owner;
    for (const Zone& zone : policy_.zones) {
      const auto [at, fresh] = owner.emplace(zone.interface, &zone);
      if (fresh || zone.interface.empty()) continue;
      if (zone.kind == ZoneKind::kIngest || at->second->kind == ZoneKind::kIngest) {
        Wrong(zone, "shares " + zone.interface + " with zone " + at->second->name +
                        ": an ingest zone has an interface of its own");
      }
    }
  }

  void CheckAddresses() {
    std::map<IpAddress, const Zone*> owner;
    for (const Zone& zone : policy_.zones) {
      std::set<IpAddress> own;
      for (const IpAddress& address : zone.addresses) {
        if (!own.insert(address).second) Wrong(zone, "has " + AddressText(address) + " twice");
        const auto [at, fresh] = owner.emplace(address, &zone);
        if (!fresh && at->second->interface != zone.interface) {
          Wrong(zone,
                AddressText(address) + " is an address of zone " + at->second->name + " already, on another interface");
        }
      }
    }
  }

  // Sources of two zones, or a source and an address of ours on another interface: nobody could tell where a packet
  // belongs.
  void CheckOverlaps() {
    struct Claim {
      AddressRange range;
      const Zone* zone = nullptr;
      IpPrefix prefix;
      bool own = false;
    };
    std::vector<Claim> claims;
    for (const Zone& zone : policy_.zones) {
      for (const IpPrefix& prefix : zone.sources) claims.push_back({RangeOf(prefix), &zone, prefix, false});
      for (const IpAddress& address : zone.addresses)
        claims.push_back({{address, address}, &zone, {address, 128}, true});
    }
    std::stable_sort(claims.begin(), claims.end(), [](const Claim& a, const Claim& b) {
      return std::tie(a.range.first, b.range.last) < std::tie(b.range.first, a.range.last);
    });
    std::vector<const Claim*> open;  // prefixes nest: those that contain the next one, widest first
    for (const Claim& claim : claims) {
      while (!open.empty() && open.back()->range.last < claim.range.first) open.pop_back();
      for (const Claim* wider : open) {
        const bool one_place = claim.zone == wider->zone || (claim.own && wider->own) ||
                               ((claim.own || wider->own) && claim.zone->interface == wider->zone->interface);
        if (one_place) continue;
        Wrong(*claim.zone, IpPrefixText(claim.prefix) + (claim.own ? ", an address of ours," : "") + " is within " +
                               IpPrefixText(wider->prefix) + " of zone " + wider->zone->name);
        break;
      }
      open.push_back(&claim);
    }
  }

  void CheckFlowOverlaps() {
    std::map<std::pair<std::string, Port>, std::vector<std::tuple<AddressRange, const Zone*, const Flow*>>> ways;
    for (const Zone& zone : policy_.zones) {
      std::set<std::string> names;
      for (const Flow& flow : zone.flows) {
        if (!names.insert(flow.name).second) Wrong(zone, flow, "is there twice");
        CheckDestinations(zone, flow);
        for (const Port& port : flow.ports) {
          for (const IpPrefix& prefix : flow.destinations)
            ways[{zone.interface, port}].emplace_back(RangeOf(prefix), &zone, &flow);
        }
      }
    }
    for (auto& [key, members] : ways) {
      std::sort(members.begin(), members.end(),
                [](const auto& a, const auto& b) { return std::get<0>(a).first < std::get<0>(b).first; });
      const auto* last = &members.front();  // the one that reaches farthest so far
      for (std::size_t i = 1; i < members.size(); ++i) {
        const auto& [range, zone, flow] = members[i];
        if (Overlap(range, std::get<0>(*last)) && flow != std::get<2>(*last)) {
          Wrong(*zone, *flow,
                "shadowed: " + PortText(key.second) + " to some of its destinations is flow " +
                    std::get<2>(*last)->name + " of zone " + std::get<1>(*last)->name);
        }
        if (range.last > std::get<0>(*last).last) last = &members[i];
      }
    }
  }

  void CheckDestinations(const Zone& zone, const Flow& flow) {
    for (const IpPrefix& prefix : flow.destinations) {
      for (const Zone& other : policy_.zones) {
        if (other.interface == zone.interface) continue;
        const auto inside = std::find_if(other.sources.begin(), other.sources.end(), [&](const IpPrefix& source) {
          return Overlap(RangeOf(source), RangeOf(prefix));
        });
        if (inside == other.sources.end()) continue;
        Wrong(zone, flow,
              IpPrefixText(prefix) + " is " + IpPrefixText(*inside) + " of zone " + other.name +
                  ", behind another interface");
      }
    }
  }

  const Policy& policy_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> CheckPolicy(const Policy& policy) { return Checker(policy).Check(); }

std::vector<Finding> CheckInterfaces(const Policy& policy, const std::vector<std::string>& interfaces) {
  std::vector<Finding> findings;
  for (const Zone& zone : policy.zones) {
    if (std::find(interfaces.begin(), interfaces.end(), zone.interface) != interfaces.end()) continue;
    findings.push_back(
        {Severity::kError, zone.line, "zone " + zone.name + ": there is no interface " + zone.interface});
  }
  return findings;
}

std::vector<Finding> CheckOperators(const Policy& policy, const std::vector<IpAddress>& from) {
  std::vector<const Zone*> theirs;
  for (const Zone& zone : policy.zones) {
    if (zone.kind == ZoneKind::kOperator || zone.kind == ZoneKind::kManagement) theirs.push_back(&zone);
  }
  const Matrix matrix = MatrixOf(policy);
  const auto gets_in = [&](const IpAddress* address) {
    return std::any_of(matrix.rows.begin(), matrix.rows.end(), [&](const Reach& row) {
      return row.traffic == Traffic::kDoor && (address == nullptr || row.peers.Contains(*address)) &&
             std::any_of(theirs.begin(), theirs.end(), [&](const Zone* zone) { return zone->name == row.zone; });
    });
  };
  std::vector<Finding> findings;
  if (!gets_in(nullptr)) {
    findings.push_back({Severity::kCutOff, theirs.empty() ? 0 : theirs.front()->line,
                        "nobody would reach the viewer or a port of the management zone any more"});
    return findings;
  }
  for (const IpAddress& address : from) {
    if (gets_in(&address)) continue;
    findings.push_back(
        {Severity::kCutOff, theirs.front()->line,
         IpPrefixText({address, 128}) + " would reach nothing of the operator and management zones any more"});
  }
  return findings;
}

}  // namespace stele::netfilter
