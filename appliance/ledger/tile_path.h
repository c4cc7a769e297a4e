// The resources of a static log (c2sp.org/tlog-tiles): their paths, and which of them a tree of a size has.
//
//   path   := "checkpoint" | "tile/" level "/" number width? | "tile/entries/" number width?
//   level  := 0..63, decimal                   number := ("x" ddd "/")* ddd, three digits each, no leading x000
//   width  := ".p/" 1..255                     a partial tile; a full one has 256 hashes or entries
//
//   tile at level l, number n: MTH(D[(n*256 + i) * 256^l : (n*256 + i + 1) * 256^l]) for i = 0 .. width - 1
//   entry bundle: (length:u16 big-endian, entry) * width
// Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/base/bytes.h"

namespace stele::ledger {

inline constexpr unsigned kTileWidth = 256;
inline constexpr unsigned kTileHeight = 8;  // levels of the Merkle tree in one level of tiles

struct Tile {
  bool entries = false;  // an entry bundle; its level is 0
  unsigned level = 0;
  std::uint64_t number = 0;
  unsigned width = kTileWidth;

  [[nodiscard]] bool operator==(const Tile&) const = default;
};

[[nodiscard]] std::string TilePath(const Tile& tile);
// Nothing unless the path is exactly what TilePath makes of the result.
[[nodiscard]] std::optional<Tile> ParseTilePath(std::string_view path);

// Whether a tree of `size` leaves has all that is in this tile. Total: never overflows.
[[nodiscard]] bool TileIsWithin(const Tile& tile, std::uint64_t size);
// The tiles and bundles of a tree of `size` that one of `old_size` has not, lower levels first, each bundle after its
// tile. A partial tile is new wherever its width differs.
class NewTiles {
 public:
  NewTiles(std::uint64_t old_size, std::uint64_t size, bool entries);
  [[nodiscard]] std::optional<Tile> Next();

 private:
  void EnterLevel(unsigned level);
  std::uint64_t old_size_;
  std::uint64_t size_;
  bool entries_;
  unsigned level_ = 0;
  std::uint64_t number_ = 0;  // of the next tile at this level
  bool bundle_next_ = false;
};

}  // namespace stele::ledger
