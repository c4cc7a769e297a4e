#include "appliance/ledger/sequencer.h"

#include <algorithm>

#include "appliance/base/limits.h"

namespace stele::ledger {
namespace {

using limits::kTileLeaves;
constexpr unsigned kTileLevel = 8;
constexpr std::byte kLeafPrefix[1] = {std::byte{0}};
constexpr std::byte kNodePrefix[1] = {std::byte{1}};

}  // namespace

// The 255 inner nodes of one tile as a heap: node i has children 2i and 2i + 1, the leaves lie at 256..511. Every node is
// ready as soon as its children are, so one can be computed beside each leaf of the next tile.
class Sequencer::TileHeap {
 public:
  void Load(std::span<const Hash> leaves) {
    std::copy(leaves.begin(), leaves.end(), nodes_.begin() + kTileLeaves);
    next_ = kTileLeaves - 1;
    loaded_ = true;
  }
  [[nodiscard]] bool loaded() const { return loaded_; }
  [[nodiscard]] bool Pending() const { return next_ > 0; }
  [[nodiscard]] HashJob Job() const {
    return {kNodePrefix, std::as_bytes(std::span(nodes_)).subspan(2 * next_ * kHashBytes, 2 * kHashBytes)};
  }
  [[nodiscard]] Hash& Slot() { return nodes_[next_]; }
  void Done() { --next_; }
  [[nodiscard]] const Hash& Finish() {
    for (; Pending(); Done()) nodes_[next_] = NodeHash(nodes_[2 * next_], nodes_[2 * next_ + 1]);
    loaded_ = false;
    return nodes_[1];
  }

 private:
  std::array<Hash, 2 * kTileLeaves> nodes_{};
  std::size_t next_ = 0;
  bool loaded_ = false;
};

Sequencer::Sequencer(const Hash& log_id) : head_(log_id) {}

Sequencer::Sequencer(const Hash& head, Frontier frontier) : head_(head) {
  const std::uint64_t size = frontier.end();
  const std::uint64_t whole = size / kTileLeaves * kTileLeaves;
  const std::vector<Hash> hashes = frontier.Hashes();
  const std::size_t whole_count = SubtreeLevels(0, whole).size();
  auto left = Frontier::FromHashes(0, whole, {hashes.begin(), hashes.begin() + static_cast<std::ptrdiff_t>(whole_count)});
  auto right = CompactRange::FromHashes(whole, size, {hashes.begin() + static_cast<std::ptrdiff_t>(whole_count), hashes.end()});
  STELE_CHECK(left.has_value());
  STELE_CHECK(right.has_value());
  whole_ = std::move(*left);
  tile_ = std::move(*right);
  range_ = CompactRange(size);
}

Frontier Sequencer::frontier() const {
  Frontier all = whole_;
  STELE_CHECK(all.Extend(tile_).has_value());
  return all;
}

CompactRange Sequencer::range() const {
  CompactRange all = range_;
  if (all.end() < size()) STELE_CHECK(all.Extend(tile_).has_value());
  return all;
}

void Sequencer::PushTile(const Hash& root, std::vector<Hash>& tile_roots) {
  whole_.PushSubtree(kTileLevel, root);
  if (range_.end() < whole_.end()) range_.PushSubtree(kTileLevel, root);
  tile_ = CompactRange(whole_.end());
  tile_roots.push_back(root);
}

void Sequencer::PushLeaf(const Hash& leaf, std::vector<Hash>& tile_roots) {
  const bool range_began_here = range_.begin() > tile_.begin();
  tile_.Push(leaf);
  if (range_began_here) range_.Push(leaf);
  if (tile_.end() % kTileLeaves == 0) PushTile(tile_.Hashes().front(), tile_roots);
}

SequencedBatch Sequencer::Sequence(Batch batch) {
  SequencedBatch out;
  out.first_sequence = size();
  out.previous_head = head_;
  out.first_frontier = frontier().Hashes();
  const std::size_t n = batch.size();
  out.leaves.resize(n);
  // Records [whole_from, whole_to) fill whole tiles; those before and after go leaf by leaf.
  const auto to_boundary = static_cast<std::size_t>((kTileLeaves - out.first_sequence % kTileLeaves) % kTileLeaves);
  const std::size_t whole_from = std::min(n, to_boundary);
  const std::size_t whole_to = whole_from + (n - whole_from) / kTileLeaves * kTileLeaves;

  TileHeap heap;
  record::Entry entry;
  entry.previous = head_;
  for (std::size_t i = 0; i < n; ++i) {
    entry.kind = static_cast<record::Kind>(batch.kinds[i]);
    entry.flags = batch.flags[i];
    entry.source = batch.sources[i];
    entry.sequence = out.first_sequence + i;
    entry.receive_wall_ns = batch.wall_ns[i];
    entry.commitment = batch.commitments[i];
    entry.payload_length = batch.lengths[i];
    const record::EntryBytes bytes = record::EncodeEntry(entry);
    Hash& leaf = out.leaves[i];
    if (heap.Pending()) {
      Sha256Pair({kLeafPrefix, bytes}, heap.Job(), leaf, heap.Slot());
      heap.Done();
    } else {
      leaf = LeafHash(bytes);
    }
    entry.previous = leaf;
    if (i >= whole_from && i < whole_to) {
      if ((i - whole_from) % kTileLeaves != kTileLeaves - 1) continue;
      if (heap.loaded()) PushTile(heap.Finish(), out.tile_roots);
      heap.Load(std::span(out.leaves).subspan(i + 1 - kTileLeaves, kTileLeaves));
    } else {
      if (heap.loaded()) PushTile(heap.Finish(), out.tile_roots);
      PushLeaf(leaf, out.tile_roots);
    }
  }
  if (heap.loaded()) PushTile(heap.Finish(), out.tile_roots);
  head_ = entry.previous;
  out.head = head_;
  out.frontier = frontier().Hashes();
  out.batch = std::move(batch);
  return out;
}

}  // namespace stele::ledger
