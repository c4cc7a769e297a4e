// Goal: a request goes on only when its header leaves no doubt. Method: one header per rule.
#include "appliance/ingest/http_request.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

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
  JsonBody::Kind kind{};
  const auto refusal = CheckRequest(header, TokenSet(tokens), kind);
  return refusal ? static_cast<unsigned>(refusal->status) : 200;
}

TEST(HttpRequest, BothPathsAndBothTypesAreTaken) {
  auto header = Good();
  EXPECT_EQ(StatusOf(header), 200U);
  header.target("/api/v1/events");
  EXPECT_EQ(StatusOf(header), 200U);
  header.set(http::field::content_type, "Application/JSON; charset=utf-8");
  JsonBody::Kind kind = JsonBody::Kind::kLines;
  EXPECT_FALSE(CheckRequest(header, TokenSet({}), kind));
  EXPECT_EQ(kind, JsonBody::Kind::kObjectOrLines);
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
  EXPECT_EQ(with([](auto& h) { h.target("/"); }), 404U);
  EXPECT_EQ(with([](auto& h) { h.target("/v1/events?x"); }), 404U);
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
  EXPECT_EQ(with([](auto& h) { h.set(http::field::content_encoding, "gzip"); }), 415U);
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
  outcome.checkpoint.reset();
  EXPECT_TRUE(nlohmann::json::parse(CommittedText(outcome, {}, 0))["checkpoint"].is_null());
  EXPECT_EQ(nlohmann::json::parse(ErrorText("bad_request", "a \"quote\""))["error"]["message"], "a \"quote\"");
}

}  // namespace
}  // namespace stele::ingest
