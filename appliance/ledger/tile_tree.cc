#include "appliance/ledger/tile_tree.h"

#include "appliance/base/limits.h"

namespace stele::ledger {
namespace {
constexpr unsigned kTileLevel = 8;
static_assert(limits::kTileLeaves == 1U << kTileLevel);
}  // namespace

void TileTree::PushTileRoot(const Hash& root) {
  if (levels_.empty()) levels_.emplace_back();
  levels_[0].push_back(root);
  for (std::size_t k = 0; levels_[k].size() % 2 == 0; ++k) {
    const std::vector<Hash>& level = levels_[k];
    const Hash parent = NodeHash(level[level.size() - 2], level[level.size() - 1]);
    if (k + 1 == levels_.size()) levels_.emplace_back();
    levels_[k + 1].push_back(parent);
  }
}

Result<Hash> TileTree::Nodes::Node(unsigned level, std::uint64_t index) {
  if (level >= kTileLevel) {
    const std::size_t k = level - kTileLevel;
    if (k >= tree_.levels_.size() || index >= tree_.levels_[k].size()) {
      return Fail(Code::kNotFound, "tree: node above the committed size");
    }
    return tree_.levels_[k][index];
  }
  const std::uint64_t width = std::uint64_t{1} << level;
  const std::uint64_t tile = index * width / limits::kTileLeaves;
  if (tile != cached_tile_) {
    STELE_TRY(cached_leaves_, leaves_(tile));
    cached_tile_ = tile;
  }
  const std::uint64_t begin = index * width % limits::kTileLeaves;
  if (begin + width > cached_leaves_.size()) return Fail(Code::kNotFound, "tree: leaf above the committed size");
  CompactRange range;
  for (std::uint64_t i = 0; i < width; ++i) range.Push(cached_leaves_[begin + i]);
  return range.Root();
}

}  // namespace stele::ledger
