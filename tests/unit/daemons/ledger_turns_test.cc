// Goal: a channel that floods delays the others by a frame each, however little room there is. Method: channels as
// counters.
#include "appliance/daemons/ledger_turns.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

namespace stele::ledger_daemon {
namespace {

constexpr auto kAlways = [] { return true; };

TEST(Turns, EachChannelGetsOneFrameInTurn) {
  Turns turns;
  std::map<std::uint64_t, int> frames{{1, 5}, {2, 1}, {3, 2}};
  std::vector<std::uint64_t> order;
  for (const auto& [channel, count] : frames) turns.Ready(channel);
  turns.Serve(100, kAlways, [&](std::uint64_t channel) {
    if (frames[channel] == 0) return false;
    --frames[channel];
    order.push_back(channel);
    return true;
  });
  EXPECT_EQ(order, (std::vector<std::uint64_t>{1, 2, 3, 1, 3, 1, 1, 1}));
}

TEST(Turns, AFloodThatTakesAllTheRoomOfEveryRoundStarvesNobody) {
  Turns turns;
  std::map<std::uint64_t, int> read;
  constexpr int kRounds = 100;
  for (int round = 0; round < kRounds; ++round) {
    for (const std::uint64_t channel : {1U, 2U, 3U})
      turns.Ready(channel);  // the kernel names them in the same order each time
    int room = 2;
    turns.Serve(
        64, [&] { return room > 0; },
        [&](std::uint64_t channel) {
          ++read[channel];
          --room;
          return true;
        });
  }
  for (const std::uint64_t channel : {1U, 2U, 3U}) EXPECT_GE(read[channel], kRounds * 2 / 3 - 1) << channel;
}

TEST(Turns, ARoundEndsThoughAChannelNeverDoes) {
  Turns turns;
  turns.Ready(1);
  turns.Ready(1);
  int read = 0;
  turns.Serve(64, kAlways, [&](std::uint64_t) { return ++read > 0; });
  EXPECT_EQ(read, 64);
  turns.Ready(2);
  std::vector<std::uint64_t> order;
  turns.Serve(2, kAlways, [&](std::uint64_t channel) {
    order.push_back(channel);
    return true;
  });
  EXPECT_EQ(order, (std::vector<std::uint64_t>{1, 2}));
}

}  // namespace
}  // namespace stele::ledger_daemon
