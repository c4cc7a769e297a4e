// Goal: the sequencer's chain, tree and ranges are those of the definition, however the batches fall on the tile borders.
// Method: batch sizes and starting points around every border against a leaf-by-leaf reference.
#include "appliance/ledger/sequencer.h"

#include <gtest/gtest.h>

#include "appliance/base/limits.h"
#include "tests/unit/ledger/reference.h"

namespace stele::ledger {
namespace {

constexpr std::size_t kTile = limits::kTileLeaves;

// The definition: one leaf after the other.
struct SlowLog {
  Hash head{};
  std::vector<Hash> leaves;

  void Append(const Batch& batch) {
    for (std::size_t i = 0; i < batch.size(); ++i) {
      record::Entry entry;
      entry.kind = static_cast<record::Kind>(batch.kinds[i]);
      entry.flags = batch.flags[i];
      entry.source = batch.sources[i];
      entry.sequence = leaves.size();
      entry.receive_wall_ns = batch.wall_ns[i];
      entry.previous = head;
      entry.commitment = batch.commitments[i];
      entry.payload_length = batch.lengths[i];
      head = LeafHash(record::EncodeEntry(entry));
      leaves.push_back(head);
    }
  }
  [[nodiscard]] std::vector<Hash> Range(std::uint64_t begin, std::uint64_t end) const {
    std::vector<Hash> hashes;
    for (const unsigned level : SubtreeLevels(begin, end)) {
      hashes.push_back(SlowRoot(std::span(leaves).subspan(begin, std::uint64_t{1} << level)));
      begin += std::uint64_t{1} << level;
    }
    return hashes;
  }
};

Hash LogId() { return Sha256Of(AsBytes("a log")); }

void ExpectSame(const SequencedBatch& got, const SlowLog& slow, std::size_t from) {
  const std::size_t to = slow.leaves.size();
  ASSERT_EQ(got.first_sequence, from);
  ASSERT_EQ(got.previous_head, from == 0 ? LogId() : slow.leaves[from - 1]);
  ASSERT_EQ(got.head, slow.head);
  ASSERT_TRUE(std::equal(got.leaves.begin(), got.leaves.end(), slow.leaves.begin() + static_cast<std::ptrdiff_t>(from),
                         slow.leaves.end()));
  ASSERT_EQ(got.first_frontier, slow.Range(0, from));
  ASSERT_EQ(got.frontier, slow.Range(0, to));
  std::vector<Hash> tile_roots;
  for (std::size_t tile = from / kTile; (tile + 1) * kTile <= to; ++tile) {
    tile_roots.push_back(SlowRoot(std::span(slow.leaves).subspan(tile * kTile, kTile)));
  }
  ASSERT_EQ(got.tile_roots, tile_roots);
}

TEST(Sequencer, EveryStartAndSizeAroundTheTileBordersIsTheSlowLog) {
  std::mt19937_64 random(1);
  for (const std::size_t start : {0U, 1U, 2U, 127U, 128U, 254U, 255U, 256U, 257U, 300U, 511U, 512U, 513U, 767U, 768U}) {
    for (const std::size_t size : {1U, 2U, 3U, 127U, 128U, 254U, 255U, 256U, 257U, 258U, 511U, 512U, 513U, 600U, 768U, 769U, 1025U}) {
      SCOPED_TRACE(testing::Message() << "start " << start << " size " << size);
      SlowLog slow{LogId(), {}};
      Sequencer sequencer(LogId());
      if (start > 0) {
        Batch first = RandomBatch(random, start, 0);
        slow.Append(first);
        (void)sequencer.Sequence(std::move(first));
      }
      Batch second = RandomBatch(random, size, 0);
      slow.Append(second);
      const SequencedBatch got = sequencer.Sequence(std::move(second));
      ASSERT_NO_FATAL_FAILURE(ExpectSame(got, slow, start));
      ASSERT_EQ(sequencer.size(), slow.leaves.size());
      ASSERT_EQ(sequencer.head(), slow.head);
      ASSERT_EQ(sequencer.frontier().Root(), SlowRoot(slow.leaves));
    }
  }
}

TEST(Sequencer, ManyRandomBatchesAreTheSlowLog) {
  std::mt19937_64 random(2);
  SlowLog slow{LogId(), {}};
  Sequencer sequencer(LogId());
  for (int i = 0; i < 60; ++i) {
    Batch batch = RandomBatch(random, 1 + random() % 400, 20);
    const std::size_t from = slow.leaves.size();
    slow.Append(batch);
    ASSERT_NO_FATAL_FAILURE(ExpectSame(sequencer.Sequence(std::move(batch)), slow, from));
  }
}

TEST(Sequencer, AReopenedLogGoesOnAsIfItNeverStopped) {
  std::mt19937_64 random(3);
  for (const std::size_t stop : {1U, 255U, 256U, 257U, 511U, 512U, 700U, 1024U, 1100U}) {
    SlowLog slow{LogId(), {}};
    Sequencer first(LogId());
    Batch before = RandomBatch(random, stop, 0);
    slow.Append(before);
    (void)first.Sequence(std::move(before));
    Sequencer second(first.head(), first.frontier());
    ASSERT_EQ(second.size(), stop);
    ASSERT_EQ(second.frontier().Hashes(), first.frontier().Hashes());
    Batch after = RandomBatch(random, 600, 0);
    slow.Append(after);
    ASSERT_NO_FATAL_FAILURE(ExpectSame(second.Sequence(std::move(after)), slow, stop));
  }
}

// What the anchor relies on: its own frontier and the range since give the frontier now.
TEST(Sequencer, TheRangeFromEveryPositionMergesToTheFrontier) {
  std::mt19937_64 random(4);
  const std::size_t total = 2 * kTile + 90;
  const Batch all = RandomBatch(random, total, 0);
  for (std::size_t position = 0; position <= total; ++position) {
    for (const bool reopened : {false, true}) {
      Batch rest = all;
      Sequencer sequencer(LogId());
      if (position > 0) (void)sequencer.Sequence(rest.TakeFirst(position));
      if (reopened) sequencer = Sequencer(sequencer.head(), sequencer.frontier());
      sequencer.StartRange();
      Frontier own = sequencer.frontier();
      while (!rest.empty()) {
        (void)sequencer.Sequence(rest.TakeFirst(std::min<std::size_t>(rest.size(), 1 + random() % 300)));
        const CompactRange range = sequencer.range();
        ASSERT_EQ(range.begin(), position);
        ASSERT_EQ(range.end(), sequencer.size());
        Frontier merged = own;
        ASSERT_TRUE(merged.Extend(range)) << position;
        ASSERT_EQ(merged.Hashes(), sequencer.frontier().Hashes()) << position << " " << sequencer.size();
        const auto sent = CompactRange::FromHashes(range.begin(), range.end(), range.Hashes());
        ASSERT_TRUE(sent) << position << " " << sequencer.size();
      }
    }
  }
}

TEST(Batch, TakeFirstKeepsRecordsAndSaltsOfBothParts) {
  std::mt19937_64 random(5);
  const Batch all = RandomBatch(random, 200, 50);
  for (std::size_t count = 0; count <= all.size(); ++count) {
    Batch second = all;
    const Batch first = second.TakeFirst(count);
    ASSERT_EQ(first.size(), count);
    ASSERT_EQ(second.size(), all.size() - count);
    std::size_t i = 0;
    for (const Batch* part : {&first, static_cast<const Batch*>(&second)}) {
      std::size_t payload_at = 0;
      std::vector<bool> salted(part->size(), false);
      std::vector<record::Salt> salts(part->size());
      for (const SaltRun& run : part->salt_runs) {
        ASSERT_GT(run.count, 0U);
        ASSERT_LE(run.first + run.count, part->size());
        for (std::uint32_t k = 0; k < run.count; ++k) {
          salted[run.first + k] = true;
          salts[run.first + k] = record::DeriveSalt(run.key, run.position + k);
        }
      }
      for (std::size_t k = 0; k < part->size(); ++k, ++i) {
        ASSERT_EQ(part->commitments[k], all.commitments[i]);
        ASSERT_EQ(part->kinds[k], all.kinds[i]);
        ASSERT_EQ(part->wall_ns[k], all.wall_ns[i]);
        ASSERT_TRUE(salted[k]) << count << " " << i;
        const ByteView payload = ByteView(part->payloads).subspan(payload_at, part->lengths[k]);
        payload_at += part->lengths[k];
        ASSERT_EQ(record::CommitPayload(salts[k], part->peers[k], payload), part->commitments[k]) << count << " " << i;
      }
      ASSERT_EQ(payload_at, part->payloads.size());
    }
    ASSERT_EQ(i, all.size());
  }
}

}  // namespace
}  // namespace stele::ledger
