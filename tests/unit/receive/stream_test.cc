// Goal: a stream listener keeps its bounds and deadlines, loses nothing that arrived, and never speaks to a session
// that is gone. Method: real sockets on the loopback against the real listener and link; the clock stands still until
// the test moves it.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "tests/unit/receive/receive_fixture.h"

namespace stele::receive {
namespace {

constexpr std::int64_t kSecondMs = 1'000;

TEST(Stream, LinesAndCountedFramesArriveOverBothFamilies) {
  for (const bool ipv6 : {false, true}) {
    RigOptions options;
    options.ipv6 = ipv6;
    Rig rig(options);
    PlainClient client(rig);
    ASSERT_TRUE(client.Send("<13>first line\n" + Counted("<13>second") + Counted("<13>th\nird")));
    const auto records = rig.Records(3);
    ASSERT_EQ(records.size(), 3U);
    EXPECT_EQ(records[0].payload, "<13>first line");
    EXPECT_EQ(records[1].payload, "<13>second");
    EXPECT_EQ(records[2].payload, "<13>th\nird");
    EXPECT_EQ(records[0].source["peer"], ipv6 ? "::1" : "127.0.0.1");
    EXPECT_EQ(records[0].source["identity"], "");
  }
}

TEST(Stream, TheLastLineOfAPeerThatClosesInOrderIsWhole) {
  Rig rig;
  {
    PlainClient client(rig);
    ASSERT_TRUE(client.Send("<13>no line feed"));
  }
  const auto records = rig.Records(1);
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0].payload, "<13>no line feed");
  EXPECT_EQ(records[0].flags, 0);
  EXPECT_TRUE(rig.Eventually([&] { return rig.listener.connections == 0; }));
}

TEST(Stream, AConnectionThatSaysNothingIsClosedAfterAMinute) {
  Rig rig;
  PlainClient client(rig);
  ASSERT_TRUE(rig.Eventually([&] { return rig.listener.connections == 1; }));
  EXPECT_FALSE(rig.GoneWithin(limits::kFirstFrameMs - kSecondMs));
  EXPECT_TRUE(rig.GoneWithin(2 * kSecondMs));
  EXPECT_EQ(client.ReadToEnd(), "");
  EXPECT_EQ(rig.listener.refused, 1U);
}

TEST(Stream, OneThatHasSpokenMayBeSilentForever) {
  Rig rig;
  PlainClient client(rig);
  ASSERT_TRUE(client.Send("<13>hello\n"));
  ASSERT_EQ(rig.Records(1).size(), 1U);
  EXPECT_FALSE(rig.GoneWithin(3'600 * kSecondMs));
  ASSERT_TRUE(client.Send("<13>again\n"));
  EXPECT_EQ(rig.Records(2).size(), 2U);
}

TEST(Stream, HalfAFrameThatStallsIsKeptAsIncomplete) {
  Rig rig;
  PlainClient client(rig);
  ASSERT_TRUE(client.Send("<13>whole\n100 <13>half"));
  ASSERT_EQ(rig.Records(1).size(), 1U);
  EXPECT_FALSE(rig.GoneWithin(limits::kHalfFrameMs - kSecondMs));
  EXPECT_TRUE(rig.GoneWithin(2 * kSecondMs));
  const auto records = rig.Records(2);
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[1].payload, "<13>half");
  EXPECT_EQ(records[1].flags, record::kFlagIncomplete);
}

TEST(Stream, ASteadySenderWhoseReadsAlwaysEndInsideAMessageIsNotStalled) {
  Rig rig;
  PlainClient client(rig);
  ASSERT_TRUE(client.Send("<13>first ha"));
  for (std::size_t i = 1; i < 6; ++i) {
    ASSERT_TRUE(rig.Eventually([&] { return rig.listener.connections == 1; }));
    ASSERT_TRUE(client.Send("lf\n<13>another ha"));
    ASSERT_EQ(rig.Records(i).size(), i);
    EXPECT_FALSE(rig.GoneWithin(20 * kSecondMs)) << i;
  }
  EXPECT_TRUE(rig.GoneWithin(11 * kSecondMs));  // now it does stall
}

TEST(Stream, ConnectionsOfOneAddressAreBounded) {
  RigOptions options;
  options.connections_per_address_max = 3;
  Rig rig(options);
  std::vector<std::unique_ptr<PlainClient>> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(std::make_unique<PlainClient>(rig));
  ASSERT_TRUE(rig.Eventually([&] { return rig.listener.connections == 3; }));
  PlainClient fourth(rig);
  EXPECT_EQ(fourth.ReadToEnd(), "");
  EXPECT_EQ(rig.connections(), 3U);
  clients.pop_back();
  ASSERT_TRUE(rig.Eventually([&] { return rig.listener.connections == 2; }));
  PlainClient fifth(rig);
  EXPECT_TRUE(rig.Eventually([&] { return rig.listener.connections == 3; }));
}

TEST(Stream, ReadingStopsWhileTheLedgerIsBehindAndNothingIsLost) {
  Rig rig;
  rig.ledger->Hold(true);
  PlainClient client(rig);
  // More than the credits hold and the sockets buffer: the sender has to wait.
  constexpr std::size_t kMessages = 400;
  const std::string message = "<13>" + std::string(60'000, 'x') + "\n";
  std::atomic<bool> sent{false};
  std::thread sender([&] {
    for (std::size_t i = 0; i < kMessages; ++i) (void)client.Send(message);
    sent = true;
  });
  ASSERT_TRUE(rig.Eventually([&] { return rig.ledger->held() >= limits::kChannelCredits; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_FALSE(sent);
  EXPECT_EQ(rig.ledger->held(), limits::kChannelCredits);
  EXPECT_FALSE(rig.GoneWithin(120 * kSecondMs)) << "the silence is the receiver's own";
  rig.ledger->Hold(false);
  EXPECT_EQ(rig.Records(kMessages).size(), kMessages);
  sender.join();
}

TEST(Stream, StoppingKeepsWhatHasArrivedAndTheHalfOfAMessage) {
  Rig rig;
  PlainClient client(rig);
  ASSERT_TRUE(client.Send("<13>whole\n<13>ha"));
  ASSERT_EQ(rig.Records(1).size(), 1U);
  ASSERT_TRUE(client.Send("lf"));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  rig.Do([&] {
    rig.stream->Stop();
    return 0;
  });
  const auto records = rig.Records(2);
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[1].payload, "<13>half");
  EXPECT_EQ(records[1].flags, record::kFlagIncomplete);
  EXPECT_TRUE(rig.Do([&] { return rig.stream->idle(); }));
}

// A session that answers everything with a lot, and remembers what it was told.
struct Talker final : StreamSession {
  Talker(StreamPeer& its_peer, std::size_t answer_size) : peer(its_peer), answer(answer_size, 'a') {}
  void Take(ByteView bytes, std::int64_t) override {
    if (AsText(bytes).find("bye") != std::string_view::npos) done = true;
    peer.Send(AsBytes(answer));
  }
  void End(ingest::EndReason, std::int64_t) override { ended = true; }
  [[nodiscard]] bool inside_message() const override { return false; }
  [[nodiscard]] bool heard() const override { return true; }
  [[nodiscard]] bool closing() const override { return done || (ended && !waits); }
  StreamPeer& peer;
  std::string answer;
  bool done = false;
  bool ended = false;
  bool waits = false;
};

struct TalkerRig {
  explicit TalkerRig(std::size_t answer_size) {
    RigOptions options;
    options.way = Way::kOwn;
    options.own = [this, answer_size](StreamPeer& peer) -> std::unique_ptr<StreamSession> {
      auto made = std::make_unique<Talker>(peer, answer_size);
      last = made.get();
      last_id = peer.id;
      return made;
    };
    rig = std::make_unique<Rig>(options);
  }
  Talker* last = nullptr;
  std::uint64_t last_id = 0;
  std::unique_ptr<Rig> rig;
};

TEST(Stream, AnAnswerIsSentWholeBeforeTheConnectionCloses) {
  TalkerRig one(900'000);  // more than a socket buffer takes at once
  PlainClient client(*one.rig);
  ASSERT_TRUE(client.Send("bye"));
  EXPECT_EQ(client.ReadToEnd().size(), 900'000U);
  client.Close();
  EXPECT_TRUE(one.rig->Eventually([&] { return one.rig->listener.connections == 0; }));
}

TEST(Stream, APeerThatTakesNoAnswersIsNotReadAndThenClosed) {
  TalkerRig one(900'000);
  const int small = 4'096;
  PlainClient client(*one.rig);
  (void)::setsockopt(client.fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  for (int i = 0; i < 50; ++i) {
    if (!client.Send("more")) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  ASSERT_EQ(one.rig->connections(), 1U) << "an answer that fits the queue closes nobody";
  EXPECT_FALSE(one.rig->GoneWithin(limits::kStreamSendMs - kSecondMs));
  EXPECT_TRUE(one.rig->GoneWithin(2 * kSecondMs));
  EXPECT_EQ(one.rig->listener.refused, 1U);
}

TEST(Stream, MoreAnswersThanTheQueueHoldsCloseTheConnection) {
  TalkerRig one(limits::kStreamQueueBytes + 1);
  PlainClient client(*one.rig);
  ASSERT_TRUE(client.Send("x"));
  EXPECT_EQ(client.ReadToEnd(), "");
  EXPECT_TRUE(one.rig->Eventually([&] { return one.rig->listener.connections == 0; }));
}

TEST(Stream, AHalfClosedPeerStillGetsWhatIsOwedToIt) {
  TalkerRig one(10);
  PlainClient client(*one.rig);
  ASSERT_TRUE(client.Send("x"));
  ASSERT_TRUE(one.rig->Eventually([&] { return one.last != nullptr; }));
  one.rig->Do([&] { return one.last->waits = true; });
  client.EndSending();
  ASSERT_TRUE(one.rig->Eventually([&] { return one.last->ended; }));
  one.rig->Do([&] {
    auto* found = static_cast<Talker*>(one.rig->stream->Find(one.last_id));
    EXPECT_EQ(found, one.last);
    found->waits = false;
    found->peer.Send(AsBytes("at last"));
    return 0;
  });
  EXPECT_EQ(client.ReadToEnd(), "aaaaaaaaaaat last");
  EXPECT_TRUE(one.rig->Eventually([&] { return one.rig->listener.connections == 0; }));
}

TEST(Stream, AConnectionThatIsGoneIsNotFound) {
  TalkerRig one(10);
  {
    PlainClient client(*one.rig);
    ASSERT_TRUE(client.Send("x"));
    ASSERT_TRUE(one.rig->Eventually([&] { return one.last != nullptr; }));
  }
  ASSERT_TRUE(one.rig->Eventually([&] { return one.rig->listener.connections == 0; }));
  EXPECT_EQ(one.rig->Do([&] { return one.rig->stream->Find(one.last_id); }), nullptr);
  EXPECT_EQ(one.rig->Do([&] { return one.rig->stream->Find(12'345); }), nullptr);
}

}  // namespace
}  // namespace stele::receive
