// Goal: a body is cut into the same events however it arrives, each judged as RFC 8259 does, none changed.
// Method: examples, bounds and bound + 1, and a plain grammar as the reference on mutated JSON.
#include "appliance/ingest/ndjson.h"

#include <gtest/gtest.h>

#include <random>

#include "appliance/ingest/json_body.h"
#include "appliance/ingest/json_grammar.h"

namespace stele::ingest {
namespace {

struct Seen {
  std::string text;
  std::uint64_t line = 0;
  bool parsed = false;
  [[nodiscard]] bool operator==(const Seen&) const = default;
};

void PrintTo(const Seen& seen, std::ostream* out) { *out << seen.line << (seen.parsed ? " json " : " unparsed ") << seen.text; }

std::vector<Seen> Split(std::string_view body) {
  JsonChecker checker;
  NdjsonSplitter splitter(AsBytes(body), checker);
  std::vector<Seen> events;
  JsonEvent event;
  while (splitter.Next(event)) events.push_back({std::string(AsText(event.bytes)), event.line, event.parsed});
  return events;
}

Result<std::vector<Seen>> InParts(std::string_view body, JsonBody::Kind kind, std::size_t part_bytes, std::size_t events_max = 1'000) {
  JsonChecker checker;
  JsonBody parts(kind, checker, events_max);
  for (std::size_t at = 0; at < body.size(); at += part_bytes) STELE_TRY_VOID(parts.Append(AsBytes(body.substr(at, part_bytes))));
  STELE_TRY_VOID(parts.Finish());
  std::vector<Seen> events;
  const auto slices = parts.TakeEvents();
  const Bytes kept = parts.TakeBody();
  for (const auto& slice : slices) {
    events.push_back({std::string(AsText(kept).substr(slice.offset_bytes, slice.length_bytes)), slice.line, slice.parsed});
  }
  return events;
}

bool IsJson(std::string_view text) {
  JsonChecker checker;
  return checker.IsJson(AsBytes(text));
}

TEST(Ndjson, LinesAreEventsAndBlankOnesAreNot) {
  const auto events = Split("{\"a\":1}\n\n{\"b\":2}\r\n \t\nnot json\n\r\n{\"c\":3}");
  EXPECT_EQ(events, (std::vector<Seen>{{"{\"a\":1}", 1, true}, {"{\"b\":2}", 3, true}, {"not json", 5, false}, {"{\"c\":3}", 7, true}}));
  EXPECT_TRUE(Split("").empty());
  EXPECT_TRUE(Split("\n\r\n").empty());
}

TEST(Ndjson, BytesAreKeptAsTheyCame) {
  const auto events = Split(" {\"a\" : 1.0e0 , \"a\":2}\t\n{\"x\":\"\xff\"}\n");
  EXPECT_EQ(events, (std::vector<Seen>{{" {\"a\" : 1.0e0 , \"a\":2}\t", 1, true}, {"{\"x\":\"\xff\"}", 2, false}}));
}

TEST(Ndjson, JsonThatIsNotJsonIsUnparsed) {
  for (const std::string_view text : {"{", "}", "{\"a\":}", "{'a':1}", "{\"a\":1,}", "[1,2", "{\"a\":1}{\"b\":2}", "nul", "01", "1.", "+1", "\"\t\"", "\"\\x\"",
                                      "{\"a\":NaN}", "\"\\ud800\"", "// c", "\xef\xbb\xbf{}"}) {
    EXPECT_FALSE(IsJson(text)) << text;
  }
  EXPECT_FALSE(IsJson(std::string_view("{\"a\":\0}", 7)));
  EXPECT_FALSE(IsJson(std::string_view("{}\0", 3)));
}

TEST(Ndjson, AnyJsonValueIsParsed) {
  for (const std::string_view text : {"{}", "[]", "null", "true", "-0", "1e5", "\"\\ud83d\\ude00\"", " {\"a\":[1,{\"b\":null}]} ",
                                      "123456789012345678901234567890", "{\"n\":1e999}", "-1.5E-400"}) {
    EXPECT_TRUE(IsJson(text)) << text;
  }
}

TEST(Ndjson, DepthHasABound) {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(IsJson(nested(kJsonDepthMax + 1)));  // the innermost is empty
  EXPECT_FALSE(IsJson(nested(kJsonDepthMax + 2)));
  EXPECT_TRUE(IsJsonText(nested(kJsonDepthMax + 1), kJsonDepthMax));
  EXPECT_FALSE(IsJsonText(nested(kJsonDepthMax + 2), kJsonDepthMax));
  EXPECT_FALSE(IsJson(std::string(500'000, '[')));
  EXPECT_FALSE(IsJson("[1e999," + std::string(100'000, '[')));
  const auto objects = [](std::size_t depth) {
    std::string text;
    for (std::size_t i = 0; i < depth; ++i) text += "{\"a\":";
    text += "1" + std::string(depth, '}');
    return text;
  };
  EXPECT_TRUE(IsJson(objects(kJsonDepthMax)));
  EXPECT_FALSE(IsJson(objects(kJsonDepthMax + 1)));
}

TEST(Ndjson, SizeHasABound) {
  const std::string fits = "\"" + std::string(kJsonCheckedBytesMax - 2, 'x') + "\"";
  EXPECT_TRUE(IsJson(fits));
  EXPECT_FALSE(IsJson(" " + fits));
  JsonChecker checker;
  EXPECT_TRUE(checker.IsJson(AsBytes(fits)));
  EXPECT_TRUE(checker.IsJson(AsBytes("{}")));
}

TEST(Ndjson, TheGrammarAndTheFastParserAgreeOnMutatedJson) {
  std::mt19937 random(7);
  const std::string seed = R"({"a":[1,-2.5e3,true,false,null,"x\u00e9\n\ud83d\ude00"],"b":{"c":{}},"d":[]})";
  constexpr std::string_view kAlphabet = "{}[]\",:0123456789eE+-.\\utrnfalse \t\x01\xc3\xa9";
  JsonChecker checker;
  int valid = 0;
  for (int round = 0; round < 50'000; ++round) {
    std::string text = seed;
    for (std::size_t edits = 1 + random() % 3; edits > 0; --edits) {
      const std::size_t at = random() % text.size();
      if (random() % 2 == 0) {
        text[at] = kAlphabet[random() % kAlphabet.size()];
      } else {
        text.erase(at, 1 + random() % 4);
      }
      if (text.empty()) text = "0";
    }
    const bool expected = IsJsonText(text, kJsonDepthMax);
    ASSERT_EQ(checker.IsJson(AsBytes(text)), expected) << text;
    valid += expected ? 1 : 0;
  }
  EXPECT_GT(valid, 1'000);
}

TEST(JsonBody, PartsOfAnySizeGiveTheSameEvents) {
  const std::string body = "{\"a\":1}\n\n{\"b\":2}\r\nnot json\n\r\n{\"c\":3}";
  const auto expected = Split(body);
  for (std::size_t part = 1; part <= body.size(); ++part) {
    EXPECT_EQ(*InParts(body, JsonBody::Kind::kLines, part), expected);
    EXPECT_EQ(*InParts(body, JsonBody::Kind::kObjectOrLines, part), expected);
  }
}

TEST(JsonBody, AnObjectOverSeveralLinesIsOneEvent) {
  const std::string body = "\n{\n  \"a\": 1\n}\n\n";
  for (std::size_t part = 1; part <= body.size(); ++part) {
    EXPECT_EQ(*InParts(body, JsonBody::Kind::kObjectOrLines, part), (std::vector<Seen>{{"{\n  \"a\": 1\n}", 2, true}}));
  }
  EXPECT_EQ(*InParts("{\"a\":1", JsonBody::Kind::kObjectOrLines, 3), (std::vector<Seen>{{"{\"a\":1", 1, false}}));
  EXPECT_EQ(InParts(body, JsonBody::Kind::kLines, 4)->size(), 3U);
}

TEST(JsonBody, AnArrayIsRefused) {
  for (const char* body : {"[{\"a\":1}]", " [1]", "\n[\n1]"}) {
    const auto refused = InParts(body, JsonBody::Kind::kObjectOrLines, 2);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kInvalid);
  }
  EXPECT_TRUE(InParts("[1]\n[2]\n", JsonBody::Kind::kLines, 2));
}

TEST(JsonBody, TheNumberOfEventsIsBounded) {
  EXPECT_TRUE(InParts("1\n2\n3\n", JsonBody::Kind::kLines, 2, 3));
  const auto refused = InParts("1\n2\n3\n4", JsonBody::Kind::kLines, 2, 3);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kUnavailable);
}

TEST(JsonBody, NothingButBlanksIsNoEvent) { EXPECT_TRUE(InParts(" \n\n", JsonBody::Kind::kObjectOrLines, 1)->empty()); }

}  // namespace
}  // namespace stele::ingest
