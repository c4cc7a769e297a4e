// Goal: what is given to the link is in the log in the end, in order, one frame at a time, whatever becomes of the
// ledger. Method: the ledger's end of the channel is held by the test, which answers, refuses, goes away and comes
// back.
#include "appliance/daemons/alarm_link.h"

#include <gtest/gtest.h>

#include "appliance/base/limits.h"
#include "appliance/base/system.h"

namespace stele::watch {
namespace {

using channel::Type;

class TestClock final : public Clock {
 public:
  std::int64_t WallNs() override { return now_ns; }
  std::int64_t BoottimeNs() override { return now_ns; }
  std::int64_t now_ns = 1'700'000'000'000'000'000;
};

class AlarmLinkTest : public testing::Test {
 protected:
  void Connect() {
    auto ends = channel::MakePair();
    ASSERT_TRUE(ends);
    ledger = std::move(ends->second);
    link.Connect(std::move(ends->first));
    const auto hello = channel::Receive(ledger.get(), false);
    ASSERT_TRUE(hello);
    ASSERT_EQ(hello->type, Type::kHello);
  }
  // The records of the next frame, or none when there is no frame.
  std::vector<std::string> Taken() {
    std::vector<std::string> texts;
    const auto frame = channel::Receive(ledger.get(), false);
    if (!frame || frame->type != Type::kRecords) return texts;
    channel::RecordsFrame records;
    EXPECT_TRUE(channel::DecodeRecords(frame->body, records));
    frame_id = records.frame_id;
    for (const auto& record : records.records) {
      EXPECT_EQ(record.kind, record::Kind::kAlarm);
      texts.emplace_back(AsText(record.payload));
      possible_duplicate = (record.flags & record::kFlagPossibleDuplicate) != 0;
    }
    return texts;
  }
  void Answer(bool committed) {
    const auto sent = committed
                          ? channel::Send(ledger.get(), Type::kCommitted, channel::EncodeCommitted({frame_id, 7, 1}))
                          : channel::Send(ledger.get(), Type::kRefused, channel::EncodeRefused({frame_id, "full"}));
    ASSERT_TRUE(sent);
    link.HandleReadable();
  }

  TestClock clock;
  SystemEntropy entropy;
  int commits = 0;
  AlarmLink link{channel::Role::kWatch, clock, entropy, [this] { ++commits; }};
  UniqueFd ledger;
  std::uint64_t frame_id = 0;
  bool possible_duplicate = false;
};

using Texts = std::vector<std::string>;

TEST_F(AlarmLinkTest, WhatIsSentIsKeptUntilItIsCommitted) {
  Connect();
  link.Send({"a", "b"});
  EXPECT_FALSE(link.idle());
  EXPECT_EQ(Taken(), (Texts{"a", "b"}));
  EXPECT_FALSE(possible_duplicate);
  link.Tick();
  EXPECT_TRUE(Taken().empty()) << "nothing is sent twice on one channel";
  Answer(true);
  EXPECT_TRUE(link.idle());
  EXPECT_EQ(commits, 1);
}

TEST_F(AlarmLinkTest, WithoutALedgerItWaits) {
  link.Send({"a"});
  EXPECT_EQ(link.fd(), -1);
  Connect();
  EXPECT_EQ(Taken(), Texts{"a"});
  EXPECT_FALSE(possible_duplicate) << "nobody had it before";
}

TEST_F(AlarmLinkTest, ALedgerThatComesBackGetsItAgainAndIsTold) {
  Connect();
  link.Send({"a"});
  EXPECT_EQ(Taken(), Texts{"a"});
  ledger.reset();
  link.HandleReadable();
  EXPECT_EQ(link.fd(), -1);
  EXPECT_FALSE(link.idle());
  Connect();
  EXPECT_EQ(Taken(), Texts{"a"});
  EXPECT_TRUE(possible_duplicate);
  Answer(true);
  link.Send({"b"});
  EXPECT_EQ(Taken(), Texts{"b"});
  EXPECT_FALSE(possible_duplicate);
}

TEST_F(AlarmLinkTest, AFullStoreIsAskedAgainAfterAWhile) {
  Connect();
  link.Send({"a"});
  EXPECT_EQ(Taken(), Texts{"a"});
  Answer(false);
  link.Tick();
  EXPECT_TRUE(Taken().empty()) << "not at once";
  clock.now_ns += 1'000'000'000;
  link.Tick();
  EXPECT_EQ(Taken(), Texts{"a"});
  EXPECT_FALSE(possible_duplicate) << "what was refused is not there";
  Answer(true);
  EXPECT_EQ(commits, 1);
}

TEST_F(AlarmLinkTest, WhatDoesNotFitOneFrameGoesInSeveral) {
  Connect();
  const Texts texts(5, std::string(20'000, 'x'));
  link.Send(texts);
  std::size_t taken = 0;
  for (Texts part = Taken(); !part.empty(); part = Taken()) {
    taken += part.size();
    EXPECT_EQ(commits, 0);
    Answer(true);
  }
  EXPECT_EQ(taken, texts.size());
  EXPECT_EQ(commits, 1) << "when all of it is there";
}

TEST_F(AlarmLinkTest, AnAnswerToAnotherFrameIsNone) {
  Connect();
  link.Send({"a"});
  EXPECT_EQ(Taken(), Texts{"a"});
  ++frame_id;
  Answer(true);
  EXPECT_FALSE(link.idle());
  EXPECT_EQ(commits, 0);
}

}  // namespace
}  // namespace stele::watch
