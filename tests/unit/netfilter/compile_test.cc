// Goal: a policy gives one ruleset, the same bytes every time, and each kind of packet meets the rule that is meant for
// it. Method: golden files; packets through a small machine that reads the text of the ruleset (ruleset_machine.h).
#include "netfilter/compile.h"

#include <gtest/gtest.h>

#include "netfilter/log_prefix.h"
#include "tests/unit/golden.h"
#include "tests/unit/netfilter/policies.h"
#include "tests/unit/netfilter/ruleset_machine.h"

namespace stele::netfilter {
namespace {

MachinePacket From(const std::string& interface, const std::string& source, const std::string& destination,
                   std::uint16_t port, const std::string& protocol = "tcp") {
  MachinePacket packet;
  packet.iifname = interface;
  packet.saddr = AddressOf(source);
  packet.daddr = AddressOf(destination);
  packet.dport = port;
  packet.l4proto = protocol;
  return packet;
}

MachinePacket To(const std::string& interface, const std::string& source, const std::string& destination,
                 std::uint16_t port, const std::string& protocol = "tcp") {
  MachinePacket packet = From("", source, destination, port, protocol);
  packet.oifname = interface;
  return packet;
}

MachinePacket Icmp(const std::string& interface, const std::string& source, const std::string& destination,
                   const std::string& type) {
  const bool v4 = source.find(':') == std::string::npos;
  MachinePacket packet = From(interface, source, destination, 0, v4 ? "icmp" : "ipv6-icmp");
  packet.icmp_type = type;
  return packet;
}

std::string In(const MachinePacket& packet, const Policy& policy = EveryKindPolicy()) {
  const MachineVerdict verdict = RunRuleset(CompilePolicy(policy), "input", packet);
  return verdict.accepted ? "accepted" : verdict.log_prefix;
}
std::string Out(const MachinePacket& packet) {
  const MachineVerdict verdict = RunRuleset(CompilePolicy(EveryKindPolicy()), "output", packet);
  return verdict.accepted ? "accepted" : verdict.log_prefix;
}

TEST(Compile, EachPolicyHasItsGoldenRuleset) {
  ExpectGolden("policy_plant.nft", AsBytes(CompilePolicy(PlantPolicy())));
  ExpectGolden("policy_every_kind.nft", AsBytes(CompilePolicy(EveryKindPolicy())));
  ExpectGolden("policy_smallest.nft", AsBytes(CompilePolicy(SmallestPolicy())));
}

TEST(Compile, WhatAZoneMayReachItReaches) {
  EXPECT_EQ(In(From("eth1", "10.20.3.4", "10.20.0.1", 514, "udp")), "accepted");
  EXPECT_EQ(In(From("eth2", "192.0.2.77", "192.0.2.10", 6514)), "accepted");
  EXPECT_EQ(In(From("eth2", "2001:db8:2::77", "2001:db8:2::10", 8443)), "accepted");
  EXPECT_EQ(In(From("eth0", "203.0.113.9", "203.0.113.5", 9443)), "accepted");
  EXPECT_EQ(In(From("eth0", "203.0.113.33", "203.0.113.5", 22)), "accepted");
}

TEST(Compile, EveryDropSaysItsZoneAndItsReason) {
  EXPECT_EQ(In(From("eth1", "10.20.3.4", "10.20.0.1", 22)), "stele:machines:port");
  EXPECT_EQ(In(From("eth1", "10.21.3.4", "10.20.0.1", 514)), "stele:machines:source");
  EXPECT_EQ(In(From("eth9", "10.20.3.4", "10.20.0.1", 514)), "stele:-:interface");
  EXPECT_EQ(In(From("eth0", "203.0.113.9", "203.0.113.5", 22)), "stele:operator:port");
  EXPECT_EQ(In(From("eth0", "198.18.0.1", "203.0.113.5", 22)), "stele:operator+management+alert:source");
  MachinePacket spoofed = From("eth1", "10.20.3.4", "10.20.0.1", 514);
  spoofed.spoofed = true;
  EXPECT_EQ(In(spoofed), "stele:machines:spoofed");
  MachinePacket invalid = From("eth1", "10.20.3.4", "10.20.0.1", 4444);
  invalid.state = "invalid";
  EXPECT_EQ(In(invalid), "stele:machines:invalid");
  MachinePacket no_syn = From("eth1", "10.20.3.4", "10.20.0.1", 514);
  no_syn.only_syn = false;
  EXPECT_EQ(In(no_syn), "stele:machines:invalid");
  EXPECT_EQ(RunRuleset(CompilePolicy(PlantPolicy()), "forward", From("eth1", "10.20.3.4", "192.0.2.77", 80)).log_prefix,
            "stele:machines:forward");
  EXPECT_EQ(RunRuleset(CompilePolicy(PlantPolicy()), "forward", From("eth9", "10.20.3.4", "192.0.2.77", 80)).log_prefix,
            "stele:-:forward");
}

TEST(Compile, AnAddressOfAnotherZoneIsOutOfReach) {
  EXPECT_EQ(In(From("eth1", "10.20.3.4", "192.0.2.10", 514)), "stele:machines:port");
  EXPECT_EQ(In(From("eth1", "10.20.3.4", "203.0.113.5", 9443)), "stele:machines:port");
  EXPECT_EQ(In(From("eth1", "203.0.113.9", "203.0.113.5", 9443)), "stele:machines:source");
}

TEST(Compile, LimitsRefuseWhatIsAboveThem) {
  MachinePacket many = From("eth1", "10.20.3.4", "10.20.0.1", 514);
  many.over_limit = true;
  EXPECT_EQ(In(many), "stele:machines:rate");
  many.l4proto = "udp";
  EXPECT_EQ(In(many), "stele:machines:datagrams");
  MachinePacket office = From("eth2", "192.0.2.77", "192.0.2.10", 6514);
  office.over_limit = true;
  EXPECT_EQ(In(office), "stele:office:rate");
  office.state = "established";
  office.only_syn = false;
  EXPECT_EQ(In(office), "accepted") << "what is open is not counted again";
}

TEST(Compile, AConnectionThatIsNoLongerAllowedEnds) {
  MachinePacket open = From("eth2", "198.51.100.9", "192.0.2.10", 6514);
  open.state = "established";
  open.only_syn = false;
  EXPECT_EQ(In(open), "accepted");
  Policy narrower = EveryKindPolicy();
  narrower.zones[1].sources = {PrefixOf("192.0.2.0/24")};
  EXPECT_EQ(In(open, narrower), "stele:office:source");
}

TEST(Compile, UdpToADoorIsNotTracked) {
  const std::string text = CompilePolicy(EveryKindPolicy());
  EXPECT_FALSE(RunRuleset(text, "prerouting", From("eth1", "10.20.3.4", "10.20.0.1", 514, "udp")).tracked);
  EXPECT_TRUE(RunRuleset(text, "prerouting", From("eth2", "10.20.3.4", "10.20.0.1", 514, "udp")).tracked);
  EXPECT_TRUE(RunRuleset(text, "prerouting", From("eth1", "10.20.3.4", "10.20.0.1", 514, "tcp")).tracked);
  MachinePacket untracked = From("eth1", "10.20.3.4", "10.20.0.1", 514, "udp");
  untracked.state = "untracked";
  EXPECT_EQ(In(untracked), "accepted");
}

TEST(Compile, NothingLeavesButFlowsAndAnswers) {
  EXPECT_EQ(Out(To("eth3.100", "172.16.9.2", "172.16.9.70", 443)), "accepted");
  EXPECT_EQ(Out(To("eth3.100", "172.16.9.2", "172.16.9.70", 80)), "stele:archive:egress");
  EXPECT_EQ(Out(To("eth3.100", "172.16.9.2", "172.16.9.10", 443)), "stele:archive:egress");
  EXPECT_EQ(Out(To("eth1", "10.20.0.1", "10.20.3.4", 443)), "stele:machines:egress");
  EXPECT_EQ(Out(To("eth0", "203.0.113.5", "203.0.113.60", 53, "udp")), "stele:operator+management+alert:egress");
  EXPECT_EQ(Out(To("eth9", "203.0.113.5", "203.0.113.60", 123, "udp")), "stele:-:egress");
  MachinePacket answer = To("eth2", "192.0.2.10", "192.0.2.77", 40'000);
  answer.sport = 6514;
  answer.state = "established";
  answer.direction = "reply";
  EXPECT_EQ(Out(answer), "accepted");
  answer.sport = 6515;
  EXPECT_EQ(Out(answer), "stele:office:egress");
  answer.sport = 6514;
  answer.direction = "original";
  EXPECT_EQ(Out(answer), "stele:office:egress") << "from the port of a door nothing begins";
}

TEST(Compile, AnswersToAFlowComeBackAndNothingElseDoes) {
  MachinePacket answer = From("eth4", "2001:db8:77::1", "2001:db8:e::2", 40'000);
  answer.sport = 443;
  EXPECT_EQ(In(answer), "stele:witness:source");
  answer.state = "established";
  answer.direction = "reply";
  EXPECT_EQ(In(answer), "accepted");
  answer.sport = 22;
  EXPECT_EQ(In(answer), "stele:witness:source");
}

TEST(Compile, EchoRequestsAreAnsweredWithinTheZoneOnly) {
  EXPECT_EQ(In(Icmp("eth1", "10.20.3.4", "10.20.0.1", "echo-request")), "accepted");
  EXPECT_EQ(In(Icmp("eth1", "10.20.3.4", "203.0.113.5", "echo-request")), "stele:machines:icmp");
  EXPECT_EQ(In(Icmp("eth1", "10.20.3.4", "10.20.0.1", "timestamp-request")), "stele:machines:icmp");
  EXPECT_EQ(In(Icmp("eth1", "10.20.3.4", "10.20.0.1", "redirect")), "stele:machines:icmp");
  MachinePacket error = Icmp("eth1", "10.20.99.1", "10.20.0.1", "destination-unreachable");
  EXPECT_EQ(In(error), "stele:machines:icmp");
  error.state = "related";
  EXPECT_EQ(In(error), "accepted");
}

TEST(Compile, NeighbourDiscoveryNeedsHopLimit255AndAnInterfaceWithIpv6) {
  for (const std::string type : {"nd-neighbor-solicit", "nd-neighbor-advert"}) {
    MachinePacket packet = Icmp("eth2", "fe80::1", "2001:db8:2::10", type);
    packet.state = "untracked";
    EXPECT_EQ(In(packet), "stele:office:source") << type;
    packet.hoplimit = 255;
    EXPECT_EQ(In(packet), "accepted") << type;
    packet.iifname = "eth1";
    EXPECT_EQ(In(packet), "stele:machines:source") << type << ": this zone has no IPv6";
  }
  MachinePacket advert = Icmp("eth2", "fe80::1", "ff02::1", "nd-router-advert");
  advert.hoplimit = 255;
  EXPECT_EQ(In(advert), "stele:office:source");
  advert.iifname = "eth4";
  EXPECT_EQ(In(advert), "accepted") << "asked for by the policy";
  MachinePacket redirect = Icmp("eth4", "fe80::1", "2001:db8:e::2", "nd-redirect");
  redirect.hoplimit = 255;
  EXPECT_EQ(In(redirect), "stele:witness:source");
  MachinePacket duplicate = Icmp("eth2", "::", "ff02::1:ff00:10", "nd-neighbor-solicit");
  duplicate.hoplimit = 255;
  duplicate.spoofed = true;  // no route leads to the unspecified address
  EXPECT_EQ(In(duplicate), "accepted") << "somebody asks whether an address is free";
}

TEST(Compile, MulticastListenerQueriesComeFromTheLinkOnly) {
  MachinePacket query = Icmp("eth2", "fe80::1", "ff02::1", "mld-listener-query");
  query.hoplimit = 1;
  EXPECT_EQ(In(query), "accepted");
  query.saddr = AddressOf("2001:db8:2::77");
  EXPECT_EQ(In(query), "stele:office:icmp");
}

TEST(LogPrefix, ComesBackAsItWasWritten) {
  for (std::size_t i = 0; i < kDropReasons.size(); ++i) {
    const auto reason = static_cast<DropReason>(i);
    const auto parsed = ParseLogPrefix(LogPrefixText("operator+alert", reason));
    ASSERT_TRUE(parsed.has_value());
    EXPECT_EQ(parsed->zones, "operator+alert");
    EXPECT_EQ(parsed->reason, reason);
  }
  const std::string longest = LogPrefixText(std::string(limits::kZoneNameBytes, 'z'), DropReason::kConnections);
  EXPECT_LE(longest.size(), kLogPrefixBytes);
  for (const char* text :
       {"", "stele:", "stele:a", "stele::port", "stele:a:nothing", "other:a:port", "stele:a:port:b"}) {
    EXPECT_FALSE(ParseLogPrefix(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace stele::netfilter
