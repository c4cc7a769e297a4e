// Goal: from one table to another with what makes the difference and no more. Method: the commands for small changes,
// word by word; that the kernel arrives where it should, from every table to every other one, is
// tests/integration/policy.sh.
#include "netfilter/transaction.h"

#include <gtest/gtest.h>

#include "netfilter/compile.h"
#include "tests/unit/netfilter/policies.h"

namespace stele::netfilter {
namespace {

Ruleset RulesetOf(const Policy& policy) { return *ParseRuleset(CompilePolicy(policy)); }

TEST(Transaction, NothingDiffersNothingIsSaid) {
  EXPECT_EQ(TransactionText(RulesetOf(EveryKindPolicy()), RulesetOf(EveryKindPolicy())), "");
}

TEST(Transaction, APrefixIsOneElement) {
  Policy newer = PlantPolicy();
  newer.zones[1].sources[1] = PrefixOf("198.51.100.0/26");
  EXPECT_EQ(TransactionText(RulesetOf(PlantPolicy()), RulesetOf(newer)),
            "delete element inet stele zones4 { \"eth2\" . 198.51.100.0/25 : 0x00000002 }\n"
            "add element inet stele zones4 { \"eth2\" . 198.51.100.0/26 : 0x00000002 }\n");
}

TEST(Transaction, ALimitChangesItsOwnRulesOnly) {
  Policy newer = PlantPolicy();
  newer.zones[1].limits.connections = 3;
  const std::string text = TransactionText(RulesetOf(PlantPolicy()), RulesetOf(newer));
  EXPECT_EQ(
      text.rfind("flush chain inet stele connect_office\nadd rule inet stele connect_office add @connections4_office",
                 0),
      0U)
      << text;
  EXPECT_EQ(text.find("door_"), std::string::npos) << text;
}

TEST(Transaction, ASetThatIsMadeAnewTakesItsRulesAlong) {
  Policy newer = PlantPolicy();
  newer.zones[0].limits.sources = 64;
  const std::string text = TransactionText(RulesetOf(PlantPolicy()), RulesetOf(newer));
  EXPECT_LT(text.find("flush chain inet stele door_machines\n"), text.find("delete set inet stele rate4_machines\n"))
      << text;
  EXPECT_LT(text.find("delete set inet stele rate4_machines\n"), text.find("\tset rate4_machines {\n")) << text;
  EXPECT_LT(text.find("\tset rate4_machines {\n"), text.find("add rule inet stele door_machines ")) << text;
  EXPECT_EQ(text.find("chain input"), std::string::npos) << text;
}

TEST(Transaction, AHookThatIsAnotherMakesTheTableAnew) {
  Ruleset other = RulesetOf(PlantPolicy());
  for (auto& [name, chain] : other.chains) {
    if (name == "input") chain.hook = "type filter hook input priority filter; policy accept;";
  }
  const Ruleset meant = RulesetOf(PlantPolicy());
  EXPECT_EQ(TransactionText(other, meant), ReplacementText(meant));
  EXPECT_EQ(ReplacementText(meant).rfind("table inet stele\ndelete table inet stele\ntable inet stele {\n", 0), 0U);
}

}  // namespace
}  // namespace stele::netfilter
