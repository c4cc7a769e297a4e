// Goal: a policy that contradicts itself never reaches the kernel, and what is probably not meant is said. Method: one
// mistake at a time in a policy that has none.
#include "netfilter/checks.h"

#include <gtest/gtest.h>

#include "tests/unit/netfilter/policies.h"

namespace stele::netfilter {
namespace {

std::string TextOf(const std::vector<Finding>& findings) {
  constexpr std::array kWords{"error", "cut off", "warning"};
  std::string out;
  for (const Finding& finding : findings) {
    out += (out.empty() ? "" : "\n") + std::string(kWords[static_cast<std::size_t>(finding.severity)]) + ": " +
           finding.text;
  }
  return out;
}

template <typename Change>
std::string After(Change change, Policy policy = PlantPolicy()) {
  change(policy);
  return TextOf(CheckPolicy(policy));
}

TEST(CheckPolicy, GoodOnesAreGood) {
  EXPECT_EQ(TextOf(CheckPolicy(PlantPolicy())), "");
  EXPECT_EQ(TextOf(CheckPolicy(EveryKindPolicy())), "");
  EXPECT_EQ(TextOf(CheckPolicy(SmallestPolicy())), "");
}

TEST(CheckPolicy, ContradictionsAreErrors) {
  EXPECT_EQ(After([](Policy& p) { p.zones[1].name = "machines"; }), "error: zone machines: is there twice");
  EXPECT_EQ(After([](Policy& p) { p.zones[1].interface = ""; }), "error: zone office: names no interface");
  for (const char* name : {"eth0; drop", "eth*", "0123456789abcdef", "\"", "a/b", ".."}) {
    EXPECT_EQ(After([&](Policy& p) { p.zones[1].interface = name; }),
              "error: zone office: the name of its interface is none")
        << name;
  }
  EXPECT_EQ(After([](Policy& p) { p.zones[1].interface = "lo"; }),
            "error: zone office: the loopback is no zone: what happens on it is never filtered");
  EXPECT_EQ(After([](Policy& p) { p.zones[1].interface = "eth1"; }),
            "error: zone office: shares eth1 with zone machines: an ingest zone has an interface of its own");
  EXPECT_EQ(After([](Policy& p) { p.zones[0].addresses.clear(); }),
            "error: zone machines: has no address\n"
            "warning: zone machines: hole: 10.20.0.0/16 may send and the zone has no address of that family");
  EXPECT_EQ(After([](Policy& p) { p.zones[2].addresses = {AddressOf("0.0.0.0")}; }),
            "error: zone operator: 0.0.0.0 is not the address of an interface: name those it has");
  EXPECT_EQ(After([](Policy& p) { p.zones[2].addresses = {AddressOf("10.20.0.1")}; }),
            "error: zone operator: 10.20.0.1 is an address of zone machines already, on another interface\n"
            "error: zone operator: 10.20.0.1, an address of ours, is within 10.20.0.0/16 of zone machines");
  EXPECT_EQ(After([](Policy& p) { p.zones[0].doors[0].port.number = 0; }),
            "error: zone machines: syslog-udp has port 0: a policy needs to know which");
  EXPECT_EQ(After([](Policy& p) { p.zones[1].doors[1].port.number = 6514; }),
            "error: zone office: tcp/6514 is given twice: syslog-tls and relp-tls");
  EXPECT_EQ(After([](Policy& p) { p.zones[1].sources.push_back(PrefixOf("127.0.0.0/16")); }),
            "error: zone office: no host has a source address in 127.0.0.0/16");
  EXPECT_EQ(After([](Policy& p) {
              p.zones[1].sources = {PrefixOf("192.0.2.0/24"), PrefixOf("::/0")};
            }),
            "error: zone office: ::/0 is more than IPv6 hosts have: 2000::/3 is all of the Internet\n"
            "error: zone machines: 10.20.0.0/16 is within ::/0 of zone office\n"
            "error: zone machines: 10.20.0.1, an address of ours, is within ::/0 of zone office\n"
            "error: zone operator: 203.0.113.0/27 is within ::/0 of zone office\n"
            "error: zone operator: 203.0.113.5, an address of ours, is within ::/0 of zone office\n"
            "warning: zone office: shadowed: 192.0.2.0/24 says nothing that ::/0 does not");
  EXPECT_EQ(After([](Policy& p) { p.zones[1].limits.connections = 0; }),
            "error: zone office: has a limit that lets nothing through");
}

TEST(CheckPolicy, SourcesOfTwoZonesDoNotOverlap) {
  EXPECT_EQ(After([](Policy& p) { p.zones[1].sources.push_back(PrefixOf("10.20.77.0/24")); }),
            "error: zone office: 10.20.77.0/24 is within 10.20.0.0/16 of zone machines");
  EXPECT_EQ(After([](Policy& p) { p.zones[1].sources.push_back(PrefixOf("10.0.0.0/8")); }),
            "error: zone machines: 10.20.0.0/16 is within 10.0.0.0/8 of zone office\n"
            "error: zone machines: 10.20.0.1, an address of ours, is within 10.0.0.0/8 of zone office");
  EXPECT_EQ(After([](Policy& p) { p.zones[2].sources.push_back(PrefixOf("192.0.2.0/24")); }),
            "error: zone operator: 192.0.2.0/24 is within 192.0.2.0/24 of zone office\n"
            "error: zone office: 192.0.2.10, an address of ours, is within 192.0.2.0/24 of zone operator");
}

TEST(CheckPolicy, FlowsThatCannotBeAreErrors) {
  const auto flow = [](Policy& p) -> Flow& { return p.zones[4].flows[0]; };  // archive: s3
  const Policy all = EveryKindPolicy();
  EXPECT_EQ(After([](Policy& p) {
              p.zones[0].flows = {{"out", {PrefixOf("10.20.0.9")}, {{Protocol::kTcp, 443}}, 7}};
            }),
            "error: zone machines: no connection begins here: this kind of zone has no flows");
  EXPECT_EQ(After([&](Policy& p) { flow(p).destinations.clear(); }, all),
            "error: zone archive: flow s3: names no destination");
  EXPECT_EQ(After([&](Policy& p) { flow(p).ports.clear(); }, all), "error: zone archive: flow s3: names no port");
  EXPECT_EQ(After(
                [&](Policy& p) {
                  flow(p).ports = {{Protocol::kTcp, 0}};
                },
                all),
            "error: zone archive: flow s3: port 0 is no port");
  EXPECT_EQ(After([&](Policy& p) { flow(p).destinations = {PrefixOf("2001:db8:9::1")}; }, all),
            "error: zone archive: flow s3: the zone has no address of the family of 2001:db8:9::1");
  EXPECT_EQ(After([&](Policy& p) { flow(p).destinations = {PrefixOf("192.0.2.64/26")}; }, all),
            "error: zone archive: flow s3: 192.0.2.64/26 is 192.0.2.0/24 of zone office, behind another interface");
  EXPECT_EQ(After(
                [](Policy& p) {
                  p.zones[6].flows.push_back({"again", {PrefixOf("203.0.113.61")}, {{Protocol::kTcp, 6514}}, 0});
                },
                all),
            "error: zone alert: flow again: shadowed: tcp/6514 to some of its destinations is flow siem of zone alert");
}

TEST(CheckPolicy, WhatIsProbablyNotMeantIsAWarning) {
  EXPECT_EQ(After([](Policy& p) { p.zones[0].sources.push_back(PrefixOf("10.20.5.0/24")); }),
            "warning: zone machines: shadowed: 10.20.5.0/24 says nothing that 10.20.0.0/16 does not");
  EXPECT_EQ(After([](Policy& p) { p.zones[0].sources.clear(); }),
            "warning: zone machines: hole: it listens and nobody is allowed to send");
  EXPECT_EQ(After([](Policy& p) { p.zones[1].sources = {PrefixOf("192.0.2.0/24")}; }),
            "warning: zone office: hole: nobody who is allowed has the family of 2001:db8:2::10");
  EXPECT_EQ(After([](Policy& p) { p.zones[0].doors.clear(); }),
            "warning: zone machines: hole: nothing may be reached from it, and nothing goes to it");
  const Policy all = EveryKindPolicy();
  EXPECT_EQ(After(
                [](Policy& p) {
                  p.zones[3].flows[0].ports.push_back({Protocol::kUdp, 53});
                },
                all),
            "warning: zone management: flow time: names are asked through it: who answers may be told anything");
  EXPECT_EQ(After([](Policy& p) { p.zones[4].flows[0].destinations = {PrefixOf("172.16.0.0/12")}; }, all),
            "warning: zone archive: flow s3: 172.16.0.0/12 is wide for a way out");
}

TEST(CheckPolicy, FindingsKeepTheirLines) {
  Policy policy = PlantPolicy();
  policy.zones[1].line = 17;
  policy.zones[1].interface = "lo";
  EXPECT_EQ(CheckPolicy(policy).at(0).line, 17U);
}

TEST(CheckInterfaces, NamesTheZonesWhoseInterfaceIsNotThere) {
  EXPECT_EQ(TextOf(CheckInterfaces(PlantPolicy(), {"lo", "eth0", "eth1", "eth2"})), "");
  EXPECT_EQ(TextOf(CheckInterfaces(PlantPolicy(), {"lo", "eth0", "eth1"})),
            "error: zone office: there is no interface eth2");
}

TEST(CheckOperators, SeesThatNobodyWouldGetInAnyMore) {
  EXPECT_EQ(TextOf(CheckOperators(PlantPolicy(), {})), "");
  EXPECT_EQ(TextOf(CheckOperators(PlantPolicy(), {AddressOf("203.0.113.9")})), "");
  EXPECT_EQ(TextOf(CheckOperators(PlantPolicy(), {AddressOf("203.0.113.99")})),
            "cut off: 203.0.113.99 would reach nothing of the operator and management zones any more");
  EXPECT_EQ(TextOf(CheckOperators(PlantPolicy(), {AddressOf("192.0.2.9")})),
            "cut off: 192.0.2.9 would reach nothing of the operator and management zones any more");
  for (const Policy& policy : {SmallestPolicy(), [] {
                                 Policy p = PlantPolicy();
                                 p.zones[2].sources.clear();
                                 return p;
                               }()}) {
    EXPECT_EQ(TextOf(CheckOperators(policy, {})),
              "cut off: nobody would reach the viewer or a port of the management zone any more");
  }
}

}  // namespace
}  // namespace stele::netfilter
