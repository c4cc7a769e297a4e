// Goal: one of the two slots is always whole, and what it says is what was stored.
// Method: golden bytes, every truncation and flipped byte, torn and lost writes.
#include "appliance/anchor/slots.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "appliance/base/hash.h"
#include "tests/sim/sim_slot.h"

namespace stele::anchor {
namespace {

const Hash kKey = Sha256Of(AsBytes("slot key"));

SlotState Example(std::uint64_t size) {
  SlotState state;
  state.log_id = Sha256Of(AsBytes("log"));
  state.size = size;
  state.root = Sha256Of(AsBytes("root"));
  state.frontier = {Sha256Of(AsBytes("f1")), Sha256Of(AsBytes("f2"))};
  state.number = 5;
  state.anchor = 2;
  state.index = Sha256Of(AsBytes("X"));
  state.counter = 9;
  state.pcr = Sha256Of(AsBytes("P"));
  state.reset_count = 3;
  state.restart_count = 1;
  state.clock_ms = 123456;
  state.wall_ns = -1;
  return state;
}

TEST(Slot, RoundTripsAndKeepsItsBytes) {
  SlotState state = Example(77);
  state.generation = 4;
  const Bytes bytes = EncodeSlot(state, kKey);
  const auto back = DecodeSlot(bytes, kKey);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(EncodeSlot(*back, kKey), bytes);
  EXPECT_EQ(back->size, 77U);
  EXPECT_EQ(back->frontier, state.frontier);
  EXPECT_EQ(back->wall_ns, -1);
  // DO NOT CHANGE: on disk.
  EXPECT_EQ(bytes.size(), 297U);
  EXPECT_EQ(HexOf(Sha256Of(bytes)), "915916f3ab8d26faf9b5664aabe48fdea10c7320bf93867882b639efbc1c696c");
}

TEST(Slot, EveryTruncationFlippedByteAndForeignKeyIsRefused) {
  const Bytes good = EncodeSlot(Example(77), kKey);
  for (std::size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(DecodeSlot(ByteView(good).first(length), kKey).has_value());
  }
  for (std::size_t i = 0; i < good.size(); ++i) {
    Bytes bad = good;
    bad[i] ^= std::byte{0x10};
    EXPECT_FALSE(DecodeSlot(bad, kKey).has_value()) << i;
  }
  EXPECT_FALSE(DecodeSlot(good, Sha256Of(AsBytes("another key"))).has_value());
}

TEST(SlotPair, WritesInTurnAndReadsTheNewer) {
  sim::SimSlot a;
  sim::SimSlot b;
  SlotPair pair(a, b, kKey);
  EXPECT_FALSE(pair.Load().newest.has_value());
  for (std::uint64_t size = 1; size <= 5; ++size) {
    ASSERT_TRUE(pair.Store(Example(size)).has_value());
    SlotPair fresh(a, b, kKey);
    const auto loaded = fresh.Load();
    ASSERT_TRUE(loaded.newest.has_value());
    EXPECT_EQ(loaded.newest->size, size);
    EXPECT_EQ(loaded.newest->generation, size);
    EXPECT_EQ(loaded.unreadable, 0);
  }
}

TEST(SlotPair, ATornWriteFallsBackToTheOther) {
  for (const sim::SlotFault fault : {sim::SlotFault::kTorn, sim::SlotFault::kLost, sim::SlotFault::kWrittenReported}) {
    sim::SimSlot a;
    sim::SimSlot b;
    SlotPair pair(a, b, kKey);
    (void)pair.Load();
    ASSERT_TRUE(pair.Store(Example(1)).has_value());
    ASSERT_TRUE(pair.Store(Example(2)).has_value());
    a.FailNext(fault);
    EXPECT_FALSE(pair.Store(Example(3)).has_value());
    SlotPair fresh(a, b, kKey);
    const auto loaded = fresh.Load();
    ASSERT_TRUE(loaded.newest.has_value());
    EXPECT_EQ(loaded.newest->size, fault == sim::SlotFault::kWrittenReported ? 3U : 2U);
    EXPECT_EQ(loaded.unreadable, fault == sim::SlotFault::kTorn ? 1 : 0);
    // The next store goes to the damaged slot, not to the only whole one.
    ASSERT_TRUE(pair.Store(Example(4)).has_value());
    EXPECT_EQ(DecodeSlot(*b.bytes(), kKey)->size, 2U);
    ASSERT_TRUE(fresh.Store(Example(5)).has_value());
    EXPECT_EQ(SlotPair(a, b, kKey).Load().newest->size, 5U);
  }
}

TEST(FileSlot, KeepsItsFileWholeAndPrivate) {
  char directory[] = "/tmp/stele-slot-XXXXXX";
  ASSERT_NE(::mkdtemp(directory), nullptr);
  const std::filesystem::path path = std::filesystem::path(directory) / "slot";
  FileSlot slot(path);
  const auto absent = slot.Load();
  ASSERT_FALSE(absent.has_value());
  EXPECT_EQ(absent.error().code, Code::kNotFound);
  ASSERT_TRUE(slot.Store(AsBytes("one")).has_value());
  ASSERT_TRUE(slot.Store(AsBytes("two")).has_value());
  EXPECT_EQ(AsText(*slot.Load()), "two");
  EXPECT_EQ(std::filesystem::status(path).permissions() & std::filesystem::perms::mask, std::filesystem::perms(0600));
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace stele::anchor
