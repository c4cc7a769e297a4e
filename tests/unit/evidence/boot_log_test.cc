// Goal: the firmware's event log counts as an explanation of PCR 0 to 7 only where it gives exactly the quoted values.
// Method: made logs inside a bundle whose made TPM quotes what they give. The parser's own tests: tests/unit/measure.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/evidence/made_log.h"
#include "tests/unit/measure/made_boot.h"

namespace stele::evidence {
namespace {

using measure::ABoot;

class BootLogInABundle : public ::testing::Test {
 protected:
  BootLogInABundle() {
    const measure::Replay replay = measure::ReplayLog(ABoot(), measure::kAlgSha256).value();
    for (std::uint32_t pcr = 0; pcr < measure::kMadeRegisters; ++pcr) {
      std::copy_n(replay[pcr].value.begin(), kHashBytes, log_.tpm.pcrs[pcr].begin());
    }
    log_.Append(5);
    log_.Checkpoint(true);
    wish_ = log_.All(NonceOf("mine"));
  }
  [[nodiscard]] Report Audit(const Bytes& boot_log) const {
    BundleHead head = log_.Head(wish_);
    head.boot_log = boot_log;
    return VerifyBundle(log_.Assemble(head, wish_), {});
  }
  MadeLog log_;
  BundleWish wish_;
};

TEST_F(BootLogInABundle, ThatGivesTheQuotedRegistersPassesAndIsShownForEach) {
  const Report report = Audit(ABoot());
  EXPECT_EQ(report.word, "OK") << ReportText(report);
  EXPECT_EQ(report.Find("boot_log")->outcome, Outcome::kPassed);
  ASSERT_EQ(report.facts.boot_registers.size(), measure::kMadeRegisters);
  EXPECT_EQ(ReportJson(report)["tpm"]["boot_log"][0]["events"], 2);
  EXPECT_NE(ReportHtml(report, "x").find("Boot log, PCR 7"), std::string::npos);
}

TEST_F(BootLogInABundle, OfAnotherBootNamesTheRegisterThatDiffers) {
  const Report report = Audit(ABoot("another loader"));
  EXPECT_EQ(report.word, "FOREIGN_EXTEND") << ReportText(report);
  EXPECT_EQ(report.place, "boot.tcg");
  EXPECT_NE(report.detail.find("PCR 4"), std::string::npos);
  EXPECT_FALSE(report.facts.boot_registers[4].quoted);
  EXPECT_TRUE(report.facts.boot_registers[5].quoted);
}

TEST_F(BootLogInABundle, ThatIsNoneIsDamage) {
  EXPECT_EQ(Audit(ToBytes(AsBytes("not a log"))).word, "DAMAGED");
  EXPECT_EQ(Audit({}).Find("boot_log")->outcome, Outcome::kSkipped);
}

}  // namespace
}  // namespace stele::evidence
