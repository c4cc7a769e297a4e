// Goal: the firmware's event log counts as an explanation of PCR 0 to 7 only where it gives exactly the quoted values.
// Method: logs written here in the TCG's crypto-agile form, replayed, cut, bent; then inside a bundle whose made TPM
// quotes what they give. tests/integration/bundle.sh has tpm2_eventlog replay the golden log written here, and
// compares.
#include "appliance/evidence/boot_log.h"

#include <gtest/gtest.h>

#include "appliance/anchor/entries.h"
#include "tests/unit/evidence/made_log.h"
#include "tests/unit/golden.h"

namespace stele::evidence {
namespace {

constexpr std::uint16_t kSha1 = 4;
constexpr std::uint16_t kSha256 = 11;
constexpr std::uint32_t kNoAction = 3;
constexpr std::uint32_t kSeparator = 4;

class LogWriter {
 public:
  explicit LogWriter(const std::vector<std::pair<std::uint16_t, std::uint16_t>>& algorithms = {{kSha1, 20},
                                                                                               {kSha256, 32}}) {
    Bytes id;
    Writer event(id);
    event.Raw(AsBytes(std::string_view("Spec ID Event03\0", 16)));
    event.Int(std::uint32_t{0});
    for (const int one : {0, 2, 2, 2}) event.Int(static_cast<std::uint8_t>(one));
    event.Int(static_cast<std::uint32_t>(algorithms.size()));
    for (const auto& [algorithm, size] : algorithms) {
      event.Int(algorithm);
      event.Int(size);
    }
    event.Int(std::uint8_t{0});
    Writer out(log);
    out.Int(std::uint32_t{0});
    out.Int(kNoAction);
    out.Raw(Bytes(20));
    out.Sized(id);
  }
  void Add(std::uint32_t pcr, std::uint32_t type, std::string_view data, bool with_sha256 = true) {
    Writer out(log);
    out.Int(pcr);
    out.Int(type);
    out.Int(std::uint32_t{with_sha256 ? 2U : 1U});
    out.Int(kSha1);
    out.Raw(Bytes(20));
    if (with_sha256) {
      out.Int(kSha256);
      out.Raw(Sha256Of(AsBytes(data)));
    }
    out.Sized(AsBytes(data));
  }
  Bytes log;
};

// A boot: a start at locality 3, two events of PCR 0, one each of the others, one of PCR 9.
Bytes ABoot(std::string_view loader = "loader") {
  LogWriter log;
  log.Add(0, kNoAction, std::string_view("StartupLocality\0\3", 17));
  log.Add(0, 8, "version");
  for (std::uint32_t pcr = 0; pcr < kBootRegisters; ++pcr) log.Add(pcr, kSeparator, pcr == 4 ? loader : "separator");
  log.Add(9, 13, "initrd");
  return log.log;
}

TEST(BootLog, ReplaysToWhatTheEventsMakeByHand) {
  const auto replay = ReplayBootLog(ABoot());
  ASSERT_TRUE(replay.has_value()) << Describe(replay.error());
  Hash start{};
  start.back() = std::byte{3};
  const Hash separator = Sha256Of(AsBytes("separator"));
  EXPECT_EQ((*replay)[0].value, anchor::Extended(anchor::Extended(start, Sha256Of(AsBytes("version"))), separator));
  EXPECT_EQ((*replay)[0].events, 2U);
  EXPECT_EQ((*replay)[7].value, anchor::Extended(Hash{}, separator));
}

TEST(BootLog, IsByteForByteWhatItWasAndGivesWhatItGave) {
  ExpectGolden("boot.tcg", ABoot());
  const BootReplay replay = ReplayBootLog(ReadGolden("boot.tcg")).value();
  std::string text;
  for (std::uint32_t pcr = 0; pcr < kBootRegisters; ++pcr)
    text += std::to_string(pcr) + " " + HexOf(replay[pcr].value) + "\n";
  ExpectGolden("boot.pcrs", AsBytes(text));
}

TEST(BootLog, EveryTruncationIsRefusedUnlessItEndsBetweenEvents) {
  const Bytes log = ABoot();
  std::size_t accepted = 0;
  for (std::size_t size = 0; size < log.size(); ++size) accepted += ReplayBootLog(ByteView(log).first(size)) ? 1U : 0U;
  EXPECT_EQ(accepted, 11U);  // behind the first event and each of the ten that follow, but the last
}

TEST(BootLog, WhatIsNotTheCryptoAgileFormWithSha256IsRefused) {
  EXPECT_FALSE(ReplayBootLog({}));
  EXPECT_FALSE(ReplayBootLog(LogWriter({{kSha1, 20}}).log));
  EXPECT_FALSE(ReplayBootLog(LogWriter({{kSha256, 20}}).log));
  EXPECT_FALSE(ReplayBootLog(LogWriter({{kSha256, 32}, {kSha256, 32}}).log));
  EXPECT_TRUE(ReplayBootLog(LogWriter().log));
  LogWriter without;
  without.Add(1, kSeparator, "x", /*with_sha256=*/false);
  EXPECT_FALSE(ReplayBootLog(without.log));
  LogWriter beyond;
  beyond.Add(24, kSeparator, "x");
  EXPECT_FALSE(ReplayBootLog(beyond.log));
  LogWriter nowhere;
  nowhere.Add(0xffffffffU, kNoAction, "x");
  EXPECT_TRUE(ReplayBootLog(nowhere.log));
}

TEST(BootLog, ALocalityAfterTheFirstEventChangesNothing) {
  LogWriter plain;
  plain.Add(0, kSeparator, "x");
  LogWriter late;
  late.Add(0, kSeparator, "x");
  late.Add(0, kNoAction, std::string_view("StartupLocality\0\3", 17));
  EXPECT_EQ(ReplayBootLog(plain.log).value()[0].value, ReplayBootLog(late.log).value()[0].value);
}

class BootLogInABundle : public ::testing::Test {
 protected:
  BootLogInABundle() {
    const BootReplay replay = ReplayBootLog(ABoot()).value();
    for (std::uint32_t pcr = 0; pcr < kBootRegisters; ++pcr) log_.tpm.pcrs[pcr] = replay[pcr].value;
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
  ASSERT_EQ(report.facts.boot_registers.size(), kBootRegisters);
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
