// Goal: a policy file means what c2sp.org/tlog-policy says, and a broken one is refused with its line.
// Method: the specification's own example with real keys, each rule broken once, quorums by hand.
#include "appliance/ledger/witness_policy.h"

#include <gtest/gtest.h>

#include "tests/unit/golden.h"

namespace stele::ledger {
namespace {

Cosigner MakeWitness(int number) {
  const Bytes seed(kKeyBytes, static_cast<std::byte>(number));
  auto cosigner = Cosigner::FromSeed("witness.invalid/" + std::to_string(number), seed);
  EXPECT_TRUE(cosigner.has_value());
  return std::move(*cosigner);
}

std::string Vkey(int number) { return MakeWitness(number).key().Vkey(); }

std::string LogVkey() {
  const std::string line(AsText(ReadGolden("checkpoint.vkey")));
  return line.substr(0, line.size() - 1);
}

// The example of the specification.
std::string Example() {
  return "log " + LogVkey() + "\n\nwitness X1 " + Vkey(1) + "\nwitness X2 " + Vkey(2) + " https://x2.invalid/w\n" +
         "\twitness X3\t" + Vkey(3) + " \n  # people of Y\ngroup X-witnesses 2 X1 X2 X3\n\nwitness Y1 " + Vkey(4) +
         "\nwitness Y2 " + Vkey(5) + "\nwitness Y3 " + Vkey(6) + "\ngroup Y-witnesses any Y1 Y2 Y3\n" +
         "group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n";
}

TEST(WitnessPolicy, ExampleOfTheSpecificationIsRead) {
  const auto policy = ParseWitnessPolicy(Example());
  ASSERT_TRUE(policy.has_value()) << Describe(policy.error());
  EXPECT_EQ(policy->logs.size(), 1U);
  ASSERT_EQ(policy->witnesses.size(), 6U);
  EXPECT_EQ(policy->witnesses[1].url, "https://x2.invalid/w");
  ASSERT_EQ(policy->groups.size(), 3U);
  EXPECT_EQ(policy->groups[0].threshold, 2U);
  EXPECT_TRUE(policy->QuorumMet({"X1", "X3", "Y2"}));
  EXPECT_FALSE(policy->QuorumMet({"X1", "Y1", "Y2", "Y3"}));
  EXPECT_FALSE(policy->QuorumMet({"X1", "X2", "X3"}));
  EXPECT_FALSE(policy->QuorumMet({"X-and-Y"})) << "a group is not a witness";
}

TEST(WitnessPolicy, QuorumMayBeNoneOrOneWitness) {
  const auto none = ParseWitnessPolicy("quorum none\n");
  ASSERT_TRUE(none.has_value());
  EXPECT_TRUE(none->QuorumMet({}));
  const auto one = ParseWitnessPolicy("witness w " + Vkey(1) + "\nquorum w\n");
  ASSERT_TRUE(one.has_value());
  EXPECT_FALSE(one->QuorumMet({}));
  EXPECT_TRUE(one->QuorumMet({"w"}));
}

TEST(WitnessPolicy, EachBrokenRuleIsRefusedWithItsLine) {
  const std::string w1 = "witness a " + Vkey(1) + "\n";
  const std::string w2 = "witness b " + Vkey(2) + "\n";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "0"},                                                      // no quorum
      {w1, "1"},                                                      // no quorum
      {"quorum a\n" + w1, "1"},                                       // used before it is defined
      {"quorum none\nquorum none\n", "2"},                            // two quorums
      {w1 + w1 + "quorum a\n", "2"},                                  // the same key and name
      {w1 + "witness b " + Vkey(1) + "\nquorum a\n", "2"},            // the same key
      {w1 + "witness a " + Vkey(2) + "\nquorum a\n", "2"},            // the same name
      {"witness none " + Vkey(1) + "\nquorum none\n", "1"},           // a name that is taken
      {w1 + "group g 2 a\nquorum g\n", "2"},                          // more than there are
      {w1 + "group g 0 a\nquorum g\n", "2"},                          // a threshold of nothing
      {w1 + "group g any\nquorum g\n", "2"},                          // nobody in it
      {w1 + "group g any g\nquorum g\n", "2"},                        // itself
      {w1 + "group g any none\nquorum g\n", "2"},                     // none is no member
      {w1 + "group g 2 a a\nquorum g\n", "2"},                        // one witness counted twice
      {w1 + w2 + "group g any a\ngroup h any a b\nquorum h\n", "4"},  // in two groups
      {"log " + LogVkey() + "\nlog " + LogVkey() + "\nquorum none\n", "2"},
      {"log " + Vkey(1) + "\nquorum none\n", "1"},          // a witness's key as a log's
      {"witness a " + LogVkey() + "\nquorum none\n", "1"},  // a log's key as a witness's
      {"trust everybody\nquorum none\n", "1"},
      {"quorum none trailing\n", "1"},
  };
  for (const auto& [text, line] : cases) {
    const auto policy = ParseWitnessPolicy(text);
    ASSERT_FALSE(policy.has_value()) << text;
    EXPECT_EQ(policy.error().code, Code::kInvalid);
    EXPECT_EQ(policy.error().context.substr(0, line.size() + 1), line + ":") << text;
  }
}

TEST(WitnessPolicy, EveryTruncationIsRefused) {
  const std::string good = Example();
  for (std::size_t size = 0; size < good.size(); ++size)
    EXPECT_FALSE(ParseWitnessPolicy(good.substr(0, size)).has_value()) << size;
}

TEST(WitnessPolicy, ControlCharactersAreRefused) {
  for (const char c : {'\0', '\r', '\v', '\x1b', '\x7f'})
    EXPECT_FALSE(ParseWitnessPolicy(std::string("# ") + c + "\nquorum none\n").has_value());
  EXPECT_TRUE(ParseWitnessPolicy("# \xff\xfe\nquorum none\n").has_value()) << "octets with the high bit are opaque";
}

Note Cosigned(const std::vector<int>& witnesses) {
  auto note = ParseNote(AsText(ReadGolden("checkpoint.note")));
  EXPECT_TRUE(note.has_value());
  for (const int number : witnesses) {
    const auto lines =
        ParseSignatureLines(MakeWitness(number).Cosign(note->text, 1000U + static_cast<unsigned>(number)));
    EXPECT_TRUE(lines.has_value());
    note->signatures.push_back(lines->front());
  }
  return *note;
}

TEST(WitnessPolicy, ReportNamesWhoCosignedAndWhen) {
  const auto policy = ParseWitnessPolicy(Example());
  ASSERT_TRUE(policy.has_value());
  const auto few = CheckWitnesses(*policy, Cosigned({2, 4}));
  ASSERT_TRUE(few.has_value()) << Describe(few.error());
  EXPECT_FALSE(few->quorum_met);
  const auto enough = CheckWitnesses(*policy, Cosigned({2, 3, 4, 9}));  // 9 is nobody the policy knows
  ASSERT_TRUE(enough.has_value());
  EXPECT_TRUE(enough->quorum_met);
  EXPECT_EQ(enough->log, std::optional<std::size_t>(0));
  ASSERT_EQ(enough->witnesses.size(), 6U);
  EXPECT_FALSE(enough->witnesses[0].time_s.has_value());
  EXPECT_EQ(enough->witnesses[1].time_s, std::optional<std::uint64_t>(1002));
}

TEST(WitnessPolicy, ForgedLineOfAKnownWitnessDeniesTheWholeNote) {
  const auto policy = ParseWitnessPolicy(Example());
  ASSERT_TRUE(policy.has_value());
  Note note = Cosigned({2, 3, 4});
  note.signatures.back().signature.back() ^= std::byte{1};
  const auto report = CheckWitnesses(*policy, note);
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().code, Code::kDenied);
}

TEST(WitnessPolicy, CheckpointOfAnotherLogIsDenied) {
  const auto other = SigningKey::FromSeed("other.invalid/log", Bytes(kKeyBytes, std::byte{9}));
  ASSERT_TRUE(other.has_value());
  const auto policy = ParseWitnessPolicy("log " + other->verify_key().Vkey() + "\nquorum none\n");
  ASSERT_TRUE(policy.has_value());
  EXPECT_EQ(CheckWitnesses(*policy, Cosigned({})).error().code, Code::kDenied);
  // Signed by the policy's log, but under the origin of another: not that log's word either.
  const Note foreign = Cosigned({});
  const auto resigned = ParseNote(other->Sign(foreign.text));
  ASSERT_TRUE(resigned.has_value());
  EXPECT_EQ(CheckWitnesses(*policy, *resigned).error().code, Code::kDenied);
}

}  // namespace
}  // namespace stele::ledger
