// Goal: the measurement leaves the TPM as it found it, and its proposals keep the budget. Method: swtpm; made-up
// reports.
#include "tpm/bench.h"

#include <gtest/gtest.h>

#include "tests/unit/tpm/testbed.h"

namespace stele::tpm::test {
namespace {

TEST(Bench, MeasuresWithoutTouchingTheLogsRegisters) {
  Testbed bed;
  ASSERT_NO_FATAL_FAILURE(bed.Provision());
  SystemClock clock;
  BenchOptions options;
  options.rounds = 3;
  const auto report = Bench(bed.Connect(), options, clock);
  ASSERT_TRUE(report.has_value()) << Describe(report.error());
  EXPECT_TRUE(report->nv_measured);
  EXPECT_EQ(report->nv_writes, 6);
  EXPECT_GT(report->checkpoint_ms, 0);
  EXPECT_GT(report->anchor_ms, report->checkpoint_ms);
  for (const Timing& timing : report->timings) {
    EXPECT_GT(timing.mean_ms, 0) << timing.what;
    EXPECT_GE(timing.max_ms, timing.mean_ms * 0.999) << timing.what;
  }
  const auto device = bed.Device();
  ASSERT_TRUE(device);
  EXPECT_EQ(device->ReadPcr().value(), Hash{});
  EXPECT_EQ(device->ReadCounter().value(), bed.result.counter_start);
  EXPECT_EQ(device->ReadIndex().value(), bed.result.index_start);
  EXPECT_EQ(device->Identity().value().ak_name, bed.result.identity.ak_name);
}

TEST(Bench, LeavesNothingBehindAndNeedsNoOwnerForTheRest) {
  Testbed bed;
  ASSERT_EQ(bed.Tool("tpm2_changeauth -c o secret"), 0);
  SystemClock clock;
  BenchOptions options;
  options.rounds = 1;
  const auto report = Bench(bed.Connect(), options, clock);
  ASSERT_TRUE(report.has_value()) << Describe(report.error());
  EXPECT_FALSE(report->nv_measured);
  EXPECT_EQ(report->nv_writes, 0);
  EXPECT_NE(bed.Tool("tpm2_nvreadpublic 0x018153f1"), 0);
  EXPECT_NE(bed.Tool("tpm2_nvreadpublic 0x018153f2"), 0);
}

TEST(Bench, AProposalKeepsTheBudgetForTenYears) {
  BenchReport chip;
  chip.checkpoint_ms = 30;
  chip.anchor_ms = 500;
  Cadence cadence = ProposeCadence(chip, 100'000);
  EXPECT_EQ(cadence.checkpoint_interval_ms, 500);
  EXPECT_LE(cadence.anchors_per_day, 27);
  EXPECT_GE(cadence.years, 9.99);
  chip.checkpoint_ms = 400;  // a slow one: at most a quarter of its time
  EXPECT_EQ(ProposeCadence(chip, 100'000).checkpoint_interval_ms, 1'600);
  cadence = ProposeCadence(chip, 500'000);  // more budget: hourly, not more
  EXPECT_EQ(cadence.anchor_interval_ms, 3'600'000);
  EXPECT_GT(cadence.years, 40);
  cadence = ProposeCadence(chip, 1'000);  // next to none: once a day, and the years say what that means
  EXPECT_EQ(cadence.anchor_interval_ms, 86'400'000);
  EXPECT_LT(cadence.years, 1);
}

}  // namespace
}  // namespace stele::tpm::test
