// Goal: a start of the machine seals what the log has left behind, whether or not a mark says so, and takes no damaged
// or foreign superblock for a reason. Method: the golden superblock, every bit of it flipped; sets of partitions with
// and without marks.
#include "firmware/guard/log_label.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "tests/unit/golden.h"

namespace stele::guard {
namespace {

using Superblock = std::array<std::byte, kLogLabelBytes>;

Superblock GoldenSuperblock() {
  Superblock block{};
  const Bytes golden = ReadGolden("superblock.bin");
  EXPECT_EQ(golden.size(), block.size());
  std::copy(golden.begin(), golden.end(), block.begin());
  return block;
}

TEST(LogLabel, IsReadFromASuperblockOfTheStore) {
  const Superblock block = GoldenSuperblock();
  const auto label = DecodeLogLabel(block);
  ASSERT_TRUE(label);
  EXPECT_EQ(label->unit, std::uint32_t{static_cast<std::uint8_t>(block[12])});
  EXPECT_EQ(std::memcmp(label->log_id.data(), block.data() + 24, label->log_id.size()), 0);
}

TEST(LogLabel, AnEmptyPartitionHasNone) { EXPECT_FALSE(DecodeLogLabel(Superblock{})); }

TEST(LogLabel, OneChangedBitAnywhereIsNone) {
  const Superblock whole = GoldenSuperblock();
  for (std::size_t bit = 0; bit < 8 * kLogLabelBytes; bit += bit < 8 * 64 ? 1 : 61) {
    Superblock changed = whole;
    changed[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    EXPECT_FALSE(DecodeLogLabel(changed)) << bit;
  }
}

LogContent Unit(std::uint32_t unit, bool bears_mark, int log = 1) {
  LogLabel label;
  label.log_id.fill(static_cast<std::byte>(log));
  label.unit = unit;
  return {bears_mark, label};
}
const LogContent kEmpty;

std::vector<bool> Sealed(const std::vector<LogContent>& partitions) { return WhichAreSealed(partitions); }
using Each = std::vector<bool>;

TEST(WhichAreSealed, AMarkSealsWhateverElseIsThere) {
  EXPECT_EQ(Sealed({}), Each{});
  EXPECT_EQ(Sealed({kEmpty, Unit(6, false), Unit(7, true)}), (Each{false, false, true}));
  EXPECT_EQ(Sealed({{true, std::nullopt}}), Each{true});
}

TEST(WhichAreSealed, WhatTheLogHasLeftBehindIsSealedWithoutAMark) {
  EXPECT_EQ(Sealed({Unit(2, false), Unit(0, false), kEmpty, Unit(1, true)}), (Each{false, true, false, true}));
}

TEST(WhichAreSealed, TheUnitBeforeTheLastIsTheLedgersToSeal) {
  EXPECT_EQ(Sealed({Unit(0, false), Unit(1, false)}), (Each{false, false}));
}

TEST(WhichAreSealed, AnotherLogsUnitsSayNothingAboutOurs) {
  EXPECT_EQ(Sealed({Unit(0, false), Unit(9, false, 2), Unit(~0U, true, 3)}), (Each{false, false, true}));
}

}  // namespace
}  // namespace stele::guard
