// Goal: ten sign-ins a minute and address, in bounded memory. Method: a clock that is a number.
#include "web/server/login_bucket.h"

#include <gtest/gtest.h>

namespace stele::web {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;

TEST(LoginBucket, TenAtOnceThenOneEverySixSeconds) {
  LoginBucket bucket;
  std::int64_t now_ns = 5 * kSecondNs;
  for (int i = 0; i < 10; ++i) EXPECT_EQ(bucket.Take("a", now_ns), 0) << i;
  EXPECT_EQ(bucket.Take("a", now_ns), 6);
  EXPECT_EQ(bucket.Take("b", now_ns), 0);
  now_ns += 6 * kSecondNs;
  EXPECT_EQ(bucket.Take("a", now_ns), 0);
  EXPECT_GT(bucket.Take("a", now_ns), 0);
  now_ns += 60 * kSecondNs;
  for (int i = 0; i < 10; ++i) EXPECT_EQ(bucket.Take("a", now_ns), 0) << i;
  EXPECT_GT(bucket.Take("a", now_ns), 0);
}

TEST(LoginBucket, TheTableIsBoundedAndForgetsWhoHasWaited) {
  LoginBucket bucket;
  for (std::size_t i = 0; i < limits::kWebLoginAddresses; ++i) EXPECT_EQ(bucket.Take(std::to_string(i), kSecondNs), 0);
  EXPECT_GT(bucket.Take("one more", kSecondNs), 0);
  EXPECT_EQ(bucket.size(), limits::kWebLoginAddresses);
  EXPECT_EQ(bucket.Take("one more", 120 * kSecondNs), 0);
  EXPECT_EQ(bucket.size(), 1U);
}

TEST(LoginBucket, AnIpv6HostIsItsWholePrefix) {
  EXPECT_EQ(LoginKey("2001:db8:1:2::1"), LoginKey("2001:db8:1:2:ffff::9"));
  EXPECT_NE(LoginKey("2001:db8:1:2::1"), LoginKey("2001:db8:1:3::1"));
  EXPECT_NE(LoginKey("192.0.2.1"), LoginKey("192.0.2.2"));
}

}  // namespace
}  // namespace stele::web
