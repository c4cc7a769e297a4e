// The read API's messages: what is sent is what arrives; every truncation and every wrong type is refused.
#include "appliance/channel/api_messages.h"

#include <gtest/gtest.h>

namespace stele::channel {
namespace {

ApiRequest FullRequest() {
  ApiRequest request;
  request.id = ~std::uint64_t{0};
  request.method = "GET";
  request.path = "/api/v1/search";
  request.query = {{"q", "host:fw1 \"a b\""}, {"size", "12"}};
  request.headers = {{"last-event-id", "7"}};
  request.session_token = "token";
  request.certificate_sha256 = "ab";
  request.certificate_name = "Anna";
  request.peer = "192.0.2.7:1234";
  request.body = "{}";
  return request;
}

TEST(ApiMessages, ARequestArrivesAsItWasSent) {
  const ApiRequest sent = FullRequest();
  const auto got = DecodeApiRequest(EncodeApiRequest(sent));
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->id, sent.id);
  EXPECT_EQ(got->method, sent.method);
  EXPECT_EQ(got->path, sent.path);
  EXPECT_EQ(got->query, sent.query);
  EXPECT_EQ(got->headers, sent.headers);
  EXPECT_EQ(got->session_token, sent.session_token);
  EXPECT_EQ(got->certificate_sha256, sent.certificate_sha256);
  EXPECT_EQ(got->certificate_name, sent.certificate_name);
  EXPECT_EQ(got->peer, sent.peer);
  EXPECT_EQ(got->body, sent.body);
}

TEST(ApiMessages, EveryTruncationOfARequestIsRefused) {
  const Bytes whole = EncodeApiRequest(FullRequest());
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_FALSE(DecodeApiRequest(ByteView(whole).first(length)).has_value()) << length;
  }
}

TEST(ApiMessages, WrongTypesAreRefused) {
  for (const char* text : {"[]", "{}", R"({"id":-1})", R"({"id":"1"})", R"({"id":1,"path":7})", R"({"id":1,"query":[]})",
                           R"({"id":1,"query":{"a":1}})", R"({"id":1,"headers":{"a":null}})", R"({"id":1.5})"}) {
    EXPECT_FALSE(DecodeApiRequest(AsBytes(text)).has_value()) << text;
  }
  for (const char* text : {"{}", R"({"id":1})", R"({"id":1,"status":99})", R"({"id":1,"status":600})", R"({"id":1,"status":"200"})"}) {
    EXPECT_FALSE(DecodeApiResponse(AsBytes(text)).has_value()) << text;
  }
}

TEST(ApiMessages, BytesThatAreNotUtf8DoNotBreakARequest) {
  ApiRequest request = FullRequest();
  request.path = "/api/v1/\xff\xfe";
  const auto got = DecodeApiRequest(EncodeApiRequest(request));
  ASSERT_TRUE(got.has_value());
  EXPECT_NE(got->path, request.path);
}

TEST(ApiMessages, AResponseArrivesAsItWasSent) {
  ApiResponse sent;
  sent.id = 3;
  sent.status = 429;
  sent.content_type = "text/event-stream";
  sent.headers = {{"retry-after", "4"}};
  const auto got = DecodeApiResponse(EncodeApiResponse(sent));
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->id, 3U);
  EXPECT_EQ(got->status, 429);
  EXPECT_EQ(got->content_type, sent.content_type);
  EXPECT_EQ(got->headers, sent.headers);
}

TEST(ApiMessages, ABodyPartKeepsItsBytesAndItsEnd) {
  for (const bool end : {false, true}) {
    const Bytes encoded = EncodeApiBody({9, end, AsBytes(std::string_view("a\0b", 3))});
    const auto got = DecodeApiBody(encoded);
    ASSERT_TRUE(got.has_value());
    EXPECT_EQ(got->id, 9U);
    EXPECT_EQ(got->end, end);
    EXPECT_EQ(AsText(got->bytes), std::string_view("a\0b", 3));
    for (std::size_t length = 0; length < 9; ++length) EXPECT_FALSE(DecodeApiBody(ByteView(encoded).first(length)).has_value());
  }
  Bytes odd = EncodeApiBody({9, true, {}});
  odd[8] = std::byte{2};
  EXPECT_FALSE(DecodeApiBody(odd).has_value());
}

TEST(ApiMessages, ACancelIsEightBytesExactly) {
  const Bytes encoded = EncodeApiCancel(77);
  EXPECT_EQ(DecodeApiCancel(encoded).value(), 77U);
  Bytes longer = encoded;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(DecodeApiCancel(longer).has_value());
  EXPECT_FALSE(DecodeApiCancel(ByteView(encoded).first(7)).has_value());
}

}  // namespace
}  // namespace stele::channel
