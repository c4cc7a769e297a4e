// Goal: a request goes on only when its header leaves no doubt. Method: one header per rule.
#include "appliance/ingest/http_request.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "appliance/ingest/http_answer.h"

namespace stele::ingest {
namespace {

namespace http = boost::beast::http;

RequestHeader Good() {
  RequestHeader header;
  header.version(11);
  header.method(http::verb::post);
  header.target("/v1/events");
  header.set(http::field::host, "x");
  header.set(http::field::content_type, "application/x-ndjson");
  header.set(http::field::content_length, "3");
  return header;
}

unsigned StatusOf(const RequestHeader& header, const std::vector<std::string>& tokens = {}) {
  Request request;
  const auto refusal = CheckRequest(header, SenderSet(tokens, {}), std::nullopt, request);
  return refusal ? static_cast<unsigned>(refusal->status) : 200;
}

TEST(HttpRequest, BothPathsAndBothTypesAreTaken) {
  auto header = Good();
  EXPECT_EQ(StatusOf(header), 200U);
  header.target("/api/v1/events");
  EXPECT_EQ(StatusOf(header), 200U);
  header.set(http::field::content_type, "Application/JSON; charset=utf-8");
  Request request;
  EXPECT_FALSE(CheckRequest(header, SenderSet({}, {}), std::nullopt, request));
  EXPECT_EQ(request.kind, JsonBody::Kind::kObjectOrLines);
  header.erase(http::field::content_length);
  header.set(http::field::transfer_encoding, "chunked");
  EXPECT_EQ(StatusOf(header), 200U);
}

TEST(HttpRequest, EachDoubtIsRefused) {
  const auto with = [](auto change) {
    auto header = Good();
    change(header);
    return StatusOf(header);
  };
  EXPECT_EQ(with([](auto& h) { h.target("/v2/events"); }), 404U);
  EXPECT_EQ(with([](auto& h) { h.target("/v1/events?x"); }), 400U);
  EXPECT_EQ(with([](auto& h) { h.method(http::verb::get); }), 405U);
  EXPECT_EQ(with([](auto& h) { h.erase(http::field::host); }), 400U);
  EXPECT_EQ(with([](auto& h) { h.insert(http::field::host, "y"); }), 400U);
  EXPECT_EQ(with([](auto& h) { h.insert(http::field::content_length, "3"); }), 400U);
  EXPECT_EQ(with([](auto& h) { h.set(http::field::transfer_encoding, "chunked"); }), 400U);
  EXPECT_EQ(with([](auto& h) { h.erase(http::field::content_length); }), 411U);
  EXPECT_EQ(with([](auto& h) {
              h.erase(http::field::content_length);
              h.set(http::field::transfer_encoding, "gzip, chunked");
            }),
            400U);
  EXPECT_EQ(with([](auto& h) { h.set(http::field::content_encoding, "br"); }), 415U);
  EXPECT_EQ(with([](auto& h) { h.erase(http::field::content_type); }), 415U);
  EXPECT_EQ(with([](auto& h) { h.set(http::field::content_type, "text/plain"); }), 415U);
  EXPECT_EQ(with([](auto& h) { h.insert(http::field::content_type, "application/json"); }), 400U);
  EXPECT_EQ(with([](auto& h) { h.set(http::field::expect, "200-ok"); }), 417U);
}

TEST(HttpRequest, TokensAreAskedForWhenThereAreAny) {
  auto header = Good();
  const std::vector<std::string> tokens{"first", "second"};
  EXPECT_EQ(StatusOf(header, tokens), 401U);
  for (const char* wrong : {"Bearer", "Bearer ", "Bearer firs", "Bearer firstx", "Basic first", "Bearer FIRST"}) {
    header.set(http::field::authorization, wrong);
    EXPECT_EQ(StatusOf(header, tokens), 401U) << wrong;
  }
  for (const char* right : {"Bearer first", "bearer second"}) {
    header.set(http::field::authorization, right);
    EXPECT_EQ(StatusOf(header, tokens), 200U) << right;
  }
  header.insert(http::field::authorization, "Bearer first");
  EXPECT_EQ(StatusOf(header, tokens), 400U);
}

// What the header asks for, as far as it goes on.
std::optional<Request> Asked(http::verb method, std::string_view target, std::string_view type = "application/json") {
  auto header = Good();
  header.method(method);
  header.target(std::string(target));
  header.set(http::field::content_type, std::string(type));
  if (method == http::verb::get || method == http::verb::head) header.erase(http::field::content_length);
  Request request;
  if (CheckRequest(header, SenderSet({}, {}), std::nullopt, request)) return std::nullopt;
  return request;
}

TEST(HttpRequest, EachDoorIsFoundByItsPath) {
  const auto door = [](http::verb method, std::string_view target, std::string_view type = "application/json") {
    const auto asked = Asked(method, target, type);
    return asked ? static_cast<int>(asked->door) : -1;
  };
  constexpr auto kPost = http::verb::post;
  EXPECT_EQ(door(kPost, "/v1/logs"), static_cast<int>(Door::kOtlpLogs));
  EXPECT_EQ(door(kPost, "/v1/logs", "application/x-protobuf"), -1);
  EXPECT_EQ(door(kPost, "/_bulk", "application/x-ndjson"), static_cast<int>(Door::kBulk));
  EXPECT_EQ(door(http::verb::put, "/logs-x/_bulk?refresh=true&pipeline=geo", "application/vnd.elasticsearch+x-ndjson; compatible-with=8"),
            static_cast<int>(Door::kBulk));
  EXPECT_EQ(Asked(kPost, "/logs-x/_bulk?refresh=true&pipeline=geo")->target, "logs-x?pipeline=geo");
  EXPECT_EQ(door(kPost, "/"), static_cast<int>(Door::kWebhook));
  EXPECT_EQ(Asked(kPost, "/webhook/turnstile-4", "application/cloudevents+json")->target, "turnstile-4");
  EXPECT_EQ(door(kPost, "/webhook/turnstile-4", "application/x-www-form-urlencoded"), -1);
  EXPECT_EQ(door(http::verb::get, "/"), static_cast<int>(Door::kElasticRoot));
  EXPECT_TRUE(Asked(http::verb::head, "/")->is_head);
  EXPECT_EQ(door(http::verb::get, "/_cluster/health"), static_cast<int>(Door::kElasticHealth));
  EXPECT_EQ(door(http::verb::get, "/_license"), static_cast<int>(Door::kElasticLicense));
  for (const char* target : {"/webhook/", "/webhook/a/b", "/webhook/../x", "/webhook/a%2fb", "/_all/_bulk", "//_bulk", "/a/b/_bulk", "/_bulk/", "_bulk", "xlogs/_bulk", "\xd7logs/_bulk", "",
                             "/v1/logs/", "/_search", "http://x/v1/events"}) {
    EXPECT_EQ(door(kPost, target), -1) << target;
  }
  EXPECT_EQ(door(http::verb::get, "/_bulk"), -1);
  EXPECT_EQ(door(kPost, "/_license"), -1);
  EXPECT_EQ(door(http::verb::delete_, "/"), -1);
}

TEST(HttpRequest, AReceiptIsAskedForInTwoWays) {
  EXPECT_FALSE(Asked(http::verb::post, "/v1/events")->wants_leaves);
  EXPECT_TRUE(Asked(http::verb::post, "/v1/events?receipt=leaves")->wants_leaves);
  EXPECT_FALSE(Asked(http::verb::post, "/v1/events?receipt=all"));
  EXPECT_FALSE(Asked(http::verb::post, "/v1/logs?receipt=leaves"));
  auto header = Good();
  header.set("Prefer", "receipt");
  header.set(http::field::content_encoding, "GZIP");
  Request request;
  ASSERT_FALSE(CheckRequest(header, SenderSet({}, {}), std::nullopt, request));
  EXPECT_TRUE(request.wants_leaves);
  EXPECT_TRUE(request.gzip);
}

TEST(HttpRequest, ErrorsSpeakTheDoorsProtocol) {
  using nlohmann::json;
  EXPECT_EQ(json::parse(DoorErrorText(Door::kOtlpLogs, 503, "unavailable", "later")), json::parse(R"({"code":14,"message":"later"})"));
  EXPECT_EQ(json::parse(DoorErrorText(Door::kBulk, 400, "bad_request", "no")),
            json::parse(R"({"error":{"type":"bad_request","reason":"no"},"status":400})"));
  EXPECT_EQ(json::parse(DoorErrorText(Door::kEvents, 400, "bad_request", "no\xff")),
            json::parse("{\"error\":{\"code\":\"bad_request\",\"message\":\"no\xef\xbf\xbd\"}}"));
  EXPECT_EQ(json::parse(HandshakeText(Door::kElasticHealth, false))["status"], "red");
  EXPECT_EQ(json::parse(HandshakeText(Door::kElasticRoot, true))["version"]["number"], "8.0.0");
}

TEST(HttpRequest, SequenceNumbersComeOutOfTheRangesInOrder) {
  JsonOutcome outcome;
  outcome.ranges = {{3, 5}, {9, 9}};
  SequenceNumbers numbers(outcome);
  for (const std::uint64_t expected : {3U, 4U, 5U, 9U, 0U, 0U}) EXPECT_EQ(numbers.Next(), expected);
}

TEST(HttpRequest, AnswersAreJson) {
  JsonOutcome outcome;
  outcome.committed = true;
  outcome.ranges = {{3, 5}, {9, 9}};
  outcome.checkpoint = "origin\n2\nroot=\n\n\xe2\x80\x94 key sig\n";
  const auto answer = nlohmann::json::parse(CommittedText(outcome, {2, 7}, 2));
  EXPECT_EQ(answer["ranges"], nlohmann::json::parse("[[3,5],[9,9]]"));
  EXPECT_EQ(answer["unparsed"], nlohmann::json::parse("[2,7]"));
  EXPECT_EQ(answer["unparsed_count"], 2);
  EXPECT_EQ(answer["checkpoint"], *outcome.checkpoint);
  EXPECT_FALSE(answer.contains("leaves"));
  outcome.leaves = {Hash{}, Hash{std::byte{0xab}}};
  EXPECT_EQ(nlohmann::json::parse(CommittedText(outcome, {}, 0))["leaves"][1], "ab" + std::string(62, '0'));
  outcome.checkpoint.reset();
  EXPECT_TRUE(nlohmann::json::parse(CommittedText(outcome, {}, 0))["checkpoint"].is_null());
  EXPECT_EQ(nlohmann::json::parse(ErrorText("bad_request", "a \"quote\""))["error"]["message"], "a \"quote\"");
}

}  // namespace
}  // namespace stele::ingest
