// Goal: a policy has one text and one digest, and a text that is not one policy's is refused. Method: random policies
// there and back; every cut and many changes of a good text; names that would mean something to nft.
#include "netfilter/policy_text.h"

#include <gtest/gtest.h>

#include <random>

#include "netfilter/approval.h"
#include "netfilter/compile.h"
#include "netfilter/drop_counts.h"
#include "netfilter/matrix.h"
#include "tests/unit/golden.h"
#include "tests/unit/netfilter/policies.h"

namespace stele::netfilter {
namespace {

TEST(PolicyText, ComesBackAsTheSamePolicy) {
  std::mt19937_64 random(5);
  for (int i = 0; i < 200; ++i) {
    const Policy policy = i == 0 ? EveryKindPolicy() : RandomPolicy(random);
    const std::string text = PolicyText(policy);
    const auto back = ParsePolicyText(text);
    ASSERT_TRUE(back) << back.error().context << "\n" << text;
    EXPECT_EQ(PolicyText(*back), text);
    EXPECT_EQ(CompilePolicy(*back), CompilePolicy(policy));
    EXPECT_TRUE(DiffOf(policy, *back).empty());
  }
}

TEST(PolicyText, AndTheStatementOfAnApprovalAreWhatTheyWere) {
  const std::string text = PolicyText(EveryKindPolicy());
  ExpectGolden("policy_every_kind.json", AsBytes(text));
  const ApprovalSubject subject{std::string(64, 'a'), PolicyDigest(text), std::string(64, '0'), 42};
  const std::string statement = ApprovalStatement(subject, "alice", 1'795'000'000'000'000'000);
  ExpectGolden("policy.approval", AsBytes(ApprovalText(statement, Bytes(64, std::byte{0x5a}))));
}

TEST(PolicyText, WhatIsNotTheOneFormIsRefused) {
  const std::string good = PolicyText(EveryKindPolicy());
  for (std::size_t i = 0; i < good.size(); ++i) EXPECT_FALSE(ParsePolicyText(good.substr(0, i))) << i;
  EXPECT_FALSE(ParsePolicyText(good + " "));
  EXPECT_FALSE(ParsePolicyText(" " + good));
  const auto changed = [&good](const std::string& from, const std::string& to) {
    std::string text = good;
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    if (at != std::string::npos) text.replace(at, from.size(), to);
    return text;
  };
  EXPECT_FALSE(ParsePolicyText(changed("\"name\":\"machines\"", "\"name\":\"machines\",\"more\":1")));
  EXPECT_FALSE(ParsePolicyText(changed("\"name\":\"machines\"", "\"name\":\"a\\\" drop\"")));
  EXPECT_FALSE(ParsePolicyText(changed("\"name\":\"machines\"", "\"name\":\"\"")));
  EXPECT_FALSE(ParsePolicyText(changed("\"kind\":\"ingest\"", "\"kind\":\"other\"")));
  EXPECT_FALSE(ParsePolicyText(changed("10.20.0.0/16", "10.20.1.0/16")));
  EXPECT_FALSE(ParsePolicyText(changed("udp/514", "udp/99999")));
  EXPECT_FALSE(ParsePolicyText(changed("udp/514", "udp/0514")));
  EXPECT_FALSE(ParsePolicyText(changed("\"connections\":8", "\"connections\":-8")));
  EXPECT_FALSE(ParsePolicyText(changed("\"connections\":8", "\"connections\":4294967296")));
  EXPECT_TRUE(ParsePolicyText(changed("\"connections\":8", "\"connections\":9")));
}

TEST(PolicyText, TheDigestIsThatOfTheText) {
  EXPECT_EQ(PolicyDigest(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(DropCounts, AreAddedUpByZoneAndReason) {
  const std::string listing =
      "\tchain x {\n\t\tcounter packets 3 bytes 120 log prefix \"stele:plant:rate\" group 5 snaplen 128 drop\n"
      "\t\tmeta l4proto udp counter packets 4 bytes 1 log prefix \"stele:plant:rate\" group 5 snaplen 128 drop\n"
      "\t\tcounter packets 9 bytes 1 log prefix \"somebody:else\" drop\n\t\tcounter packets 1 bytes 1 accept\n"
      "\t\tcounter packets x bytes 1 log prefix \"stele:plant:port\" drop\n"
      "\t\tcounter packets 1 bytes 1 log prefix \"stele:-:interface\" group 5 snaplen 128 drop\n\t}\n";
  const DropCounts counts = DropCountsOf(listing);
  EXPECT_EQ(counts, (DropCounts{{{"-", "interface"}, 1}, {{"plant", "rate"}, 7}}));
}

}  // namespace
}  // namespace stele::netfilter
