// The query language against its shared vectors (tests/data/query_vectors.ndjson), and the law Parse(Print(tree)) == tree.
#include "appliance/query/language.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "appliance/base/limits.h"
#include "appliance/base/text.h"
#include "appliance/query/matcher.h"

namespace stele::query {
namespace {

using Json = nlohmann::json;

std::vector<Json> Vectors() {
  std::ifstream file(std::string(STELE_SOURCE_DIR) + "/tests/data/query_vectors.ndjson");
  std::vector<Json> vectors;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) vectors.push_back(Json::parse(line));
  }
  return vectors;
}

bool Matches(const std::string& query, const Json& record) {
  auto node = ParseQuery(query);
  EXPECT_TRUE(node.has_value()) << query;
  if (!node) return false;
  RecordView view;
  const std::string payload = record.is_string() ? record.get<std::string>() : record.value("payload", "");
  view.payload = AsBytes(payload);
  SourceNames source;
  if (record.is_object()) {
    for (std::uint8_t i = 1; i <= record::kKindMax; ++i) {
      if (record.value("kind", "syslog") == record::KindName(static_cast<record::Kind>(i))) view.kind = static_cast<record::Kind>(i);
    }
    view.sequence = record.value("seq", std::uint64_t{0});
    if (record.contains("source")) source = ParseSourceNames(7, record["source"].dump());
    if (const auto peer = ParseAddress(record.value("peer", "")); peer) std::memcpy(view.peer.data(), peer->bytes.data(), 16);
  }
  view.source = source.id;
  const SourceLookup lookup = [&source](std::uint32_t, std::uint64_t) { return &source; };
  JsonScratch scratch;
  RecordFields fields(view, lookup, scratch);
  return Matcher(*node).Matches(fields);
}

TEST(Language, EveryVectorGivesItsTreeOrItsError) {
  const auto vectors = Vectors();
  ASSERT_GT(vectors.size(), 100U);
  for (const Json& vector : vectors) {
    const std::string query = vector["query"];
    const auto parsed = ParseQuery(query);
    if (vector.contains("error")) {
      ASSERT_FALSE(parsed.has_value()) << query << " was read as " << Print(*parsed);
      EXPECT_EQ(parsed.error().column, vector["error"]["column"].get<std::size_t>()) << query << ": " << parsed.error().message;
      const std::string told = parsed.error().message + " | " + parsed.error().hint;
      EXPECT_NE(told.find(vector["error"]["says"].get<std::string>()), std::string::npos) << query << ": " << told;
      continue;
    }
    ASSERT_TRUE(parsed.has_value()) << query << ": " << parsed.error().message;
    EXPECT_EQ(Print(*parsed), vector["canonical"].get<std::string>()) << query;
  }
}

TEST(Language, EveryVectorMatchesWhatItSaysAndNothingElse) {
  for (const Json& vector : Vectors()) {
    const std::string query = vector["query"];
    for (const Json& record : vector.value("matches", Json::array())) EXPECT_TRUE(Matches(query, record)) << query << " on " << record;
    for (const Json& record : vector.value("rejects", Json::array())) EXPECT_FALSE(Matches(query, record)) << query << " on " << record;
  }
}

TEST(Language, PrintedVectorsReadBackAsTheSameTree) {
  for (const Json& vector : Vectors()) {
    if (vector.contains("error")) continue;
    const auto parsed = ParseQuery(vector["query"].get<std::string>());
    ASSERT_TRUE(parsed.has_value());
    const auto again = ParseQuery(Print(*parsed));
    ASSERT_TRUE(again.has_value()) << Print(*parsed) << ": " << again.error().message;
    EXPECT_TRUE(*again == *parsed) << vector["query"] << " -> " << Print(*parsed) << " -> " << Print(*again);
  }
}

// Random queries out of the grammar's own pieces: whatever parses, prints to something that parses to the same tree.
TEST(Language, PrintedRandomQueriesReadBackAsTheSameTree) {
  const std::vector<std::string> pieces = {
      "a", "b-c", "OR", "AND", "NOT", "(", ")", "-", "!", "\"p q\"", "\"OR\"", "host:fw1", "host:fw*", "app:/usr*", "severity<=err", "seq:1..9",
      "10.1.2.3", "10.0.0.0/8", "2001:db8::/32", "/re.x/i", "/a\\/b/", "/tmp", "/tm*p", "x*y", "*z*", "*", "json.a.b>=1.5", "json.a:-1..2",
      "sd.o@1.ip:x", "host:(a OR b*)", "host:(a \"b c\")", "ip!=::1", "kind:access", "kind:c*", "msg:\"x\"", "msg=y", "peer:10.0.0.0/9", "size>64",
      "facility:local7", "source!=\"a b\"", "foo/", "\"\\\\\"", "d\xc3\xa9j\xc3\xa0", "host:\"\"", "=", "x:y", "1.5", "-7", "a..b", "????????????????b"};
  std::mt19937 random(20261121);
  std::size_t parsed_count = 0;
  for (int round = 0; round < 60'000; ++round) {
    std::string query;
    const std::size_t length = 1 + random() % 9;
    for (std::size_t i = 0; i < length; ++i) {
      if (i > 0 && random() % 5 != 0) query += ' ';
      query += pieces[random() % pieces.size()];
    }
    const auto parsed = ParseQuery(query);
    if (!parsed) {
      EXPECT_GE(parsed.error().column, 1U) << query;
      EXPECT_LE(parsed.error().column, query.size() + 1) << query;
      continue;
    }
    ++parsed_count;
    const std::string printed = Print(*parsed);
    const auto again = ParseQuery(printed);
    ASSERT_TRUE(again.has_value()) << query << " -> " << printed << ": " << again.error().message;
    ASSERT_TRUE(*again == *parsed) << query << " -> " << printed << " -> " << Print(*again);
  }
  EXPECT_GT(parsed_count, 5'000U);
}

TEST(Language, EveryTruncationOfALongQueryIsAnswered) {
  const std::string query = "host:(fw1 OR \"a b\") severity<=warning -/den(y|ied) \\d+/i json.user.id:1..5 NOT (2001:db8::/32 OR sd.x@1.y=\"z\") msg:*a?b*";
  for (std::size_t length = 0; length <= query.size(); ++length) {
    const auto parsed = ParseQuery(query.substr(0, length));
    const std::size_t column = parsed ? 1 : parsed.error().column;
    EXPECT_LE(column, length + 1);
  }
  EXPECT_TRUE(ParseQuery(query).has_value());
}

TEST(Language, BoundsHoldAndOneMoreIsRefused) {
  const std::string word(limits::kQueryBytes, 'x');
  EXPECT_TRUE(ParseQuery(word).has_value());
  EXPECT_FALSE(ParseQuery(word + "x").has_value());
  std::string terms;
  for (std::size_t i = 0; i < limits::kQueryTerms; ++i) terms += "t ";
  EXPECT_TRUE(ParseQuery(terms).has_value());
  EXPECT_FALSE(ParseQuery(terms + "t").has_value());
  const std::string open(limits::kQueryDepth, '(');
  const std::string close(limits::kQueryDepth, ')');
  EXPECT_TRUE(ParseQuery(open + "x" + close).has_value());
  EXPECT_FALSE(ParseQuery("(" + open + "x" + close + ")").has_value());
  const std::string regex(limits::kRegexBytes, 'x');
  EXPECT_TRUE(ParseQuery("/" + regex + "/").has_value());
  EXPECT_FALSE(ParseQuery("/" + regex + "x/").has_value());
}

TEST(Language, ManyClosersAndOpenersNeverRecurseDeep) {
  EXPECT_FALSE(ParseQuery(std::string(2000, '(')).has_value());
  EXPECT_FALSE(ParseQuery(std::string(2000, ')')).has_value());
  EXPECT_FALSE(ParseQuery(std::string(2000, '-')).has_value());
  std::string nots;
  for (int i = 0; i < 400; ++i) nots += "NOT ";
  EXPECT_FALSE(ParseQuery(nots + "x").has_value());
}

}  // namespace
}  // namespace stele::query
