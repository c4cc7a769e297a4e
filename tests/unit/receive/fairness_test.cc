// Goal: no source takes more than its quota, and a flood takes no room from others. Method: the real quota and queue,
// without sockets; time is a number.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "appliance/daemons/receive_fair.h"
#include "appliance/daemons/receive_quota.h"

namespace stele::receive {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kStart = 5'000 * kSecond;

TEST(SourceQuotas, WithoutALimitNothingIsRefused) {
  SourceQuotas quotas;
  EXPECT_FALSE(quotas.limited());
  for (int i = 0; i < 1'000'000; ++i) ASSERT_TRUE(quotas.Take(3, 65'536, kStart));
  EXPECT_EQ(quotas.WaitNs(3, kStart), 0);
}

TEST(SourceQuotas, AFloodGetsItsRateAndOneBurst) {
  SourceQuotas quotas;
  quotas.Limit({100, 0});
  std::uint64_t taken = 0;
  for (int ms = 0; ms < 10'000; ++ms) taken += quotas.Take(1, 50, kStart + ms * (kSecond / 1'000)) ? 1U : 0U;
  EXPECT_GE(taken, 1'000U);         // 10 s at 100 a second
  EXPECT_LE(taken, 1'000U + 101U);  // and a burst of one second
}

TEST(SourceQuotas, OctetsAreLimitedLikeRecords) {
  SourceQuotas quotas;
  quotas.Limit({0, 10'000});
  std::uint64_t bytes = 0;
  for (int ms = 0; ms < 10'000; ++ms) bytes += quotas.Take(1, 500, kStart + ms * (kSecond / 1'000)) ? 500U : 0U;
  EXPECT_GE(bytes, 100'000U);
  EXPECT_LE(bytes, 100'000U + 10'500U);
}

TEST(SourceQuotas, SourcesDoNotShareABucket) {
  SourceQuotas quotas;
  quotas.Limit({10, 0});
  while (quotas.Take(1, 1, kStart)) {
  }
  EXPECT_TRUE(quotas.Take(2, 1, kStart));
  EXPECT_FALSE(quotas.Take(1, 1, kStart));
  EXPECT_TRUE(quotas.Take(1, 1, kStart + kSecond));
}

TEST(SourceQuotas, ARecordLargerThanASecondsWorthStillPassesAndIsPaidFor) {
  SourceQuotas quotas;
  quotas.Limit({0, 1'000});
  ASSERT_TRUE(quotas.Take(1, 5'000, kStart));
  EXPECT_FALSE(quotas.Take(1, 1, kStart + 3 * kSecond));
  EXPECT_TRUE(quotas.Take(1, 1, kStart + 5 * kSecond));
}

TEST(SourceQuotas, AStreamWaitsUntilItsDebtIsPaid) {
  SourceQuotas quotas;
  quotas.Limit({100, 0});
  for (int i = 0; i < 400; ++i) quotas.Charge(7, 10, kStart);  // one read brought 400 records
  const std::int64_t wait_ns = quotas.WaitNs(7, kStart);
  EXPECT_EQ(wait_ns, 3 * kSecond);
  EXPECT_EQ(quotas.WaitNs(7, kStart + wait_ns), 0);
  EXPECT_EQ(quotas.WaitNs(8, kStart), 0);
}

TEST(SourceQuotas, ADebtIsNeverLongerThanAnHour) {
  SourceQuotas quotas;
  quotas.Limit({1, 1});
  for (int i = 0; i < 100; ++i) quotas.Charge(0, ~std::uint64_t{0}, kStart);
  EXPECT_LE(quotas.WaitNs(0, kStart), 3'600 * kSecond);
}

constexpr std::size_t kRoom = 1 << 20;
using Queue = FairQueue<int>;

TEST(FairQueue, OneFloodLeavesHalfOfTheRoom) {
  Queue queue(kRoom);
  std::size_t held = 0;
  for (int i = 0; i < 100'000; ++i) held += queue.Push(1, 100, i) ? 1U : 0U;
  const std::size_t most = kRoom / 2 / (100 + limits::kFairItemBytes);
  EXPECT_LE(held, most + 1);
  EXPECT_GE(held, most - 1);
  std::size_t slow = 0;
  for (int i = 0; i < 500; ++i) slow += queue.Push(2, 100, i) ? 1U : 0U;
  EXPECT_EQ(slow, 500U);
}

TEST(FairQueue, ANewSourceFindsRoomBehindManyFloods) {
  Queue queue(kRoom);
  for (int round = 0; round < 3'000; ++round) {
    for (std::uint32_t source = 0; source < 20; ++source) (void)queue.Push(source, 100, round);
  }
  EXPECT_LE(queue.bytes(), kRoom);
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(queue.Push(99, 100, i)) << i;
}

TEST(FairQueue, SourcesAreServedInTurnAndInOrder) {
  Queue queue(kRoom);
  for (int i = 0; i < 1'500; ++i) ASSERT_TRUE(queue.Push(1, 100, i));
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(queue.Push(2, 100, 10'000 + i));
  int next_flood = 0;
  int next_slow = 10'000;
  int seen = 0;
  for (; !queue.empty() && next_slow < 10'020; ++seen) {
    const int item = queue.Pop();
    EXPECT_EQ(item, item < 10'000 ? next_flood : next_slow);
    ++(item < 10'000 ? next_flood : next_slow);
  }
  EXPECT_LE(seen, 60);  // not behind the 1,500
}

TEST(FairQueue, TurnsAreCountedInOctetsNotInItems) {
  Queue queue(64 << 20);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(queue.Push(1, 60'000, 1));
  for (int i = 0; i < 20'000; ++i) ASSERT_TRUE(queue.Push(2, 40, 2));
  std::map<int, std::size_t> bytes;
  for (int i = 0; i < 10'000; ++i) {
    const int source = queue.Pop();
    bytes[source] += (source == 1 ? 60'000 : 40) + limits::kFairItemBytes;
  }
  EXPECT_LT(bytes[1], 2 * bytes[2]);
  EXPECT_LT(bytes[2], 2 * bytes[1]);
}

TEST(FairQueue, WhatWentInComesOutOnceAndTheRoomIsFreeAgain) {
  std::mt19937_64 random(11);
  Queue queue(kRoom);
  std::multimap<std::uint32_t, int> inside;
  int number = 0;
  for (int step = 0; step < 200'000; ++step) {
    if (random() % 2 == 0 && !queue.empty()) {
      const int item = queue.Pop();
      const auto at =
          std::find_if(inside.begin(), inside.end(), [&](const auto& entry) { return entry.second == item; });
      ASSERT_NE(at, inside.end());
      EXPECT_EQ(inside.lower_bound(at->first), at);  // the oldest of its source
      inside.erase(at);
    } else if (inside.size() < 300) {
      const auto source = static_cast<std::uint32_t>(random() % 9);
      if (queue.Push(source, random() % 3'000, number)) inside.emplace(source, number);
      ++number;
    }
  }
  while (!queue.empty()) (void)queue.Pop();
  EXPECT_EQ(queue.bytes(), 0U);
}

}  // namespace
}  // namespace stele::receive
