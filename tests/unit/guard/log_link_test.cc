// Goal: an entry counts as written when the ledger says so, and never before; what must be written is, over a new
// channel and after a refusal. Method: the other end of the channel in the test's hand.
#include "netfilter/guard/log_link.h"

#include <gtest/gtest.h>

#include "appliance/base/system.h"
#include "appliance/channel/append_messages.h"

namespace stele::guard {
namespace {

using channel::Type;
using record::Kind;
using Care = LogLink::Care;

class Hand final : public Clock {
 public:
  std::int64_t WallNs() override { return now; }
  std::int64_t BoottimeNs() override { return now; }
  std::int64_t now = 1'000'000'000;
};

class LogLinkTest : public ::testing::Test {
 protected:
  void Connect() {
    auto ends = channel::MakePair();
    ASSERT_TRUE(ends);
    ledger_ = std::move(ends->first);
    link_.Use(std::move(ends->second));
    ASSERT_EQ(Next(), Type::kHello);
  }
  // The type of the next frame; kStop: none.
  Type Next() {
    auto frame = channel::Receive(ledger_.get(), /*wait=*/false);
    if (!frame) return Type::kStop;
    body_ = std::move(frame->body);
    return frame->type;
  }
  std::uint64_t FrameId() { return LoadLittle<std::uint64_t>(body_.data()); }
  void Commits(std::uint64_t id, std::uint64_t sequence) {
    ASSERT_TRUE(channel::Send(ledger_.get(), Type::kCommitted, channel::EncodeCommitted({id, sequence, 1})));
  }

  Hand clock_;
  SystemEntropy entropy_;
  LogLink link_{clock_, entropy_};
  UniqueFd ledger_;
  Bytes body_;
};

TEST_F(LogLinkTest, AnEntryIsWrittenWhenTheLedgerSaysSo) {
  Connect();
  const auto id = link_.Append(Kind::kPolicy, "{}", Care::kOnce);
  EXPECT_TRUE(link_.Pump().empty());
  ASSERT_EQ(Next(), Type::kRecords);
  EXPECT_EQ(FrameId(), id);
  Commits(id, 77);
  const auto outcomes = link_.Pump();
  ASSERT_EQ(outcomes.size(), 1U);
  EXPECT_TRUE(outcomes[0].written);
  EXPECT_EQ(outcomes[0].sequence, 77U);
}

TEST_F(LogLinkTest, ALongEntryGoesInParts) {
  Connect();
  const auto id = link_.Append(Kind::kPolicy, std::string(700'000, 'x'), Care::kOnce);
  std::size_t parts = 0;
  std::size_t octets = 0;
  for (int round = 0; round < 100 && octets < 700'000; ++round) {
    EXPECT_TRUE(link_.Pump().empty());
    while (Next() == Type::kLargeRecord) {
      const auto part = channel::DecodeLargePart(body_);
      ASSERT_TRUE(part);
      EXPECT_EQ(part->frame_id, id);
      EXPECT_EQ(part->offset, octets);
      octets += part->header.payload.size();
      ++parts;
    }
  }
  EXPECT_EQ(octets, 700'000U);
  EXPECT_GT(parts, 10U);
  EXPECT_FALSE(link_.wants_to_send());
}

TEST_F(LogLinkTest, ARefusalIsSaidToWhoeverCaresOnce) {
  Connect();
  const auto id = link_.Append(Kind::kPolicy, "{}", Care::kOnce);
  (void)link_.Pump();
  ASSERT_TRUE(channel::Send(ledger_.get(), Type::kRefused, channel::EncodeRefused({id, "the store is full"})));
  const auto outcomes = link_.Pump();
  ASSERT_EQ(outcomes.size(), 1U);
  EXPECT_FALSE(outcomes[0].written);
  EXPECT_FALSE(outcomes[0].unknown);
  EXPECT_EQ(outcomes[0].reason, "the store is full");
}

TEST_F(LogLinkTest, WithoutALedgerNothingIsWrittenOnce) {
  (void)link_.Append(Kind::kPolicy, "{}", Care::kOnce);
  const auto outcomes = link_.Pump();
  ASSERT_EQ(outcomes.size(), 1U);
  EXPECT_FALSE(outcomes[0].written || outcomes[0].unknown);
}

TEST_F(LogLinkTest, ADeadLedgerLeavesItUnknownAndGetsTheRestAgain) {
  Connect();
  const auto once = link_.Append(Kind::kPolicy, "{}", Care::kOnce);
  const auto kept = link_.Append(Kind::kAlarm, R"({"alarm":"policy_drift"})", Care::kUntilWritten);
  EXPECT_TRUE(link_.Pump().empty());
  ledger_.reset();
  const auto outcomes = link_.Pump();
  ASSERT_EQ(outcomes.size(), 1U);
  EXPECT_EQ(outcomes[0].id, once);
  EXPECT_TRUE(outcomes[0].unknown);
  Connect();
  EXPECT_TRUE(link_.Pump().empty());
  ASSERT_EQ(Next(), Type::kRecords);
  EXPECT_EQ(FrameId(), kept);
  channel::RecordsFrame frame;
  ASSERT_TRUE(channel::DecodeRecords(body_, frame));
  EXPECT_EQ(frame.records.at(0).flags, record::kFlagPossibleDuplicate);
  EXPECT_EQ(Next(), Type::kStop);
  Commits(kept, 5);
  EXPECT_EQ(link_.Pump().size(), 1U);
}

TEST_F(LogLinkTest, WhatMustBeWrittenIsGivenAgainAfterARefusal) {
  Connect();
  const auto id = link_.Append(Kind::kAlarm, "{}", Care::kUntilWritten);
  (void)link_.Pump();
  ASSERT_EQ(Next(), Type::kRecords);
  ASSERT_TRUE(channel::Send(ledger_.get(), Type::kRefused, channel::EncodeRefused({id, "the store is full"})));
  EXPECT_TRUE(link_.Pump().empty());
  EXPECT_EQ(Next(), Type::kStop);
  clock_.now += 2'000'000'000;
  EXPECT_TRUE(link_.Pump().empty());
  ASSERT_EQ(Next(), Type::kRecords);
  EXPECT_EQ(FrameId(), id);
}

TEST_F(LogLinkTest, AlarmsWithoutALedgerAreBoundedAndThoseLostAreCounted) {
  for (std::size_t i = 0; i < limits::kGuardEntries + 10; ++i)
    (void)link_.Append(Kind::kAlarm, "{}", Care::kUntilWritten);
  EXPECT_EQ(link_.lost(), 10U);
}

}  // namespace
}  // namespace stele::guard
