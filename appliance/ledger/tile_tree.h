// The upper levels of a log's tree in memory: the roots of all complete 256-leaf tiles and everything above them
// (64 bytes per 256 records). Leaves below a tile come from a callback, recomputed from the blocks on demand.
// Thread safety: none.
#pragma once

#include <functional>
#include <vector>

#include "appliance/ledger/merkle.h"

namespace stele::ledger {

class TileTree {
 public:
  void PushTileRoot(const Hash& root);
  [[nodiscard]] std::uint64_t tile_count() const { return levels_.empty() ? 0 : levels_[0].size(); }

  // Leaf hashes [tile * 256, min(tile * 256 + 256, size)): at least what is committed.
  using LeavesOfTile = std::function<Result<std::vector<Hash>>(std::uint64_t tile)>;
  // A view of nodes for proofs; valid while both live.
  class Nodes final : public NodeSource {
   public:
    Nodes(const TileTree& tree, LeavesOfTile leaves) : tree_(tree), leaves_(std::move(leaves)) {}
    Result<Hash> Node(unsigned level, std::uint64_t index) override;

   private:
    const TileTree& tree_;
    LeavesOfTile leaves_;
    std::uint64_t cached_tile_ = ~std::uint64_t{0};
    std::vector<Hash> cached_leaves_;
  };

 private:
  std::vector<std::vector<Hash>> levels_;  // levels_[k][i]: subtree of 2^(8 + k) leaves
};

}  // namespace stele::ledger
