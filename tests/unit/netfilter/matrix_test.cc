// Goal: the matrix names every pair that may talk and no other, and a diff says in words what a change opens and
// closes. Method: the plant's matrix written out; small changes to it.
#include "netfilter/matrix.h"

#include <gtest/gtest.h>

#include "tests/unit/netfilter/policies.h"

namespace stele::netfilter {
namespace {

std::string Text(const Matrix& matrix) {
  std::string out;
  for (const Reach& reach : matrix.rows) out += ReachText(reach) + "\n";
  return out;
}

std::string Text(const PolicyDiff& diff) {
  std::string out;
  for (const Change& change : diff.changes)
    out += (change.opens ? "opens " : "closes ") + ReachText(change.reach) + "\n";
  for (const std::string& limit : diff.limits) out += limit + "\n";
  return out;
}

TEST(Matrix, OfThePlantIsThis) {
  EXPECT_EQ(
      Text(MatrixOf(PlantPolicy())),
      "10.20.0.0/16 on eth1 (zone machines) -> 10.20.0.1 udp/514 (syslog-udp, stele-receive@machines)\n"
      "10.20.0.0/16 on eth1 (zone machines) -> 10.20.0.1 tcp/514 (syslog-tcp, stele-receive@machines)\n"
      "10.20.0.0/16 on eth1 (zone machines) -> 10.20.0.1 echo requests\n"
      "192.0.2.0/24, 198.51.100.0/25 on eth2 (zone office) -> 192.0.2.10 tcp/6514 (syslog-tls, stele-receive@office)\n"
      "192.0.2.0/24, 198.51.100.0/25 on eth2 (zone office) -> 192.0.2.10 tcp/2515 (relp-tls, stele-receive@office)\n"
      "192.0.2.0/24, 198.51.100.0/25 on eth2 (zone office) -> 192.0.2.10 tcp/8443 (https-json, stele-receive@office)\n"
      "192.0.2.0/24, 198.51.100.0/25 on eth2 (zone office) -> 192.0.2.10 echo requests\n"
      "2001:db8:2::/64 on eth2 (zone office) -> 2001:db8:2::10 tcp/6514 (syslog-tls, stele-receive@office)\n"
      "2001:db8:2::/64 on eth2 (zone office) -> 2001:db8:2::10 tcp/2515 (relp-tls, stele-receive@office)\n"
      "2001:db8:2::/64 on eth2 (zone office) -> 2001:db8:2::10 tcp/8443 (https-json, stele-receive@office)\n"
      "2001:db8:2::/64 on eth2 (zone office) -> 2001:db8:2::10 echo requests\n"
      "203.0.113.0/27 on eth0 (zone operator) -> 203.0.113.5 tcp/9443 (viewer, stele-web)\n"
      "203.0.113.0/27 on eth0 (zone operator) -> 203.0.113.5 echo requests\n");
}

TEST(Matrix, FlowsSayWhoSpeaks) {
  const Matrix matrix = MatrixOf(EveryKindPolicy());
  std::string flows;
  for (const Reach& reach : matrix.rows) {
    if (reach.traffic == Traffic::kFlow) flows += ReachText(reach) + "\n";
  }
  EXPECT_EQ(flows,
            "system -> 203.0.113.60 on eth0 (zone management) udp/123 (time)\n"
            "system -> 2001:db8:f::60 on eth0 (zone management) udp/123 (time)\n"
            "stele-archive -> 172.16.9.64/26 on eth3.100 (zone archive) tcp/443 (s3)\n"
            "stele-courier -> 2001:db8:77::1 on eth4 (zone witness) tcp/443 (first)\n"
            "stele-courier -> 2001:db8:78::/64 on eth4 (zone witness) tcp/443 (second)\n"
            "stele-courier -> 2001:db8:78::/64 on eth4 (zone witness) tcp/8443 (second)\n"
            "stele-courier -> 203.0.113.61 on eth0 (zone alert) tcp/6514 (siem)\n");
}

TEST(Matrix, PermitsWhatItNamesAndNothingBesideIt) {
  const Matrix matrix = MatrixOf(PlantPolicy());
  Probe probe{Traffic::kDoor, "eth1", AddressOf("10.20.3.4"), AddressOf("10.20.0.1"), {Protocol::kUdp, 514}};
  ASSERT_NE(Permits(matrix, probe), nullptr);
  EXPECT_EQ(Permits(matrix, probe)->service, "syslog-udp");
  const auto without = [&](auto change) {
    Probe other = probe;
    change(other);
    return Permits(matrix, other) == nullptr;
  };
  EXPECT_TRUE(without([](Probe& p) { p.port.number = 515; }));
  EXPECT_TRUE(without([](Probe& p) { p.interface = "eth2"; }));
  EXPECT_TRUE(without([](Probe& p) { p.own = AddressOf("192.0.2.10"); }));
  EXPECT_TRUE(without([](Probe& p) { p.peer = AddressOf("10.21.0.0"); }));
  EXPECT_TRUE(without([](Probe& p) { p.traffic = Traffic::kFlow; }));
}

TEST(PolicyDiff, SaysWhatAChangeOpensAndCloses) {
  const Policy older = PlantPolicy();
  Policy newer = older;
  newer.zones[0].sources = {PrefixOf("10.20.0.0/17"), PrefixOf("10.30.1.0/24")};
  newer.zones[0].doors.pop_back();
  newer.zones[0].limits.connections = 16;
  newer.zones[0].limits.datagrams_per_s = 0;
  newer.zones[2].addresses = {AddressOf("203.0.113.6")};
  EXPECT_EQ(Text(DiffOf(older, newer)),
            "closes 10.20.128.0/17 on eth1 (zone machines) -> 10.20.0.1 udp/514 (syslog-udp, stele-receive@machines)\n"
            "closes 10.20.0.0/16 on eth1 (zone machines) -> 10.20.0.1 tcp/514 (syslog-tcp, stele-receive@machines)\n"
            "closes 10.20.128.0/17 on eth1 (zone machines) -> 10.20.0.1 echo requests\n"
            "closes 203.0.113.0/27 on eth0 (zone operator) -> 203.0.113.5 tcp/9443 (viewer, stele-web)\n"
            "closes 203.0.113.0/27 on eth0 (zone operator) -> 203.0.113.5 echo requests\n"
            "opens 10.30.1.0/24 on eth1 (zone machines) -> 10.20.0.1 udp/514 (syslog-udp, stele-receive@machines)\n"
            "opens 10.30.1.0/24 on eth1 (zone machines) -> 10.20.0.1 echo requests\n"
            "opens 203.0.113.0/27 on eth0 (zone operator) -> 203.0.113.6 tcp/9443 (viewer, stele-web)\n"
            "opens 203.0.113.0/27 on eth0 (zone operator) -> 203.0.113.6 echo requests\n"
            "zone machines: connections of a source from 8 to 16\n"
            "zone machines: datagrams of a source a second from 2000 to no limit\n");
}

TEST(PolicyDiff, OtherWordsForTheSameAreNoChange) {
  const Policy older = PlantPolicy();
  EXPECT_TRUE(DiffOf(older, older).empty());
  Policy newer = older;
  newer.zones[0].name = "renamed";
  newer.zones[1].sources = {PrefixOf("2001:db8:2::/65"), PrefixOf("198.51.100.0/25"), PrefixOf("192.0.2.128/25"),
                            PrefixOf("2001:db8:2:0:8000::/65"), PrefixOf("192.0.2.0/25")};
  std::swap(newer.zones[0], newer.zones[2]);
  EXPECT_TRUE(DiffOf(older, newer).empty()) << Text(DiffOf(older, newer));
}

}  // namespace
}  // namespace stele::netfilter
