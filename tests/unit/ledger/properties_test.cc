// Goal: what holds of one tree holds of all. Method: RapidCheck properties; a failure prints a seed for RC_PARAMS.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <functional>

#include "tests/unit/ledger/reference.h"

namespace stele::ledger {
namespace {

void FlipBit(std::vector<Hash>& hashes, std::uint64_t which) {
  const std::uint64_t bit = which % (hashes.size() * 256);
  hashes[bit / 256][bit % 256 / 8] ^= std::byte{1} << (bit % 8);
}

void Property(const char* text, const std::function<void()>& property) { EXPECT_TRUE(rc::check(text, property)); }

TEST(Property, InclusionProofsVerifyAndASingleChangedBitFails) {
  const auto leaves = NumberedLeaves(1500);
  Property("inclusion", [&] {
    const auto size = *rc::gen::inRange<std::uint64_t>(1, 1501);
    const auto index = *rc::gen::inRange<std::uint64_t>(0, size);
    const auto which = *rc::gen::arbitrary<std::uint64_t>();
    const auto tree = std::span(leaves).first(size);
    SlowNodes nodes{tree};
    auto proof = InclusionProof(nodes, index, size).value();
    Hash root = SlowRoot(tree);
    RC_ASSERT(VerifyInclusion(leaves[index], index, size, proof, root));
    Hash leaf = leaves[index];
    leaf[which % 32] ^= std::byte{1} << (which / 32 % 8);
    RC_ASSERT(!VerifyInclusion(leaf, index, size, proof, root));
    if (!proof.empty()) {
      FlipBit(proof, which);
      RC_ASSERT(!VerifyInclusion(leaves[index], index, size, proof, root));
      FlipBit(proof, which);
    }
    root[which % 32] ^= std::byte{1} << (which / 32 % 8);
    RC_ASSERT(!VerifyInclusion(leaves[index], index, size, proof, root));
  });
}

TEST(Property, ConsistencyProofsVerifyAndASingleChangedBitFails) {
  const auto leaves = NumberedLeaves(1500);
  Property("consistency", [&] {
    const auto new_size = *rc::gen::inRange<std::uint64_t>(1, 1501);
    const auto old_size = *rc::gen::inRange<std::uint64_t>(1, new_size + 1);
    const auto which = *rc::gen::arbitrary<std::uint64_t>();
    const auto tree = std::span(leaves).first(new_size);
    SlowNodes nodes{tree};
    auto proof = ConsistencyProof(nodes, old_size, new_size).value();
    Hash old_root = SlowRoot(tree.first(old_size));
    const Hash new_root = SlowRoot(tree);
    RC_ASSERT(VerifyConsistency(old_size, new_size, old_root, new_root, proof));
    if (!proof.empty()) {
      FlipBit(proof, which);
      RC_ASSERT(!VerifyConsistency(old_size, new_size, old_root, new_root, proof));
      FlipBit(proof, which);
    }
    old_root[which % 32] ^= std::byte{1} << (which / 32 % 8);
    RC_ASSERT(!VerifyConsistency(old_size, new_size, old_root, new_root, proof));
  });
}

TEST(Property, ExtendingCompactRangesIsAssociative) {
  const auto leaves = NumberedLeaves(3000);
  Property("(a + b) + c = a + (b + c)", [&] {
    std::array<std::uint64_t, 4> cut{};
    for (auto& at : cut) at = *rc::gen::inRange<std::uint64_t>(0, 3001);
    std::sort(cut.begin(), cut.end());
    std::vector<CompactRange> part;
    for (std::size_t i = 0; i < 3; ++i) {
      part.emplace_back(cut[i]);
      for (std::uint64_t at = cut[i]; at < cut[i + 1]; ++at) part.back().Push(leaves[at]);
    }
    CompactRange left = part[0];
    RC_ASSERT(left.Extend(part[1]).has_value());
    RC_ASSERT(left.Extend(part[2]).has_value());
    CompactRange right = part[1];
    RC_ASSERT(right.Extend(part[2]).has_value());
    CompactRange whole = part[0];
    RC_ASSERT(whole.Extend(right).has_value());
    RC_ASSERT(left.Hashes() == whole.Hashes());
    RC_ASSERT(left.begin() == whole.begin() && left.end() == whole.end());
  });
}

TEST(Property, CuttingABatchAnywhereGivesTheSameLog) {
  Property("sequence(a ++ b) = sequence(a) ++ sequence(b)", [] {
    std::mt19937_64 random(*rc::gen::arbitrary<std::uint64_t>());
    const auto count = *rc::gen::inRange<std::size_t>(1, 1200);
    Batch batch = RandomBatch(random, count, 8);
    Sequencer whole(Sha256Of(AsBytes("id")));
    Sequencer parts(Sha256Of(AsBytes("id")));
    const SequencedBatch at_once = whole.Sequence(batch);
    std::vector<Hash> leaves;
    while (!batch.empty()) {
      const auto part = parts.Sequence(batch.TakeFirst(1 + random() % batch.size()));
      leaves.insert(leaves.end(), part.leaves.begin(), part.leaves.end());
    }
    RC_ASSERT(leaves == at_once.leaves);
    RC_ASSERT(parts.head() == whole.head());
    RC_ASSERT(parts.frontier().Hashes() == whole.frontier().Hashes());
  });
}

TEST(Property, ABlockDecodesToTheBatchThatWasEncoded) {
  BlockEncoder encoder;
  Property("decode(encode(batch)) = batch", [&] {
    std::mt19937_64 random(*rc::gen::arbitrary<std::uint64_t>());
    const auto count = *rc::gen::inRange<std::size_t>(1, 400);
    const auto payload_bytes_max = *rc::gen::element<std::size_t>(0, 1, 60, 3000);
    const auto codec = *rc::gen::element(Codec::kNone, Codec::kLz4, Codec::kZstd);
    const Batch batch = RandomBatch(random, count, payload_bytes_max);
    Sequencer sequencer(Sha256Of(AsBytes("id")));
    const SequencedBatch sequenced = sequencer.Sequence(batch);
    MacChain mac(Sha256Of(AsBytes("session")), Sha256Of(AsBytes("key")));
    const ByteView bytes = encoder.Encode(sequenced, {3, 8192, 5, {}, {}}, codec, mac);
    RC_ASSERT(bytes.size() <= BlockEncoder::SizeBound(batch.size(), batch.payloads.size(), batch.salt_runs.size()));
    const auto block = DecodeBlock(bytes);
    RC_ASSERT(block.has_value());
    RC_ASSERT(block->kinds == batch.kinds && block->flags == batch.flags && block->sources == batch.sources);
    RC_ASSERT(block->wall_ns == batch.wall_ns && block->lengths == batch.lengths);
    RC_ASSERT(block->payloads == batch.payloads);
    const auto entries = block->Entries();
    for (std::size_t i = 0; i < entries.size(); ++i) {
      RC_ASSERT(block->PeerOf(i) == batch.peers[i]);
      RC_ASSERT(LeafHash(entries[i]) == sequenced.leaves[i]);
    }
    RC_ASSERT(DamagedSectors(block->header, block->tables, bytes).empty());
  });
}

}  // namespace
}  // namespace stele::ledger
