// Goal: RFC 5424 messages are taken apart exactly, and broken ones as far as they go, with every view inside the payload.
// Method: the RFC's examples, each field's bound and bound + 1, every truncation.
#include "appliance/ingest/syslog5424.h"

#include <gtest/gtest.h>

#include "appliance/ingest/message.h"

namespace stele::ingest {
namespace {

ParsedMessage Parse(std::string_view payload) { return ParseSyslog(AsBytes(payload), 0); }
std::string_view Text(const ParsedMessage& message, std::string_view payload) { return message.Message(AsBytes(payload)); }

//= RFC 5424 section 6.5
//# Example 1 - with no STRUCTURED-DATA
TEST(Syslog5424, ExampleOneIsReadWholly) {
  const std::string_view payload =
      "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \xef\xbb\xbf'su root' failed for lonvick on /dev/pts/8";
  const auto message = Parse(payload);
  EXPECT_EQ(message.format, Format::kRfc5424);
  EXPECT_EQ(message.problems, 0U);
  EXPECT_EQ(message.facility, 4);
  EXPECT_EQ(message.severity, 2);
  EXPECT_EQ(message.host, "mymachine.example.com");
  EXPECT_EQ(message.app, "su");
  EXPECT_EQ(message.pid, "");
  EXPECT_EQ(message.msgid, "ID47");
  EXPECT_EQ(message.claimed_ns, 1'065'910'455'003'000'000);
  EXPECT_EQ(Text(message, payload), "'su root' failed for lonvick on /dev/pts/8");
}

//= RFC 5424 section 6.5
//# Example 3 - with STRUCTURED-DATA
TEST(Syslog5424, StructuredDataKeepsItsOrderAndItsEscapes) {
  const std::string_view payload = R"(<165>1 - h a 7 m [x@1 iut="3" q="say \"hi\" \] \\ \n"][y class="high"] text)";
  const auto message = Parse(payload);
  EXPECT_EQ(message.problems, 0U);
  ASSERT_EQ(message.elements.size(), 2U);
  EXPECT_EQ(message.elements[0].id, "x@1");
  ASSERT_EQ(message.elements[0].parameter_count, 2U);
  EXPECT_EQ(message.parameters[0].name, "iut");
  EXPECT_EQ(message.parameters[0].value, "3");
  EXPECT_EQ(Unescape(message.parameters[1].value), R"(say "hi" ] \ \n)");
  EXPECT_EQ(message.elements[1].id, "y");
  EXPECT_EQ(message.parameters[message.elements[1].parameter_first].value, "high");
  EXPECT_EQ(Text(message, payload), "text");
}

TEST(Syslog5424, NoMessageAndAnEmptyOneAreTwoThings) {
  EXPECT_FALSE(Parse("<13>1 - - - - - -").has_message);
  EXPECT_TRUE(Parse("<13>1 - - - - - - ").has_message);
  EXPECT_EQ(Parse("<13>1 - - - - - -").problems, 0U);
  EXPECT_EQ(Text(Parse("<13>1 - - - - -   x"), "<13>1 - - - - -   x").substr(0, 1), " ");
}

TEST(Syslog5424, FieldsAtTheirBoundAreFineAndOneBeyondIsFlaggedAndKept) {
  struct Bound {
    std::size_t size;
    const char* before;
    const char* after;
  };
  for (const auto& bound : {Bound{255, "<13>1 - ", " a p m - x"}, Bound{48, "<13>1 - h ", " p m - x"}, Bound{128, "<13>1 - h a ", " m - x"},
                            Bound{32, "<13>1 - h a p ", " - x"}}) {
    const std::string good = bound.before + std::string(bound.size, 'f') + bound.after;
    const std::string bad = bound.before + std::string(bound.size + 1, 'f') + bound.after;
    EXPECT_EQ(Parse(good).problems, 0U) << bound.size;
    EXPECT_EQ(Parse(bad).problems, kBadHeader) << bound.size;
    EXPECT_EQ(Text(Parse(bad), bad), "x");
  }
}

TEST(Syslog5424, EachFaultHasItsFlag) {
  const std::pair<const char*, std::uint32_t> cases[] = {
      {"<192>1 - h a p m - x", kBadPriority},
      {"<013>1 - h a p m - x", kPriorityZeros},
      {"<13>0 - h a p m - x", kBadVersion},
      {"<13>2 - h a p m - x", kBadVersion},
      {"<13>1 2003-10-11 h a p m - x", kBadTime},
      {"<13>1 - h\nx a p m - x", kBadHeader},
      {"<13>1 - h a p m", kBadHeader},
      {"<13>1 - h a p m [x", kBadStructuredData},
      {"<13>1 - h a p m [ x] y", kBadStructuredData},
      {"<13>1 - h a p m [x a=\"b]\"] y", kBadStructuredData},
      {"<13>1 - h a p m [x a=b] y", kBadStructuredData},
      {"<13>1 - h a p m [123456789012345678901234567890123] y", kBadStructuredData},
      {"<13>1 - h a p m [x][y][x] z", kDuplicateId},
      {"<13>1 - h a p m [x a=\"\xff\"] z", kNotUtf8},
      {"<13>1 - h a p m - \xef\xbb\xbf\xc3(", kNotUtf8},
      {"<13>1 - h a p m [timeQuality tzKnown=\"1\" isSynced=\"0\"] z", kClockUnsynchronised},
  };
  for (const auto& [payload, problem] : cases) EXPECT_TRUE(Parse(payload).Has(problem)) << payload;
}

TEST(Syslog5424, ABrokenElementStaysInTheMessage) {
  const std::string_view payload = "<13>1 - h a - - [x a=\"1\"][y b=\"2] rest";
  const auto message = Parse(payload);
  ASSERT_EQ(message.elements.size(), 1U);
  EXPECT_EQ(message.parameters.size(), 1U);
  EXPECT_EQ(Text(message, payload), "[y b=\"2] rest");
}

TEST(Syslog5424, MoreStructuredDataThanTheBoundIsReadAndNotListed) {
  std::string payload = "<13>1 - h a - - ";
  for (std::size_t i = 0; i <= kElementsListedMax; ++i) payload += "[s" + std::to_string(i) + " k=\"v\"]";
  payload += " end";
  const auto message = Parse(payload);
  EXPECT_EQ(message.elements.size(), kElementsListedMax);
  EXPECT_EQ(message.problems, kUnlisted);
  EXPECT_EQ(Text(message, payload), "end");
}

TEST(Syslog5424, DuplicatesAreFoundAmongMany) {
  std::string payload = "<13>1 - h a - - ";
  for (int i = 0; i < 500; ++i) payload += "[s" + std::to_string(i) + " k=\"v\"]";
  EXPECT_EQ(Parse(payload).problems, 0U);
  EXPECT_TRUE(Parse(payload + "[s250]").Has(kDuplicateId));
}

TEST(Syslog5424, EveryTruncationIsRead) {
  const std::string payload = "<165>1 2003-10-11T22:14:15.003Z h a 7 m [x@1 i=\"3\\\"\"][y z=\"\"] \xef\xbb\xbftext";
  for (std::size_t length = 0; length <= payload.size(); ++length) {
    const std::string cut = payload.substr(0, length);
    const auto message = Parse(cut);
    EXPECT_LE(message.message_offset + message.message_length, length);
  }
}

TEST(Syslog5424, WhatOnlyBeginsAlikeIsNotRfc5424) {
  EXPECT_FALSE(LooksLike5424("1 Oct 11 22:14:15"));
  EXPECT_FALSE(LooksLike5424("1234 - h"));
  EXPECT_FALSE(LooksLike5424("1: "));
  EXPECT_TRUE(LooksLike5424("1 -"));
  EXPECT_TRUE(LooksLike5424("1 2003-"));
}

TEST(Syslog5424, ThePeekSeesTheSamePriority) {
  for (const char* payload : {"<34>1 - - - - - -", "<192>x", "<13", "<>", "< 13>x", "plain", "", "\xef\xbb\xbf<13>x", "<013>x", "<12345>x", "<123456>x"}) {
    const auto whole = Parse(payload);
    const auto peek = PeekPriority(AsBytes(payload));
    EXPECT_EQ(peek.facility, whole.facility) << payload;
    EXPECT_EQ(peek.severity, whole.severity) << payload;
  }
  EXPECT_EQ(PeekPriority(AsBytes("plain")).facility, 1);
  EXPECT_EQ(PeekPriority(AsBytes("plain")).severity, 5);
  EXPECT_EQ(PeekPriority(AsBytes("<34>x")).length_bytes, 4U);
}

TEST(Syslog5424, ProblemsHaveNames) {
  EXPECT_EQ(ProblemNames(0), "");
  EXPECT_EQ(ProblemNames(kNoPriority | kUptime), "no_priority,uptime");
}

}  // namespace
}  // namespace stele::ingest
