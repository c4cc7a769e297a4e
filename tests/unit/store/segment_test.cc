// Goal: a superblock has the bytes of docs/format.md for ever and nothing altered passes for it. Method: a golden file, every changed
// bit with and without a repaired checksum, the bounds of its tables.
#include "appliance/store/segment.h"

#include <gtest/gtest.h>

#include "appliance/base/limits.h"
#include "firmware/guard/log_label.h"
#include "tests/unit/golden.h"

namespace stele::store {
namespace {

using limits::kSectorBytes;

Hash Named(std::string_view name) { return Sha256Of(AsBytes(name)); }

ledger::MacChain TestMac() {
  ledger::MacChain mac(Named("session"), Named("key"));
  EXPECT_TRUE(mac.AdvanceTo(9));
  return mac;
}

Superblock Sample() {
  Superblock s;
  s.unit = 7;
  s.size_bytes = 256 * limits::kMiB;
  s.log_id = Named("log");
  s.first_sequence = 0x1300;
  s.head = Named("head");
  s.created_wall_ns = 1'700'000'000'123'456'789;
  s.landmarks = {4000, 3900, 3800, 3801, 42};
  for (const unsigned level : ledger::SubtreeLevels(0, s.first_sequence)) s.frontier.push_back(Named(std::to_string(level)));
  s.abandons = {{6, 4096, 1'048'576}, {5, 0, 1'048'576}};
  return s;
}

TEST(Superblock, GoldenBytes) { ExpectGolden("superblock.bin", EncodeSuperblock(Sample(), TestMac())); }

TEST(Superblock, DecodesToWhatWasEncoded) {
  const Bytes sector = EncodeSuperblock(Sample(), TestMac());
  ASSERT_EQ(sector.size(), kSectorBytes);
  const auto s = DecodeSuperblock(sector);
  ASSERT_TRUE(s);
  EXPECT_EQ(s->unit, 7U);
  EXPECT_EQ(s->size_bytes, 256 * limits::kMiB);
  EXPECT_EQ(s->log_id, Named("log"));
  EXPECT_EQ(s->first_sequence, 0x1300U);
  EXPECT_EQ(s->head, Named("head"));
  EXPECT_EQ(s->landmarks, Sample().landmarks);
  EXPECT_EQ(s->frontier, Sample().frontier);
  EXPECT_EQ(s->abandons, Sample().abandons);
  EXPECT_EQ(s->session, Named("session"));
  EXPECT_EQ(s->session_block, 9U);
  EXPECT_EQ(s->mac, TestMac().Mac(ledger::kSuperblockMacLabel, SuperblockMacDigest(sector)));
}

TEST(Superblock, AStartOfTheMachineReadsTheSameUnitAndLog) {
  const Bytes sector = EncodeSuperblock(Sample(), TestMac());
  const auto label = guard::DecodeLogLabel(ByteView(sector).first<guard::kLogLabelBytes>());
  ASSERT_TRUE(label);
  EXPECT_EQ(label->unit, 7U);
  EXPECT_EQ(label->log_id, Named("log"));
}

TEST(Superblock, EveryChangedBitAndEveryTruncationIsRefused) {
  Bytes sector = EncodeSuperblock(Sample(), TestMac());
  for (std::size_t bit = 0; bit < kSectorBytes * 8; ++bit) {
    sector[bit / 8] ^= std::byte{1} << (bit % 8);
    ASSERT_FALSE(DecodeSuperblock(sector)) << "byte " << bit / 8;
    sector[bit / 8] ^= std::byte{1} << (bit % 8);
  }
  for (std::size_t size = 0; size < kSectorBytes; ++size) ASSERT_FALSE(DecodeSuperblock(ByteView(sector).first(size))) << size;
}

TEST(Superblock, AChangedBitUnderARepairedChecksumFailsTheMac) {
  const Bytes sector = EncodeSuperblock(Sample(), TestMac());
  const Hash digest = SuperblockMacDigest(sector);
  int decoded = 0;
  for (std::size_t bit = 0; bit < (kSectorBytes - 36) * 8; ++bit) {
    Bytes changed = sector;
    changed[bit / 8] ^= std::byte{1} << (bit % 8);
    StoreLittle(changed.data() + kSectorBytes - 4, Checksum32(ByteView(changed).first(kSectorBytes - 4)));
    if (!DecodeSuperblock(changed)) continue;
    ++decoded;
    ASSERT_NE(SuperblockMacDigest(changed), digest) << "byte " << bit / 8;
  }
  EXPECT_GT(decoded, 1000);
}

TEST(Superblock, AnEmptySectorIsNone) {
  const auto none = DecodeSuperblock(Bytes(kSectorBytes));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Code::kNotFound);
}

TEST(Superblock, FullTablesFit) {
  Superblock s = Sample();
  s.frontier.assign(64, Named("x"));
  s.abandons.assign(64, {1, 2, 3});
  const auto decoded = DecodeSuperblock(EncodeSuperblock(s, TestMac()));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->frontier.size(), 64U);
  EXPECT_EQ(decoded->abandons.size(), 64U);
}

}  // namespace
}  // namespace stele::store
