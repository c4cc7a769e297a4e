// Goal: every octet a sender writes is delivered once, in the right message, however reads cut the stream.
// Method: the RFC's forms, each kind of damage, bounds, and comparison with a slow framer on random streams.
#include "appliance/ingest/framing.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <random>

#include "appliance/base/hash.h"
#include "tests/unit/ingest/reference_framer.h"

namespace stele::ingest {
namespace {

using Messages = std::vector<ReferenceMessage>;

Messages Frames(std::string_view stream, const StreamFramer::Options& options = {}, EndReason reason = EndReason::kPeerClosed) {
  const auto whole = FastFrames(stream, options, reason, {});
  const auto by_octet = FastFrames(stream, options, reason, {1});
  EXPECT_TRUE(SameButForTheRest(whole, by_octet)) << "one octet at a time gives other messages: " << stream.substr(0, 100);
  EXPECT_TRUE(SameButForTheRest(whole, FastFrames(stream, options, reason, {3, 1, 7})));
  EXPECT_EQ(whole, ReferenceFrames(stream, options, reason)) << stream.substr(0, 100);
  return whole;
}

std::vector<std::string> Texts(const Messages& messages) {
  std::vector<std::string> texts;
  for (const auto& message : messages) texts.push_back(message.bytes);
  return texts;
}

using Strings = std::vector<std::string>;

//= RFC 6587 section 3.4.1
//# SYSLOG-FRAME = MSG-LEN SP SYSLOG-MSG
TEST(Framing, CountedFramesKeepEveryOctetInside) {
  const auto messages = Frames("20 <1>1 - - - - - - a\nb16 <2>1 - - - - - -17 <3>1 - - - - - -\n");
  EXPECT_EQ(Texts(messages), (Strings{"<1>1 - - - - - - a\nb", "<2>1 - - - - - -", "<3>1 - - - - - -\n"}));
  for (const auto& message : messages) EXPECT_TRUE(message.counted);
}

TEST(Framing, LinesEndAtLfAndLoseOneCr) {
  EXPECT_EQ(Texts(Frames("<13>a\n<13>b\r\n<13>c\r\r\n")), (Strings{"<13>a", "<13>b", "<13>c\r"}));
}

TEST(Framing, BlankLinesAreNoMessages) { EXPECT_EQ(Texts(Frames("\n\r\n<13>a\n\n\r\n\n")), (Strings{"<13>a"})); }

TEST(Framing, ALastLineWithoutLfIsKeptWhole) {
  const auto messages = Frames("<13>a\n<13>b");
  ASSERT_EQ(Texts(messages), (Strings{"<13>a", "<13>b"}));
  EXPECT_FALSE(messages[1].incomplete);
}

TEST(Framing, ALastLineIsIncompleteWhenTheStreamStalledOrBroke) {
  for (const auto reason : {EndReason::kStalled, EndReason::kReset}) {
    const auto messages = Frames("<13>a\n<13>b", {}, reason);
    ASSERT_EQ(messages.size(), 2U);
    EXPECT_FALSE(messages[0].incomplete);
    EXPECT_TRUE(messages[1].incomplete);
  }
}

TEST(Framing, ACutCountedFrameIsKeptAsIncomplete) {
  const auto messages = Frames("16 <1>1 - - - - - -16 <1>1");
  ASSERT_EQ(messages.size(), 2U);
  EXPECT_FALSE(messages[0].incomplete);
  EXPECT_TRUE(messages[1].incomplete);
  EXPECT_EQ(messages[1].bytes, "<1>1");
  EXPECT_EQ(messages[1].full_length, 16U);
}

TEST(Framing, ACutHeaderIsKeptAsIncomplete) {
  EXPECT_EQ(Texts(Frames("1")), (Strings{"1"}));
  EXPECT_TRUE(Frames("1")[0].incomplete);
  EXPECT_EQ(Texts(Frames("16 ")), (Strings{"16 "}));
  const auto established = Frames("3 <1>16 ");
  ASSERT_EQ(Texts(established), (Strings{"<1>", "16 "}));
  EXPECT_TRUE(established[1].incomplete);
  EXPECT_EQ(established[1].full_length, 16U);
}

TEST(Framing, EveryTruncationOfAMixedStreamLosesNothingButFramingOctets) {
  const std::string stream = "<13>a\n16 <1>1 - - - - - -<13>b\r\n12 <1>{\"a\":true}\n";
  for (std::size_t length = 0; length <= stream.size(); ++length) {
    (void)Frames(stream.substr(0, length));
    (void)Frames(stream.substr(0, length), {}, EndReason::kReset);
  }
}

TEST(Framing, BothFramingsMayFollowEachOther) {
  EXPECT_EQ(Texts(Frames("<13>a\n16 <1>1 - - - - - -<13>b\n")), (Strings{"<13>a", "<1>1 - - - - - -", "<13>b"}));
}

TEST(Framing, ALineThatBeginsWithADigitIsALine) {
  EXPECT_EQ(Texts(Frames("2025-07-29 12:34:56 myhost myapp: text\n<13>b\n")),
            (Strings{"2025-07-29 12:34:56 myhost myapp: text", "<13>b"}));
  EXPECT_EQ(Texts(Frames("12 monkeys\n<13>b\n")), (Strings{"12 monkeys", "<13>b"}));
  EXPECT_EQ(Texts(Frames("16<1>x\n123\n007 bond\n")), (Strings{"16<1>x", "123", "007 bond"}));
}

TEST(Framing, OnceASenderCountsItsCountsAreBelieved) {
  EXPECT_EQ(Texts(Frames("4 <1>a3 abc5 \xef\xbb\xbfxy")), (Strings{"<1>a", "abc", "\xef\xbb\xbfxy"}));
}

TEST(Framing, AsaEndsLinesWithLfAndSpace) {
  EXPECT_EQ(Texts(Frames("<181>00\n <181>01\n<181>02\n")), (Strings{"<181>00", "<181>01", "<181>02"}));
  EXPECT_EQ(Texts(Frames(" <181>00\n  indented\n")), (Strings{" <181>00", "  indented"}));
}

TEST(Framing, NulEndsALineOnlyWhenAsked) {
  const std::string_view stream("<13>a\0<13>b\0", 12);
  EXPECT_EQ(Texts(Frames(stream)), (Strings{std::string(stream)}));
  StreamFramer::Options options;
  options.nul_ends_line = true;
  EXPECT_EQ(Texts(Frames(stream, options)), (Strings{"<13>a", "<13>b"}));
}

TEST(Framing, InvalidUtf8AndNulPassThrough) {
  const std::string stream("<13>\xff\xfe\x00\x80 x\n<13>ok\n", 17);
  EXPECT_EQ(Texts(Frames(stream)), (Strings{std::string("<13>\xff\xfe\x00\x80 x", 10), "<13>ok"}));
}

struct BadCount {
  const char* name;
  std::string stream;
};
class BadCounts : public ::testing::TestWithParam<BadCount> {};

TEST_P(BadCounts, AreFramingErrorsThatKeepTheOctetsAndClose) {
  StreamFramer framer({});
  framer.Feed(AsBytes(GetParam().stream));
  FramedMessage message;
  ASSERT_TRUE(framer.Next(message));
  EXPECT_TRUE(message.framing_error);
  EXPECT_EQ(AsText(message.bytes), GetParam().stream);
  EXPECT_TRUE(framer.closed());
  EXPECT_FALSE(framer.Next(message));
  framer.Feed(AsBytes("<13>ignored\n"));
  EXPECT_FALSE(framer.Next(message));
  (void)Frames(GetParam().stream);
}

INSTANTIATE_TEST_SUITE_P(Framing, BadCounts,
                         ::testing::Values(BadCount{"leading_zero", "016 <1>1 - - - - - -"}, BadCount{"zero", "0 <1>1 - - - - - -"},
                                           BadCount{"twenty_digits", "99999999999999999999 <1>1 - - - - - -"},
                                           BadCount{"two_to_the_32nd_and_1", "4294967297 <1>1 - - - - - -"},
                                           BadCount{"one_gigabyte", "1000000000 <13>short"},
                                           BadCount{"one_above_the_ceiling", "67108865 <13>short"},
                                           BadCount{"text_after_it", "100000000 too long\n"}),
                         [](const auto& bad_count) { return bad_count.param.name; });

TEST(Framing, TheLargestCountIsAcceptedAndCostsNothingUntilOctetsArrive) {
  HeldBytes held;
  StreamFramer::Options options;
  options.held = &held;
  StreamFramer framer(options);
  framer.Feed(AsBytes("67108864 <13>short"));
  FramedMessage message;
  EXPECT_FALSE(framer.Next(message));
  EXPECT_TRUE(framer.inside_message());
  EXPECT_EQ(held.used_bytes, 0U);
  framer.End(EndReason::kStalled);
  ASSERT_TRUE(framer.Next(message));
  EXPECT_TRUE(message.incomplete);
  EXPECT_EQ(AsText(message.bytes), "<13>short");
  EXPECT_EQ(message.full_length, 67108864U);
}

TEST(Framing, AWrongCountIsNoticedAtTheNextFrame) {
  const auto messages = Frames("16 <1>1 - - - - - -xaaa");
  ASSERT_EQ(Texts(messages), (Strings{"<1>1 - - - - - -", "xaaa"}));
  EXPECT_TRUE(messages[1].framing_error);
}

TEST(Framing, MessagesAboveTheMaximumAreCutAndDescribed) {
  StreamFramer::Options options;
  options.message_bytes_max = 100;
  options.salt_key[3] = std::byte{7};
  const std::string fits(100, 'a');
  const std::string large(101, 'b');
  const std::string stream = fits + "\n" + fits + "\r\n" + large + "\n101 <" + large.substr(1) + "<13>next\n";
  const auto messages = Frames(stream, options);
  ASSERT_EQ(messages.size(), 5U);
  EXPECT_FALSE(messages[0].truncated);
  EXPECT_FALSE(messages[1].truncated);  // the CR is the delimiter's
  EXPECT_EQ(messages[1].bytes, fits);
  EXPECT_TRUE(messages[2].truncated);
  EXPECT_EQ(messages[2].bytes, large.substr(0, 100));
  EXPECT_EQ(messages[2].full_length, 101U);
  EXPECT_EQ(messages[2].whole_hash, Sha256Of({AsBytes("stele/whole/v1"), record::DeriveSalt(options.salt_key, 0), AsBytes(large)}));
  EXPECT_TRUE(messages[3].truncated);
  EXPECT_TRUE(messages[3].counted);
  EXPECT_EQ(messages[4].bytes, "<13>next");
}

TEST(Framing, ATwoMebibyteLineIsCutAndTheNextMessageSurvives) {
  const std::string line = "<13>Oct 11 22:14:15 h t: " + std::string(2U << 20U, 'A');
  const auto messages = FastFrames(line + "\n<13>next\n", {}, EndReason::kPeerClosed, {65536});
  ASSERT_EQ(messages.size(), 2U);
  EXPECT_TRUE(messages[0].truncated);
  EXPECT_EQ(messages[0].bytes, line.substr(0, 1U << 20U));
  EXPECT_EQ(messages[0].full_length, line.size());
  EXPECT_EQ(messages[1].bytes, "<13>next");
}

TEST(Framing, ALineWithoutEndIsGivenUpAtTheCeiling) {
  StreamFramer framer({});
  const std::string megabyte(1U << 20U, 'x');
  FramedMessage message;
  bool delivered = false;
  for (int i = 0; i < 65 && !delivered; ++i) {
    framer.Feed(AsBytes(megabyte));
    delivered = framer.Next(message);
  }
  ASSERT_TRUE(delivered);
  EXPECT_TRUE(message.framing_error);
  EXPECT_TRUE(message.truncated);
  EXPECT_EQ(message.bytes.size(), limits::kMessageBytesDefault);
  EXPECT_EQ(message.full_length, 65U << 20U);
  EXPECT_TRUE(framer.closed());
}

TEST(Framing, AnHttpRequestIsRecordedOnce) {
  const std::string stream = "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n";
  const auto messages = Frames(stream);
  ASSERT_EQ(messages.size(), 1U);
  EXPECT_EQ(messages[0].foreign, Foreign::kHttp);
  EXPECT_TRUE(messages[0].framing_error);
  EXPECT_EQ(messages[0].bytes, stream);
}

TEST(Framing, ALogLineThatQuotesARequestIsALine) {
  EXPECT_EQ(Texts(Frames("GET /x HTTP/1.1 200 12\n<13>a\nGET / HTTP/1.1\n")), (Strings{"GET /x HTTP/1.1 200 12", "<13>a", "GET / HTTP/1.1"}));
}

TEST(Framing, ARequestLineThatIsCutIsALine) {
  StreamFramer::Options options;
  options.message_bytes_max = 64;
  const auto messages = Frames("GET /" + std::string(100, 'x') + " HTTP/1.1\nnext\n", options);
  ASSERT_EQ(messages.size(), 2U);
  EXPECT_TRUE(messages[0].truncated);
  EXPECT_EQ(messages[0].foreign, Foreign::kNone);
}

TEST(Framing, ATlsHelloOnThePlainPortIsRecordedOnce) {
  const std::string stream("\x16\x03\x01\x00\x2f\x01\x00\x00+\x03\x03\n\n\n", 14);
  const auto messages = Frames(stream);
  ASSERT_EQ(messages.size(), 1U);
  EXPECT_EQ(messages[0].foreign, Foreign::kTls);
  EXPECT_EQ(messages[0].bytes, stream);
}

//= RFC 5425 section 4.3
//# SYSLOG-FRAME = MSG-LEN SP SYSLOG-MSG
TEST(Framing, CountedOnlyRefusesLines) {
  StreamFramer::Options options;
  options.framing = Framing::kCounted;
  const auto messages = Frames("3 abc\n<13>a\n", options);
  ASSERT_EQ(Texts(messages), (Strings{"abc", "<13>a\n"}));
  EXPECT_TRUE(messages[1].framing_error);
}

TEST(Framing, LinesOnlyNeverCounts) {
  StreamFramer::Options options;
  options.framing = Framing::kLines;
  EXPECT_EQ(Texts(Frames("1700000000 host x\n16 <1>1 - - - - - -\n", options)), (Strings{"1700000000 host x", "16 <1>1 - - - - - -"}));
}

TEST(Framing, HalfMessagesShareABudgetAndATruncatedOneSaysSo) {
  HeldBytes held;
  held.limit_bytes = 300'000;
  StreamFramer::Options options;
  options.held = &held;
  const std::string half = "<13>" + std::string(200'000, 'x');
  FramedMessage message;
  {
    StreamFramer first(options);
    StreamFramer second(options);
    first.Feed(AsBytes(half));
    EXPECT_FALSE(first.Next(message));
    EXPECT_GE(held.used_bytes, 190'000U);
    second.Feed(AsBytes(half));
    EXPECT_FALSE(second.Next(message));
    EXPECT_LE(held.used_bytes, held.limit_bytes);
    second.Feed(AsBytes("\n"));
    ASSERT_TRUE(second.Next(message));
    EXPECT_TRUE(message.truncated);
    EXPECT_EQ(message.full_length, half.size());
    EXPECT_EQ(message.bytes.size(), kHeldBytesFree);
    EXPECT_EQ(message.whole_hash, Sha256Of({AsBytes("stele/whole/v1"), message.whole_salt, AsBytes(half)}));
    first.Feed(AsBytes("\n"));
    ASSERT_TRUE(first.Next(message));
    EXPECT_FALSE(message.truncated);
    EXPECT_EQ(AsText(message.bytes), half);
    EXPECT_FALSE(first.Next(message));
    EXPECT_EQ(held.used_bytes, 0U);
    first.Feed(AsBytes(half));
    EXPECT_FALSE(first.Next(message));
  }
  EXPECT_EQ(held.used_bytes, 0U);
}

// Streams made of the pieces that decide, in random order.
std::string RandomStream(std::mt19937& random) {
  static const std::vector<std::string> kPieces{"<13>", "16 ", "3 ", "0", "9", "12 <", "\n",     "\r",         "\r\n", " ", " <", "x",
                                                "{",    "\xef", "\x16", "\x03", "\x01", std::string(1, '\0'), "GET / HTTP/1.1\r\n", "5 ab", "2 <1", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
  std::string stream;
  const auto pieces = random() % 12;
  for (std::size_t i = 0; i < pieces; ++i) stream += kPieces[random() % kPieces.size()];
  return stream;
}

TEST(Framing, AgreesWithTheSlowFramerOnRandomStreams) {
  std::mt19937 random(20260101);
  for (int round = 0; round < 30'000; ++round) {
    const std::string stream = RandomStream(random);
    StreamFramer::Options options;
    options.framing = static_cast<Framing>(random() % 3);
    options.nul_ends_line = random() % 4 == 0;
    options.message_bytes_max = 64;
    const auto reason = static_cast<EndReason>(random() % 3);
    const auto expected = ReferenceFrames(stream, options, reason);
    ASSERT_EQ(FastFrames(stream, options, reason, {}), expected) << "stream " << HexOf(AsBytes(stream)) << " round " << round;
    const std::vector<std::size_t> pieces{1 + random() % 5, 1 + random() % 9};
    ASSERT_TRUE(SameButForTheRest(expected, FastFrames(stream, options, reason, pieces)))
        << "stream " << HexOf(AsBytes(stream)) << " round " << round;
  }
}

// A measurement, not a test: --gtest_also_run_disabled_tests --gtest_filter='*Speed*'.
TEST(Framing, DISABLED_SpeedOfCountedMessagesAndOfLines) {
  const std::string message = "<13>" + std::string(252, 'x');
  for (const std::string& frame : {std::to_string(message.size()) + " " + message, message + "\n"}) {
    std::string stream;
    while (stream.size() < 256 * limits::kKiB) stream += frame;
    stream.resize(256 * limits::kKiB);  // ends inside a message, like a read does
    StreamFramer framer({});
    FramedMessage framed;
    std::uint64_t octets = 0;
    const auto start = std::chrono::steady_clock::now();
    const std::size_t cut = stream.size() % frame.size();
    const std::string_view first = std::string_view(stream);
    for (int i = 0; i < 4'000; ++i) {
      framer.Feed(AsBytes(first));
      while (framer.Next(framed)) octets += framed.bytes.size();
      framer.Feed(AsBytes(std::string_view(frame).substr(cut)));  // the other half of the message that was cut
      while (framer.Next(framed)) octets += framed.bytes.size();
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    std::printf("%s: %.1f million messages a second, %.0f MB/s\n", frame[0] == '<' ? "lines" : "counted",
                static_cast<double>(framer.messages_count()) / seconds.count() / 1e6, static_cast<double>(octets) / seconds.count() / 1e6);
  }
}

}  // namespace
}  // namespace stele::ingest
