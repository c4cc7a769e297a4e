// Goal: a rule about addresses holds exactly the addresses its author meant, and nothing that is unclear is taken.
// Method: worked examples on both sides of each border; every prefix length against a bit-by-bit comparison.
#include "appliance/base/ip_prefix.h"

#include <gtest/gtest.h>

namespace stele {
namespace {

IpAddress Address(std::string_view text) { return ParseIpPrefix(text).value().address; }

TEST(IpPrefix, HoldsItsAddressesAndNoOthers) {
  const auto v4 = ParseIpPrefix("192.0.2.64/26");
  ASSERT_TRUE(v4);
  EXPECT_TRUE(v4->Contains(Address("192.0.2.64")));
  EXPECT_TRUE(v4->Contains(Address("192.0.2.127")));
  EXPECT_FALSE(v4->Contains(Address("192.0.2.63")));
  EXPECT_FALSE(v4->Contains(Address("192.0.2.128")));
  const auto v6 = ParseIpPrefix("2001:db8::/33");
  ASSERT_TRUE(v6);
  EXPECT_TRUE(v6->Contains(Address("2001:db8:7fff::1")));
  EXPECT_FALSE(v6->Contains(Address("2001:db8:8000::1")));
  EXPECT_FALSE(ParseIpPrefix("0.0.0.0/0")->Contains(Address("2001:db8::1")));
  EXPECT_TRUE(ParseIpPrefix("::/0")->Contains(Address("192.0.2.1")));
  EXPECT_TRUE(ParseIpPrefix("192.0.2.1")->Contains(Address("::ffff:192.0.2.1")));
}

TEST(IpPrefix, EveryLengthAgreesWithAComparisonBitByBit) {
  const IpAddress ones = Address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
  for (unsigned bits = 0; bits <= 128; ++bits) {
    const IpPrefix prefix{Masked(ones, bits), bits};
    for (unsigned flipped = 0; flipped < 128; ++flipped) {
      IpAddress other = ones;
      other[flipped / 8] ^= static_cast<std::byte>(0x80U >> (flipped % 8));
      EXPECT_EQ(prefix.Contains(other), flipped >= bits) << bits << " " << flipped;
    }
  }
}

TEST(IpPrefix, TextComesBackAsThePrefixItWas) {
  for (const char* text : {"192.0.2.7", "192.0.2.0/24", "0.0.0.0/0", "::/0", "2001:db8::1", "2001:db8::/32",
                           "::fffe:0:0/95", "::ffff:0:0/96"}) {
    const auto prefix = ParseIpPrefix(text);
    ASSERT_TRUE(prefix) << text;
    EXPECT_EQ(*ParseIpPrefix(IpPrefixText(*prefix)), *prefix) << text;
  }
  EXPECT_EQ(IpPrefixText(*ParseIpPrefix("192.0.2.0/24")), "192.0.2.0/24");
}

TEST(IpPrefix, WhatIsUnclearIsRefusedWithItsText) {
  for (const char* text :
       {"", "host", "192.0.2", "192.0.2.1/", "192.0.2.0/33", "192.0.2.1/24", "2001:db8::/129", "2001:db8::1/64",
        "192.0.2.0/ 24", "192.0.2.0/+24", "192.0.2.0/24/24", "fe80::1%eth0", "1.2.3.4 "}) {
    const auto prefix = ParseIpPrefix(text);
    ASSERT_FALSE(prefix) << text;
    EXPECT_EQ(prefix.error().code, Code::kInvalid);
    EXPECT_NE(prefix.error().context.find(text), std::string::npos);
  }
}

}  // namespace
}  // namespace stele
