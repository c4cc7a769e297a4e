// The upper levels of a log's tree in memory: the roots of all complete groups of 256 tiles (65,536 leaves) and
// everything above them (64 bytes per 65,536 records), and the tiles of the group that is not complete. What is below
// comes from callbacks: the tile roots of a group from the headers of its blocks, the leaves of a tile recomputed from
// its blocks. Thread safety: none.
#pragma once

#include <functional>
#include <vector>

#include "appliance/ledger/merkle.h"

namespace stele::ledger {

inline constexpr std::uint64_t kGroupTiles = 256;

class TileTree {
 public:
  void PushTileRoot(const Hash& root);
  [[nodiscard]] std::uint64_t tile_count() const { return group_count() * kGroupTiles + open_tiles_.size(); }

  // Leaf hashes [tile * 256, min(tile * 256 + 256, size)): at least what is committed.
  using LeavesOfTile = std::function<Result<std::vector<Hash>>(std::uint64_t tile)>;
  // The roots of the 256 tiles of a complete group, as they were pushed.
  using TilesOfGroup = std::function<Result<std::vector<Hash>>(std::uint64_t group)>;
  // A node below the level of tiles where it is kept by itself: its tile's records have expired. nullopt: ask for its leaves.
  using KeptNode = std::function<Result<std::optional<Hash>>(unsigned level, std::uint64_t index)>;
  // A view of nodes for proofs; valid while both live.
  class Nodes final : public NodeSource {
   public:
    Nodes(const TileTree& tree, LeavesOfTile leaves, TilesOfGroup tiles, KeptNode kept = nullptr)
        : tree_(tree), leaves_(std::move(leaves)), tiles_(std::move(tiles)), kept_(std::move(kept)) {}
    Result<Hash> Node(unsigned level, std::uint64_t index) override;

   private:
    struct Row {  // of 256 neighbours, the last one read
      std::uint64_t number = ~std::uint64_t{0};
      std::vector<Hash> hashes;
    };
    // The root of the neighbours [begin, begin + width) of a level whose rows `from` gives.
    Result<Hash> RootIn(Row& row, const std::function<Result<std::vector<Hash>>(std::uint64_t)>& from,
                        std::uint64_t begin, std::uint64_t width);

    const TileTree& tree_;
    LeavesOfTile leaves_;
    TilesOfGroup tiles_;
    KeptNode kept_;
    Row leaf_row_;
    Row tile_row_;
  };

 private:
  [[nodiscard]] std::uint64_t group_count() const { return levels_.empty() ? 0 : levels_[0].size(); }

  std::vector<Hash> open_tiles_;           // roots of the tiles behind the last complete group
  std::vector<std::vector<Hash>> levels_;  // levels_[k][i]: subtree of 2^(16 + k) leaves
};

}  // namespace stele::ledger
