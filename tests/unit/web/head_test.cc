// Goal: only heads that every parser reads alike get through. Method: a good head, then one thing wrong at a time.
#include "web/server/head.h"

#include <gtest/gtest.h>

#include "appliance/base/limits.h"

namespace stele::web {
namespace {

using namespace std::string_view_literals;

TEST(Head, NamesAreLowerCaseAndOrderIsKept) {
  const auto head = ParseHead("GET /x?y=1 HTTP/1.1\r\nHost: a\r\nX-Two:  b \r\nx-two: c\r\n\r\n");
  ASSERT_TRUE(head) << head.error().context;
  EXPECT_EQ(head->method, "GET");
  EXPECT_EQ(head->target, "/x?y=1");
  ASSERT_EQ(head->fields.size(), 3U);
  EXPECT_EQ(head->fields[0], (std::pair<std::string, std::string>("host", "a")));
  EXPECT_EQ(head->fields[1], (std::pair<std::string, std::string>("x-two", "b")));
}

TEST(Head, AmbiguousHeadsAreRefused) {
  const std::string_view table[] = {
      "",
      "\r\n\r\n",
      "GET / HTTP/1.1\r\n",
      "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
      "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
      "GET / http/1.1\r\nHost: a\r\n\r\n",
      "GET /\r\nHost: a\r\n\r\n",
      "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
      "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
      "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
      "GET / HTTP/1.1\r\n: a\r\n\r\n",
      "GET / HTTP/1.1\r\nHost\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
      "GET / HTTP/1.1\nHost: a\n\n",
      "GET / HTTP/1.1\r\nHost: a\x7f\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n",
      "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
      "GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
      "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n",
  };
  for (const std::string_view hostile : table) EXPECT_FALSE(ParseHead(hostile)) << hostile;
  EXPECT_FALSE(ParseHead("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n"sv));
}

TEST(Head, EveryTruncationIsRefused) {
  const std::string whole = "GET /x HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";
  ASSERT_TRUE(ParseHead(whole));
  for (std::size_t length = 0; length < whole.size(); ++length)
    EXPECT_FALSE(ParseHead(whole.substr(0, length))) << length;
}

TEST(Head, FieldsAndBytesAreBounded) {
  std::string many = "GET / HTTP/1.1\r\n";
  for (std::size_t i = 0; i < limits::kWebFields; ++i) many += "A: b\r\n";
  EXPECT_TRUE(ParseHead(many + "\r\n"));
  EXPECT_FALSE(ParseHead(many + "A: b\r\n\r\n"));
  const std::string frame = "GET / HTTP/1.1\r\nA: \r\n\r\n";
  const auto of_size = [&](std::size_t size) {
    return "GET / HTTP/1.1\r\nA: " + std::string(size - frame.size(), 'x') + "\r\n\r\n";
  };
  EXPECT_TRUE(ParseHead(of_size(limits::kHttpHeaderBytes)));
  EXPECT_FALSE(ParseHead(of_size(limits::kHttpHeaderBytes + 1)));
}

TEST(Head, TheEndIsFoundAtTheFirstEmptyLine) {
  EXPECT_EQ(FindHeadEnd("a\r\n\r\nb\r\n\r\n"), 5U);
  EXPECT_EQ(FindHeadEnd("a\r\n\r"), std::string_view::npos);
}

}  // namespace
}  // namespace stele::web
