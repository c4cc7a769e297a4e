// Goal: a seal is read as a seal only when it is whole. Method: golden bytes, every truncation to zeros, every single
// bit flipped.
#include "firmware/guard/seal_mark.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "tests/unit/golden.h"

namespace stele::guard {
namespace {

TEST(SealMark, HasTheBytesOfTheFormat) {
  const auto mark = EncodeSealMark(0x0102030405060708);
  const unsigned char expected[24] = {'S', 'T', 'L', 'S', 'E', 'A', 'L', '1', 1, 0, 0, 0,
                                      0,   0,   0,   0,   8,   7,   6,   5,   4, 3, 2, 1};
  EXPECT_EQ(std::memcmp(mark.data(), expected, sizeof expected), 0);
  EXPECT_TRUE(std::all_of(mark.begin() + 32, mark.end(), [](std::byte byte) { return byte == std::byte{0}; }));
  ExpectGolden("seal_mark.bin", ByteView(mark));
}

TEST(SealMark, LiesInTheLastWholeBlock) {
  EXPECT_EQ(SealMarkAt(4096), 0U);
  EXPECT_EQ(SealMarkAt(1 << 20), (1U << 20) - 4096);
  EXPECT_EQ(SealMarkAt((1 << 20) + 512), (1U << 20) - 4096);
  EXPECT_EQ(SealMarkAt((1 << 20) + 4095), (1U << 20) - 4096);
  EXPECT_FALSE(SealMarkAt(4095));
  EXPECT_FALSE(SealMarkAt(0));
}

TEST(SealMark, GivesBackWhatWasSealed) {
  for (const std::uint64_t used : {std::uint64_t{0}, std::uint64_t{4096}, ~std::uint64_t{0}})
    EXPECT_EQ(DecodeSealMark(EncodeSealMark(used)), used);
}

TEST(SealMark, AnEmptyPartitionIsNotSealed) { EXPECT_FALSE(DecodeSealMark(std::array<std::byte, kSealMarkBytes>{})); }

TEST(SealMark, ATornMarkIsNone) {
  const auto whole = EncodeSealMark(12288);
  for (std::size_t kept = 0; kept < 32; ++kept) {
    auto torn = whole;
    std::fill(torn.begin() + static_cast<std::ptrdiff_t>(kept), torn.end(), std::byte{0});
    EXPECT_EQ(DecodeSealMark(torn).has_value(), torn == whole) << kept;
  }
}

TEST(SealMark, OneChangedBitAnywhereIsNone) {
  const auto whole = EncodeSealMark(12288);
  for (std::size_t bit = 0; bit < 8 * kSealMarkBytes; bit += bit < 8 * 40 ? 1 : 97) {
    auto changed = whole;
    changed[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    EXPECT_FALSE(DecodeSealMark(changed)) << bit;
  }
}

}  // namespace
}  // namespace stele::guard
