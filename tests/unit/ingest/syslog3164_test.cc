// Goal: what devices really send is shown with the right host, tag and time, and nothing else is taken for one.
// Method: one line per form, all fields compared, in a notation short enough to read.
#include "appliance/ingest/syslog3164.h"

#include <gtest/gtest.h>

#include "appliance/base/text.h"
#include "appliance/ingest/message.h"

namespace stele::ingest {
namespace {

constexpr std::int64_t kReceived = 1'768'478'400'000'000'000;  // 2026-01-15T12:00:00Z

struct Case {
  std::string payload;
  std::string host;
  std::string app;
  std::string pid;
  std::string text;
  std::string time;  // as FormatTime() writes it, without the fraction; empty = none
  std::uint32_t problems = 0;
};

void PrintTo(const Case& example, std::ostream* out) { *out << EscapeForTerminal(AsBytes(example.payload)); }

class Forms : public ::testing::TestWithParam<Case> {};

TEST_P(Forms, AreTakenApart) {
  const auto& expected = GetParam();
  const auto message = ParseSyslog(AsBytes(expected.payload), kReceived);
  EXPECT_EQ(message.host, expected.host);
  EXPECT_EQ(message.app, expected.app);
  EXPECT_EQ(message.pid, expected.pid);
  EXPECT_EQ(message.Message(AsBytes(expected.payload)), expected.text);
  EXPECT_EQ(message.claimed_ns ? FormatTime(*message.claimed_ns).substr(0, 19) : "", expected.time);
  EXPECT_EQ(ProblemNames(message.problems), ProblemNames(expected.problems));
}

constexpr std::uint32_t kUsual = kNoZone | kYearGuessed;

INSTANTIATE_TEST_SUITE_P(
    Syslog3164, Forms,
    ::testing::Values(
        Case{"<34>Oct 11 22:14:15 mymachine su: 'su root' failed", "mymachine", "su", "", "'su root' failed", "2025-10-11T22:14:15", kUsual},
        Case{"<34>Oct 11 22:14:15 h sshd[42]: x", "h", "sshd", "42", "x", "2025-10-11T22:14:15", kUsual},
        Case{"<34>Oct 11 22:14:15 h sshd[42] x", "h", "sshd", "42", "x", "2025-10-11T22:14:15", kUsual},
        Case{"<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!", "10.0.0.99", "", "", "Use the BFG!", "2026-02-05T17:32:18", kUsual},
        Case{"Use the BFG!", "", "", "", "Use the BFG!", "", kNoPriority | kNoTime},
        Case{"<13>su: x", "", "su", "", "x", "", kNoTime},
        Case{"Jan  5 01:02:03 h t[1]: x", "h", "t", "1", "x", "2026-01-05T01:02:03", kUsual | kNoPriority},
        Case{"<13>Jan  1 14:40:51 korte: message", "", "korte", "", "message", "2026-01-01T14:40:51", kUsual},
        Case{"<34>Jan  1 00:00:00 2001:db8::7 su: x", "2001:db8::7", "su", "", "x", "2026-01-01T00:00:00", kUsual},
        Case{"<34>Jan  1 00:00:00 fe80::1%eth0 su: x", "fe80::1%eth0", "su", "", "x", "2026-01-01T00:00:00", kUsual},
        Case{"<34>Jan  1 00:00:00 ::ffff:192.0.2.9 su: x", "::ffff:192.0.2.9", "su", "", "x", "2026-01-01T00:00:00", kUsual},
        Case{"<7>2006-11-10T10:43:21.156+02:00 b o[2499]: x", "b", "o", "2499", "x", "2006-11-10T08:43:21", 0},
        Case{"<190>530470: *Sep 28 17:13:35.098: %SEC-6-X: list", "", "%SEC-6-X", "", "list", "2025-09-28T17:13:35", kUsual | kClockUnsynchronised},
        Case{"<189>29: .Mar  1 00:00:00.123: %SYS-5-C: c", "", "%SYS-5-C", "", "c", "2026-03-01T00:00:00", kUsual | kClockUnsynchronised},
        Case{"<166>20: host1: 6340004: Mar  4 11:45:20: %SEC-6-X: l", "host1", "%SEC-6-X", "", "l", "2026-03-04T11:45:20", kUsual},
        Case{"<190>: 2017 Mar 06 09:22:34 CET: %AUTH-6-X: START", "", "%AUTH-6-X", "", "START", "2017-03-06T08:22:34", 0},
        Case{"<189>host1: 00:01:01: %S-3-X: up", "host1", "%S-3-X", "", "up", "", kUptime | kNoTime},
        Case{"<189>45: 1d02h: %S-3-X: up", "", "%S-3-X", "", "up", "", kUptime | kNoTime},
        Case{"<166>Apr 15 2007 21:28:13 fw1 : %ASA-6-302014: Teardown", "fw1", "%ASA-6-302014", "", "Teardown", "2007-04-15T21:28:13", kNoZone},
        Case{"<167>Mar 7 2008 19:06:53: %ASA-6-1: x", "", "%ASA-6-1", "", "x", "2008-03-07T19:06:53", kNoZone},
        Case{"<38>Jan  2 10:11:56 Message forwarded from cdaix66: sshd[6]: x", "cdaix66", "sshd", "6", "x", "2026-01-02T10:11:56", kUsual},
        Case{"<38>Jan  2 10:11:56 host last message repeated 3 times", "host", "", "", "last message repeated 3 times", "2026-01-02T10:11:56", kUsual},
        Case{"<14>Jan  2 10:11:56", "", "", "", "", "2026-01-02T10:11:56", kUsual},
        Case{"<13>Jan  2 10:11:56 h CEF:0|V|P|1|2|n|5|", "h", "CEF", "", "CEF:0|V|P|1|2|n|5|", "2026-01-02T10:11:56", kUsual},
        Case{"<13>Jan  2 10:11:56 h {\"a\":1}", "h", "", "", "{\"a\":1}", "2026-01-02T10:11:56", kUsual},
        Case{"<45>date=2017-03-06 time=12:53:10 devname=D", "", "", "", "date=2017-03-06 time=12:53:10 devname=D", "", kNoTime},
        Case{"<6>AUG 10 2025 22:18:24 host tag: fond\xfc x", "host", "tag", "", "fond\xfc x", "2025-08-10T22:18:24", kNoZone},
        Case{"<13>Jan  2 10:11:56 h t: line1\nline2\n\r\n", "h", "t", "", "line1\nline2", "2026-01-02T10:11:56", kUsual},
        Case{std::string("<13>Jan  2 10:11:56 h t: a\0b\0\0", 30), "h", "t", "", std::string("a\0b", 3), "2026-01-02T10:11:56", kUsual},
        Case{"\xef\xbb\xbf<13>Jan  2 10:11:56 h t: x", "h", "t", "", "x", "2026-01-02T10:11:56", kUsual | kLeadingBom},
        Case{"<192>Jan  2 10:11:56 h t: x", "h", "t", "", "x", "2026-01-02T10:11:56", kUsual | kBadPriority},
        Case{"<1a>Jan  2 10:11:56 h t: x", "h", "t", "", "x", "2026-01-02T10:11:56", kUsual | kBadPriority},
        Case{"<b>bold</b> text", "", "", "", "<b>bold</b> text", "", kBadPriority | kNoTime},
        Case{"<13", "", "", "", "<13", "", kBadPriority | kNoTime},
        Case{"<13>", "", "", "", "", "", kNoTime},
        Case{"", "", "", "", "", "", kNoPriority | kNoTime},
        Case{"\n\n", "", "", "", "", "", kNoPriority | kNoTime}));

TEST(Syslog3164, CiscoSequenceNumbersAreKept) {
  EXPECT_EQ(ParseSyslog(AsBytes("<190>530470: *Sep 28 17:13:35.098: %SEC-6-X: list"), kReceived).sequence, "530470");
  EXPECT_EQ(ParseSyslog(AsBytes("<190>530470: nothing of the kind"), kReceived).sequence, "");
  EXPECT_EQ(ParseSyslog(AsBytes("8: %"), kReceived).sequence, "");
  EXPECT_EQ(ParseSyslog(AsBytes("8: %"), kReceived).message_offset, 0U);
}

TEST(Syslog3164, WithoutAnyHeaderTheFormatIsRaw) {
  EXPECT_EQ(ParseSyslog(AsBytes("free text"), kReceived).format, Format::kRaw);
  EXPECT_EQ(ParseSyslog(AsBytes("<13>free text"), kReceived).format, Format::kRfc3164);
  EXPECT_STREQ(FormatName(Format::kRaw), "raw");
}

TEST(Syslog3164, EveryTruncationIsRead) {
  for (const std::string payload : {"<166>20: host1: 6340004: *Mar  4 11:45:20.123 CET: %SEC-6-X: list a", "<38>Sep 22 10:11:56 Message forwarded from c: s[1]: x",
                                    "<7>2006-11-10T10:43:21.156+02:00 fe80::1%eth0 o[2499]: x\r\n"}) {
    for (std::size_t length = 0; length <= payload.size(); ++length) {
      const std::string cut = payload.substr(0, length);
      const auto message = ParseSyslog(AsBytes(cut), kReceived);
      EXPECT_LE(message.message_offset + message.message_length, length);
    }
  }
}

TEST(Syslog3164, LongTokensAreBounded) {
  const std::string long_token(100'000, 'a');
  for (const std::string& payload : {"<13>" + long_token, "<13>Jan  2 10:11:56 " + long_token, "<13>Jan  2 10:11:56 h " + long_token + ": x",
                                     "<13>Jan  2 10:11:56 h t[" + long_token + "]: x", "<13>" + std::string(100'000, ' ')}) {
    const auto message = ParseSyslog(AsBytes(payload), kReceived);
    EXPECT_LE(message.host.size(), 255U);
    EXPECT_LE(message.app.size(), 255U);
  }
}

}  // namespace
}  // namespace stele::ingest
