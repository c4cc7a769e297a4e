// Goal: the network that stele-query is told is that of stele.toml and of what listens, and fits its control channel
// however large the policy is. Method: configurations as text.
#include "appliance/daemons/policy_json.h"

#include <gtest/gtest.h>

#include <string>

namespace stele::daemons {
namespace {

using nlohmann::json;

constexpr const char* kPlant = R"([viewer]
address = "203.0.113.5"
[[zones]]
name = "machines"
interface = "eth1"
address = "10.20.0.1"
allowed_sources = ["10.20.0.0/16"]
syslog_udp_port = 0
[[zones]]
name = "operator"
interface = "eth0"
allowed_sources = ["203.0.113.0/27"]
[[zones]]
name = "alert"
interface = "eth0"
address = "203.0.113.5"
[[zones.flows]]
name = "siem"
to = "203.0.113.61"
tcp_ports = [6514]
)";

json NetworkOf(const std::string& toml, std::span<const BoundDoor> bound = {}) {
  const auto config = ParseConfig(toml, "stele.toml");
  EXPECT_TRUE(config.has_value()) << config.error().context;
  return config ? NetworkJson(*config, bound) : json();
}

TEST(PolicyJson, AZoneHasItsDoorsOnThePortsThatListen) {
  const std::vector<BoundDoor> bound{{"machines", "syslog-udp", 40'514}, {"operator", "viewer", 49'443}};
  const json network = NetworkOf(kPlant, bound);
  EXPECT_EQ(network["configured"], true);
  ASSERT_EQ(network["zones"].size(), 3U);
  const json& machines = network["zones"][0];
  EXPECT_EQ(machines["process"], "stele-receive@machines");
  EXPECT_EQ(machines["sources"], json::array({"10.20.0.0/16"}));
  EXPECT_EQ(machines["doors"], json::array({{{"service", "syslog-udp"}, {"protocol", "udp"}, {"port", 40'514}}}));
  EXPECT_EQ(network["zones"][1]["doors"][0]["port"], 49'443);
  EXPECT_EQ(network["zones"][1]["process"], "stele-web");
  const json& flow = network["zones"][2]["flows"][0];
  EXPECT_EQ(flow["name"], "siem");
  EXPECT_EQ(flow["destinations"], json::array({"203.0.113.61"}));
  EXPECT_EQ(flow["ports"], json::array({"tcp/6514"}));
  EXPECT_EQ(network["reach_total"], network["reach"].size());
  EXPECT_EQ(network["reach"][0]["port"], 40'514);
  EXPECT_EQ(network["reach"][0]["direction"], "in");
}

TEST(PolicyJson, WithoutAnInterfaceThereIsNoPolicyButTheZonesAreShown) {
  const json network = NetworkOf("");
  EXPECT_EQ(network["configured"], false);
  EXPECT_NE(network["problem"].get<std::string>().find("no zone names an interface"), std::string::npos);
  ASSERT_EQ(network["zones"].size(), 1U);
  EXPECT_EQ(network["zones"][0]["name"], "default");
  EXPECT_EQ(network["zones"][0]["process"], "stele-receive");
  EXPECT_FALSE(network["zones"][0]["doors"].empty());
  EXPECT_TRUE(network["reach"].empty());
}

TEST(PolicyJson, AHugePolicyIsCutAndSaysSo) {
  std::string toml = "[viewer]\naddress = \"203.0.113.5\"\n";
  for (int zone = 0; zone < 31; ++zone) {
    const std::string number = std::to_string(zone);
    toml += "[[zones]]\nname = \"plant-" + number + "\"\ninterface = \"eth" + number + "\"\naddress = \"10." + number +
            ".255.1\"\nsyslog_udp_port = 514\nsyslog_tcp_port = 514\nsyslog_tls_port = 6514\nrelp_port = "
            "2514\nallowed_sources = [";
    for (int i = 0; i < 250; ++i) toml += "\"10." + number + "." + std::to_string(i) + ".2\",";
    toml += "]\n";
  }
  const json network = NetworkOf(toml);
  EXPECT_EQ(network["configured"], true);
  EXPECT_LT(network.dump().size(), 112 * limits::kKiB);
  EXPECT_EQ(network["zones"].size(), 31U);
  EXPECT_EQ(network["zones"][0]["sources"].size(), limits::kNetworkPrefixes);
  EXPECT_EQ(network["zones"][0]["sources_total"], 250);
  EXPECT_GT(network["reach_total"], network["reach"].size());
  EXPECT_EQ(network["reach"][0]["peers_total"], 250);
}

TEST(PolicyJson, TheCommandLinesRowsAreNeverCut) {
  netfilter::Zone zone;
  for (int i = 0; i < 100; ++i) zone.sources.push_back(*ParseIpPrefix("10.0." + std::to_string(i) + ".0/25"));
  const json whole = ZoneJson(zone);
  EXPECT_EQ(whole["sources"].size(), 100U);
  EXPECT_FALSE(whole.contains("sources_total"));
}

}  // namespace
}  // namespace stele::daemons
