// Goal: the matrix, which knows no ruleset, and the ruleset, read by a machine that knows no policy, say the same of
// every packet. Method: random policies; packets at and beside what the policy names. RapidCheck prints the seed of a
// failure.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <random>

#include "netfilter/checks.h"
#include "netfilter/compile.h"
#include "netfilter/matrix.h"
#include "tests/unit/netfilter/policies.h"
#include "tests/unit/netfilter/ruleset_machine.h"

namespace stele::netfilter {
namespace {

template <typename T>
const T& OneOf(const std::vector<T>& all, std::mt19937_64& random) {
  return all[random() % all.size()];
}

IpAddress Beside(IpAddress address, std::mt19937_64& random) {
  switch (random() % 4) {
    case 0:
      address[15] ^= std::byte{1};
      break;
    case 1:
      address[static_cast<std::size_t>(12 + random() % 4)] = static_cast<std::byte>(random() % 256);
      break;
    case 2:
      address[14] ^= static_cast<std::byte>(1U << (random() % 8));
      break;
    default:
      break;
  }
  return address;
}

// Something the policy may or may not allow, near what it names.
Probe SomeProbe(const Policy& policy, std::mt19937_64& random) {
  const Zone& zone = OneOf(policy.zones, random);
  const Zone& other = random() % 3 == 0 ? OneOf(policy.zones, random) : zone;
  Probe probe;
  probe.traffic = static_cast<Traffic>(random() % 3);
  probe.interface = random() % 16 == 0 ? "net99" : zone.interface;
  probe.own = OneOf(other.addresses, random);
  if (random() % 8 == 0) probe.own = Beside(probe.own, random);
  const auto& peers =
      probe.traffic == Traffic::kFlow && !other.flows.empty() ? OneOf(other.flows, random).destinations : other.sources;
  probe.peer = Beside(peers.empty() ? OneOf(other.addresses, random) : OneOf(peers, random).address, random);
  if (probe.traffic == Traffic::kEcho) return probe;
  probe.port.protocol = random() % 2 == 0 ? Protocol::kTcp : Protocol::kUdp;
  probe.port.number = static_cast<std::uint16_t>((probe.traffic == Traffic::kFlow ? 600 : 499) + random() % 8);
  if (random() % 16 == 0) probe.port.number = static_cast<std::uint16_t>(random());
  return probe;
}

MachinePacket PacketOf(const Probe& probe) {
  MachinePacket packet;
  const bool out = probe.traffic == Traffic::kFlow;
  (out ? packet.oifname : packet.iifname) = probe.interface;
  packet.saddr = out ? probe.own : probe.peer;
  packet.daddr = out ? probe.peer : probe.own;
  packet.l4proto = ProtocolText(probe.port.protocol);
  packet.dport = probe.port.number;
  if (probe.traffic == Traffic::kEcho) {
    packet.l4proto = packet.saddr[0] == std::byte{0} ? "icmp" : "ipv6-icmp";
    packet.icmp_type = "echo-request";
  }
  return packet;
}

MachinePacket AnswerTo(MachinePacket packet) {
  std::swap(packet.iifname, packet.oifname);
  std::swap(packet.saddr, packet.daddr);
  std::swap(packet.sport, packet.dport);
  packet.state = "established";
  packet.direction = "reply";
  packet.only_syn = false;
  return packet;
}

TEST(PolicyProperty, MatrixAndRulesetAgree) {
  std::uint64_t allowed = 0;
  std::uint64_t refused = 0;
  const bool holds = rc::check("matrix and ruleset agree", [&](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    const Policy policy = RandomPolicy(random);
    for (const Finding& finding : CheckPolicy(policy)) RC_ASSERT(finding.severity != Severity::kError);
    const Matrix matrix = MatrixOf(policy);
    const std::string text = CompilePolicy(policy);
    RC_ASSERT(text == CompilePolicy(policy));
    for (int i = 0; i < 300; ++i) {
      const Probe probe = SomeProbe(policy, random);
      if ((probe.peer[0] == std::byte{0}) != (probe.own[0] == std::byte{0})) continue;  // no packet has two families
      const bool meant = Permits(matrix, probe) != nullptr;
      ++(meant ? allowed : refused);
      const bool out = probe.traffic == Traffic::kFlow;
      MachinePacket packet = PacketOf(probe);
      RC_LOG() << IpPrefixText({packet.saddr, 128}) << " -> " << IpPrefixText({packet.daddr, 128}) << " "
               << packet.l4proto << "/" << packet.dport << " on " << probe.interface << "\n";
      RC_ASSERT(RunRuleset(text, out ? "output" : "input", packet).accepted == meant);
      RC_ASSERT(!RunRuleset(text, "forward", packet).accepted);
      packet.state = "established";
      packet.only_syn = false;
      RC_ASSERT(RunRuleset(text, out ? "output" : "input", packet).accepted == meant);
      if (probe.traffic == Traffic::kEcho) continue;
      RC_ASSERT(RunRuleset(text, out ? "input" : "output", AnswerTo(packet)).accepted == meant);
    }
  });
  EXPECT_TRUE(holds);
  EXPECT_GT(allowed, 1'000U) << "the packets hit nothing";
  EXPECT_GT(refused, 1'000U);
}

TEST(PolicyProperty, ADiffIsExactlyWhatOpensAndCloses) {
  const bool holds = rc::check("diff", [](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    const Policy older = RandomPolicy(random);
    const Policy newer = RandomPolicy(random);
    const Matrix before = MatrixOf(older);
    const Matrix after = MatrixOf(newer);
    Matrix opened;
    Matrix closed;
    for (const Change& change : DiffOf(older, newer).changes)
      (change.opens ? opened : closed).rows.push_back(change.reach);
    for (int i = 0; i < 300; ++i) {
      const Probe probe = SomeProbe(i % 2 == 0 ? older : newer, random);
      const bool then = Permits(before, probe) != nullptr;
      const bool now = Permits(after, probe) != nullptr;
      RC_ASSERT((Permits(opened, probe) != nullptr) == (now && !then));
      RC_ASSERT((Permits(closed, probe) != nullptr) == (then && !now));
    }
    RC_ASSERT(DiffOf(older, older).empty());
  });
  EXPECT_TRUE(holds);
}

}  // namespace
}  // namespace stele::netfilter
