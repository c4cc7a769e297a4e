// Gives records their place: sequence numbers, the chain, the tree. One writer, the same bytes for the same input for ever.
//
// leaf i = SHA-256(0x00 || entry i), entry i holds leaf i - 1: the chain is strictly serial, so its latency is hidden behind
// the node hashes of the tile before (two SHA streams at a time).
// Pure. Thread safety: none.
#pragma once

#include "appliance/ledger/block.h"

namespace stele::ledger {

class Sequencer {
 public:
  // An empty log: the first leaf's previous hash is the log id.
  explicit Sequencer(const Hash& log_id);
  // A log that ends at frontier.end() records with the chain head `head`.
  Sequencer(const Hash& head, Frontier frontier);

  // Takes the batch; computes every entry and leaf; moves to its end.
  [[nodiscard]] SequencedBatch Sequence(Batch batch);

  [[nodiscard]] std::uint64_t size() const { return tile_.end(); }
  [[nodiscard]] const Hash& head() const { return head_; }
  [[nodiscard]] Frontier frontier() const;

  // The compact range since the last call of StartRange(), for the anchor's consistency check.
  void StartRange() { range_ = CompactRange(size()); }
  [[nodiscard]] CompactRange range() const;

 private:
  class TileHeap;
  void PushLeaf(const Hash& leaf, std::vector<Hash>& tile_roots);
  void PushTile(const Hash& root, std::vector<Hash>& tile_roots);

  Hash head_;
  Frontier whole_;      // all complete tiles
  CompactRange tile_;   // the leaves of the tile that is still filling
  CompactRange range_;  // since StartRange(): up to whole_.end(), or to size() while it began inside the filling tile
};

}  // namespace stele::ledger
