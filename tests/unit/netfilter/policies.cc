#include "tests/unit/netfilter/policies.h"

#include <algorithm>

namespace stele::netfilter {
namespace {

Door Tcp(const std::string& service, std::uint16_t port) { return {service, {Protocol::kTcp, port}}; }
Door Udp(const std::string& service, std::uint16_t port) { return {service, {Protocol::kUdp, port}}; }

Zone MakeZone(const std::string& name, ZoneKind kind, const std::string& interface,
              const std::vector<std::string>& addresses, const std::vector<std::string>& sources) {
  Zone zone;
  zone.name = name;
  zone.kind = kind;
  zone.interface = interface;
  for (const std::string& text : addresses) zone.addresses.push_back(AddressOf(text));
  for (const std::string& text : sources) zone.sources.push_back(PrefixOf(text));
  return zone;
}

}  // namespace

IpAddress AddressOf(const std::string& text) { return PrefixOf(text).address; }
IpPrefix PrefixOf(const std::string& text) {
  const auto prefix = ParseIpPrefix(text);
  STELE_CHECK(prefix.has_value());
  return *prefix;
}

Policy PlantPolicy() {
  Policy policy;
  Zone machines = MakeZone("machines", ZoneKind::kIngest, "eth1", {"10.20.0.1"}, {"10.20.0.0/16"});
  machines.doors = {Udp("syslog-udp", 514), Tcp("syslog-tcp", 514)};
  machines.limits.connections = 8;
  machines.limits.connections_per_s = 5;
  machines.limits.datagrams_per_s = 2'000;
  Zone office = MakeZone("office", ZoneKind::kIngest, "eth2", {"192.0.2.10", "2001:db8:2::10"},
                         {"192.0.2.0/24", "198.51.100.0/25", "2001:db8:2::/64"});
  office.doors = {Tcp("syslog-tls", 6514), Tcp("relp-tls", 2515), Tcp("https-json", 8443)};
  Zone operators = MakeZone("operator", ZoneKind::kOperator, "eth0", {"203.0.113.5"}, {"203.0.113.0/27"});
  operators.doors = {Tcp("viewer", 9443)};
  policy.zones = {machines, office, operators};
  return policy;
}

Policy EveryKindPolicy() {
  Policy policy = PlantPolicy();
  Zone management = MakeZone("management", ZoneKind::kManagement, "eth0", {"203.0.113.5", "2001:db8:f::5"},
                             {"203.0.113.32/28", "2001:db8:f::/64"});
  management.doors = {Tcp("tcp/22", 22)};
  management.flows = {{"time", {PrefixOf("203.0.113.60"), PrefixOf("2001:db8:f::60")}, {{Protocol::kUdp, 123}}, 0}};
  Zone archive = MakeZone("archive", ZoneKind::kArchive, "eth3.100", {"172.16.9.2"}, {});
  archive.flows = {{"s3", {PrefixOf("172.16.9.64/26")}, {{Protocol::kTcp, 443}}, 0}};
  Zone witness = MakeZone("witness", ZoneKind::kWitness, "eth4", {"2001:db8:e::2"}, {"2001:db8:e::/64"});
  witness.flows = {{"first", {PrefixOf("2001:db8:77::1")}, {{Protocol::kTcp, 443}}, 0},
                   {"second", {PrefixOf("2001:db8:78::/64")}, {{Protocol::kTcp, 443}, {Protocol::kTcp, 8443}}, 0}};
  witness.router_advertisements = true;
  Zone alert = MakeZone("alert", ZoneKind::kAlert, "eth0", {"203.0.113.5"}, {});
  alert.flows = {{"siem", {PrefixOf("203.0.113.61")}, {{Protocol::kTcp, 6514}}, 0}};
  for (Zone* zone : {&management, &archive, &witness, &alert}) policy.zones.push_back(*zone);
  return policy;
}

Policy SmallestPolicy() {
  Policy policy;
  Zone zone = MakeZone("default", ZoneKind::kIngest, "eth0", {"192.0.2.1"}, {"192.0.2.0/24"});
  zone.doors = {Udp("syslog-udp", 514)};
  policy.zones = {zone};
  return policy;
}

// Zone n lives in 10.n.0.0/16 and 2001:db8:n::/48, its flows go to 172.16.n.0/24 and 2001:db8:f0n::/48.
Policy RandomPolicy(std::mt19937_64& random) {
  const auto below = [&random](std::uint64_t n) { return random() % n; };
  Policy policy;
  const std::size_t count = 1 + below(7);
  for (std::size_t n = 0; n < count; ++n) {
    const std::string number = std::to_string(n);
    const auto kind = n < 3 ? ZoneKind::kIngest : static_cast<ZoneKind>(1 + below(5));
    const bool shared = n > 3 && below(3) == 0;
    Zone zone;
    zone.name = "z-" + number;
    zone.kind = kind;
    zone.interface = "net" + std::to_string(shared ? 3 : n);
    const bool v4 = below(4) != 0;
    const bool v6 = !v4 || below(2) == 0;
    if (v4) zone.addresses.push_back(AddressOf("10." + number + ".0.1"));
    if (v4 && below(3) == 0) zone.addresses.push_back(AddressOf("10." + number + ".0.2"));
    if (v6) zone.addresses.push_back(AddressOf("2001:db8:" + number + "::1"));
    for (std::uint64_t i = below(5); i > 0; --i) {
      const auto bits = static_cast<unsigned>(96 + 16 + below(17));
      IpAddress at = AddressOf("10." + number + ".0.0");
      at[14] = static_cast<std::byte>(below(256));
      at[15] = static_cast<std::byte>(below(256));
      zone.sources.push_back({Masked(at, bits), bits});
    }
    for (std::uint64_t i = below(4); i > 0; --i) {
      const auto bits = static_cast<unsigned>(48 + below(81));
      IpAddress at = AddressOf("2001:db8:" + number + "::");
      for (std::size_t b = 6; b < 16; ++b) at[b] = static_cast<std::byte>(below(256));
      zone.sources.push_back({Masked(at, bits), bits});
    }
    for (std::uint16_t port = 500; port < 506; ++port) {
      if (below(2) == 0) zone.doors.push_back(below(2) == 0 ? Tcp("t", port) : Udp("u", port));
    }
    if (below(2) == 0) zone.limits.datagrams_per_s = static_cast<std::uint32_t>(1 + below(1'000));
    for (std::uint64_t i = MayHaveFlows(kind) ? below(3) : 0; i > 0; --i) {
      Flow flow;
      flow.name = "f" + std::to_string(i);
      const auto port = static_cast<std::uint16_t>(600 + i);
      flow.ports = {{below(2) == 0 ? Protocol::kTcp : Protocol::kUdp, port}};
      if (v4) flow.destinations.push_back(PrefixOf("172.16." + number + "." + std::to_string(16 * below(16)) + "/28"));
      if (v6) flow.destinations.push_back(PrefixOf("2001:db8:f0" + number + "::/48"));
      zone.flows.push_back(flow);
    }
    policy.zones.push_back(zone);
  }
  return policy;
}

}  // namespace stele::netfilter
