// Goal: the relay that the trouble tests rely on does what its rules say. Method: the language line by line, and a real
// TPM behind each act.
#include <gtest/gtest.h>

#include "tests/unit/tpm/testbed.h"

namespace stele::tpm::test {
namespace {

TEST(Meddling, RulesPassActAndEnd) {
  Meddling meddling;
  ASSERT_TRUE(meddling.Obey("answer NV_Increment NV_RATE times 2 after 1"));
  EXPECT_EQ(meddling.Next(kCcPcrExtend).act, Act::kPass);
  EXPECT_EQ(meddling.Next(kCcNvIncrement).act, Act::kPass);
  EXPECT_EQ(meddling.Next(kCcNvIncrement).answer, 0x920U);
  EXPECT_EQ(meddling.Next(kCcNvIncrement).act, Act::kAnswer);
  EXPECT_EQ(meddling.Next(kCcNvIncrement).act, Act::kPass);
  EXPECT_EQ(meddling.Count(kCcNvIncrement), 4);
  EXPECT_EQ(meddling.Obey("count any").value(), "5");
  ASSERT_TRUE(meddling.Obey("drop-reply any"));
  EXPECT_EQ(meddling.Next(kCcPcrRead).act, Act::kDropReply);
  ASSERT_TRUE(meddling.Obey("clear"));
  EXPECT_EQ(meddling.Next(kCcPcrRead).act, Act::kPass);
}

TEST(Meddling, ASlowChipIsSlowWhereChipsAre) {
  Meddling meddling;
  ASSERT_TRUE(meddling.Obey("profile slow-chip"));
  EXPECT_EQ(meddling.Next(kCcPcrExtend).delay.count(), 20);
  EXPECT_EQ(meddling.Next(kCcNvExtend).delay.count(), 80);
  EXPECT_EQ(meddling.Next(kCcNvCertify).delay.count(), 70);
  EXPECT_EQ(meddling.Next(kCcPcrRead).delay.count(), 0);
  ASSERT_TRUE(meddling.Obey("delay PCR_Read 3"));
  EXPECT_EQ(meddling.Next(kCcPcrRead).delay.count(), 3);
}

TEST(Meddling, NonsenseIsRefused) {
  Meddling meddling;
  for (const char* line : {"", "answer", "answer NV_Increment", "answer Nonsense RETRY", "answer any maybe",
                           "delay any", "cut-after any times", "cut-after any often 3", "profile fast-chip", "sing"}) {
    EXPECT_FALSE(meddling.Obey(line)) << line;
  }
}

TEST(Meddling, ACutBeforeLeavesTheRegisterAndACutAfterHasMovedIt) {
  Testbed bed;
  ASSERT_NO_FATAL_FAILURE(bed.Provision());
  for (const bool after : {false, true}) {
    Meddler meddler(bed.Connect());
    auto device = AnchorDevice::Open(meddler.TakeDeviceEnd(), ConfigOf(bed.result));
    ASSERT_TRUE(device.has_value()) << Describe(device.error());
    const Hash before = (*device)->ReadPcr().value();
    ASSERT_TRUE(meddler.Obey(after ? "cut-after PCR_Extend" : "cut-before PCR_Extend"));
    const auto extended = (*device)->ExtendPcr(Filled(7));
    ASSERT_FALSE(extended.has_value());
    EXPECT_EQ(extended.error().code, Code::kIo);
    EXPECT_FALSE((*device)->alive());
    device->reset();
    meddler.Close();
    const auto fresh = bed.Device();
    ASSERT_TRUE(fresh);
    EXPECT_EQ(fresh->ReadPcr().value() != before, after);
  }
}

}  // namespace
}  // namespace stele::tpm::test
