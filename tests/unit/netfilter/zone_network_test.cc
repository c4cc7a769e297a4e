// Goal: a zone's network namespace holds the zone's interface with all it had, gets it back when it comes back, and
// gives it back at the end; where there is no interface, a pair is made that packets pass. Method: real namespaces and
// veth pairs, made with ip(8) in a namespace of the test's own. Needs root; the pure parts do not.
#include "netfilter/zone_network.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <thread>

namespace stele::netfilter {
namespace {

IpAddress Ip(const char* text) { return ParseIpPrefix(text).value().address; }
IpPrefix Net(const char* text) { return ParseIpPrefix(text).value(); }
std::string Text(const IpAddress& address) { return IpPrefixText({address, 128}); }

TEST(ZoneNetworkNames, TheOuterEndFitsAnInterfaceNameAndTellsZonesApart) {
  EXPECT_EQ(OuterEndName("office"), "st-office");
  EXPECT_EQ(OuterEndName("twelve-chars").size(), 15U);
  const std::string a = OuterEndName("a-zone-with-a-long-name-1");
  EXPECT_EQ(a.size(), 15U);
  EXPECT_NE(a, OuterEndName("a-zone-with-a-long-name-2"));
}

TEST(ZoneNetworkNames, TheOuterAddressIsTheFirstAllowedSourceBesideTheZonesOwn) {
  EXPECT_EQ(Text(OuterAddress(Ip("10.1.0.1"), {Net("10.1.0.0/16")}).value()), "10.1.0.2");
  EXPECT_EQ(Text(OuterAddress(Ip("10.1.0.9"), {Net("10.1.0.0/16")}).value()), "10.1.0.1");
  EXPECT_EQ(Text(OuterAddress(Ip("10.1.0.9"), {Net("192.0.2.0/24"), Net("10.1.0.0/16")}).value()), "10.1.0.1");
  EXPECT_EQ(Text(OuterAddress(Ip("10.1.0.9"), {Net("192.0.2.7")}).value()), "192.0.2.7");
  EXPECT_EQ(Text(OuterAddress(Ip("2001:db8::1"), {Net("10.0.0.0/8"), Net("2001:db8::/64")}).value()), "2001:db8::2");
  EXPECT_FALSE(OuterAddress(Ip("10.1.0.9"), {Net("10.1.0.9")}));
  EXPECT_FALSE(OuterAddress(Ip("10.1.0.9"), {}));
}

// A thread in a network namespace of its own, and shell commands there.
class ZoneNetworks : public ::testing::Test {
 protected:
  static void InTheirOwn(const std::function<void()>& work) {
    if (::getuid() != 0) GTEST_SKIP() << "network namespaces need root";
    if (std::system("command -v ip >/dev/null") != 0) GTEST_SKIP() << "ip is not installed";
    bool permitted = true;
    std::thread([&] {
      permitted = ::unshare(CLONE_NEWNET) == 0;
      if (permitted) work();
    }).join();
    if (!permitted) GTEST_SKIP() << "no network namespace can be made here";
  }
  static std::string Say(const std::string& command) {
    FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
    std::string out;
    char chunk[512];
    while (std::fgets(chunk, sizeof chunk, pipe) != nullptr) out += chunk;
    (void)::pclose(pipe);
    return out;
  }
  // Nobody listens there: the refusal itself has come the whole way and back.
  static bool Answers(const std::string& address) {
    return Say("timeout 5 bash -c ': </dev/tcp/" + address + "/9'").find("Connection refused") != std::string::npos;
  }
  static std::string Inside(const ZoneNetwork& network, const std::string& command) {
    std::string out;
    EXPECT_TRUE(InNamespace(network.fd(), [&]() -> Result<void> {
      out = Say(command);
      return {};
    }));
    return out;
  }
};

TEST_F(ZoneNetworks, AMovedInterfaceTakesItsAddressesAndRoutesAlongAndBringsThemBack) {
  InTheirOwn([] {
    ASSERT_EQ(Say("ip link add eth7 type veth peer name far && ip addr add 192.0.2.1/24 dev eth7 && "
                  "ip addr add 2001:db8::1/64 dev eth7 nodad && ip link set far up && ip link set eth7 up && "
                  "ip route add 198.51.100.0/24 via 192.0.2.9 metric 7"),
              "");
    {
      auto network =
          ZoneNetwork::Make({"office", "eth7", {Ip("192.0.2.1"), Ip("192.0.2.77")}, {Net("192.0.2.0/24")}, false});
      ASSERT_TRUE(network.has_value()) << Describe(network.error());
      EXPECT_NE(Say("ip link show eth7").find("does not exist"), std::string::npos);
      const std::string addresses = Inside(*network, "ip -br addr show eth7");
      EXPECT_NE(addresses.find("192.0.2.1/24"), std::string::npos) << addresses;
      EXPECT_NE(addresses.find("192.0.2.77/32"), std::string::npos) << addresses;
      EXPECT_NE(addresses.find("2001:db8::1/64"), std::string::npos) << addresses;
      EXPECT_NE(Inside(*network, "ip route").find("198.51.100.0/24 via 192.0.2.9 dev eth7 proto static metric 7"),
                std::string::npos)
          << Inside(*network, "ip route");
      EXPECT_EQ(Inside(*network, "cat /proc/sys/net/ipv4/ip_forward"), "0\n");
      EXPECT_EQ(Inside(*network, "ip -br link show up | grep -c ."), "1\n");
      EXPECT_TRUE(network->outside().empty());
      EXPECT_TRUE(network->Tend().value().up);
    }
    const std::string back = Say("ip -br addr show eth7; ip route");
    EXPECT_NE(back.find("192.0.2.1/24"), std::string::npos) << back;
    EXPECT_NE(back.find("198.51.100.0/24 via 192.0.2.9"), std::string::npos) << back;
  });
}

TEST_F(ZoneNetworks, AMadePairCarriesPacketsFromOutside) {
  InTheirOwn([] {
    auto network = ZoneNetwork::Make(
        {"lab", "eth1", {Ip("10.1.0.1"), Ip("2001:db8::1")}, {Net("10.1.0.0/16"), Net("2001:db8::/64")}, false});
    ASSERT_TRUE(network.has_value()) << Describe(network.error());
    EXPECT_EQ(network->outside(), "st-lab");
    EXPECT_EQ(network->OutsideAddresses(), (std::vector<std::string>{"10.1.0.2", "2001:db8::2"}));
    EXPECT_TRUE(network->Tend().value().up);
    EXPECT_TRUE(Answers("10.1.0.1"));
    EXPECT_TRUE(Answers("2001:db8::1"));
  });
}

TEST_F(ZoneNetworks, AnInterfaceThatGoesAwayIsSaidAndIsPutBackWhenItReturns) {
  InTheirOwn([] {
    ASSERT_EQ(
        Say("ip link add eth7 type veth peer name far && ip addr add 192.0.2.1/24 dev eth7 && ip link set far up"), "");
    auto network = ZoneNetwork::Make({"office", "eth7", {Ip("192.0.2.1")}, {Net("192.0.2.0/24")}, false});
    ASSERT_TRUE(network.has_value()) << Describe(network.error());
    ASSERT_EQ(Say("ip link del far"), "");
    EXPECT_FALSE(network->Tend().value().present);
    EXPECT_FALSE(network->Tend().value().present);
    ASSERT_EQ(Say("ip link add eth7 type veth peer name far && ip link set far up"), "");
    const auto back = network->Tend();
    ASSERT_TRUE(back.has_value()) << Describe(back.error());
    EXPECT_TRUE(back->present);
    EXPECT_EQ(back->returns, 1U);
    EXPECT_NE(Inside(*network, "ip -br addr show eth7").find("192.0.2.1/24"), std::string::npos);

    auto made = ZoneNetwork::Make({"lab", "eth8", {Ip("10.1.0.1")}, {Net("10.1.0.0/16")}, false});
    ASSERT_TRUE(made.has_value()) << Describe(made.error());
    ASSERT_EQ(Say("ip link del st-lab"), "");
    EXPECT_EQ(made->Tend().value().returns, 1U);
    EXPECT_TRUE(Answers("10.1.0.1"));
  });
}

TEST_F(ZoneNetworks, WhatCannotBeIsRefusedAndLeavesNothing) {
  InTheirOwn([] {
    EXPECT_EQ(ZoneNetwork::Make({"z", "", {}, {}, false}).error().code, Code::kInvalid);
    EXPECT_EQ(ZoneNetwork::Make({"z", "a-name-of-16-oct", {}, {}, false}).error().code, Code::kInvalid);
    ASSERT_EQ(Say("ip link add st-z type veth peer name st-y"), "");  // the name is taken
    const auto taken = ZoneNetwork::Make({"z", "eth1", {Ip("10.1.0.1")}, {}, false});
    ASSERT_FALSE(taken.has_value());
    EXPECT_NE(taken.error().context.find("st-z"), std::string::npos) << taken.error().context;
  });
}

}  // namespace
}  // namespace stele::netfilter
