// Goal: what agents post is cut into events without one byte of theirs changed, and answered in their protocol's shape.
// Method: requests as the agents' documentation shows them, in parts of every size; each bound, each malformed shape.
#include <gtest/gtest.h>
#include <zlib.h>

#include <nlohmann/json.hpp>

#include "appliance/base/hash.h"
#include "appliance/ingest/bulk_body.h"
#include "appliance/ingest/gzip.h"
#include "appliance/ingest/json_walk.h"
#include "appliance/ingest/otlp_body.h"
#include "appliance/ingest/senders.h"

namespace stele::ingest {
namespace {

using nlohmann::json;

// A zlib stream that bombs, members, cuts: made by zlib itself.
Bytes Gzipped(ByteView plain) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  Bytes out(deflateBound(&stream, plain.size()) + 64);
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(plain.data()));
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

Result<Bytes> Inflated(ByteView in, std::size_t in_part, std::size_t out_part) {
  GzipReader reader;
  Bytes out;
  Bytes buffer(out_part);
  for (std::size_t at = 0; at < in.size(); at += in_part) {
    reader.Give(in.subspan(at, std::min(in_part, in.size() - at)));
    while (true) {
      STELE_TRY(const std::size_t size, reader.Take(buffer));
      if (size == 0) break;
      Append(out, ByteView(buffer).first(size));
    }
  }
  STELE_TRY_VOID(reader.Finish());
  return out;
}

TEST(Gzip, WhatWasCompressedComesOutInPartsOfAnySize) {
  std::string plain;
  for (int i = 0; i < 3'000; ++i) plain += "{\"n\":" + std::to_string(i * 7919 % 10'007) + "}\n";
  const Bytes packed = Gzipped(AsBytes(plain));
  for (const std::size_t in_part : {1U, 7U, 4'096U, 1'000'000U}) {
    for (const std::size_t out_part : {1U, 100U, 65'536U}) {
      const auto out = Inflated(packed, in_part, out_part);
      ASSERT_TRUE(out) << out.error().context;
      EXPECT_EQ(AsText(*out), plain);
    }
  }
  Bytes twice = packed;  // members one after the other are one body (RFC 1952 section 2.2)
  Append(twice, packed);
  EXPECT_EQ(AsText(*Inflated(twice, 100, 1'000)), plain + plain);
}

TEST(Gzip, DamageAndCutsAreNotTaken) {
  const Bytes packed = Gzipped(AsBytes("{\"a\":1}\n"));
  for (std::size_t size = 0; size < packed.size(); ++size) {
    const auto out = Inflated(ByteView(packed).first(size), 1'000, 1'000);
    ASSERT_FALSE(out) << size;
    EXPECT_EQ(out.error().code, Code::kInvalid);
  }
  for (std::size_t i = 0; i < packed.size(); ++i) {
    if (i >= 4 && i < 10) continue;  // time, level and system of the header mean nothing
    Bytes damaged = packed;
    damaged[i] ^= std::byte{0x20};
    const auto out = Inflated(damaged, 1'000, 1'000);
    if (out) {
      EXPECT_EQ(AsText(*out), "{\"a\":1}\n") << i;
    }
  }
  Bytes followed = packed;
  Append(followed, AsBytes("x"));
  EXPECT_FALSE(Inflated(followed, 1'000, 1'000));
  EXPECT_FALSE(Inflated(AsBytes("{\"a\":1}\n"), 1'000, 1'000));
}

TEST(Gzip, ABombIsGivenUpEarly) {
  const Bytes bomb = Gzipped(Bytes(64 * limits::kMiB));
  ASSERT_LT(bomb.size(), 70'000U);
  GzipReader reader;
  Bytes buffer(64 * limits::kKiB);
  std::size_t out = 0;
  std::size_t at = 0;
  Result<std::size_t> taken = std::size_t{0};
  while (taken && at < bomb.size()) {
    const std::size_t part = std::min<std::size_t>(1'024, bomb.size() - at);
    reader.Give(ByteView(bomb).subspan(at, part));
    at += part;
    while ((taken = reader.Take(buffer)) && *taken > 0) out += *taken;
  }
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, Code::kUnavailable);
  EXPECT_LE(out, limits::kGzipFreeBytes + 2 * limits::kMiB);
}

TEST(JsonWalk, ValuesAreTheirOwnBytes) {
  std::vector<std::string> seen;
  ASSERT_TRUE(WalkObject(" {\"a\" : {\"b\":[1,\"}\"]} , \"c\\\"\":\"x,\\\"]\",\"d\": -1.5e3 ,\"e\":[ ]}  ",
                         [&](auto name, auto value) {
                           seen.push_back(std::string(name) + "=" + std::string(value));
                           return true;
                         }));
  EXPECT_EQ(seen, (std::vector<std::string>{"a={\"b\":[1,\"}\"]}", "c\\\"=\"x,\\\"]\"", "d=-1.5e3", "e=[ ]"}));
  EXPECT_FALSE(WalkObject("[1]", [](auto, auto) { return true; }));
  EXPECT_TRUE(WalkArray("[]", [](auto) { return false; }));
  int count = 0;
  EXPECT_TRUE(WalkArray("[1,[2,3],\"4,5\"]", [&](auto) { return ++count > 0; }));
  EXPECT_EQ(count, 3);
}

// What a door makes of a body that comes in parts.
struct Cut {
  std::vector<std::string> events;
  std::vector<bool> parsed;
};
Result<Cut> CutBody(EventBody& body, std::string_view text, std::size_t part) {
  for (std::size_t at = 0; at < text.size(); at += part) STELE_TRY_VOID(body.Append(AsBytes(text.substr(at, part))));
  STELE_TRY_VOID(body.Finish());
  Cut cut;
  const auto slices = body.TakeEvents();
  const Bytes kept = body.TakeBody();
  for (const auto& slice : slices) {
    cut.events.emplace_back(AsText(ByteView(kept).subspan(slice.offset_bytes, slice.length_bytes)));
    cut.parsed.push_back(slice.parsed);
  }
  return cut;
}
JsonOutcome CommittedFrom(std::uint64_t first, std::uint64_t count) {
  JsonOutcome outcome;
  outcome.committed = true;
  if (count > 0) outcome.ranges = {{first, first + count - 1}};
  return outcome;
}

TEST(BulkBody, ThePairsAreKeptAsTheyCame) {
  const std::string text =
      "{\"create\":{\"_index\":\"fluent-bit\"}}\n{\"log\":\"one\"}\n"
      "{ \"index\" : { \"_index\" : \"other\", \"_id\" : \"7\", \"pipeline\":\"geo\" } }\r\n{\"log\" : \"two\"}\r\n\n"
      "{\"create\":{}}\nnot json\n";
  JsonChecker checker;
  for (std::size_t part = 1; part < text.size(); part += 3) {
    BulkBody body("", checker);
    const auto cut = CutBody(body, text, part);
    ASSERT_TRUE(cut) << cut.error().context;
    EXPECT_EQ(
        cut->events,
        (std::vector<std::string>{
            "{\"create\":{\"_index\":\"fluent-bit\"}}\n{\"log\":\"one\"}",
            "{ \"index\" : { \"_index\" : \"other\", \"_id\" : \"7\", \"pipeline\":\"geo\" } }\r\n{\"log\" : \"two\"}",
            "{\"create\":{}}\nnot json"}));
    EXPECT_EQ(cut->parsed, (std::vector<bool>{true, true, false}));
  }
}

TEST(BulkBody, EachItemIsAnsweredInOrderAndOnlyAdditionsAreDone) {
  JsonChecker checker;
  BulkBody body("logs-x", checker);
  const auto cut =
      CutBody(body,
              "{\"create\":{}}\n{\"a\":1}\n{\"delete\":{\"_id\":\"1\"}}\n{\"update\":{\"_id\":\"1\"}}\n{\"doc\":{}}\n"
              "{\"index\":{\"_index\":\"y\\u0041\"}}\n{\"b\":2}\n{\"index\":{}}\nnot json\n",
              1'000);
  ASSERT_TRUE(cut);
  EXPECT_EQ(cut->events.size(), 3U);
  EXPECT_EQ(body.actions_refused(), 2U);
  const json answer = json::parse(body.Answer(CommittedFrom(40, 3), 12));
  EXPECT_EQ(answer["took"], 12);
  EXPECT_EQ(answer["errors"], true);
  ASSERT_EQ(answer["items"].size(), 5U);
  EXPECT_EQ(
      answer["items"][0],
      json::parse(
          R"({"create":{"_index":"logs-x","_id":"40","_version":1,"result":"created","_seq_no":40,"status":201}})"));
  EXPECT_EQ(answer["items"][1]["delete"]["status"], 405);
  EXPECT_EQ(answer["items"][2]["update"]["status"], 405);
  EXPECT_EQ(answer["items"][3]["index"]["_index"], "yA");
  EXPECT_EQ(answer["items"][3]["index"]["_id"], "41");
  EXPECT_EQ(answer["items"][4]["index"]["_id"], "42");
  EXPECT_EQ(answer["items"][4]["index"]["unparsed"], true);
  BulkBody clean("", checker);
  ASSERT_TRUE(CutBody(clean, "{\"create\":{}}\n{}\n", 100));
  EXPECT_EQ(
      clean.Answer(CommittedFrom(0, 1), 0),
      R"({"took":0,"errors":false,"items":[{"create":{"_id":"0","_version":1,"result":"created","_seq_no":0,"status":201}}]})");
}

TEST(BulkBody, WhatIsNotPairsIsRefused) {
  JsonChecker checker;
  for (const char* text : {"", "\n\n", "{\"create\":{}}\n", "{\"create\":{}}\n\n", "not json\n{}\n", "[]\n{}\n",
                           "{}\n{}\n", "{\"create\":{},\"index\":{}}\n{}\n", "{\"create\":1}\n{}\n",
                           "{\"upsert\":{}}\n{}\n", "{\"a\":1}\n{\"b\":2}\n"}) {
    BulkBody body("", checker);
    const auto cut = CutBody(body, text, 5);
    ASSERT_FALSE(cut) << text;
    EXPECT_EQ(cut.error().code, Code::kInvalid);
  }
  BulkBody bounded("", checker, 2);
  const auto cut = CutBody(bounded, "{\"create\":{}}\n{}\n{\"create\":{}}\n{}\n{\"create\":{}}\n{}\n", 7);
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().code, Code::kUnavailable);
}

TEST(OtlpBody, EachRecordIsAnEventOfTheSendersOwnBytes) {
  // The example of opentelemetry-proto (examples/logs.json), shortened; spacing and number spelling kept odd on
  // purpose.
  const std::string text =
      "{\"resourceLogs\":[{\"scopeLogs\":[{\"scope\":{\"name\":\"my.library\",\"version\" : \"1.0.0\"},\"logRecords\":"
      "[{\"timeUnixNano\":\"1544712660300000000\",\"severityNumber\":10,\"body\":{\"stringValue\":\"Example log "
      "record\"}},\n {\"a\" : 1.50e+1 }],"
      "\"schemaUrl\":\"https://x/"
      "1\"}],\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{\"stringValue\":\"my.service\"}}]}},"
      "{\"resource\":null,\"scopeLogs\":[{\"logRecords\":[{}]}]}]}";
  const std::string resource =
      R"("resource":{"attributes":[{"key":"service.name","value":{"stringValue":"my.service"}}]},)";
  const std::string scope =
      "\"scope\":{\"name\":\"my.library\",\"version\" : \"1.0.0\"},\"scopeSchemaUrl\":\"https://x/1\",";
  for (const std::size_t part : {1U, 10U, 10'000U}) {
    OtlpBody body;
    const auto cut = CutBody(body, text, part);
    ASSERT_TRUE(cut) << cut.error().context;
    EXPECT_EQ(
        cut->events,
        (std::vector<std::string>{
            "{" + resource + scope +
                R"("logRecord":{"timeUnixNano":"1544712660300000000","severityNumber":10,"body":{"stringValue":"Example log record"}}})",
            "{" + resource + scope + "\"logRecord\":{\"a\" : 1.50e+1 }}", "{\"logRecord\":{}}"}));
    for (const auto& event : cut->events) EXPECT_TRUE(json::accept(event));
    EXPECT_EQ(body.Answer(CommittedFrom(1, 3), 0), "{}");
  }
}

TEST(OtlpBody, BothSpellingsAndEmptyRequestsAreRead) {
  const auto count = [&](std::string_view text) {
    OtlpBody body;
    const auto cut = CutBody(body, text, 1'000);
    return cut ? static_cast<int>(cut->events.size()) : -1;
  };
  EXPECT_EQ(count(R"({"resource_logs":[{"scope_logs":[{"log_records":[{},{}]}]}]})"), 2);
  EXPECT_EQ(count("{}"), 0);
  EXPECT_EQ(count(R"({"resourceLogs":[]})"), 0);
  EXPECT_EQ(count(R"({"resourceLogs":null})"), 0);
  EXPECT_EQ(
      count(
          R"({"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}],"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]})"),
      2);
  EXPECT_EQ(count(R"({"futureMember":[1,2],"resourceLogs":[{"scopeLogs":[{"logRecords":[{}],"x":1}],"y":2}]})"), 1);
  for (const char* text : {"", "[]", "1", "{", R"({"resourceLogs":{}})", R"({"resourceLogs":[1]})",
                           R"({"resourceLogs":[{"scopeLogs":[[]]}]})",
                           R"({"resourceLogs":[{"scopeLogs":[{"logRecords":{}}]}]})", R"({"resource\u004cogs":[]})"}) {
    EXPECT_EQ(count(text), -1) << text;
  }
  const std::string deep = R"({"resourceLogs":[{"scopeLogs":[{"logRecords":[{"a":)" + std::string(80, '[') + "1" +
                           std::string(80, ']') + "}]}]}]}";
  EXPECT_EQ(count(deep), -1);
}

TEST(OtlpBody, ALargeResourceCannotBeMultipliedWithoutBound) {
  std::string text =
      R"({"resourceLogs":[{"resource":{"x":")" + std::string(10'000, 'r') + R"("},"scopeLogs":[{"logRecords":[{})";
  for (int i = 0; i < 2'000; ++i) text += ",{}";
  text += "]}]}]}";
  OtlpBody body(1'000'000);
  const auto cut = CutBody(body, text, 4'096);
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().code, Code::kUnavailable);
  EXPECT_LE(body.held_bytes(), 1'000'000U + text.size());
}

TEST(Senders, EachIsKnownByItsSecretAndByNothingElse) {
  const Hash certificate = Sha256Of(AsBytes("certificate"));
  const SenderSet senders({"plain-token-0123456"}, {{"alpha", Sha256Of(AsBytes("alpha-token")), std::nullopt},
                                                    {"beta", Sha256Of(AsBytes("beta-token")), certificate}});
  const auto name = [&](std::string_view credentials, std::optional<Hash> shown = std::nullopt) {
    const auto admitted = senders.Admit(credentials, shown);
    return admitted ? "<" + *admitted + ">" : std::string("refused");
  };
  EXPECT_EQ(name("Bearer alpha-token"), "<alpha>");
  EXPECT_EQ(name("bearer beta-token"), "<beta>");
  EXPECT_EQ(name("ApiKey alpha-token"), "<alpha>");
  EXPECT_EQ(name("Basic " + Base64Of(AsBytes("elastic:alpha-token"))), "<alpha>");
  EXPECT_EQ(name("Bearer plain-token-0123456"), "<>");
  EXPECT_EQ(name("", certificate), "<beta>");
  EXPECT_EQ(name("Bearer beta-token", certificate), "<beta>");
  EXPECT_EQ(name("Bearer plain-token-0123456", certificate), "<beta>");
  EXPECT_EQ(name("Bearer alpha-token", certificate), "refused");
  EXPECT_EQ(name("Bearer wrong", certificate), "refused");
  EXPECT_EQ(name("", Sha256Of(AsBytes("another"))), "refused");
  for (const char* wrong : {"", "Bearer", "Bearer ", "Bearer alpha-toke", "Bearer alpha-token2", "Basic !!",
                            "Basic YWxwaGE=", "Digest alpha-token", "alpha-token"}) {
    EXPECT_EQ(name(wrong), "refused") << wrong;
  }
  EXPECT_EQ(SenderSet({}, {}).Admit("Bearer whatever", std::nullopt).value(), "");
}

}  // namespace
}  // namespace stele::ingest
