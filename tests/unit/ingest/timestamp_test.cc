// Goal: every form of time stamp devices write is read, and what is not one is left alone. Method: examples of each form,
// compared with instants computed by hand.
#include "appliance/ingest/timestamp.h"

#include <gtest/gtest.h>

namespace stele::ingest {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kReceived = 1'768'478'400 * kSecond;  // 2026-01-15T12:00:00Z

std::optional<std::int64_t> Found(std::string_view text) {
  const auto found = FindTime(text, kReceived);
  return found ? std::optional(found->claimed_ns) : std::nullopt;
}

TEST(TimeStamp, DaysAreCountedFromTheEpoch) {
  EXPECT_EQ(DaysOf(1970, 1, 1), 0);
  EXPECT_EQ(DaysOf(2000, 2, 29), 11'016);
  EXPECT_EQ(DaysOf(1900, 2, 29), std::nullopt);
  EXPECT_EQ(DaysOf(2025, 4, 31), std::nullopt);
  EXPECT_EQ(DaysOf(2025, 13, 1), std::nullopt);
  EXPECT_EQ(DaysOf(1969, 12, 31), -1);
  EXPECT_EQ(YearOf(kReceived), 2026);
  EXPECT_EQ(YearOf(0), 1970);
  EXPECT_EQ(YearOf(-1), 1970);  // whole seconds: good enough to guess a year
}

//= RFC 5424 section 6.2.3.1
//# Example 1: 1985-04-12T23:20:50.52Z
TEST(TimeStamp, TheExamplesOfRfc5424AreRead) {
  EXPECT_EQ(ParseTime5424("1985-04-12T23:20:50.52Z"), 482'196'050 * kSecond + 520'000'000);
  EXPECT_EQ(ParseTime5424("1985-04-12T19:20:50.52-04:00"), 482'196'050 * kSecond + 520'000'000);
  EXPECT_EQ(ParseTime5424("2003-10-11T22:14:15.003Z"), 1'065'910'455 * kSecond + 3'000'000);
  EXPECT_EQ(ParseTime5424("2003-08-24T05:14:15.000003-07:00"), 1'061'727'255 * kSecond + 3'000);
  EXPECT_EQ(ParseTime5424("2003-08-24T05:14:15.000000003-07:00"), std::nullopt);
}

TEST(TimeStamp, WhatRfc5424ForbidsIsRefused) {
  for (const char* bad : {"", "-", "2006-01-02t15:04:05Z", "2006-01-02T15:04:05z", "2016-12-31T23:59:60Z", "2003-08-24T24:14:15Z",
                          "2003-08-24T05:14:15-24:00", "2018-02-29T22:14:16+01:00", "2024-09-16Q11:22:33+02:00", "2003-08-24T05:14:15",
                          "2003-08-24T05:14:15.Z", "2003-08-24T05:14:15+0100", "2003-08-24T05:14:15Zx", "03-08-24T05:14:15Z"}) {
    EXPECT_EQ(ParseTime5424(bad), std::nullopt) << bad;
  }
}

TEST(TimeStamp, AYearThatIsMissingIsTheNearest) {
  EXPECT_EQ(Found("Jan 15 12:00:01 h"), kReceived + kSecond);
  EXPECT_EQ(Found("Dec 31 23:59:59 h"), 1'767'225'599 * kSecond);                              // last year's
  EXPECT_EQ(FindTime("Jan  1 00:00:00 h", 1'767'225'599 * kSecond)->claimed_ns, 1'767'225'600 * kSecond);  // a clock that is ahead
  EXPECT_TRUE(FindTime("Jan 15 12:00:01 h", kReceived)->year_guessed);
  EXPECT_EQ(Found("Feb 29 00:00:00 h"), 1'709'164'800 * kSecond);  // 2024: the nearest year that has the day
}

TEST(TimeStamp, DaysMayBePaddedAnyWayAndMonthsInAnyCase) {
  const auto expected = Found("Mar  7 2008 19:06:53 x");
  EXPECT_EQ(expected, 1'204'916'813 * kSecond);
  for (const char* text : {"Mar 7 2008 19:06:53 x", "mar 07 2008 19:06:53 x", "MAR  7 2008 19:06:53: x", "2008 Mar 07 19:06:53",
                           "Mar  7 19:06:53 2008 x", "Mar 7 19:06:53 UTC 2008 x", "2008-03-07T19:06:53 x", "2008-03-07 19:06:53",
                           "2008-03-07T19:06:53Z x", "2008-03-07T20:06:53+01:00", "2008-03-07T20:06:53+0100", "2008-03-07 20:06:53 CET: x"}) {
    EXPECT_EQ(Found(text), expected) << text;
  }
}

TEST(TimeStamp, FractionsMayBeLongOrEmpty) {
  const auto whole = *Found("2006-11-10T10:43:21Z");
  EXPECT_EQ(Found("2006-11-10T10:43:21.1560000000000000000000000000000000Z"), whole + 156'000'000);
  EXPECT_EQ(Found("2006-11-10T10:43:21,5Z"), whole + 500'000'000);
  EXPECT_EQ(Found("2006-11-10T10:43:21.Z"), whole);
  EXPECT_EQ(Found("Nov 10 2006 10:43:21. h"), whole);
}

TEST(TimeStamp, ZonesAreSaidToBeMissingOrDisputed) {
  EXPECT_TRUE(FindTime("Mar 7 2008 19:06:53 h", kReceived)->no_zone);
  EXPECT_TRUE(FindTime("Aug 24 05:34:00 CST 1987 h", kReceived)->no_zone);
  EXPECT_EQ(YearOf(FindTime("Aug 24 05:34:00 CST 1987 h", kReceived)->claimed_ns), 1987);
  EXPECT_FALSE(FindTime("Mar 7 2008 19:06:53 CET h", kReceived)->no_zone);
  EXPECT_FALSE(FindTime("2008-03-07T19:06:53-00:00 h", kReceived)->no_zone);
  EXPECT_EQ(FindTime("Mar  7 19:06:53 HOST x", kReceived)->length_bytes, 15U);  // a host in capitals is no zone
}

TEST(TimeStamp, WhatIsNoTimeStampIsLeftAlone) {
  for (const char* text : {"", "J", "Jan", "Jan 15", "Jan 15 12:00", "Jan 15 12:00:0", "Jan 32 12:00:00", "Jan 15 24:00:00", "Jon 15 12:00:00",
                           "Jan 15 12:00:00x", "2026-01-15", "2026-01-15T12:00", "2026-01-15T12:00:00+1", "12:00:00", "9999-01-01T00:00:00Z"}) {
    EXPECT_EQ(Found(text), std::nullopt) << text;
  }
}

TEST(TimeStamp, EveryTruncationIsRead) {
  for (const std::string_view text : {"2008 Mar 07 19:06:53.123 CET 2008: x", "2008-03-07T19:06:53.123456+01:00 x", "Mar  7 19:06:53 UTC 2008"}) {
    for (std::size_t length = 0; length <= text.size(); ++length) {
      const auto found = FindTime(text.substr(0, length), kReceived);
      EXPECT_LE(found ? found->length_bytes : 0, length);
    }
  }
}

}  // namespace
}  // namespace stele::ingest
