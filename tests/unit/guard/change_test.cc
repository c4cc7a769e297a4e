// Goal: no policy replaces another without being one, without a reason, against its operators, or without the people
// whose word it needs. Method: one thing wrong at a time in a change that is allowed; real Ed25519 signatures.
#include "netfilter/guard/change.h"

#include <gtest/gtest.h>
#include <sodium/crypto_sign_ed25519.h>

#include <nlohmann/json.hpp>

#include "netfilter/policy_text.h"
#include "tests/unit/netfilter/policies.h"

namespace stele::guard {
namespace {

using netfilter::ApprovalSubject;
using nlohmann::json;

constexpr std::int64_t kNow = 1'795'000'000'000'000'000;
constexpr std::int64_t kDay = 86'400'000'000'000;
const std::string kLog(64, 'a');  // NOLINT(cert-err58-cpp)

struct Person {
  netfilter::Approver approver;
  std::array<unsigned char, crypto_sign_ed25519_SECRETKEYBYTES> secret{};

  explicit Person(const std::string& name) {
    approver.name = name;
    (void)crypto_sign_ed25519_keypair(reinterpret_cast<unsigned char*>(approver.public_key.data()), secret.data());
  }
  [[nodiscard]] std::string Signs(const ApprovalSubject& subject, std::int64_t expires_ns = kNow + kDay,
                                  const std::string& as = "") const {
    const std::string statement = netfilter::ApprovalStatement(subject, as.empty() ? approver.name : as, expires_ns);
    std::array<std::byte, 64> signature{};
    (void)crypto_sign_ed25519_detached(reinterpret_cast<unsigned char*>(signature.data()), nullptr,
                                       reinterpret_cast<const unsigned char*>(statement.data()), statement.size(),
                                       secret.data());
    return netfilter::ApprovalText(statement, signature);
  }
};

class GuardChange : public ::testing::Test {
 protected:
  GuardChange() {
    current_.text = netfilter::PolicyText(netfilter::PlantPolicy());
    current_.digest = netfilter::PolicyDigest(current_.text);
    current_.entry = 42;
    rules_.log_id = kLog;
    rules_.approvers = {alice_.approver, bob_.approver};
    netfilter::Policy newer = netfilter::PlantPolicy();
    newer.zones[1].sources.pop_back();
    wish_.policy = netfilter::PolicyText(newer);
    wish_.who = "root (uid 0)";
    wish_.why = "the office moves";
  }
  [[nodiscard]] ApprovalSubject Subject() const {
    return {kLog, netfilter::PolicyDigest(wish_.policy), current_.digest, current_.entry};
  }
  [[nodiscard]] Verdict Judged() const { return Judge(wish_, current_, rules_, kNow); }
  // Why it is refused; "" when it is not.
  [[nodiscard]] std::string Refusal() const {
    const Verdict verdict = Judged();
    return verdict.change ? "" : verdict.reasons.empty() ? "no reason" : verdict.reasons.front();
  }

  Person alice_{"alice"}, bob_{"bob"}, carol_{"carol"};
  InForce current_;
  Rules rules_;
  Wish wish_;
};

TEST_F(GuardChange, TheEntryOfAChangeSaysWhatWhoAndWhy) {
  const Verdict verdict = Judged();
  ASSERT_TRUE(verdict.change);
  const json entry = json::parse(verdict.change->payload);
  EXPECT_EQ(entry["event"], "policy_change");
  EXPECT_EQ(entry["policy"], wish_.policy);
  EXPECT_EQ(entry["digest"], netfilter::PolicyDigest(wish_.policy));
  EXPECT_EQ(entry["replaces"], current_.digest);
  EXPECT_EQ(entry["who"], "root (uid 0)");
  EXPECT_EQ(entry["why"], "the office moves");
  EXPECT_EQ(entry["forced"], false);
  EXPECT_EQ(entry["approvals"], json::array());
  ASSERT_FALSE(entry["diff"].empty());
  EXPECT_EQ(entry["diff"][0].get<std::string>().rfind("closes 2001:db8:2::/64 on eth2 (zone office)", 0), 0U);
}

TEST_F(GuardChange, AChangeWithoutAReasonIsRefused) {
  wish_.why.clear();
  EXPECT_NE(Refusal().find("needs a reason"), std::string::npos);
}

TEST_F(GuardChange, APolicyThatContradictsItselfIsWrongAlsoWhenForced) {
  netfilter::Policy policy = netfilter::PlantPolicy();
  policy.zones[1].sources = policy.zones[0].sources;
  wish_.policy = netfilter::PolicyText(policy);
  wish_.force = true;
  EXPECT_FALSE(Judged().change);
  EXPECT_TRUE(Judged().wrong);
  wish_.policy = "{}";
  EXPECT_TRUE(Judged().wrong);
}

TEST_F(GuardChange, OperatorsAreNotCutOffUnlessForced) {
  wish_.from = {netfilter::AddressOf("198.51.100.7")};
  EXPECT_NE(Refusal().find("198.51.100.7 would reach nothing"), std::string::npos);
  EXPECT_FALSE(Judged().wrong);
  wish_.force = true;
  ASSERT_TRUE(Judged().change);
  EXPECT_EQ(json::parse(Judged().change->payload)["forced"], true);
  EXPECT_FALSE(Judged().warnings.empty());
}

TEST_F(GuardChange, AnInterfaceThatIsNotThereIsRefusedUnlessForced) {
  wish_.interfaces = std::vector<std::string>{"lo", "eth0", "eth1"};
  EXPECT_NE(Refusal().find("eth2"), std::string::npos);
  wish_.force = true;
  EXPECT_EQ(Refusal(), "");
}

TEST_F(GuardChange, TwoPeopleMustAgreeWhereTwoAreWanted) {
  rules_.approvals = 2;
  EXPECT_NE(Refusal().find("needs the approval of 2 people, and has that of 0"), std::string::npos);
  wish_.approvals = {alice_.Signs(Subject())};
  EXPECT_NE(Refusal().find("has that of 1"), std::string::npos);
  wish_.approvals = {alice_.Signs(Subject()), alice_.Signs(Subject(), kNow + 2 * kDay)};
  EXPECT_NE(Refusal().find("alice has approved already"), std::string::npos);
  wish_.approvals = {alice_.Signs(Subject()), bob_.Signs(Subject())};
  ASSERT_EQ(Refusal(), "");
  const json approvals = json::parse(Judged().change->payload)["approvals"];
  ASSERT_EQ(approvals.size(), 2U);
  EXPECT_EQ(approvals[0]["name"], "alice");
  EXPECT_EQ(approvals[1]["key"], HexOf(bob_.approver.public_key));
  EXPECT_EQ(approvals[1]["text"], wish_.approvals[1]);
  wish_.approvals.clear();
  wish_.force = true;
  EXPECT_NE(Refusal(), "") << "force is no approval";
}

TEST_F(GuardChange, AnApprovalThatIsNotTheirsIsRefused) {
  rules_.approvals = 1;
  wish_.approvals = {carol_.Signs(Subject())};
  EXPECT_NE(Refusal().find("carol is no approver"), std::string::npos);
  wish_.approvals = {carol_.Signs(Subject(), kNow + kDay, "alice")};
  EXPECT_NE(Refusal().find("the signature is not alice's"), std::string::npos);
  wish_.approvals = {"alice agrees\n"};
  EXPECT_NE(Refusal().find("no approval"), std::string::npos);
}

TEST_F(GuardChange, AnApprovalIsForOneChangeOfOneLogAndForALimitedTime) {
  rules_.approvals = 1;
  ApprovalSubject other = Subject();
  other.log = std::string(64, 'b');
  wish_.approvals = {alice_.Signs(other)};
  EXPECT_NE(Refusal().find("another log"), std::string::npos);
  other = Subject();
  other.policy = current_.digest;
  wish_.approvals = {alice_.Signs(other)};
  EXPECT_NE(Refusal().find("another policy"), std::string::npos);
  other = Subject();
  other.replaces = std::string(64, 'c');
  wish_.approvals = {alice_.Signs(other)};
  EXPECT_NE(Refusal().find("another change was in force"), std::string::npos);
  other = Subject();
  other.entry = 7;  // the same policy was in force once before
  wish_.approvals = {alice_.Signs(other)};
  EXPECT_NE(Refusal().find("another change was in force"), std::string::npos);
  wish_.approvals = {alice_.Signs(Subject(), kNow - 1'000'000'000)};
  EXPECT_NE(Refusal().find("it expired on "), std::string::npos);
  wish_.approvals = {alice_.Signs(Subject())};
  EXPECT_EQ(Refusal(), "");
}

TEST_F(GuardChange, AStatementThatWasChangedAfterItWasSignedIsRefused) {
  rules_.approvals = 1;
  const std::string good = alice_.Signs(Subject());
  for (std::size_t i = 0; i + 1 < good.size(); ++i) {
    std::string bad = good;
    bad[i] = bad[i] == '0' ? '1' : '0';
    if (bad == good) continue;
    wish_.approvals = {bad};
    EXPECT_NE(Refusal(), "") << "octet " << i;
  }
  for (std::size_t i = 0; i < good.size(); ++i) {
    wish_.approvals = {good.substr(0, i)};
    EXPECT_NE(Refusal(), "") << "the first " << i << " octets";
  }
}

TEST_F(GuardChange, TenThousandPrefixesFitIntoOneEntry) {
  netfilter::Policy policy = netfilter::PlantPolicy();
  policy.zones[0].sources.clear();
  for (int i = 0; i < 10'000; ++i) {
    policy.zones[0].sources.push_back(
        netfilter::PrefixOf("10." + std::to_string(i / 256) + "." + std::to_string(i % 256) + ".128/25"));
  }
  wish_.policy = netfilter::PolicyText(policy);
  ASSERT_EQ(Refusal(), "");
  EXPECT_LT(Judged().change->payload.size(), 1'048'576U);
  EXPECT_EQ(json::parse(Judged().change->payload)["policy"], wish_.policy);
}

TEST_F(GuardChange, TheFirstPolicyOpensWhatItNamesAndNeedsNobodysWord) {
  rules_.approvals = 2;
  const Verdict verdict = Judge(wish_, InForce{}, rules_, kNow, /*approvals_needed=*/false);
  ASSERT_TRUE(verdict.change);
  for (const std::string& clause : verdict.change->diff) EXPECT_EQ(clause.rfind("opens ", 0), 0U) << clause;
}

TEST_F(GuardChange, ALongDiffIsCutAndSaysByHowMuch) {
  std::vector<std::string> clauses(limits::kPolicyDiffClauses + 3, std::string(2 * limits::kPolicyClauseBytes, 'x'));
  clauses = BoundedClauses(std::move(clauses));
  ASSERT_EQ(clauses.size(), limits::kPolicyDiffClauses + 1);
  EXPECT_EQ(clauses.back(), "and 3 more");
  EXPECT_LE(clauses.front().size(), limits::kPolicyClauseBytes + 4);
}

}  // namespace
}  // namespace stele::guard
