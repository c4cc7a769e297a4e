#include "appliance/ledger/tile_path.h"

#include <charconv>

namespace stele::ledger {
namespace {

constexpr unsigned kLevelMax = 63;
constexpr std::string_view kPrefix = "tile/";
constexpr std::string_view kEntries = "entries/";

std::string ThreeDigits(std::uint64_t number) {
  std::string digits = std::to_string(number % 1000);
  return std::string(3 - digits.size(), '0') + digits;
}

std::string NumberPath(std::uint64_t number) {
  std::string path = ThreeDigits(number);
  while ((number /= 1000) != 0) path = "x" + ThreeDigits(number) + "/" + path;
  return path;
}

// Digits at the front of `rest`, taken off it; the one canonical form is checked by printing the result again.
template <typename T>
bool TakeNumber(std::string_view& rest, T& value) {
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  if (error != std::errc{}) return false;
  rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
  return true;
}

bool TakeNumberPath(std::string_view& rest, std::uint64_t& number) {
  for (int element = 0; element < 7; ++element) {  // 1000^7 is more than any size has tiles
    const bool more = !rest.empty() && rest.front() == 'x';
    if (more) rest.remove_prefix(1);
    unsigned part = 0;
    std::string_view digits = rest.substr(0, 3);
    if (digits.size() != 3 || !TakeNumber(digits, part) || !digits.empty()) return false;
    rest.remove_prefix(3);
    if (number > (~std::uint64_t{0} - part) / 1000) return false;
    number = number * 1000 + part;
    if (!more) return true;
    if (rest.empty() || rest.front() != '/') return false;
    rest.remove_prefix(1);
  }
  return false;
}

// How many hashes a tree of this size has at a level of tiles.
std::uint64_t HashesAt(std::uint64_t size, unsigned level) {
  return level * kTileHeight >= 64 ? 0 : size >> (level * kTileHeight);
}

}  // namespace

std::string TilePath(const Tile& tile) {
  std::string path(kPrefix);
  path += tile.entries ? std::string(kEntries) : std::to_string(tile.level) + "/";
  path += NumberPath(tile.number);
  if (tile.width != kTileWidth) path += ".p/" + std::to_string(tile.width);
  return path;
}

std::optional<Tile> ParseTilePath(std::string_view path) {
  std::string_view rest = path;
  if (rest.substr(0, kPrefix.size()) != kPrefix) return std::nullopt;
  rest.remove_prefix(kPrefix.size());
  Tile tile;
  if (rest.substr(0, kEntries.size()) == kEntries) {
    tile.entries = true;
    rest.remove_prefix(kEntries.size());
  } else {
    if (!TakeNumber(rest, tile.level) || tile.level > kLevelMax || rest.empty() || rest.front() != '/')
      return std::nullopt;
    rest.remove_prefix(1);
  }
  if (!TakeNumberPath(rest, tile.number)) return std::nullopt;
  if (!rest.empty()) {
    if (rest.substr(0, 3) != ".p/") return std::nullopt;
    rest.remove_prefix(3);
    if (!TakeNumber(rest, tile.width) || tile.width < 1 || tile.width >= kTileWidth) return std::nullopt;
  }
  if (!rest.empty() || TilePath(tile) != path) return std::nullopt;
  return tile;
}

bool TileIsWithin(const Tile& tile, std::uint64_t size) {
  const std::uint64_t hashes = HashesAt(size, tile.level);
  const std::uint64_t full = hashes / kTileWidth;
  return tile.number < full || (tile.number == full && tile.width <= hashes % kTileWidth);
}

NewTiles::NewTiles(std::uint64_t old_size, std::uint64_t size, bool entries)
    : old_size_(old_size), size_(size), entries_(entries) {
  EnterLevel(0);
}

void NewTiles::EnterLevel(unsigned level) {
  level_ = level;
  number_ = HashesAt(old_size_, level) / kTileWidth;  // the first tile that was not full
}

std::optional<Tile> NewTiles::Next() {
  for (;;) {
    const std::uint64_t hashes = HashesAt(size_, level_);
    if (hashes == 0) return std::nullopt;
    Tile tile{false, level_, number_, kTileWidth};
    const std::uint64_t left = number_ * kTileWidth < hashes ? hashes - number_ * kTileWidth : 0;
    if (left < kTileWidth) tile.width = static_cast<unsigned>(left);
    const bool unchanged = left < kTileWidth && hashes == HashesAt(old_size_, level_);
    if (left == 0 || unchanged) {
      EnterLevel(level_ + 1);
      continue;
    }
    if (bundle_next_) {
      bundle_next_ = false;
      ++number_;
      tile.entries = true;
      return tile;
    }
    bundle_next_ = entries_ && level_ == 0;
    if (!bundle_next_) ++number_;
    return tile;
  }
}

}  // namespace stele::ledger
