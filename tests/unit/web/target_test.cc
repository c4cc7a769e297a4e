// Goal: one reading of every path and query, or none. Method: tables, and every byte in each place.
#include "web/server/target.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cctype>

#include "appliance/base/limits.h"

namespace stele::web {
namespace {

TEST(Target, PathAndQueryAreDecodedOnce) {
  const auto target = ParseTarget("/api/v1/search?q=host%3Afw1+%22a%20b%22&limit=10&empty=&bare");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, "/api/v1/search");
  EXPECT_EQ(target->query.at("q"), "host:fw1 \"a b\"");
  EXPECT_EQ(target->query.at("limit"), "10");
  EXPECT_EQ(target->query.at("empty"), "");
  EXPECT_EQ(target->query.at("bare"), "");
}

TEST(Target, APercentSignInAQueryValueStaysData) {
  const auto target = ParseTarget("/?q=100%2525");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->query.at("q"), "100%25");
}

TEST(Target, WhateverHasTwoReadingsIsRefused) {
  for (const char* hostile : {"",
                              "x",
                              "*",
                              "//",
                              "//etc/passwd",
                              "/a//b",
                              "/..",
                              "/../etc/passwd",
                              "/a/../b",
                              "/a/..",
                              "/.",
                              "/./a",
                              "/%2e%2e/etc/passwd",
                              "/%2E./x",
                              "/a%2fb",
                              "/a%2Fb",
                              "/a%5cb",
                              "/a\\b",
                              "/a%00",
                              "/%252e%252e/x",
                              "/%25",
                              "/%",
                              "/%2",
                              "/%zz",
                              "/a b",
                              "/a#b",
                              "/\x80",
                              "/%c3%a4",
                              "/a;b",
                              "https://localhost/",
                              "/?a=1&a=2",
                              "/?a=%ff",
                              "/?a=%00",
                              "/?a=%2",
                              "/?\x01"}) {
    const auto target = ParseTarget(hostile);
    ASSERT_FALSE(target) << hostile;
    EXPECT_EQ(target.error().code, Code::kInvalid) << hostile;
  }
}

TEST(Target, NoEncodedByteMakesASeparatorOrAControlCharacter) {
  for (unsigned value = 0; value < 256; ++value) {
    const auto target = ParseTarget(fmt::format("/a%{:02x}b", value));
    if (!target) continue;
    const char c = static_cast<char>(value);
    EXPECT_EQ(target->path, std::string("/a") + c + "b");
    EXPECT_TRUE(std::isalnum(static_cast<unsigned char>(c)) ||
                std::string_view("-._~").find(c) != std::string_view::npos)
        << value;
  }
}

TEST(Target, ATrailingSlashIsAPathOfItsOwn) {
  const auto target = ParseTarget("/assets/");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, "/assets/");
}

TEST(Target, LengthAndParameterCountAreBounded) {
  EXPECT_TRUE(ParseTarget("/" + std::string(limits::kWebTargetBytes - 1, 'a')));
  EXPECT_FALSE(ParseTarget("/" + std::string(limits::kWebTargetBytes, 'a')));
  std::string many = "/?";
  for (int i = 0; i < 32; ++i) many += fmt::format("p{}=&", i);
  EXPECT_TRUE(ParseTarget(many));
  EXPECT_FALSE(ParseTarget(many + "one-more="));
}

}  // namespace
}  // namespace stele::web
