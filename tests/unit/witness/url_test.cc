// Goal: the address of a witness is what it looks like. Method: good ones by hand, and near misses.
#include "appliance/witness/url.h"

#include <gtest/gtest.h>

namespace stele::witness {
namespace {

TEST(WitnessUrl, PartsAreRead) {
  const auto plain = ParseUrl("http://127.0.0.1:8080/prefix/");
  ASSERT_TRUE(plain.has_value());
  EXPECT_FALSE(plain->tls);
  EXPECT_EQ(plain->host, "127.0.0.1");
  EXPECT_EQ(plain->port, 8080);
  EXPECT_EQ(plain->path, "/prefix");
  EXPECT_EQ(plain->Authority(), "127.0.0.1:8080");
  const auto tls = ParseUrl("https://witness.example.org");
  ASSERT_TRUE(tls.has_value());
  EXPECT_TRUE(tls->tls);
  EXPECT_EQ(tls->port, 443);
  EXPECT_EQ(tls->path, "");
  EXPECT_EQ(tls->Authority(), "witness.example.org");
  const auto v6 = ParseUrl("https://[::1]:8443/w");
  ASSERT_TRUE(v6.has_value());
  EXPECT_EQ(v6->host, "::1");
  EXPECT_EQ(v6->Authority(), "[::1]:8443");
}

TEST(WitnessUrl, WhatIsNoPlainAddressIsRefused) {
  for (const char* bad : {"", "http://", "https:///x", "ftp://a", "witness.example.org", "http://user@a", "http://a?q",
                          "http://a#f", "http://a:0", "http://a:65536", "http://a:x", "http://a:", "http://a b",
                          "http://[::1", "http://[g]", "http://a/\r\nHost: b", "http://a/%0d"}) {
    EXPECT_FALSE(ParseUrl(bad).has_value()) << bad;
  }
}

}  // namespace
}  // namespace stele::witness
