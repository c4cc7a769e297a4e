// Goal: of two good bundles, one that does not continue the other is found out.
// Method: logs that go on, that fork, and whose TPM and disk were put back together.
#include "appliance/evidence/compare.h"

#include <gtest/gtest.h>

#include "tests/unit/evidence/made_log.h"

namespace stele::evidence {
namespace {

Facts FactsOf(const MadeLog& log, std::vector<std::uint64_t> since = {}) {
  BundleWish wish = log.All(NonceOf("any"));
  wish.records = {1};
  wish.since = std::move(since);
  const Report report = VerifyBundle(log.Bundle(wish), {});
  EXPECT_TRUE(report.good()) << ReportText(report);
  return report.facts;
}

TEST(Compare, ALaterBundleContinuesAnEarlierAnchoredOne) {
  MadeLog log;
  log.Append(10);
  log.Checkpoint(true);
  const Facts earlier = FactsOf(log);
  log.Append(10);
  log.Checkpoint(true);
  const Facts later = FactsOf(log);
  EXPECT_EQ(Compare(earlier, later).word, "OK") << Compare(earlier, later).detail;
  EXPECT_EQ(Compare(later, earlier).word, "OK");  // in whatever order they are given
}

TEST(Compare, AnUnanchoredEarlierOneNeedsItsSizeToBeAskedFor) {
  MadeLog log;
  log.Append(10);
  log.Checkpoint(true);
  log.Append(3);
  log.Checkpoint(false);
  const Facts earlier = FactsOf(log);
  log.Append(10);
  log.Checkpoint(true);
  EXPECT_EQ(Compare(earlier, FactsOf(log)).word, "CANNOT_TELL");
  EXPECT_EQ(Compare(earlier, FactsOf(log, {14})).word, "OK");
}

TEST(Compare, ADiskAndTpmPutBackTogetherAreRolledBack) {
  MadeLog log;
  log.Append(10);
  log.Checkpoint(true);
  const MadeTpm old_tpm = log.tpm;
  const auto old_log = log.log;
  const auto old_checkpoints = log.checkpoints;
  const auto old_receipts = log.receipts;
  log.Append(10);
  log.Checkpoint(true);
  const Facts seen = FactsOf(log);
  log.tpm = old_tpm;
  log.log = old_log;
  log.checkpoints = old_checkpoints;
  log.receipts = old_receipts;
  Facts shown = FactsOf(log);
  EXPECT_TRUE(shown.anchor == 1);
  shown.created_ns = seen.created_ns + 1;
  EXPECT_EQ(Compare(seen, shown).word, "ROLLED_BACK");
}

TEST(Compare, AForkIsTampered) {
  MadeLog log;
  log.Append(10);
  log.Checkpoint(true);
  const MadeTpm tpm = log.tpm;
  log.Append(10);
  log.Checkpoint(true);
  const Facts one = FactsOf(log);
  log.tpm = tpm;
  log.log.resize(11);
  log.checkpoints.resize(1);
  log.receipts.resize(1);
  log.seed = 99;  // other messages
  log.Append(10);
  log.Checkpoint(true);
  log.Append(1);
  log.Checkpoint(true);
  const Comparison comparison = Compare(one, FactsOf(log));
  EXPECT_EQ(comparison.word, "TAMPERED") << comparison.detail;
}

TEST(Compare, AnotherLogIsNotThisOne) {
  MadeLog one;
  one.Append(2);
  one.Checkpoint(true);
  MadeLog other(2);
  other.Append(5);
  other.Checkpoint(true);
  EXPECT_EQ(Compare(FactsOf(one), FactsOf(other)).word, "TAMPERED");
}

}  // namespace
}  // namespace stele::evidence
