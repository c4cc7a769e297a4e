// Goal: whoever changes rules is named at once, and one who does so in a loop costs few entries and no count. Method:
// looks at the rules, with the clock in hand.
#include "netfilter/guard/drift.h"

#include <gtest/gtest.h>

namespace stele::guard {
namespace {

using nlohmann::json;

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kStart = 1'000 * kSecond;

netfilter::RulesChange By(const std::string& program, std::uint32_t process) { return {7, process, program}; }
Look Changed(const std::string& what = "chain input: a rule is new") { return {{what}, {}, {By("nft", 4711)}}; }

TEST(DriftTracker, WhoAndWhatIsNamedAndThenItIsPutBack) {
  DriftTracker tracker(/*restore=*/true);
  const auto outcome = tracker.Observe(Changed(), kStart);
  ASSERT_EQ(outcome.alarms.size(), 1U);
  EXPECT_TRUE(outcome.restore);
  const json alarm = json::parse(outcome.alarms[0]);
  EXPECT_EQ(alarm["alarm"], "policy_drift");
  EXPECT_EQ(alarm["program"], "nft");
  EXPECT_EQ(alarm["process"], 4711);
  EXPECT_EQ(alarm["count"], 1);
  EXPECT_EQ(alarm["differences"], json({"chain input: a rule is new"}));
  EXPECT_EQ(tracker.Status()["state"], "found");
  const json restored = json::parse(tracker.Restored("", kStart));
  EXPECT_EQ(restored["alarm"], "policy_restored");
  EXPECT_EQ(tracker.Status()["state"], "none");
  EXPECT_EQ(tracker.Status()["restored"], 1);
}

TEST(DriftTracker, OurOwnChangesAreNone) {
  DriftTracker tracker(true);
  const auto outcome = tracker.Observe({{}, {}, {By("stele-guard", 1)}}, kStart);
  EXPECT_TRUE(outcome.alarms.empty());
  EXPECT_FALSE(outcome.restore);
}

TEST(DriftTracker, WithoutRestoringItIsSaidOnceAndAgainWhenItIsAnother) {
  DriftTracker tracker(/*restore=*/false);
  EXPECT_EQ(tracker.Observe(Changed(), kStart).alarms.size(), 1U);
  EXPECT_TRUE(tracker.Observe(Changed(), kStart + kSecond).alarms.empty());
  EXPECT_EQ(tracker.Observe(Changed("set zones4: x is new"), kStart + 2 * kSecond).alarms.size(), 1U);
  const auto back = tracker.Observe({{}, {}, {By("nft", 9)}}, kStart + 3 * kSecond);
  ASSERT_EQ(back.alarms.size(), 1U);
  EXPECT_EQ(json::parse(back.alarms[0])["alarm"], "policy_restored");
}

TEST(DriftTracker, ALoopOfChangesCostsFewEntriesAndNoCount) {
  DriftTracker tracker(true);
  std::uint64_t entries = 0;
  std::uint64_t counted = 0;
  const auto count = [&](const std::string& alarm) {
    if (alarm.empty()) return;
    ++entries;
    const json object = json::parse(alarm);
    if (object["alarm"] == "policy_drift") counted += object["count"].get<std::uint64_t>();
  };
  constexpr int kChanges = 18'000;  // five a second for an hour
  std::int64_t now = kStart;
  for (int i = 0; i < kChanges; ++i, now += kSecond / 5) {
    const auto outcome = tracker.Observe(Changed(), now);
    for (const std::string& alarm : outcome.alarms) count(alarm);
    EXPECT_TRUE(outcome.restore);
    count(tracker.Restored("", now));
    count(tracker.Tick(now));
  }
  for (int i = 0; i < 120; ++i, now += kSecond) count(tracker.Tick(now));
  EXPECT_LE(entries, 2U * (60 + limits::kDriftAlarms) + 2);
  EXPECT_EQ(counted, kChanges);
  EXPECT_EQ(tracker.Status()["found"], kChanges);
}

TEST(DriftTracker, RulesThatCannotBePutBackAreSaidToBeSo) {
  DriftTracker tracker(true);
  EXPECT_EQ(tracker.Observe(Changed(), kStart).alarms.size(), 1U);
  const json alarm = json::parse(tracker.Restored("Operation not permitted", kStart));
  EXPECT_EQ(alarm["alarm"], "policy_drift");
  EXPECT_NE(alarm["text"].get<std::string>().find("cannot be put back: Operation not permitted"), std::string::npos);
  EXPECT_EQ(tracker.Status()["state"], "found");
}

TEST(DriftTracker, AnotherTableIsNamedWhenItIsNew) {
  DriftTracker tracker(true);
  const auto first = tracker.Observe({{}, {"ip nat"}, {By("dockerd", 12)}}, kStart);
  ASSERT_EQ(first.alarms.size(), 1U);
  EXPECT_FALSE(first.restore) << "it is not ours";
  const json alarm = json::parse(first.alarms[0]);
  EXPECT_EQ(alarm["alarm"], "policy_drift");
  EXPECT_EQ(alarm["program"], "dockerd");
  EXPECT_EQ(alarm["differences"], json({"table ip nat is not Stele's"}));
  EXPECT_TRUE(tracker.Observe({{}, {"ip nat"}, {}}, kStart + kSecond).alarms.empty());
  EXPECT_EQ(tracker.Observe({{}, {"ip filter", "ip nat"}, {}}, kStart + 2 * kSecond).alarms.size(), 1U);
  EXPECT_EQ(tracker.Status()["foreign_tables"], json({"ip filter", "ip nat"}));
}

TEST(DriftTracker, NobodySeenIsSaidToBeNobody) {
  DriftTracker tracker(true);
  const auto outcome = tracker.Observe({{"x"}, {}, {netfilter::RulesChange{}}}, kStart);
  ASSERT_EQ(outcome.alarms.size(), 1U);
  EXPECT_NE(outcome.alarms[0].find("somebody who was not seen"), std::string::npos);
}

TEST(Pace, SomeAtOnceThenOneEachInterval) {
  Pace pace(3, 10);
  int taken = 0;
  for (std::int64_t now = 1'000; now < 1'005; ++now) taken += pace.Take(now) ? 1 : 0;
  EXPECT_EQ(taken, 3);
  EXPECT_TRUE(pace.Take(1'010));
  EXPECT_FALSE(pace.Take(1'011));
  EXPECT_TRUE(pace.Take(1'020));
}

}  // namespace
}  // namespace stele::guard
