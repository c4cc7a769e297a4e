// Goal: evidence of a log that went on with another TPM convinces, tells how each epoch before ended, and convinces nobody
// once an epoch was left out, forged, or put over another history.
// Method: a made log of three epochs with real keys; for each refusal one thing is wrong and everything else right.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "appliance/evidence/compare.h"
#include "appliance/ledger/merkle.h"
#include "tests/unit/evidence/made_log.h"

namespace stele::evidence {
namespace {

using nlohmann::json;

const Hash kNonce = NonceOf("an auditor's");

MadeLog ThreeEpochs() {
  MadeLog log;
  log.Append(20);
  log.Checkpoint(true);
  log.Append(5);
  log.BeginEpoch("TPM_CLEARED");
  log.Append(20);
  log.Checkpoint(true);
  log.BeginEpoch("TPM_REPLACED");
  log.Append(20);
  log.Checkpoint(true);
  log.Append(5);
  log.Checkpoint(false);
  return log;
}

Policy PolicyFor(const MadeLog& log) {
  Policy policy;
  policy.nonce = kNonce;
  policy.pin_pem = log.provisioning_public_pem;
  return policy;
}

bool Has(const Report& report, const char* qualifier) {
  return std::find(report.qualifiers.begin(), report.qualifiers.end(), qualifier) != report.qualifiers.end();
}

TEST(EvidenceEpochs, TheNewestConvincesAndTheEarlierVerdictsStay) {
  const MadeLog log = ThreeEpochs();
  const Report report = VerifyBundle(log.Bundle(log.All(kNonce)), PolicyFor(log));
  EXPECT_TRUE(report.good()) << ReportText(report);
  EXPECT_TRUE(Has(report, "EPOCH_0_TPM_CLEARED"));
  EXPECT_TRUE(Has(report, "EPOCH_1_TPM_REPLACED"));
  EXPECT_EQ(report.facts.epoch, 2U);
  ASSERT_NE(report.Find("epochs"), nullptr);
  EXPECT_EQ(report.Find("epochs")->outcome, Outcome::kPassed);
  // Few records, few proofs: the epochs are proven all the same.
  BundleWish few;
  few.nonce = kNonce;
  few.records = {3, 30};
  EXPECT_TRUE(VerifyBundle(log.Bundle(few), PolicyFor(log)).good());
}

TEST(EvidenceEpochs, ALogOfOneEpochHasNoSuchCheck) {
  MadeLog log;
  log.Append(20);
  log.Checkpoint(true);
  EXPECT_EQ(VerifyBundle(log.Bundle(log.All(kNonce)), PolicyFor(log)).Find("epochs"), nullptr);
}

TEST(EvidenceEpochs, LeftOutForgedOrReorderedIsTampering) {
  const MadeLog log = ThreeEpochs();
  const Bytes good = log.Bundle(log.All(kNonce));
  const auto says = [&](const char* what, const std::function<void(TakenApart&)>& change) {
    TakenApart apart = TakeApart(good);
    change(apart);
    const Report report = VerifyBundle(apart.Together(), PolicyFor(log));
    EXPECT_EQ(report.word, "TAMPERED") << what << ": " << ReportText(report);
  };
  const std::string name = "provisioning/epochs.json";
  const auto edit = [&name](TakenApart& apart, const std::function<void(json&)>& change) {
    json file = json::parse(AsText(apart.Of(name)));
    change(file["epochs"]);
    apart.Of(name) = ToBytes(AsBytes(file.dump()));
  };
  says("no epochs at all", [&](TakenApart& a) { a.Remove(name); });
  says("an empty list", [&](TakenApart& a) { edit(a, [](json& list) { list.clear(); }); });
  says("the last left out", [&](TakenApart& a) { edit(a, [](json& list) { list.erase(1); }); });
  says("the first left out", [&](TakenApart& a) { edit(a, [](json& list) { list.erase(0); }); });
  says("in another order", [&](TakenApart& a) { edit(a, [](json& list) { std::swap(list[0], list[1]); }); });
  says("one twice", [&](TakenApart& a) { edit(a, [](json& list) { list.push_back(list[1]); }); });
  says("another's signature", [&](TakenApart& a) {
    edit(a, [](json& list) { list[0]["signature_b64"] = list[1]["signature_b64"]; });
  });
  MadeLog other(2);
  other.Append(25);
  other.BeginEpoch("TPM_CLEARED");
  const std::string theirs = EncodeEpochs(other.epochs);
  says("of another log", [&](TakenApart& a) { a.Of(name) = ToBytes(AsBytes(theirs)); });
}

TEST(EvidenceEpochs, AnEpochOverAnotherHistoryIsTampering) {
  MadeLog log = ThreeEpochs();
  // As if the signer had been shown another log of the same size.
  anchor::ProvisioningRecord record = log.record;
  std::vector<Hash>& frontier = record.epoch->log_frontier;
  frontier.back() = Sha256Of(AsBytes("another leaf"));
  record.epoch->log_root = ledger::Frontier::FromHashes(0, record.epoch->log_size, frontier).value().Root();
  log.epochs.back() = anchor::SignRecord(anchor::EncodeRecord(record), log.provisioning_key_pem).value();
  const Report report = VerifyBundle(log.Bundle(log.All(kNonce)), PolicyFor(log));
  EXPECT_EQ(report.word, "TAMPERED");
  ASSERT_NE(report.Find("epochs"), nullptr);
  EXPECT_EQ(report.Find("epochs")->outcome, Outcome::kFailed);
}

TEST(EvidenceEpochs, AReceiptOfAnEarlierEpochIsContinuedAndItsKeySignsNothingLater) {
  MadeLog log;
  log.Append(20);
  log.Checkpoint(true);
  const std::string receipt = log.checkpoints.back().note;
  const std::uint64_t size = log.checkpoint_size();
  const ledger::SigningKey old_key = std::move(*log.key);
  log.BeginEpoch("TPM_CLEARED");
  log.Append(20);
  log.Checkpoint(true);
  BundleWish wish = log.All(kNonce);
  wish.since = {size};
  Policy policy = PolicyFor(log);
  policy.since_note = receipt;
  EXPECT_TRUE(VerifyBundle(log.Bundle(wish), policy).good());
  policy.since_note = old_key.Sign(log.NoteText(log.checkpoint_size()));
  EXPECT_EQ(VerifyBundle(log.Bundle(wish), policy).word, "TAMPERED");
}

TEST(EvidenceEpochs, TwoBundlesAreComparedAcrossAnEpochByTheirTrees) {
  MadeLog log;
  log.Append(20);
  log.Checkpoint(true);
  const Report earlier = VerifyBundle(log.Bundle(log.All(kNonce)), PolicyFor(log));
  BundleWish wish;
  wish.since = {log.checkpoint_size()};
  log.BeginEpoch("TPM_CLEARED");
  log.Append(20);
  log.Checkpoint(true);
  const std::vector<std::uint64_t> since = wish.since;
  wish = log.All(kNonce);
  wish.since = since;
  Report later = VerifyBundle(log.Bundle(wish), PolicyFor(log));
  later.facts.created_ns = earlier.facts.created_ns + 1;
  EXPECT_EQ(Compare(earlier.facts, later.facts).word, "OK");
  later.facts.created_ns = earlier.facts.created_ns - 1;
  EXPECT_EQ(Compare(earlier.facts, later.facts).word, "ROLLED_BACK");
}

}  // namespace
}  // namespace stele::evidence
