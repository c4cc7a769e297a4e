// Goal: nothing a flow should deliver is ever missing, however often process and receiver die; memory and alarms stay
// bounded. Method: a flow between a list that stands for the log and a receiver that the test breaks; a flow that is
// thrown away and made anew over the same cursor is a process that was killed.
#include "appliance/alerts/flow.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>

#include "appliance/base/system.h"

namespace stele::alerts {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

class TestClock final : public Clock {
 public:
  std::int64_t WallNs() override { return ns; }
  std::int64_t BoottimeNs() override { return ns; }
  std::int64_t ns = 1'800'000'000'000'000'000;
};

class FlowTest : public testing::Test {
 protected:
  static constexpr std::size_t kSlice = 3;  // rows of one answer

  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "stele-flow-XXXXXX").string();
    dir_ = ::mkdtemp(name.data());
    Restart();
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  void Restart() {
    flow_ = std::make_unique<Flow>(
        FlowSettings{"soc", "syslog-tls://siem", dir_ / "cursor", 10'000, 8'000}, clock_,
        [this](std::optional<std::uint64_t> from) { return Answer(from); },
        [this](std::span<const Alert> batch, const std::optional<std::string>&) { return Take(batch); },
        [this](const FlowAlarm& alarm) {
          raised_.push_back(alarm.name);
          if (alarm.name == "alerts_undelivered") Log(1);  // the alarm is an entry like others
        });
  }
  // `count` more entries, each an alarm.
  void Log(std::uint64_t count) { size_ += count; }

  Result<FeedSlice> Answer(std::optional<std::uint64_t> from) {
    if (query_away_) return Fail(Code::kUnavailable, "away");
    FeedSlice slice;
    slice.log_id = log_id_;
    slice.size = size_;
    slice.next = from.value_or(start_);
    for (; slice.next < size_ && slice.rows.size() < kSlice; ++slice.next) {
      Alert alert;
      alert.sequence = slice.next;
      if (slice.next % 2 == 0 || all_) slice.rows.push_back(std::move(alert));
    }
    return slice;
  }
  Arrival Take(std::span<const Alert> batch) {
    ++attempts_;
    largest_ = std::max(largest_, batch.size());
    const std::size_t count = broken_ ? std::min(takes_, batch.size()) : batch.size();
    for (const Alert& alert : batch.first(count)) arrived_.push_back(alert.sequence);
    if (count < batch.size() || broken_) return {count, Error{Code::kUnavailable, "refused", 0}};
    return {count, std::nullopt};
  }
  void Steps(int count) {
    for (int i = 0; i < count; ++i) {
      const milliseconds wait = flow_->Step();
      waits_.push_back(wait.count());
      clock_.ns += wait.count() * 1'000'000;
    }
  }
  [[nodiscard]] json Status() const { return json::parse(flow_->StatusJson()); }

  std::filesystem::path dir_;
  TestClock clock_;
  std::unique_ptr<Flow> flow_;
  std::string log_id_ = "aa";
  std::uint64_t size_ = 10;
  std::uint64_t start_ = 4;
  bool all_ = true;
  bool broken_ = false;
  bool query_away_ = false;
  std::size_t takes_ = 0;  // of a batch, before a broken receiver fails
  std::size_t largest_ = 0;
  int attempts_ = 0;
  std::vector<std::uint64_t> arrived_;
  std::vector<std::string> raised_;
  std::vector<std::int64_t> waits_;
};

using Sequences = std::vector<std::uint64_t>;

TEST_F(FlowTest, BeginsWhereTheFeedSaysAndDeliversEachEntryOnce) {
  Steps(5);
  EXPECT_EQ(arrived_, (Sequences{4, 5, 6, 7, 8, 9}));
  Log(2);
  Steps(2);
  EXPECT_EQ(arrived_.back(), 11U);
  EXPECT_EQ(arrived_.size(), 8U);
  EXPECT_EQ(Status()["state"], "delivered");
  EXPECT_EQ(Status()["last_seq"], 11);
  EXPECT_TRUE(raised_.empty());
}

TEST_F(FlowTest, GoesOnBehindWhatHadArrivedWhenItsProcessIsKilled) {
  for (int kill = 0; kill < 8; ++kill) {
    Steps(1);
    Restart();
    Log(1);
  }
  Steps(10);
  Sequences once = arrived_;
  once.erase(std::unique(once.begin(), once.end()), once.end());
  Sequences wanted;
  for (std::uint64_t s = start_; s < size_; ++s) wanted.push_back(s);
  EXPECT_EQ(once, wanted);
}

TEST_F(FlowTest, SendsABatchAgainWhenItIsKilledBetweenArrivalAndCursor) {
  Steps(1);
  const auto before = ReadFile(dir_ / "cursor", 1'000);
  Steps(1);
  ASSERT_EQ(arrived_, (Sequences{4, 5, 6, 7, 8, 9}));
  ASSERT_TRUE(before.has_value());
  ASSERT_TRUE(WriteFileDurably(dir_ / "cursor", *before, 0600).has_value());  // as if it had not been written
  Restart();
  Steps(2);
  EXPECT_EQ(arrived_, (Sequences{4, 5, 6, 7, 8, 9, 7, 8, 9}));
}

TEST_F(FlowTest, HoldsOneBatchHoweverMuchIsLoggedWhileTheReceiverIsAway) {
  broken_ = true;
  Steps(3);
  Log(100);
  Steps(3);
  EXPECT_TRUE(arrived_.empty());
  EXPECT_EQ(largest_, kSlice);
  broken_ = false;
  Steps(60);
  EXPECT_EQ(arrived_.size(), size_ - start_);
  EXPECT_TRUE(std::is_sorted(arrived_.begin(), arrived_.end()));
}

TEST_F(FlowTest, WhatArrivedOfABatchIsNotSentAgain) {
  broken_ = true;
  takes_ = 1;
  Steps(1);
  broken_ = false;
  Steps(4);
  EXPECT_EQ(arrived_, (Sequences{4, 5, 6, 7, 8, 9}));
}

TEST_F(FlowTest, TriesAgainLaterAndLaterButNotLaterThanConfigured) {
  broken_ = true;
  Steps(6);
  EXPECT_EQ(waits_, (std::vector<std::int64_t>{1'000, 2'000, 4'000, 8'000, 8'000, 8'000}));
  EXPECT_EQ(Status()["state"], "failing");
  EXPECT_EQ(Status()["text"], "refused");
}

TEST_F(FlowTest, AReceiverThatStaysAwayIsOneAlarmAlsoOverRestartsAndOneMoreWhenItIsBack) {
  broken_ = true;
  Steps(4);
  EXPECT_EQ(raised_, (std::vector<std::string>{}));
  Steps(20);
  EXPECT_EQ(raised_, (std::vector<std::string>{"alerts_undelivered"}));
  Restart();
  Steps(20);
  EXPECT_EQ(raised_.size(), 1U);
  broken_ = false;
  Steps(10);
  EXPECT_EQ(raised_, (std::vector<std::string>{"alerts_undelivered", "alerts_delivered"}));
  EXPECT_EQ(arrived_.back(), size_ - 1) << "the alarm about it too";
  Steps(10);
  EXPECT_EQ(raised_.size(), 2U);
}

TEST_F(FlowTest, AnAbsentQueryIsNoFaultOfTheReceiver) {
  query_away_ = true;
  Steps(100);
  EXPECT_TRUE(raised_.empty());
  EXPECT_EQ(Status()["state"], "waiting");
  query_away_ = false;
  Steps(3);
  EXPECT_EQ(arrived_.size(), 6U);
}

TEST_F(FlowTest, ALogThatIsShorterThanWhatWasDeliveredIsAnAlarm) {
  Steps(3);
  size_ = 6;
  Steps(1);
  EXPECT_EQ(raised_, (std::vector<std::string>{"alerts_cursor_ahead"}));
  Log(2);
  Steps(2);
  EXPECT_EQ(arrived_.back(), 7U) << "what is logged since then goes out";
  EXPECT_EQ(raised_.size(), 1U);
}

TEST_F(FlowTest, AnotherLogInTheSameDirectoryBeginsAnew) {
  Steps(3);
  arrived_.clear();
  log_id_ = "bb";
  size_ = 8;
  Steps(4);
  EXPECT_EQ(arrived_, (Sequences{4, 5, 6, 7}));
  EXPECT_TRUE(raised_.empty());
}

TEST_F(FlowTest, ADamagedCursorRepeatsRatherThanMissesAnything) {
  Steps(3);
  ASSERT_TRUE(WriteFileDurably(dir_ / "cursor", AsBytes("{\"next\":"), 0600).has_value());
  Restart();
  arrived_.clear();
  Steps(3);
  EXPECT_EQ(arrived_, (Sequences{4, 5, 6, 7, 8, 9}));
}

TEST(Cursor, IsReadBackAsItWasWrittenAndNothingElseIs) {
  const std::string text = FormatCursor({"aa", 12, true});
  EXPECT_EQ(text, "{\"alarmed\":true,\"log_id\":\"aa\",\"next\":12}\n");
  const auto cursor = ParseCursor(text);
  ASSERT_TRUE(cursor.has_value());
  EXPECT_EQ(cursor->next, 12U);
  EXPECT_TRUE(cursor->alarmed);
  for (std::size_t i = 0; i + 1 < text.size(); ++i) EXPECT_FALSE(ParseCursor(text.substr(0, i)).has_value());
  EXPECT_FALSE(ParseCursor(R"({"alarmed":true,"log_id":"aa","next":-1})").has_value());
}

}  // namespace
}  // namespace stele::alerts
