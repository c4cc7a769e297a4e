#include "netfilter/compile.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <vector>

#include "netfilter/address_set.h"
#include "netfilter/log_prefix.h"
#include "netfilter/ruleset.h"

namespace stele::netfilter {
namespace {

using Lines = std::vector<std::string>;

// Of one interface, whoever sends: a zone may not use up what another one needs.
constexpr const char* kPings = "limit rate 100/second burst 200 packets";
constexpr const char* kErrors = "limit rate 100/second burst 200 packets";
constexpr const char* kNeighbours = "limit rate 500/second burst 1000 packets";
constexpr unsigned kInterfaces = 2'048;      // dynamic sets by interface
constexpr const char* kRateTimeout = "10s";  // of a source that begins no further connection

struct Family {
  bool v4 = true;
  const char* digit = "4";
  const char* type = "ipv4_addr";
  const char* header = "ip";
};
constexpr std::array kFamilies{Family{true, "4", "ipv4_addr", "ip"}, Family{false, "6", "ipv6_addr", "ip6"}};

std::string Quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

std::string ElementPrefix(const IpPrefix& prefix) { return IpPrefixText(prefix); }

std::string MarkText(std::size_t zone) {
  char text[24] = {};                                           // "0x" and up to sixteen digits
  (void)std::snprintf(text, sizeof text, "0x%08zx", zone + 1);  // 0: of no zone
  return text;
}

std::string LimitText(std::uint32_t per_s) {
  return "limit rate " + std::to_string(per_s) + "/second burst " + std::to_string(std::uint64_t{2} * per_s) +
         " packets";
}

std::string Drop(std::uint16_t group, std::string_view zones, DropReason reason) {
  return "counter log prefix " + Quoted(LogPrefixText(zones, reason)) + " group " + std::to_string(group) +
         " snaplen " + std::to_string(kLogBytes) + " drop";
}
// On no interface of the policy.
std::string DropElsewhere(DropReason reason) { return Drop(kLogGroup, "-", reason); }

// The interfaces in the order of the policy, each with its zones joined by "+".
struct Interface {
  std::string name;
  std::uint16_t group = kLogGroup;
  std::string zones;
  bool v6 = false;
  bool router_advertisements = false;
};

std::vector<Interface> InterfacesOf(const Policy& policy) {
  std::vector<Interface> out;
  std::map<std::string, std::size_t> at;
  for (const Zone& zone : policy.zones) {
    const auto [place, fresh] = at.emplace(zone.interface, out.size());
    if (fresh) out.push_back({zone.interface, LogGroupOf(out.size()), "", false, false});
    Interface& one = out[place->second];
    one.zones += (one.zones.empty() ? "" : "+") + zone.name;
    one.v6 = one.v6 || HasFamily(zone, false);
    one.router_advertisements = one.router_advertisements || zone.router_advertisements;
  }
  return out;
}

bool HasDoor(const Zone& zone, Protocol protocol) {
  return std::any_of(zone.doors.begin(), zone.doors.end(),
                     [protocol](const Door& door) { return door.port.protocol == protocol; });
}

class Compiler {
 public:
  explicit Compiler(const Policy& policy) : policy_(policy), interfaces_(InterfacesOf(policy)) {}

  std::string Compile() {
    for (const Family& family : kFamilies) FamilySets(family);
    InterfaceSets();
    for (std::size_t i = 0; i < policy_.zones.size(); ++i) ZoneParts(i);
    for (const Interface& one : interfaces_) InterfaceChains(one);
    NeighbourChains();
    ErrorChain();
    BaseChains();
    return RulesetText(out_);
  }

 private:
  void AddSet(const std::string& name, SetSpec spec) { out_.sets.emplace_back(name, std::move(spec)); }
  void AddChain(const std::string& name, Lines rules) { out_.chains.emplace_back(name, Chain{"", std::move(rules)}); }
  void AddBase(const std::string& name, const char* hook, Lines rules) {
    out_.chains.emplace_back(name, Chain{hook, std::move(rules)});
  }

  static SetSpec Spec(bool map, std::string type, std::string flags) {
    SetSpec spec;
    spec.map = map;
    spec.type = std::move(type);
    spec.flags = std::move(flags);
    return spec;
  }

  void FamilySets(const Family& family) {
    const std::string type = family.type;
    SetSpec zones = Spec(true, "ifname . " + type + " : mark", "interval");
    SetSpec addresses = Spec(false, "mark . " + type, "");
    SetSpec doors = Spec(false, "mark . " + type + " . inet_proto . inet_service", "");
    SetSpec flows = Spec(true, "ifname . " + type + " . inet_proto . inet_service : verdict", "interval");
    for (std::size_t i = 0; i < policy_.zones.size(); ++i) {
      const Zone& zone = policy_.zones[i];
      const std::string mark = MarkText(i);
      const std::string interface = Quoted(zone.interface) + " . ";
      for (const IpPrefix& prefix : PrefixesOf(AddressSet(zone.sources), family.v4)) {
        zones.elements.push_back(interface + ElementPrefix(prefix) + " : " + mark);
      }
      for (const IpAddress& address : zone.addresses) {
        if (IsV4(address) != family.v4) continue;
        const std::string own = mark + " . " + IpPrefixText({address, 128});
        addresses.elements.push_back(own);
        for (const Door& door : zone.doors) doors.elements.push_back(own + " . " + PortElement(door.port));
      }
      if (!HasFamily(zone, family.v4)) continue;
      for (const Flow& flow : zone.flows) {
        for (const IpPrefix& prefix : PrefixesOf(AddressSet(flow.destinations), family.v4)) {
          for (const Port& port : flow.ports) {
            flows.elements.push_back(interface + ElementPrefix(prefix) + " . " + PortElement(port) + " : goto " +
                                     FlowChain(zone, flow));
          }
        }
      }
    }
    const std::string digit = family.digit;
    AddSet("zones" + digit, std::move(zones));
    AddSet("addresses" + digit, std::move(addresses));
    AddSet("doors" + digit, std::move(doors));
    AddSet("flows" + digit, std::move(flows));
  }

  static std::string PortElement(const Port& port) {
    return std::string(ProtocolText(port.protocol)) + " . " + std::to_string(port.number);
  }
  static std::string FlowChain(const Zone& zone, const Flow& flow) { return "flow_" + zone.name + "_" + flow.name; }

  void InterfaceSets() {
    SetSpec spoofed = Spec(true, "ifname : verdict", "");
    SetSpec strangers = spoofed;
    SetSpec egress = spoofed;
    SetSpec forwarded = spoofed;
    SetSpec v6 = Spec(false, "ifname", "");
    SetSpec routers = v6;
    for (const Interface& one : interfaces_) {
      const std::string name = Quoted(one.name);
      spoofed.elements.push_back(name + " : goto spoofed_" + one.name);
      strangers.elements.push_back(name + " : goto strangers_" + one.name);
      egress.elements.push_back(name + " : goto egress_" + one.name);
      forwarded.elements.push_back(name + " : goto forwarded_" + one.name);
      if (one.v6) v6.elements.push_back(name);
      if (one.router_advertisements) routers.elements.push_back(name);
    }
    SetSpec into = Spec(true, "mark : verdict", "");
    SetSpec refused = into;
    SetSpec datagrams = Spec(false, "ifname . inet_service", "");
    for (std::size_t i = 0; i < policy_.zones.size(); ++i) {
      const Zone& zone = policy_.zones[i];
      if (!zone.doors.empty()) into.elements.push_back(MarkText(i) + " : goto door_" + zone.name);
      refused.elements.push_back(MarkText(i) + " : goto refused_" + zone.name);
      for (const Door& door : zone.doors) {
        if (door.port.protocol != Protocol::kUdp) continue;
        std::string element = Quoted(zone.interface) + " . " + std::to_string(door.port.number);
        const auto there = std::find(datagrams.elements.begin(), datagrams.elements.end(), element);
        if (there == datagrams.elements.end()) datagrams.elements.push_back(std::move(element));
      }
    }
    AddSet("interfaces6", std::move(v6));
    AddSet("routers", std::move(routers));
    AddSet("untracked", std::move(datagrams));
    AddSet("spoofed", std::move(spoofed));
    AddSet("strangers", std::move(strangers));
    AddSet("egress", std::move(egress));
    AddSet("forwarded", std::move(forwarded));
    AddSet("doors", std::move(into));
    AddSet("refused", std::move(refused));
    for (const char* name : {"pings", "errors", "neighbours"}) {
      SetSpec by_interface = Spec(false, "ifname", "dynamic,timeout");
      by_interface.size = kInterfaces;
      by_interface.timeout = kRateTimeout;
      AddSet(name, std::move(by_interface));
    }
  }

  // A dynamic set of source addresses; the name of the set.
  std::string SourceSet(const char* what, const Family& family, const Zone& zone, const char* timeout) {
    std::string name = std::string(what) + family.digit + "_" + zone.name;
    SetSpec spec = Spec(false, family.type, *timeout != '\0' ? "dynamic,timeout" : "dynamic");
    spec.size = zone.limits.sources;
    spec.timeout = timeout;
    AddSet(name, std::move(spec));
    return name;
  }

  // Limits say what passes: a source for which the set has no room left is refused, and nobody is without a limit.
  void ZoneParts(std::size_t index) {
    const Zone& zone = policy_.zones[index];
    const auto drop = [&zone, group = GroupOf(zone)](DropReason reason) { return Drop(group, zone.name, reason); };
    const bool tcp = HasDoor(zone, Protocol::kTcp);
    const bool udp = HasDoor(zone, Protocol::kUdp);
    const bool udp_limited = udp && zone.limits.datagrams_per_s != 0;
    Lines door;
    Lines connect;
    if (udp && !udp_limited) door.emplace_back("meta l4proto udp counter accept");
    if (tcp) {
      door.emplace_back("ct state established counter accept");
      door.push_back("tcp flags != syn / fin,syn,rst,ack " + drop(DropReason::kInvalid));
    }
    for (const Family& family : kFamilies) {
      if (!HasFamily(zone, family.v4) || PrefixesOf(AddressSet(zone.sources), family.v4).empty()) continue;
      const std::string source = std::string(" { ") + family.header + " saddr ";
      if (udp_limited) {
        door.push_back("meta l4proto udp update @" + SourceSet("datagrams", family, zone, kRateTimeout) + source +
                       LimitText(zone.limits.datagrams_per_s) + " } counter accept");
      }
      if (!tcp) continue;
      const char* only_tcp = udp_limited ? "meta l4proto tcp " : "";
      door.push_back(only_tcp + ("update @" + SourceSet("rate", family, zone, kRateTimeout)) + source +
                     LimitText(zone.limits.connections_per_s) + " } goto connect_" + zone.name);
      connect.push_back("add @" + SourceSet("connections", family, zone, "") + source + "ct count " +
                        std::to_string(zone.limits.connections) + " } counter accept");
    }
    if (udp_limited) door.push_back((tcp ? "meta l4proto udp " : "") + drop(DropReason::kDatagrams));
    if (tcp) {
      door.push_back(drop(DropReason::kRate));
      connect.push_back(drop(DropReason::kConnections));
      AddChain("connect_" + zone.name, std::move(connect));
    }
    if (tcp || udp) AddChain("door_" + zone.name, std::move(door));
    AddChain("refused_" + zone.name,
             {"ct state invalid " + drop(DropReason::kInvalid), "meta l4proto icmp " + drop(DropReason::kIcmp),
              "meta l4proto ipv6-icmp " + drop(DropReason::kIcmp), drop(DropReason::kPort)});
    for (const Flow& flow : zone.flows) AddChain(FlowChain(zone, flow), {"counter accept"});
  }

  std::uint16_t GroupOf(const Zone& zone) const {
    return std::find_if(interfaces_.begin(), interfaces_.end(),
                        [&zone](const Interface& one) { return one.name == zone.interface; })
        ->group;
  }

  void InterfaceChains(const Interface& one) {
    AddChain("spoofed_" + one.name, {Drop(one.group, one.zones, DropReason::kSpoofed)});
    AddChain("strangers_" + one.name, {Drop(one.group, one.zones, DropReason::kSource)});
    AddChain("egress_" + one.name, {Drop(one.group, one.zones, DropReason::kEgress)});
    AddChain("forwarded_" + one.name, {Drop(one.group, one.zones, DropReason::kForward)});
  }

  //= RFC 4861 sections 6.1.2, 7.1.1, 7.1.2
  //# The IP Hop Limit field has a value of 255, i.e., the packet could not possibly have been forwarded by a router.
  void NeighbourChains() {
    const std::string limited = "update @neighbours { iifname " + std::string(kNeighbours) + " } counter accept";
    AddChain("neighbours_first", {"icmpv6 type nd-neighbor-solicit ip6 saddr :: ip6 hoplimit 255 " + limited});
    AddChain("neighbours_in",
             {"icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 " + limited,
              "icmpv6 type mld-listener-query ip6 saddr fe80::/10 ip6 hoplimit 1 " + limited,
              "icmpv6 type nd-router-advert ip6 saddr fe80::/10 ip6 hoplimit 255 iifname @routers " + limited});
    AddChain("neighbours_out",
             {"icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 counter accept",
              "icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report } ip6 saddr { ::, fe80::/10 "
              "} ip6 hoplimit 1 counter accept",
              "icmpv6 type nd-router-solicit ip6 hoplimit 255 oifname @routers counter accept"});
  }

  // What a connection that is allowed must be told: the path is narrower, the host is gone.
  void ErrorChain() {
    const std::string limited = "update @errors { iifname " + std::string(kErrors) + " } counter accept";
    AddChain("errors_in",
             {"icmp type { destination-unreachable, time-exceeded, parameter-problem } " + limited,
              "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } " + limited});
  }

  void BaseChains() {
    const std::string ping = "update @pings { iifname " + std::string(kPings) + " } counter accept";
    AddBase("prerouting", "type filter hook prerouting priority raw; policy accept;",
            {"iifname . udp dport @untracked notrack"});
    AddBase("input", "type filter hook input priority filter; policy drop;",
            {"iifname \"lo\" accept", "meta mark set 0x00000000", "meta mark set iifname . ip saddr map @zones4",
             "meta mark set iifname . ip6 saddr map @zones6",
             "meta l4proto ipv6-icmp iifname @interfaces6 jump neighbours_first",
             "fib saddr . iif oif 0 iifname vmap @spoofed",
             "meta l4proto ipv6-icmp iifname @interfaces6 jump neighbours_in", "ct state related jump errors_in",
             "ct state established ct direction reply iifname . ip saddr . meta l4proto . th sport vmap @flows4",
             "ct state established ct direction reply iifname . ip6 saddr . meta l4proto . th sport vmap @flows6",
             "meta mark . ip daddr . meta l4proto . th dport @doors4 meta mark vmap @doors",
             "meta mark . ip6 daddr . meta l4proto . th dport @doors6 meta mark vmap @doors",
             "icmp type echo-request meta mark . ip daddr @addresses4 " + ping,
             "icmpv6 type echo-request meta mark . ip6 daddr @addresses6 " + ping, "meta mark vmap @refused",
             "iifname vmap @strangers", DropElsewhere(DropReason::kInterface)});
    AddBase("forward", "type filter hook forward priority filter; policy drop;",
            {"iifname vmap @forwarded", DropElsewhere(DropReason::kForward)});
    AddBase("output", "type filter hook output priority filter; policy drop;",
            {"oifname \"lo\" accept", "meta mark set 0x00000000", "meta mark set oifname . ip daddr map @zones4",
             "meta mark set oifname . ip6 daddr map @zones6",
             "meta l4proto ipv6-icmp oifname @interfaces6 jump neighbours_out", "ct state invalid oifname vmap @egress",
             "ct state established ct direction reply meta mark . ip saddr . meta l4proto . th sport @doors4 counter "
             "accept",
             "ct state established ct direction reply meta mark . ip6 saddr . meta l4proto . th sport @doors6 counter "
             "accept",
             "icmp type echo-reply ct state established meta mark . ip saddr @addresses4 counter accept",
             "icmpv6 type echo-reply ct state established meta mark . ip6 saddr @addresses6 counter accept",
             "oifname . ip daddr . meta l4proto . th dport vmap @flows4",
             "oifname . ip6 daddr . meta l4proto . th dport vmap @flows6", "oifname vmap @egress",
             DropElsewhere(DropReason::kEgress)});
  }

  const Policy& policy_;
  std::vector<Interface> interfaces_;
  Ruleset out_;
};

}  // namespace

std::string CompilePolicy(const Policy& policy) { return Compiler(policy).Compile(); }

}  // namespace stele::netfilter
