// Goal: honest evidence is believed, with exactly the qualifiers and reservations it deserves.
// Method: bundles of a log made in memory with real keys; what the auditor brings is varied.
#include <gtest/gtest.h>

#include "appliance/evidence/report.h"
#include "tests/unit/evidence/made_log.h"

namespace stele::evidence {
namespace {

Policy Brought(const MadeLog& log, const Hash& nonce) {
  Policy policy;
  policy.nonce = nonce;
  policy.pin_pem = log.provisioning_public_pem;
  policy.ek_roots_pem = EkRootPem();
  return policy;
}

MadeLog Anchored() {
  MadeLog log;
  log.Append(20);
  log.Checkpoint(true);
  log.Append(13);
  log.Checkpoint(false);
  log.Append(7);
  log.Checkpoint(true);
  return log;
}

TEST(Bundle, AnAnchoredRangeIsOk) {
  const MadeLog log = Anchored();
  const Hash nonce = NonceOf("mine");
  const Report report = VerifyBundle(log.Bundle(log.All(nonce)), Brought(log, nonce));
  EXPECT_EQ(report.word, "OK") << ReportText(report);
  EXPECT_TRUE(report.qualifiers.empty());
  EXPECT_EQ(report.exit_status(), 0);
  EXPECT_EQ(report.facts.records, log.checkpoint_size());
  EXPECT_TRUE(report.facts.contiguous);
  for (const Check& check : report.checks) {
    const bool not_asked = check.name == "witnesses" || check.name == "boot_log" || check.name == "since" || check.name == "expected_pcrs";
    EXPECT_EQ(check.outcome, not_asked ? Outcome::kSkipped : Outcome::kPassed) << check.name << ": " << check.detail;
  }
}

TEST(Bundle, FedByteByByteGivesTheSame) {
  const MadeLog log = Anchored();
  const Bytes archive = log.Bundle(log.All(NonceOf("mine")));
  Verifier verifier(Brought(log, NonceOf("mine")));
  for (const std::byte& one : archive) ASSERT_TRUE(verifier.Feed({&one, 1}));
  EXPECT_EQ(verifier.Finish().word, "OK");
}

TEST(Bundle, RecordsAboveTheNewestAnchorAreCalledAnUnanchoredTail) {
  MadeLog log = Anchored();
  log.Append(5);
  log.Checkpoint(false);
  for (const bool from_baseline : {true, false}) {
    BundleWish wish = log.All(NonceOf("mine"));
    wish.from_baseline = from_baseline;
    const Report report = VerifyBundle(log.Bundle(wish), Brought(log, NonceOf("mine")));
    EXPECT_EQ(report.word, "OK_UNANCHORED_TAIL") << ReportText(report);
    EXPECT_EQ(report.facts.size - report.facts.anchored_size, 5U);
    EXPECT_EQ(report.exit_status(), 0);
  }
}

TEST(Bundle, ALogWithoutAnyAnchorIsATailFromItsBeginning) {
  MadeLog log;
  log.Append(3);
  log.Checkpoint(false);
  const Report report = VerifyBundle(log.Bundle(log.All(NonceOf("mine"))), Brought(log, NonceOf("mine")));
  EXPECT_EQ(report.word, "OK_UNANCHORED_TAIL") << ReportText(report);
  EXPECT_EQ(report.facts.anchored_size, 0U);
}

TEST(Bundle, ScatteredRecordsAreProvenInTheirPlaces) {
  const MadeLog log = Anchored();
  BundleWish wish;
  wish.nonce = NonceOf("mine");
  wish.records = {3, 4, 19, 20, 21, 36};
  const Report report = VerifyBundle(log.Bundle(wish), Brought(log, wish.nonce));
  EXPECT_EQ(report.word, "OK") << ReportText(report);
  EXPECT_EQ(report.facts.records, 7U);
  EXPECT_FALSE(report.facts.contiguous);
  EXPECT_NE(StatementOf(report).find("does not prove"), std::string::npos);
}

TEST(Bundle, WithoutPayloadsEntriesAreProvenAlone) {
  const MadeLog log = Anchored();
  BundleWish wish = log.All(NonceOf("mine"));
  wish.payloads = false;
  const Report report = VerifyBundle(log.Bundle(wish), Brought(log, wish.nonce));
  EXPECT_EQ(report.word, "OK") << ReportText(report);
  EXPECT_EQ(report.facts.disclosed, 0U);
}

TEST(Bundle, NothingButTheGenesisIsABundleToo) {
  const MadeLog log = Anchored();
  BundleWish wish;
  wish.nonce = NonceOf("mine");
  EXPECT_EQ(VerifyBundle(log.Bundle(wish), Brought(log, wish.nonce)).word, "OK");
}

TEST(Bundle, WithoutAPinAndOnASoftwareTpmTheVerdictSaysSo) {
  MadeLog log(1);
  log.record.software_tpm = true;
  log.SignRecord();
  log.log.clear();
  log.Append(4);
  log.Checkpoint(true);
  Policy policy = Brought(log, NonceOf("mine"));
  policy.pin_pem.clear();
  const Report report = VerifyBundle(log.Bundle(log.All(NonceOf("mine"))), policy);
  EXPECT_EQ(report.WordWithQualifiers(), "OK (UNPINNED, SOFTWARE_TPM)") << ReportText(report);
}

TEST(Bundle, WithoutANonceOrARootTheReportListsWhatWasNotChecked) {
  const MadeLog log = Anchored();
  const Report report = VerifyBundle(log.Bundle(log.All(NonceOf("mine"))), {});
  EXPECT_EQ(report.word, "OK");
  EXPECT_EQ(report.unchecked.size(), 2U);
}

TEST(Bundle, BootsWithoutAnAnchorAreAGap) {
  MadeLog log = Anchored();
  log.Reboot();
  log.Reboot();
  log.Append(2);
  log.Checkpoint(false);
  const Report report = VerifyBundle(log.Bundle(log.All(NonceOf("mine"))), Brought(log, NonceOf("mine")));
  EXPECT_EQ(report.WordWithQualifiers(), "OK_UNANCHORED_TAIL (GAP)") << ReportText(report);
}

TEST(Bundle, ExpectedRegistersAreComparedWithTheQuotedOnes) {
  const MadeLog log = Anchored();
  const Bytes archive = log.Bundle(log.All(NonceOf("mine")));
  Policy policy = Brought(log, NonceOf("mine"));
  policy.expected_pcrs[7] = log.tpm.pcrs.at(7);
  EXPECT_EQ(VerifyBundle(archive, policy).word, "OK");
  policy.expected_pcrs[7][0] ^= std::byte{1};
  EXPECT_EQ(VerifyBundle(archive, policy).word, "TAMPERED");
  policy.expected_pcrs.clear();
  policy.expected_pcrs[10] = Hash{};  // not among the quoted ones
  EXPECT_EQ(VerifyBundle(archive, policy).word, "TAMPERED");
}

TEST(Bundle, AnEarlierReceiptIsContinuedWhereTheBundleProvesIt) {
  MadeLog log = Anchored();
  Policy policy = Brought(log, NonceOf("mine"));
  policy.since_note = log.Note(11);
  BundleWish wish = log.All(NonceOf("mine"));
  wish.records = {30};
  EXPECT_EQ(VerifyBundle(log.Bundle(wish), policy).word, "CANNOT_TELL");
  wish.since = {11};
  EXPECT_EQ(VerifyBundle(log.Bundle(wish), policy).word, "OK");
  policy.since_note = log.Note(21);  // the size of an anchor is always proven
  EXPECT_EQ(VerifyBundle(log.Bundle(wish), policy).word, "OK");
  log.Append(30);
  policy.since_note = log.Note(60);
  EXPECT_EQ(VerifyBundle(log.Bundle(wish), policy).word, "ROLLED_BACK");
  policy.since_note = log.key->Sign(ledger::FormatCheckpoint({log.origin, 11, Hash{}}));
  EXPECT_EQ(VerifyBundle(log.Bundle(wish), policy).word, "TAMPERED");
  policy.since_note = MadeLog(2).Note(1);
  EXPECT_EQ(VerifyBundle(log.Bundle(wish), policy).word, "TAMPERED");
}

TEST(Bundle, CosignaturesBehindTheLogsOwnChangeNothing) {
  const MadeLog log = Anchored();
  BundleWish wish = log.All(NonceOf("mine"));
  wish.records.clear();
  TakenApart apart = TakeApart(log.Bundle(wish));
  Append(apart.Of("checkpoint"), AsBytes("\xe2\x80\x94 witness.example AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"));
  EXPECT_EQ(VerifyBundle(apart.Together(), Brought(log, wish.nonce)).word, "OK");
}

TEST(Report, ThePageHoldsNoScriptAndEscapesWhatTheBundleSays) {
  const MadeLog log = Anchored();
  BundleWish wish = log.All(NonceOf("mine"));
  BundleHead head = log.Head(wish);
  head.info.selection_text = "<script>alert(1)</script>";
  const std::string page = ReportHtml(VerifyBundle(log.Assemble(head, wish), Brought(log, wish.nonce)), "a<b.tar");
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_NE(page.find("&lt;script&gt;"), std::string::npos);
  EXPECT_NE(page.find("a&lt;b.tar"), std::string::npos);
  EXPECT_NE(page.find("default-src 'none'"), std::string::npos);
}

}  // namespace
}  // namespace stele::evidence
