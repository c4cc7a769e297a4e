// Goal: strangers are refused where that is asked for, every refused message is in exactly one loss entry, and a flood
// of addresses makes few entries. Method: the gate alone, its time moved by hand.
#include "appliance/daemons/receive_gate.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace stele::receive {
namespace {

using nlohmann::json;
constexpr std::int64_t kSecond = 1'000'000'000;

record::Peer PeerAt(const std::string& address) {
  record::Peer peer{};
  const IpPrefix prefix = ParseIpPrefix(address).value();
  std::copy(prefix.address.begin(), prefix.address.end(), peer.begin());
  peer[17] = std::byte{7};  // a port: no part of who somebody is
  return peer;
}

channel::SourceRules OnlyKnown() {
  channel::SourceRules rules;
  rules.SetNamed({{"core", {ParseIpPrefix("192.0.2.1").value()}, "", {}}});
  rules.refuse_unknown = true;
  return rules;
}

TEST(SourceGate, TakesEverybodyUntilItIsToldNotTo) {
  SourceGate gate;
  EXPECT_TRUE(gate.Accepts(PeerAt("203.0.113.9"), ""));
  gate.Use(OnlyKnown());
  EXPECT_TRUE(gate.Accepts(PeerAt("192.0.2.1"), ""));
  EXPECT_FALSE(gate.Accepts(PeerAt("203.0.113.9"), ""));
  gate.Use({});
  EXPECT_TRUE(gate.Accepts(PeerAt("203.0.113.9"), ""));
}

TEST(SourceGate, AZoneTakesOnlyWhatComesFromItsPrefixes) {
  SourceGate gate;
  gate.UseZone("plant", {ParseIpPrefix("192.0.2.0/24").value(), ParseIpPrefix("2001:db8::/32").value()});
  EXPECT_TRUE(gate.Accepts(PeerAt("192.0.2.200"), ""));
  EXPECT_TRUE(gate.Accepts(PeerAt("2001:db8::7"), ""));
  EXPECT_FALSE(gate.Accepts(PeerAt("203.0.113.9"), ""));
  gate.Use(OnlyKnown());  // both must agree
  EXPECT_TRUE(gate.Accepts(PeerAt("192.0.2.1"), ""));
  EXPECT_FALSE(gate.Accepts(PeerAt("192.0.2.200"), ""));
  gate.Refuse("syslog-udp", PeerAt("203.0.113.9"), 1, 100 * kSecond);
  const auto entries = gate.TakeEntries(101 * kSecond, false);
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(json::parse(entries[0])["zone"], "plant");
}

TEST(SourceGate, EveryRefusedMessageIsInOneEntryWithItsAddress) {
  SourceGate gate;
  for (int i = 0; i < 5; ++i) gate.Refuse("syslog-udp", PeerAt("203.0.113.9"), 1, (100 + i) * kSecond);
  gate.Refuse("syslog-tcp", PeerAt("203.0.113.9"), 3, 105 * kSecond);
  const auto entries = gate.TakeEntries(106 * kSecond, false);
  ASSERT_EQ(entries.size(), 2U);
  const json tcp = json::parse(entries[0]);
  const json udp = json::parse(entries[1]);
  EXPECT_EQ(tcp["listener"], "syslog-tcp");
  EXPECT_EQ(tcp["count"], 3);
  EXPECT_EQ(udp["cause"], "refused_source");
  EXPECT_EQ(udp["peer"], "203.0.113.9");
  EXPECT_EQ(udp["count"], 5);
  EXPECT_EQ(udp["from_ns"], 100 * kSecond);
  EXPECT_EQ(udp["to_ns"], 104 * kSecond);
  EXPECT_TRUE(gate.TakeEntries(1'000 * kSecond, true).empty());
}

TEST(SourceGate, EntriesComeOnceAMinuteAndAtTheEnd) {
  SourceGate gate;
  std::uint64_t told = 0;
  std::size_t sets = 0;
  for (std::int64_t s = 1; s <= 600; ++s) {
    gate.Refuse("syslog-udp", PeerAt("203.0.113.9"), 2, s * kSecond);
    const auto entries = gate.TakeEntries(s * kSecond, s == 600);
    sets += entries.size();
    for (const auto& entry : entries) told += json::parse(entry)["count"].get<std::uint64_t>();
  }
  EXPECT_EQ(told, 1'200U);
  EXPECT_EQ(sets, 11U);  // at once, at 61, 121, ... 541 s, and the last
}

TEST(SourceGate, AFloodOfAddressesIsAFewEntriesAndNoMessageIsForgotten) {
  SourceGate gate;
  for (int i = 0; i < 10'000; ++i) {
    gate.Refuse("syslog-udp", PeerAt("10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250)), 1,
                kSecond + i);
  }
  const auto entries = gate.TakeEntries(2 * kSecond, false);
  EXPECT_EQ(entries.size(), limits::kRefusedPeersListed + 1);
  std::uint64_t told = 0;
  for (const auto& entry : entries) told += json::parse(entry)["count"].get<std::uint64_t>();
  EXPECT_EQ(told, 10'000U);
  EXPECT_TRUE(json::parse(entries.back())["peer"].is_null());
}

}  // namespace
}  // namespace stele::receive
