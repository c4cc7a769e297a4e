// The matcher's parts against slow references: substring search, addresses, globs; and the quiet kinds.
#include "appliance/query/matcher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "appliance/query/glob.h"
#include "appliance/query/language.h"

namespace stele::query {
namespace {

std::string Lowered(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return text;
}

TEST(TextFinder, AgreesWithTheSlowSearchOnRandomTexts) {
  std::mt19937 random(7);
  const std::string alphabet = "aAbB@`[{ \xc1\xe1";  // neighbours of letters in ASCII, where folding by one bit would err
  for (int round = 0; round < 40'000; ++round) {
    std::string text(random() % 80, ' ');
    for (char& c : text) c = alphabet[random() % alphabet.size()];
    std::string needle(1 + random() % 4, ' ');
    for (char& c : needle) c = alphabet[random() % (alphabet.size() - 2)];
    const bool expected = Lowered(text).find(Lowered(needle)) != std::string::npos;
    ASSERT_EQ(TextFinder(needle).FoundIn(text), expected) << "\"" << needle << "\" in \"" << text << "\"";
  }
}

TEST(TextFinder, FindsAtEveryPlaceOfEveryLength) {
  for (std::size_t length = 1; length < 70; ++length) {
    for (std::size_t needle_length = 1; needle_length <= std::min<std::size_t>(length, 20); ++needle_length) {
      const std::string needle = std::string(needle_length - 1, 'q') + "Z";
      for (std::size_t at = 0; at + needle_length <= length; ++at) {
        std::string text(length, '.');
        text.replace(at, needle_length, Lowered(needle));
        ASSERT_TRUE(TextFinder(needle).FoundIn(text));
        text[at + needle_length - 1] = 'y';
        ASSERT_FALSE(TextFinder(needle).FoundIn(text));
      }
    }
  }
}

TEST(Flags, AreFoundByNameByPatternAndByTheirAbsence) {
  const auto matches = [](const std::string& query, std::uint16_t flags) {
    RecordView view;
    view.flags = flags;
    JsonScratch scratch;
    const SourceLookup none;
    RecordFields fields(view, none, scratch);
    const auto parsed = ParseQuery(query);
    EXPECT_TRUE(parsed.has_value()) << query;
    EXPECT_EQ(ParseQuery(Print(*parsed)).value(), *parsed) << query;
    return Matcher(*parsed).Matches(fields);
  };
  EXPECT_TRUE(matches("flag:signature_invalid", record::kFlagSignatureInvalid | record::kFlagRestamped));
  EXPECT_TRUE(matches("flag:SIGNATURE_INVALID", record::kFlagSignatureInvalid));
  EXPECT_FALSE(matches("flag:signature_invalid", record::kFlagSignatureValid));
  EXPECT_TRUE(matches("flag:signature_*", record::kFlagSignatureUnknown));
  EXPECT_FALSE(matches("flag:signature_*", record::kFlagTruncated));
  EXPECT_TRUE(matches("flag:*", record::kFlagTruncated));
  EXPECT_FALSE(matches("flag:*", 0));
  EXPECT_TRUE(matches("flag:\"\"", 0));
  EXPECT_FALSE(matches("flag:\"\"", record::kFlagTruncated));
  EXPECT_TRUE(matches("flag!=truncated", record::kFlagUnparsed));
  EXPECT_FALSE(matches("flag!=truncated", record::kFlagTruncated));
  EXPECT_TRUE(matches("-flag:(truncated OR unparsed)", record::kFlagRestamped));
  for (const char* wrong : {"flag:signed", "flag:sig?", "flag>truncated", "flag:/trunc/", "flags:truncated"}) EXPECT_FALSE(ParseQuery(wrong)) << wrong;
}

TEST(JsonDoors, EventsOfAgentsShowTheirMembers) {
  const auto shows = [](std::string_view payload, const std::string& query) {
    RecordView view;
    view.kind = record::Kind::kJson;
    view.payload = AsBytes(payload);
    JsonScratch scratch;
    const SourceLookup none;
    RecordFields fields(view, none, scratch);
    return Matcher(ParseQuery(query).value()).Matches(fields);
  };
  constexpr std::string_view kBulk = "{\"create\":{\"_index\":\"nginx\"}}\r\n{\"host\":\"web1\",\"level\":\"error\",\"index\":1}";
  EXPECT_TRUE(shows(kBulk, "host:web1 severity:err json.index:1"));
  EXPECT_TRUE(shows(kBulk, "nginx"));
  EXPECT_FALSE(shows(kBulk, "msg:nginx"));
  constexpr std::string_view kPretty = "{\n\"index\":{\"host\":\"x\"},\n\"host\":\"web2\"}";
  EXPECT_TRUE(shows(kPretty, "host:web2 json.index.host:x"));
  EXPECT_TRUE(shows("{\"index\":{\"a\":1},\n\"host\":\"web3\"}", "host:web3"));
  constexpr std::string_view kOtlp =
      R"({"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}},{"key":"host.name","value":{"stringValue":"web4"}}]},"logRecord":{"severityNumber":17,"body":{"stringValue":"boom"}}})";
  EXPECT_TRUE(shows(kOtlp, "host:web4 app:shop severity:err json.logRecord.body.stringValue:boom"));
}

TEST(TextTest, InvalidUtf8HidesNothing) {
  const auto matches = [](const std::string& query, const std::string& payload) {
    RecordView view;
    view.payload = AsBytes(payload);
    JsonScratch scratch;
    const SourceLookup none;
    RecordFields fields(view, none, scratch);
    return Matcher(ParseQuery(query).value()).Matches(fields);
  };
  EXPECT_TRUE(matches("needle", "caf\xe9 needle \xff"));
  EXPECT_TRUE(matches("/x.y/", "caf\xe9 x\xe9y"));
  EXPECT_TRUE(matches("/x.y/", "x\xc3\xa9y"));
  EXPECT_TRUE(matches("ne*le", "caf\xe9 nee\xff" "dle"));
  EXPECT_TRUE(matches("a", std::string("\0a", 2)));
}

TEST(Address, NetworksContainWhatTheirBitsSay) {
  std::mt19937 random(3);
  for (int round = 0; round < 20'000; ++round) {
    Address a;
    for (auto& byte : a.bytes) byte = static_cast<std::uint8_t>(random());
    const auto bits = static_cast<std::uint8_t>(random() % 129);
    Address b = a;
    const auto flipped = random() % 128;
    b.bytes[flipped / 8] = static_cast<std::uint8_t>(b.bytes[flipped / 8] ^ (0x80U >> (flipped % 8)));
    const Network network{a, bits};
    ASSERT_TRUE(network.Contains(a));
    ASSERT_EQ(network.Contains(b), flipped >= bits);
  }
}

TEST(Address, EveryNetworkReadsBackFromItsText) {
  for (const char* text : {"10.1.2.3", "10.0.0.0/8", "0.0.0.0/0", "255.255.255.255/31", "2001:db8::/32", "::/0", "::1", "::ffff:0:0/90", "fe80::1/128"}) {
    const auto network = ParseNetwork(text);
    ASSERT_TRUE(network.has_value()) << text;
    EXPECT_TRUE(ParseNetwork(NetworkText(*network)) == network) << text << " " << NetworkText(*network);
  }
  for (const char* text : {"", "10.1.2", "10.1.2.256", "10.1.2.3/33", "10.1.2.3/", "10.1.2.3/x", "1.2.3.4.5", ":::", "2001:db8::/129", "10.1.2.0003", "a.b.c.d", "10.1.2.3/-1"}) {
    EXPECT_FALSE(ParseNetwork(text).has_value()) << text;
  }
}

TEST(Glob, AgreesWithTheSlowDefinition) {
  const std::function<bool(std::string_view, std::string_view)> slow = [&slow](std::string_view p, std::string_view t) -> bool {
    if (p.empty()) return t.empty();
    if (p[0] == '*') return slow(p.substr(1), t) || (!t.empty() && slow(p, t.substr(1)));
    return !t.empty() && (p[0] == '?' || p[0] == t[0]) && slow(p.substr(1), t.substr(1));
  };
  std::mt19937 random(11);
  for (int round = 0; round < 50'000; ++round) {
    std::string pattern(random() % 7, ' ');
    for (char& c : pattern) c = "ab*?"[random() % 4];
    std::string text(random() % 9, ' ');
    for (char& c : text) c = "ab"[random() % 2];
    ASSERT_EQ(GlobMatches(pattern, text), slow(pattern, text)) << pattern << " " << text;
  }
  EXPECT_TRUE(GlobMatches("a?b", "a\xc3\xa9" "b"));
}

TEST(Matcher, KindsAreNamedByKindTermsOnly) {
  const auto named = [](const char* query) { return KindsNamedBy(ParseQuery(query).value()); };
  EXPECT_EQ(named("access"), 0U);
  EXPECT_EQ(named("kind:access"), KindBit(record::Kind::kAccess));
  EXPECT_EQ(named("x OR NOT kind:clock"), KindBit(record::Kind::kClock));
  EXPECT_EQ(named("kind:(access anchor)"), KindBit(record::Kind::kAccess) | KindBit(record::Kind::kAnchor));
  EXPECT_EQ(named("kind:*") & kQuietKinds, kQuietKinds);
}

TEST(Matcher, CatastrophicPatternsStayLinear) {
  const std::string payload(1 << 20, 'a');
  RecordView view;
  view.payload = AsBytes(payload);
  JsonScratch scratch;
  const SourceLookup none;
  for (const char* query : {"/(a+)+$b/", "/(a|aa)*c/", "a*a*a*a*a*a*a*a*b", "host:*a*a*a*b"}) {
    RecordFields fields(view, none, scratch);
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_FALSE(Matcher(ParseQuery(query).value()).Matches(fields)) << query;
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5)) << query;
  }
}

}  // namespace
}  // namespace stele::query
