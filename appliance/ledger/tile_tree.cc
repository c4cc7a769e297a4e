#include "appliance/ledger/tile_tree.h"

#include "appliance/base/limits.h"

namespace stele::ledger {
namespace {

constexpr unsigned kTileLevel = 8;
constexpr unsigned kGroupLevel = 16;
static_assert(limits::kTileLeaves == 1U << kTileLevel);
static_assert(limits::kTileLeaves * kGroupTiles == 1U << kGroupLevel);
static_assert(limits::kTileLeaves == kGroupTiles);  // rows of both are equally long

}  // namespace

void TileTree::PushTileRoot(const Hash& root) {
  open_tiles_.push_back(root);
  if (open_tiles_.size() < kGroupTiles) return;
  CompactRange group;
  for (const Hash& tile : open_tiles_) group.Push(tile);
  open_tiles_.clear();
  if (levels_.empty()) levels_.emplace_back();
  levels_[0].push_back(group.Root());
  for (std::size_t k = 0; levels_[k].size() % 2 == 0; ++k) {
    const std::vector<Hash>& level = levels_[k];
    const Hash parent = NodeHash(level[level.size() - 2], level[level.size() - 1]);
    if (k + 1 == levels_.size()) levels_.emplace_back();
    levels_[k + 1].push_back(parent);
  }
}

Result<Hash> TileTree::Nodes::RootIn(Row& row, const std::function<Result<std::vector<Hash>>(std::uint64_t)>& from,
                                     std::uint64_t begin, std::uint64_t width) {
  const std::uint64_t number = begin / kGroupTiles;
  if (number != row.number) {
    STELE_TRY(row.hashes, from(number));
    row.number = number;
  }
  const std::uint64_t first = begin % kGroupTiles;
  if (first + width > row.hashes.size()) return Fail(Code::kNotFound, "tree: node above the committed size");
  CompactRange range;
  for (std::uint64_t i = 0; i < width; ++i) range.Push(row.hashes[first + i]);
  return range.Root();
}

Result<Hash> TileTree::Nodes::Node(unsigned level, std::uint64_t index) {
  if (level >= kGroupLevel) {
    const std::size_t k = level - kGroupLevel;
    if (k >= tree_.levels_.size() || index >= tree_.levels_[k].size()) {
      return Fail(Code::kNotFound, "tree: node above the committed size");
    }
    return tree_.levels_[k][index];
  }
  if (level < kTileLevel) {
    if (kept_) {
      STELE_TRY(const std::optional<Hash> kept, kept_(level, index));
      if (kept) return *kept;
    }
    const std::uint64_t width = std::uint64_t{1} << level;
    return RootIn(leaf_row_, leaves_, index * width, width);
  }
  const std::uint64_t width = std::uint64_t{1} << (level - kTileLevel);
  const auto tiles = [this](std::uint64_t group) -> Result<std::vector<Hash>> {
    if (group == tree_.group_count()) return tree_.open_tiles_;
    if (group > tree_.group_count()) return Fail(Code::kNotFound, "tree: node above the committed size");
    return tiles_(group);
  };
  return RootIn(tile_row_, tiles, index * width, width);
}

}  // namespace stele::ledger
