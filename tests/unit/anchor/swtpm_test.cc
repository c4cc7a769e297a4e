// Goal: the whole flow on a real TPM implementation: provision, anchor, restart, reboot, rolled-back log. Method: swtpm
// in a temporary directory; skips where it is not installed. matrix_test.cc goes through the recovery table.
#include <gtest/gtest.h>

#include "tests/unit/anchor/swtpm_rig.h"

namespace stele::anchor {
namespace {

TEST(OnSwtpm, TheWholeLifeOfALog) {
  if (!SwtpmRig::Available()) GTEST_SKIP() << "swtpm is not installed";
  SwtpmRig rig;
  auto verdict = rig.Start();
  ASSERT_EQ(verdict.word, "OK") << verdict.detail;
  ASSERT_TRUE(rig.Checkpoint(false));
  ASSERT_EQ(rig.log.receipts.size(), 1U) << rig.status;
  ASSERT_TRUE(rig.Checkpoint(false));
  ASSERT_TRUE(rig.Checkpoint(true));
  ASSERT_EQ(rig.log.receipts.size(), 2U) << rig.status;
  for (const std::string& payload : rig.log.receipts) {
    const auto checked = CheckReceipt(*DecodeReceipt(payload), rig.config.pins.receipt);
    EXPECT_TRUE(checked.has_value()) << (checked ? "" : Describe(checked.error()));
  }
  verdict = rig.Start();
  EXPECT_EQ(verdict.word, "OK") << verdict.detail;
  ASSERT_TRUE(rig.Checkpoint(false));

  // A stop between the durable intent and its extend, and a restart in the same boot.
  const auto intent = rig.Sign(true);
  ASSERT_TRUE(intent.has_value());
  rig.MakeDurable(*intent);
  verdict = rig.Start();
  EXPECT_EQ(verdict.word, "RECOVERED_CRASH") << verdict.detail;
  EXPECT_EQ(rig.log.receipts.size(), 3U);

  rig.Reboot();
  verdict = rig.Start();
  EXPECT_TRUE(verdict.may_anchor) << verdict.word << ": " << verdict.detail;
  ASSERT_TRUE(rig.Checkpoint(false));
  EXPECT_EQ(rig.log.receipts.size(), 4U) << "the boot anchor";

  // The log, and the slots with it, rolled back across an anchor; the true ones put back.
  const auto old = rig.CopyDisk();
  ASSERT_TRUE(rig.Checkpoint(true));
  const auto now = rig.CopyDisk();
  rig.PutBack(old, true, true);
  EXPECT_EQ(rig.Start().word, "ROLLED_BACK");
  rig.PutBack(now, true, true);
  EXPECT_TRUE(rig.Start().may_anchor);
}

}  // namespace
}  // namespace stele::anchor
