// Goal: a block has the bytes of docs/format.md for ever; nothing altered, cut or put elsewhere passes for it.
// Method: golden files, every truncation, every changed bit of the first sector with and without a repaired checksum, every sector.
#include "appliance/ledger/block.h"

#include <gtest/gtest.h>

#include "appliance/base/limits.h"
#include "appliance/ledger/block_fields.h"
#include "tests/unit/golden.h"
#include "tests/unit/ledger/reference.h"

namespace stele::ledger {
namespace {

using limits::kSectorBytes;

Hash Named(std::string_view name) { return Sha256Of(AsBytes(name)); }
MacChain TestMac() {
  MacChain mac(Named("session"), Named("key"));
  EXPECT_TRUE(mac.AdvanceTo(5));
  return mac;
}
BlockPlace TestPlace() {
  BlockPlace place;
  place.unit = 3;
  place.offset_bytes = 40'960;
  place.commit_wall_ns = 1'700'000'000'123'456'789;
  place.landmarks = {1000, 900, 800, 801, 42};
  place.abandons = {{2, 4096, 8192}, {3, 36'864, 40'960}};
  return place;
}

// A second batch, so that frontier and heads are not those of an empty log; 300 records complete a tile.
SequencedBatch TestBatch(std::size_t count = 300, std::size_t payload_bytes_max = 40) {
  std::mt19937_64 random(7);
  Sequencer sequencer(Named("log"));
  (void)sequencer.Sequence(RandomBatch(random, 100, 10));
  return sequencer.Sequence(RandomBatch(random, count, payload_bytes_max));
}

Bytes Encoded(const SequencedBatch& batch, Codec codec) {
  BlockEncoder encoder;
  MacChain mac = TestMac();
  return ToBytes(encoder.Encode(batch, TestPlace(), codec, mac));
}

void RepairChecksum(Bytes& block) {
  std::fill_n(block.begin() + fields::kSector0Checksum, 4, std::byte{0});
  StoreLittle(block.data() + fields::kSector0Checksum, Checksum32(ByteView(block).first(kSectorBytes)));
}

void ExpectDecodesTo(const Bytes& bytes, const SequencedBatch& wanted) {
  const auto block = DecodeBlock(bytes);
  ASSERT_TRUE(block) << block.error().context;
  EXPECT_EQ(block->payloads, wanted.batch.payloads);
  EXPECT_EQ(block->header.head, wanted.head);
  EXPECT_EQ(block->tables.frontier, wanted.frontier);
  EXPECT_EQ(block->tables.tile_roots, wanted.tile_roots);
  const auto entries = block->Entries();
  ASSERT_EQ(entries.size(), wanted.leaves.size());
  for (std::size_t i = 0; i < entries.size(); ++i) ASSERT_EQ(LeafHash(entries[i]), wanted.leaves[i]) << i;
  EXPECT_EQ(TestMac().Mac(kBlockMacLabel, BlockMacDigest(block->header, bytes)), block->header.mac);
}

TEST(Block, GoldenBytes) {
  const Bytes block = Encoded(TestBatch(), Codec::kNone);
  ExpectGolden("block.bin", block);
  ExpectDecodesTo(block, TestBatch());
}

// Another version of the libraries may compress to other bytes; what was once written must be readable for ever.
TEST(Block, CompressedGoldenBlocksDecode) {
  const std::pair<Codec, const char*> files[] = {{Codec::kLz4, "block_lz4.bin"}, {Codec::kZstd, "block_zstd.bin"}};
  for (const auto& file : files) {
    WriteGoldenIfAsked(file.second, Encoded(TestBatch(), file.first));
    const Bytes golden = ReadGolden(file.second);
    ASSERT_NO_FATAL_FAILURE(ExpectDecodesTo(golden, TestBatch())) << file.second;
    EXPECT_EQ(DecodeBlockHeader(golden)->codec, file.first);
  }
}

TEST(Block, TheSealOfAUnitHasGoldenBytes) {
  const SequencedBatch batch = TestBatch();
  BlockEncoder encoder;
  MacChain mac = TestMac();
  const Bytes seal = ToBytes(encoder.EncodeSeal(400, batch.head, batch.frontier, TestPlace(), mac));
  ExpectGolden("seal.bin", seal);
  EXPECT_EQ(seal.size(), kSectorBytes);
  EXPECT_EQ(mac.number(), 6U);
  const auto header = DecodeBlockHeader(seal);
  ASSERT_TRUE(header);
  EXPECT_EQ(header->type, BlockType::kSeal);
  EXPECT_EQ(header->end_sequence(), 400U);
  EXPECT_EQ(DecodeBlockTables(*header, seal)->frontier, batch.frontier);
  EXPECT_FALSE(DecodeBlock(seal).has_value() && DecodeBlock(seal)->header.record_count > 0);
}

TEST(Block, HeaderFieldsAreThoseOfThePlaceAndTheBatch) {
  const SequencedBatch batch = TestBatch();
  const Bytes bytes = Encoded(batch, Codec::kZstd);
  const auto h = DecodeBlockHeader(bytes);
  ASSERT_TRUE(h);
  EXPECT_EQ(h->unit, 3U);
  EXPECT_EQ(h->offset_bytes, 40'960U);
  EXPECT_EQ(h->session, Named("session"));
  EXPECT_EQ(h->session_block, 5U);
  EXPECT_EQ(h->first_sequence, 100U);
  EXPECT_EQ(h->record_count, 300U);
  EXPECT_EQ(h->size_bytes, bytes.size());
  EXPECT_EQ(h->payload_bytes, batch.batch.payloads.size());
  EXPECT_EQ(h->previous_head, batch.previous_head);
  EXPECT_EQ(h->landmarks, TestPlace().landmarks);
  EXPECT_EQ(h->wall_ns_min, *std::min_element(batch.batch.wall_ns.begin(), batch.batch.wall_ns.end()));
  EXPECT_EQ(h->wall_ns_max, *std::max_element(batch.batch.wall_ns.begin(), batch.batch.wall_ns.end()));
  EXPECT_EQ(h->source_entries, static_cast<std::size_t>(std::count(batch.batch.kinds.begin(), batch.batch.kinds.end(),
                                                                    static_cast<std::uint8_t>(record::Kind::kSource))));
  EXPECT_EQ(DecodeBlockTables(*h, bytes)->abandons, TestPlace().abandons);
}

TEST(Block, EveryTruncationIsRefused) {
  const Bytes block = Encoded(TestBatch(60, 200), Codec::kZstd);
  ASSERT_GT(block.size(), kSectorBytes);
  for (std::size_t size = 0; size < block.size(); ++size) {
    const auto decoded = DecodeBlock(ByteView(block).first(size));
    ASSERT_FALSE(decoded) << size;
    ASSERT_EQ(decoded.error().code, Code::kCorrupt) << size;
  }
}

TEST(Block, EveryChangedBitOfTheFirstSectorIsRefused) {
  Bytes block = Encoded(TestBatch(), Codec::kZstd);
  for (std::size_t bit = 0; bit < kSectorBytes * 8; ++bit) {
    block[bit / 8] ^= std::byte{1} << (bit % 8);
    const auto header = DecodeBlockHeader(block);
    ASSERT_FALSE(header) << "byte " << bit / 8;
    ASSERT_EQ(header.error().code, Code::kCorrupt);
    block[bit / 8] ^= std::byte{1} << (bit % 8);
  }
}

// Who can repair the checksum still has no key: whatever decodes has another MAC digest.
TEST(Block, AChangedBitUnderARepairedChecksumFailsTheMac) {
  const Bytes block = Encoded(TestBatch(), Codec::kZstd);
  const auto original = DecodeBlockHeader(block);
  ASSERT_TRUE(original);
  const Hash digest = BlockMacDigest(*original, block);
  const std::size_t covered = std::min<std::size_t>(original->header_bytes, kSectorBytes);
  std::size_t decoded = 0;
  for (std::size_t bit = 0; bit < covered * 8; ++bit) {
    if (bit / 8 >= fields::kMac && bit / 8 < fields::kFixedBytes) continue;
    Bytes changed = block;
    changed[bit / 8] ^= std::byte{1} << (bit % 8);
    RepairChecksum(changed);
    const auto header = DecodeBlockHeader(changed);
    if (!header) continue;
    ++decoded;
    if (header->header_bytes <= changed.size()) {
      ASSERT_NE(BlockMacDigest(*header, changed), digest) << "byte " << bit / 8;
    }
    if (header->size_bytes > changed.size()) continue;
    (void)DecodeBlock(changed);  // total: refused or decoded, nothing else
    (void)DecodeBlock(changed, true);
  }
  EXPECT_GT(decoded, covered);
}

TEST(Block, TheMacIsTheKeysAndTheNumbers) {
  const Bytes block = Encoded(TestBatch(), Codec::kZstd);
  const auto header = DecodeBlockHeader(block);
  const Hash digest = BlockMacDigest(*header, block);
  EXPECT_EQ(TestMac().Mac(kBlockMacLabel, digest), header->mac);
  EXPECT_NE(TestMac().Mac(kSuperblockMacLabel, digest), header->mac);
  MacChain other_key(Named("session"), Named("another key"));
  ASSERT_TRUE(other_key.AdvanceTo(5));
  EXPECT_NE(other_key.Mac(kBlockMacLabel, digest), header->mac);
  MacChain later = TestMac();
  later.Advance();
  EXPECT_NE(later.Mac(kBlockMacLabel, digest), header->mac);
  const auto back = later.AdvanceTo(5);
  ASSERT_FALSE(back);
  EXPECT_EQ(back.error().code, Code::kInvalid);
}

TEST(Block, TheRatchetIsTheOneOfTheFormat) {
  Hash key = Named("key");
  for (int i = 0; i < 5; ++i) key = HmacSha256(key, {AsBytes("stele/ratchet/v1")});
  EXPECT_EQ(TestMac().Mac("label", Named("digest")), HmacSha256(key, {AsBytes("label"), Named("digest")}));
}

TEST(Block, EveryDamagedSectorIsNamed) {
  Bytes block = Encoded(TestBatch(300, 400), Codec::kNone);
  const auto header = DecodeBlockHeader(block);
  const auto tables = DecodeBlockTables(*header, block);
  ASSERT_TRUE(tables);
  ASSERT_GT(block.size() / kSectorBytes, 10U);
  EXPECT_TRUE(DamagedSectors(*header, *tables, block).empty());
  std::mt19937_64 random(9);
  for (std::size_t sector = 1; sector < block.size() / kSectorBytes; ++sector) {
    const std::size_t at = sector * kSectorBytes + random() % kSectorBytes;
    block[at] ^= std::byte{0x10};
    EXPECT_EQ(DamagedSectors(*header, *tables, block), std::vector<std::uint32_t>{static_cast<std::uint32_t>(sector)});
    block[at] ^= std::byte{0x10};
  }
}

// Every byte behind the first sector is covered by a hash, a checksum or must be zero: flip each, look at all three.
TEST(Block, NoChangedByteGoesUnseen) {
  const Bytes block = Encoded(TestBatch(40, 300), Codec::kZstd);
  const auto header = DecodeBlockHeader(block);
  const auto tables = DecodeBlockTables(*header, block);
  std::mt19937_64 random(10);
  for (std::size_t at = kSectorBytes; at < block.size(); ++at) {
    Bytes changed = block;
    changed[at] ^= static_cast<std::byte>(1 + random() % 255);
    ASSERT_FALSE(DamagedSectors(*header, *tables, changed).empty()) << at;
    (void)DecodeBlock(changed);
    (void)DecodeBlock(changed, true);
  }
}

TEST(Block, AnEmptySectorIsNoBlock) {
  const Bytes zeros(kSectorBytes);
  const auto header = DecodeBlockHeader(zeros);
  ASSERT_FALSE(header);
  EXPECT_EQ(header.error().code, Code::kNotFound);
}

TEST(Block, ARecordLargerThanAFrameHasAFrameOfItsOwn) {
  std::mt19937_64 random(11);
  Batch batch = RandomBatch(random, 3, 100);
  const Bytes large(300'000, std::byte{'x'});
  const record::Peer nobody{};
  record::SaltKey key{};
  batch.Add(record::Kind::kSyslog, 0, 1, 5, nobody, record::CommitPayload(record::DeriveSalt(key, 0), nobody, large), large);
  batch.salt_runs.push_back({3, 1, 0, key});
  Sequencer sequencer(Named("log"));
  const SequencedBatch sequenced = sequencer.Sequence(batch);
  const Bytes bytes = Encoded(sequenced, Codec::kZstd);
  const auto block = DecodeBlock(bytes);
  ASSERT_TRUE(block);
  ASSERT_EQ(block->tables.frames.size(), 2U);
  EXPECT_EQ(block->tables.frames[1].record_count, 1U);
  EXPECT_EQ(block->tables.frames[1].raw_bytes, large.size());
  EXPECT_EQ(LeafHash(block->Entries().back()), sequenced.head);
}

TEST(Block, ABadFrameIsToleratedOnlyOnRequest) {
  const SequencedBatch batch = TestBatch(200, 1000);
  const Bytes bytes = Encoded(batch, Codec::kZstd);
  const auto whole = DecodeBlock(bytes);
  ASSERT_TRUE(whole);
  ASSERT_GT(whole->tables.frames.size(), 1U);
  Bytes changed = bytes;
  std::uint64_t stored = 0;
  for (const auto& frame : whole->tables.frames) stored += frame.stored_bytes;
  const std::size_t frames_at = whole->header.header_bytes + whole->header.columns_stored_bytes + whole->header.record_count * 4U;
  ASSERT_LE(frames_at + stored, bytes.size());
  std::fill_n(changed.begin() + static_cast<std::ptrdiff_t>(frames_at), 64, std::byte{0xff});  // no zstd frame begins so
  EXPECT_FALSE(DecodeBlock(changed));
  const auto tolerated = DecodeBlock(changed, true);
  ASSERT_TRUE(tolerated);
  EXPECT_TRUE(tolerated->frame_bad[0]);
  EXPECT_FALSE(tolerated->frame_bad[1]);
}

}  // namespace
}  // namespace stele::ledger
