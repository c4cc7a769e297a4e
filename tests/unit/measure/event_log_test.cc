// Goal: a boot event log is read whole or not at all, says the same in every form, and replays to what its events make.
// Method: logs written by hand in the TCG's crypto-agile form, replayed, cut, bent. tests/integration/measure.sh has
// tpm2_eventlog replay the same golden log, and compares.
#include "firmware/measure/event_log.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "firmware/measure/event_text.h"
#include "firmware/measure/secure_boot.h"
#include "tests/unit/golden.h"
#include "tests/unit/measure/made_boot.h"

namespace stele::measure {
namespace {

Result<Replay> Replayed(ByteView log) { return ReplayLog(log, kAlgSha256); }

TEST(BootEventLog, ReplaysToWhatTheEventsMakeByHand) {
  const auto replay = Replayed(ABoot());
  ASSERT_TRUE(replay.has_value()) << Describe(replay.error());
  Hash start{};
  start.back() = std::byte{3};
  const Hash separator = Sha256Of(AsBytes("separator"));
  EXPECT_TRUE(SameBytes((*replay)[0].value, Extend(Extend(start, Sha256Of(AsBytes("version"))), separator)));
  EXPECT_EQ((*replay)[0].events, 2U);
  EXPECT_TRUE(SameBytes((*replay)[7].value, Extend(Hash{}, separator)));
}

TEST(BootEventLog, IsByteForByteWhatItWasAndGivesWhatItGave) {
  ExpectGolden("boot.tcg", ABoot());
  const Replay replay = Replayed(ReadGolden("boot.tcg")).value();
  std::string text;
  for (std::uint32_t pcr = 0; pcr < kMadeRegisters; ++pcr)
    text += std::to_string(pcr) + " " + HexOf(replay[pcr].value) + "\n";
  ExpectGolden("boot.pcrs", AsBytes(text));
}

TEST(BootEventLog, EveryTruncationIsRefusedUnlessItEndsBetweenEvents) {
  const Bytes log = ABoot();
  std::size_t accepted = 0;
  for (std::size_t size = 0; size < log.size(); ++size) accepted += Replayed(ByteView(log).first(size)) ? 1U : 0U;
  EXPECT_EQ(accepted, 11U);  // behind the first event and each of the ten that follow, but the last
}

TEST(BootEventLog, WhatIsNotTheCryptoAgileFormWithSha256IsRefused) {
  EXPECT_FALSE(Replayed({}));
  EXPECT_FALSE(Replayed(LogWriter({{kSha1, 20}}).log));
  EXPECT_FALSE(Replayed(LogWriter({{kSha256, 20}}).log));
  EXPECT_FALSE(Replayed(LogWriter({{kSha256, 32}, {kSha256, 32}}).log));
  EXPECT_TRUE(Replayed(LogWriter().log));
  LogWriter without;
  without.Add(1, kSeparator, "x", /*with_sha256=*/false);
  EXPECT_FALSE(Replayed(without.log));
  LogWriter beyond;
  beyond.Add(24, kSeparator, "x");
  EXPECT_FALSE(Replayed(beyond.log));
  LogWriter nowhere;
  nowhere.Add(0xffffffffU, kNoAction, "x");
  EXPECT_TRUE(Replayed(nowhere.log));
}

TEST(BootEventLog, ALocalityAfterTheFirstEventChangesNothing) {
  LogWriter plain;
  plain.Add(0, kSeparator, "x");
  LogWriter late;
  late.Add(0, kSeparator, "x");
  late.Add(0, kNoAction, std::string_view("StartupLocality\0\3", 17));
  EXPECT_EQ(Replayed(plain.log).value()[0].value, Replayed(late.log).value()[0].value);
}

TEST(BootEventLog, EachBankReplaysWithItsOwnHash) {
  const Bytes log = ABoot();
  const Replay sha1 = ReplayLog(log, kAlgSha1).value();
  EXPECT_EQ(sha1[7].value, Extend(kAlgSha1, Bytes(20), Bytes(20)));
  EXPECT_EQ(sha1[7].value.size(), 20U);
  EXPECT_FALSE(ReplayLog(log, kAlgSha384));
  EXPECT_FALSE(ReplayLog(LogWriter({{kAlgSm3, 32}}).log, kAlgSm3));
  EXPECT_TRUE(SameBytes(Extend(kAlgSha256, Hash{}, Hash{}), Extend(Hash{}, Hash{})));
}

TEST(BootEventLog, WhatIsReadIsWrittenBackToTheSameBytes) {
  const Bytes log = ABoot();
  EventLogReader reader = EventLogReader::Open(log).value();
  Bytes written = EncodeSpecId(reader.spec_id());
  for (;;) {
    const std::optional<Event> event = reader.Next().value();
    if (!event) break;
    AppendEvent(written, *event);
  }
  EXPECT_EQ(written, log);
}

TEST(BootEventLog, AnErrorStaysAnError) {
  const Bytes log = ABoot();
  EventLogReader reader = EventLogReader::Open(ByteView(log).first(log.size() - 1)).value();
  std::size_t events = 0;
  while (reader.Next()) ++events;
  EXPECT_EQ(events, 10U);
  EXPECT_FALSE(reader.Next());
}

TEST(EventText, EveryTypeHasItsNameAndOthersTheirNumber) {
  EXPECT_EQ(EventTypeText(kSeparator), "EV_SEPARATOR");
  EXPECT_EQ(EventTypeText(kEfiVariableAuthority), "EV_EFI_VARIABLE_AUTHORITY");
  EXPECT_EQ(EventTypeName(0x80000123), "");
  EXPECT_EQ(EventTypeText(0x80000123), "0x80000123");
}

TEST(EventText, SaysWhatTheDataSays) {
  LogWriter log;
  log.Add(4, kEfiAction, "Calling EFI Application from Boot Option");
  log.Add(11, kIpl, std::string_view("i\0n\0i\0t\0\0\0", 10));
  log.Add(7, kEfiVariableDriverConfig, AsText(VariableData(kGlobalVariable, "SecureBoot", Bytes{std::byte{1}})));
  log.Add(9, kEventTag, std::string_view("\xec\x22\x3b\x8f\x0d\0\0\0Linux initrd\0", 21));
  log.Add(5, kEfiAction, "escape \x1b[2J");
  log.Add(5, kEfiVariableBoot, "short");
  const auto text = nlohmann::json::parse(EventLogJson(log.log).value());
  const auto& events = text["events"];
  ASSERT_EQ(events.size(), 6U);
  EXPECT_EQ(events[0]["text"], "Calling EFI Application from Boot Option");
  EXPECT_EQ(events[0]["type"], "EV_EFI_ACTION");
  EXPECT_EQ(events[0]["digest_is_of_data"], true);
  EXPECT_EQ(events[1]["text"], "init");
  EXPECT_EQ(events[2]["text"], "SecureBoot of 8be4df61-93ca-11d2-aa0d-00e098032b8c, 1 bytes");
  EXPECT_EQ(events[3]["text"], "Linux initrd (tag 0x8f3b22ec)");
  EXPECT_FALSE(events[3].contains("digest_is_of_data"));
  EXPECT_FALSE(events[4].contains("text"));
  EXPECT_FALSE(events[5].contains("text"));
  EXPECT_EQ(text["pcrs"]["sha256"]["11"], HexOf(Replayed(log.log).value()[11].value));
  EXPECT_FALSE(text["pcrs"]["sha256"].contains("10"));
}

// Stock tools replay digests and do not compare them with the data.
TEST(EventText, ADigestThatIsNotOfItsDataIsShown) {
  LogWriter log;
  log.Add(7, kSeparator, std::string_view("\0\0\0\0", 4));
  log.log.back() = std::byte{1};
  EXPECT_EQ(nlohmann::json::parse(EventLogJson(log.log).value())["events"][0]["digest_is_of_data"], false);
  EXPECT_NE(EventLogText(log.log).value().find("DIGEST IS NOT THAT OF THE DATA"), std::string::npos);
}

}  // namespace
}  // namespace stele::measure
