// Goal: a table comes back from its listing as it was meant, and every difference is named. Method: the text of a
// compiled policy, its wrapped form as nft prints it, and one change at a time.
#include "netfilter/ruleset.h"

#include <gtest/gtest.h>

#include "netfilter/compile.h"
#include "tests/unit/netfilter/policies.h"

namespace stele::netfilter {
namespace {

constexpr std::size_t kMost = 8;

std::string Replaced(std::string text, const std::string& what, const std::string& with) {
  const std::size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return at == std::string::npos ? text : text.replace(at, what.size(), with);
}

std::vector<std::string> Differences(const std::string& meant, const std::string& found) {
  const auto a = ParseRuleset(meant);
  const auto b = ParseRuleset(found);
  EXPECT_TRUE(a.has_value() && b.has_value());
  return a && b ? DifferencesOf(*a, *b, kMost) : std::vector<std::string>{"unreadable"};
}

TEST(Ruleset, ItsTextComesBackAsItIs) {
  for (const Policy& policy : {PlantPolicy(), EveryKindPolicy(), SmallestPolicy()}) {
    const std::string text = CompilePolicy(policy);
    const auto parsed = ParseRuleset(text);
    ASSERT_TRUE(parsed.has_value()) << parsed.error().context;
    EXPECT_EQ(RulesetText(*parsed), text);
  }
}

TEST(Ruleset, EveryChangeByHandIsNamed) {
  const std::string meant = CompilePolicy(PlantPolicy());
  using Said = std::vector<std::string>;
  EXPECT_EQ(Differences(meant, meant), Said{});
  EXPECT_EQ(Differences(meant, Replaced(meant, "\t\tiifname vmap @strangers\n", "")),
            Said{"chain input, rule 16: \"counter log prefix \"stele:-:interface\" group 5 snaplen 128 drop\" instead "
                 "of \"iifname vmap @strangers\""});
  EXPECT_EQ(Differences(
                meant, Replaced(meant, "input priority filter; policy drop;", "input priority filter; policy accept;")),
            Said{"chain input hooks as \"type filter hook input priority filter; policy accept;\""});
  EXPECT_EQ(Differences(
                meant, Replaced(meant, "\"eth1\" . 10.20.0.0/16 : 0x00000001", "\"eth1\" . 10.20.0.0/15 : 0x00000001")),
            (Said{"set zones4: \"eth1\" . 10.20.0.0/16 : 0x00000001 is gone",
                  "set zones4: \"eth1\" . 10.20.0.0/15 : 0x00000001 is new"}));
  EXPECT_EQ(Differences(meant, Replaced(meant, "chain door_office {", "chain door_attic {")),
            (Said{"chain door_office is gone", "chain door_attic is new"}));
  EXPECT_EQ(Differences(meant, Replaced(meant, "size 1024", "size 1")),
            Said{"set datagrams4_machines is of another kind"});
}

TEST(Ruleset, ElementsOfDynamicSetsAreTheKernelsOwn) {
  const std::string meant = CompilePolicy(PlantPolicy());
  EXPECT_TRUE(
      Differences(
          meant,
          Replaced(meant, "flags dynamic,timeout\n\t\ttimeout 10s\n",
                   "flags dynamic,timeout\n\t\ttimeout 10s\n\t\telements = { \"eth1\" limit rate 100/second }\n"))
          .empty());
}

TEST(Ruleset, WhatIsNoListingIsRefused) {
  const std::string text = CompilePolicy(SmallestPolicy());
  for (std::size_t cut = 0; cut + 2 < text.size(); ++cut) {
    ASSERT_FALSE(ParseRuleset(std::string_view(text).substr(0, cut)).has_value()) << cut;
  }
  EXPECT_FALSE(ParseRuleset(Replaced(text, "\tset doors4 {", "\tflowtable doors4 {")).has_value());
  EXPECT_FALSE(ParseRuleset(text + "table inet other {\n}\n").has_value());
  EXPECT_FALSE(ParseRuleset(Replaced(text, "\t\tflags interval", "\t\tgc-interval 5s")).has_value());
}

}  // namespace
}  // namespace stele::netfilter
