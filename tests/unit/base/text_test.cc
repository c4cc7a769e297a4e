// Goal: times are exact and strict; hostile text never reaches a terminal or a JSON document as it came. Method: known times, every
// single byte, every sequence of two, a corpus of escapes.
#include "appliance/base/text.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

namespace stele {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

TEST(Time, KnownMoments) {
  EXPECT_EQ(FormatTime(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(FormatTime(1'709'164'800 * kSecond), "2024-02-29T00:00:00.000Z");
  EXPECT_EQ(FormatTime(2'147'483'648 * kSecond + 999'999'999), "2038-01-19T03:14:08.999Z");
  EXPECT_EQ(FormatTime(-1), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(FormatTime(std::numeric_limits<std::int64_t>::max()), "2262-04-11T23:47:16.854Z");
  EXPECT_EQ(FormatTime(std::numeric_limits<std::int64_t>::min()), "1677-09-21T00:12:43.145Z");
}

//= RFC 3339 section 5.8
//# 1985-04-12T23:20:50.52Z
TEST(Time, TheExamplesOfRfc3339) {
  EXPECT_EQ(ParseTime("1985-04-12T23:20:50.52Z"), 482'196'050 * kSecond + 520'000'000);
  EXPECT_EQ(ParseTime("1996-12-19T16:39:57-08:00"), ParseTime("1996-12-20T00:39:57Z"));
  EXPECT_EQ(ParseTime("1990-12-31T23:59:60Z"), ParseTime("1991-01-01T00:00:00Z"));  // a leap second
  EXPECT_EQ(ParseTime("2024-02-29"), 1'709'164'800 * kSecond);
  EXPECT_EQ(ParseTime("2024-02-29t10:00z"), (1'709'164'800 + 36'000) * kSecond);
  EXPECT_EQ(ParseTime("1970-01-01T00:00:00.123456789Z"), 123'456'789);
  EXPECT_EQ(ParseTime("1970-01-01T00:00:00.1234567899Z"), 123'456'789);  // beyond a nanosecond: cut, not rounded
}

TEST(Time, FormattingAndParsingAgree) {
  std::mt19937_64 random(5);
  for (int i = 0; i < 5000; ++i) {
    const std::int64_t ms = static_cast<std::int64_t>(random() % 9'000'000'000'000ULL);
    EXPECT_EQ(ParseTime(FormatTime(ms * 1'000'000)), ms * 1'000'000);
  }
}

TEST(Time, WhatIsNoTimeIsRefused) {
  for (const char* text :
       {"", "2024", "2024-13-01", "2024-00-10", "2024-01-00", "2024-02-30", "2023-02-29", "1969-12-31", "2262-01-01",
        "2024-01-01T", "2024-01-01T24:00:00Z", "2024-01-01T00:60:00Z", "2024-01-01T00:00:61Z", "2024-01-01T00:00:00",
        "2024-01-01T00:00:00.Z", "2024-01-01T00:00:00+24:00", "2024-01-01T00:00:00+0100", "2024-01-01T00:00:00Zx",
        "2024/01/01", "2024-01-01X00:00:00Z", "-024-01-01", "2024-1-1", "99999-01-01", "2024-01-01T00:00:00 Z"}) {
    EXPECT_FALSE(ParseTime(text)) << text;
  }
}

TEST(Time, EveryTruncationIsAnotherTimeOrNone) {
  const std::string whole = "2024-02-29T10:11:12.131415+05:30";
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_EQ(ParseTime(whole.substr(0, size)).has_value(), size == 10) << whole.substr(0, size);
  }
}

bool Harmless(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
  }
  return true;
}

TEST(Escape, ControlCharactersBecomeVisible) {
  EXPECT_EQ(EscapeForTerminal(AsBytes("a\nb\rc\td")), "a\\nb\\rc\\td");
  EXPECT_EQ(EscapeForTerminal(AsBytes("\x1b[31mred\x1b]0;title\x07")), "\\x1b[31mred\\x1b]0;title\\x07");
  EXPECT_EQ(EscapeForTerminal(AsBytes(std::string_view("\0\x7f", 2))), "\\x00\\x7f");
  EXPECT_EQ(EscapeForTerminal(AsBytes("\xc2\x9b"
                                      "31m")),
            "\\x9b31m");  // the one-byte CSI of C1, as UTF-8
}

TEST(Escape, WhatReordersOrHidesTextBecomesVisible) {
  EXPECT_EQ(EscapeForTerminal(AsBytes("\xe2\x80\xae"
                                      "evil")),
            "\\u202eevil");
  EXPECT_EQ(EscapeForTerminal(AsBytes("a\xe2\x80\x8b"
                                      "b")),
            "a\\u200bb");
  EXPECT_EQ(EscapeForTerminal(AsBytes("\xef\xbb\xbf")), "\\ufeff");
  EXPECT_EQ(EscapeForTerminal(AsBytes("\xf3\xa0\x81\x81")), "\\U000e0041");  // a tag character
  EXPECT_EQ(EscapeForTerminal(AsBytes("\xe2\x81\xa6")), "\\u2066");
}

TEST(Escape, OrdinaryTextPasses) {
  const std::string text = "na\xc3\xafve \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x98\x80 ~";
  EXPECT_EQ(EscapeForTerminal(AsBytes(text)), text);
}

TEST(Escape, BadUtf8BecomesBytes) {
  EXPECT_EQ(EscapeForTerminal(AsBytes("\xff")), "\\xff");
  EXPECT_EQ(EscapeForTerminal(AsBytes("\xc0\xaf")), "\\xc0\\xaf");              // overlong
  EXPECT_EQ(EscapeForTerminal(AsBytes("\xed\xa0\x80")), "\\xed\\xa0\\x80");      // a surrogate
  EXPECT_EQ(EscapeForTerminal(AsBytes("\xe2\x82")), "\\xe2\\x82");               // cut short
  EXPECT_EQ(EscapeForTerminal(AsBytes("\xf4\x90\x80\x80")), "\\xf4\\x90\\x80\\x80");  // above U+10FFFF
}

TEST(Escape, NoByteSequenceYieldsAControlCharacter) {
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      const std::string text{static_cast<char>(a), static_cast<char>(b)};
      EXPECT_TRUE(Harmless(EscapeForTerminal(AsBytes(text)))) << a << " " << b;
    }
  }
  std::mt19937_64 random(6);
  for (int i = 0; i < 20'000; ++i) {
    std::string text(random() % 12, ' ');
    for (char& c : text) c = static_cast<char>(random() & 0xffU);
    const std::string escaped = EscapeForTerminal(AsBytes(text));
    EXPECT_TRUE(Harmless(escaped));
    EXPECT_EQ(ToUtf8(AsBytes(escaped)), escaped) << "not UTF-8";
  }
}

TEST(Utf8, InvalidBytesAreReplacedOneByOneAndTold) {
  bool lossy = true;
  EXPECT_EQ(ToUtf8(AsBytes("abc"), &lossy), "abc");
  EXPECT_FALSE(lossy);
  EXPECT_EQ(ToUtf8(AsBytes("a\xff\xc3\xa9\xc3"), &lossy), "a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd");
  EXPECT_TRUE(lossy);
  EXPECT_EQ(ToUtf8(AsBytes(std::string_view("\0", 1)), &lossy), std::string(1, '\0'));
  EXPECT_FALSE(lossy);
}

}  // namespace
}  // namespace stele
