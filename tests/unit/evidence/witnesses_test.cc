// Goal: the word of witnesses counts exactly where the auditor's own policy says so: enough of them, new enough, over a
// beginning of this very log; what is stale, too few or by another key never passes, and what contradicts them is
// called by its name. Method: bundles of a made log whose head carries checkpoints cosigned by real keys, one thing
// wrong at a time.
#include <gtest/gtest.h>

#include "appliance/ledger/cosignature.h"
#include "tests/unit/evidence/made_log.h"

namespace stele::evidence {
namespace {

constexpr std::uint64_t kQuoted = 1'800'000'000;  // MadeLog's wall clock
constexpr std::uint64_t kHour = 3'600;

ledger::Cosigner CosignerOf(const std::string& name, std::uint64_t seed) {
  return ledger::Cosigner::FromSeed("witness.example/" + name, NonceOf("witness" + std::to_string(seed))).value();
}

class Witnesses : public ::testing::Test {
 protected:
  Witnesses() {
    log_.Append(20);
    log_.Checkpoint(true);  // 21
    log_.Append(5);
    log_.Checkpoint(false);  // 26
    log_.Append(5);
    log_.Checkpoint(true);  // 31
    wish_ = log_.All(NonceOf("mine"));
    wish_.since = {26};
    policy_.nonce = wish_.nonce;
    policy_.pin_pem = log_.provisioning_public_pem;
    std::string text;
    for (const ledger::Cosigner* one : {&a_, &b_, &c_})
      text += "witness " + one->key().name + " " + one->key().Vkey() + "\n";
    text += "group g 2 witness.example/a witness.example/b witness.example/c\nquorum g\n";
    policy_.witnesses = ledger::ParseWitnessPolicy(text).value();
  }

  // The log's checkpoint of this size, cosigned.
  [[nodiscard]] std::string Cosigned(std::uint64_t size, const std::vector<const ledger::Cosigner*>& by,
                                     std::uint64_t time_s = kQuoted) const {
    return CosignedNote(log_.Note(size), by, time_s);
  }
  static std::string CosignedNote(std::string note, const std::vector<const ledger::Cosigner*>& by,
                                  std::uint64_t time_s = kQuoted) {
    const std::string text = ledger::ParseNote(note).value().text;
    for (const ledger::Cosigner* one : by) note += one->Cosign(text, time_s);
    return note;
  }
  [[nodiscard]] Bytes Bundle(const std::string& cosigned) const {
    BundleHead head = log_.Head(wish_);
    head.cosigned_note = cosigned;
    return log_.Assemble(head, wish_);
  }
  void Expect(const std::string& cosigned, std::string_view word, std::string_view says) const {
    const Report report = VerifyBundle(Bundle(cosigned), policy_);
    EXPECT_EQ(report.word, word) << ReportText(report);
    EXPECT_EQ(report.Find("witnesses")->word, word);
    EXPECT_NE(report.detail.find(says), std::string::npos) << report.detail;
    EXPECT_EQ(report.exit_status(), word == "CANNOT_TELL" ? 3 : 1);
    EXPECT_FALSE(report.facts.witnessed.quorum);
  }

  MadeLog log_;
  BundleWish wish_;
  Policy policy_;
  ledger::Cosigner a_ = CosignerOf("a", 1);
  ledger::Cosigner b_ = CosignerOf("b", 2);
  ledger::Cosigner c_ = CosignerOf("c", 3);
};

TEST_F(Witnesses, AQuorumOverABeginningOfThisLogPassesAndIsShown) {
  const Report report = VerifyBundle(Bundle(Cosigned(26, {&a_, &c_})), policy_);
  EXPECT_EQ(report.word, "OK") << ReportText(report);
  EXPECT_EQ(report.Find("witnesses")->outcome, Outcome::kPassed);
  EXPECT_TRUE(report.facts.witnessed.quorum);
  EXPECT_EQ(report.facts.witnessed.size, 26U);
  const auto json = ReportJson(report)["witnesses"];
  EXPECT_EQ(json["witnesses"][0]["time_s"], kQuoted);
  EXPECT_TRUE(json["witnesses"][1]["time_s"].is_null());
  EXPECT_NE(ReportHtml(report, "x").find("witness.example/b: did not cosign it"), std::string::npos);
}

TEST_F(Witnesses, EntriesAboveWhatTheyCosignedAreNamed) {
  const Report report = VerifyBundle(Bundle(Cosigned(26, {&a_, &b_})), policy_);
  ASSERT_FALSE(report.unchecked.empty());
  EXPECT_NE(report.unchecked.back().find("from 26 on"), std::string::npos);
  EXPECT_EQ(VerifyBundle(Bundle(Cosigned(31, {&a_, &b_})), policy_).facts.witnessed.size, 31U);
}

TEST_F(Witnesses, WithoutAPolicyNobodyIsBelievedAndTheReportSaysSo) {
  policy_.witnesses.reset();
  const Report report = VerifyBundle(Bundle(Cosigned(26, {&a_, &b_})), policy_);
  EXPECT_EQ(report.word, "OK");
  EXPECT_EQ(report.Find("witnesses")->outcome, Outcome::kSkipped);
  EXPECT_NE(report.unchecked.back().find("--witness-policy"), std::string::npos);
}

TEST_F(Witnesses, ABundleThatCarriesNothingOfThemCannotTell) {
  Expect("", "CANNOT_TELL", "carries no cosigned checkpoint");
}

TEST_F(Witnesses, APolicyThatAsksForNoneIsMet) {
  policy_.witnesses = ledger::ParseWitnessPolicy("quorum none\n").value();
  EXPECT_EQ(VerifyBundle(Bundle(""), policy_).word, "OK");
}

TEST_F(Witnesses, OneOfTheTwoThatAreNeededIsNoQuorum) {
  Expect(Cosigned(26, {&b_}), "CANNOT_TELL", "1 of 3 witnesses");
}

TEST_F(Witnesses, AnotherKeyUnderAWitnessesNameDoesNotCount) {
  const ledger::Cosigner impostor = CosignerOf("b", 9);
  Expect(Cosigned(26, {&a_, &impostor}), "CANNOT_TELL", "1 of 3 witnesses");
}

TEST_F(Witnesses, AnOlderCosignatureIsStaleAndSoIsOneFromTheFuture) {
  const std::string old = Cosigned(26, {&a_, &b_}, kQuoted - 25 * kHour);
  Expect(old, "CANNOT_TELL", "new enough");
  Expect(Cosigned(26, {&a_, &b_}, kQuoted + 25 * kHour), "CANNOT_TELL", "new enough");
  const std::string text = ledger::ParseNote(old).value().text;
  EXPECT_EQ(VerifyBundle(Bundle(Cosigned(26, {&a_}) + b_.Cosign(text, kQuoted - 25 * kHour)), policy_).word,
            "CANNOT_TELL");
  policy_.witness_max_age_s = 26 * kHour;
  EXPECT_EQ(VerifyBundle(Bundle(old), policy_).word, "OK");
  policy_.witness_max_age_s = 0;
  EXPECT_EQ(VerifyBundle(Bundle(Cosigned(26, {&a_, &b_}, 1)), policy_).word, "OK");
}

TEST_F(Witnesses, ASmallerCheckpointThanTheReceiptShowsThemToHaveSeenIsStale) {
  policy_.since_note = Cosigned(26, {&a_, &b_});
  Expect(Cosigned(21, {&a_, &b_}), "CANNOT_TELL", "an older word");
  EXPECT_EQ(VerifyBundle(Bundle(Cosigned(26, {&b_, &c_})), policy_).word, "OK");
  policy_.since_note = Cosigned(26, {&a_});  // no quorum stood behind this receipt
  EXPECT_EQ(VerifyBundle(Bundle(Cosigned(21, {&a_, &b_})), policy_).word, "OK");
}

TEST_F(Witnesses, ACosignatureThatDoesNotVerifyIsTampering) {
  const std::string line = a_.Cosign("another text\n", kQuoted);
  Expect(Cosigned(26, {&b_, &c_}) + line, "TAMPERED", "does not verify");
}

TEST_F(Witnesses, ALargerLogThanTheQuotedOneIsARollback) {
  log_.Append(3);
  Expect(Cosigned(34, {&a_, &b_}), "ROLLED_BACK", "a larger log");
}

TEST_F(Witnesses, AnotherHistoryIsTampering) {
  const std::string forked = log_.key->Sign(ledger::FormatCheckpoint({log_.origin, 26, NonceOf("another root")}));
  Expect(CosignedNote(forked, {&a_, &b_}), "TAMPERED", "another history");
}

TEST_F(Witnesses, TheCheckpointOfAnotherLogIsTampering) {
  MadeLog other(2);
  other.Append(30);
  Expect(CosignedNote(other.Note(26), {&a_, &b_}), "TAMPERED", "not signed by this log");
}

TEST_F(Witnesses, ACosignedSizeThatNothingProvesCannotTell) {
  wish_.since.clear();
  Expect(Cosigned(26, {&a_, &b_}), "CANNOT_TELL", "no proof");
}

TEST_F(Witnesses, ALogThatThePolicyDoesNotNameIsRefused) {
  MadeLog other(2);
  policy_.witnesses->logs.push_back({other.key->verify_key(), ""});
  Expect(Cosigned(26, {&a_, &b_}), "TAMPERED", "no log of the policy");
}

TEST_F(Witnesses, WhatCannotBeToldNeverHidesWhatIsWrong) {
  TakenApart apart = TakeApart(Bundle(Cosigned(26, {&b_})));
  apart.Of("records/000000.payloads")[40] ^= std::byte{1};
  const Report report = VerifyBundle(apart.Together(), policy_);
  EXPECT_EQ(report.word, "TAMPERED");
  EXPECT_EQ(report.Find("records")->outcome, Outcome::kFailed);
}

TEST_F(Witnesses, EveryChangedByteOfTheCosignedNoteIsRefusedOrLosesTheQuorum) {
  const Bytes archive = Bundle(Cosigned(26, {&a_, &b_}));
  const std::size_t size = TakeApart(archive).Of("witnesses/cosigned.note").size();
  for (std::size_t at = 0; at < size; ++at) {
    TakenApart apart = TakeApart(archive);
    apart.Of("witnesses/cosigned.note")[at] ^= std::byte{1};
    EXPECT_FALSE(VerifyBundle(apart.Together(), policy_).good()) << at;
  }
}

}  // namespace
}  // namespace stele::evidence
