// Goal: paths of tiles are c2sp.org/tlog-tiles', and an incremental export names exactly the tiles that are new.
// Method: the specification's examples, a list of near misses, and every step between two small sizes against a set.
#include "appliance/ledger/tile_path.h"

#include <gtest/gtest.h>

#include <set>

namespace stele::ledger {
namespace {

std::set<std::string> PathsOf(std::uint64_t old_size, std::uint64_t size, bool entries) {
  std::set<std::string> paths;
  NewTiles tiles(old_size, size, entries);
  while (const auto tile = tiles.Next()) {
    EXPECT_TRUE(TileIsWithin(*tile, size)) << TilePath(*tile);
    EXPECT_TRUE(paths.insert(TilePath(*tile)).second) << TilePath(*tile);
  }
  return paths;
}

TEST(TilePath, ExamplesOfTheSpecification) {
  EXPECT_EQ(TilePath({false, 0, 1234067, kTileWidth}), "tile/0/x001/x234/067");
  EXPECT_EQ(TilePath({true, 0, 273, 112}), "tile/entries/273.p/112");
  const auto paths = PathsOf(0, 70'000, false);
  EXPECT_EQ(paths.size(), 273U + 1 + 1 + 1 + 1);
  for (const char* path :
       {"tile/0/000", "tile/0/272", "tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"})
    EXPECT_EQ(paths.count(path), 1U) << path;
  EXPECT_EQ(PathsOf(0, 256, true), (std::set<std::string>{"tile/0/000", "tile/entries/000", "tile/1/000.p/1"}));
  EXPECT_TRUE(PathsOf(0, 0, true).empty());
}

TEST(TilePath, WhatIsWrittenIsReadAgainAndNothingElse) {
  for (const std::uint64_t number : {0ULL, 7ULL, 999ULL, 1000ULL, 1234067ULL, 999'999'999ULL, 1ULL << 56U}) {
    for (const unsigned width : {1U, 255U, kTileWidth}) {
      const Tile tile{false, 5, number, width};
      EXPECT_EQ(ParseTilePath(TilePath(tile)), std::optional(tile));
      const Tile bundle{true, 0, number, width};
      EXPECT_EQ(ParseTilePath(TilePath(bundle)), std::optional(bundle));
    }
  }
  for (const char* bad : {"",
                          "tile",
                          "tile/",
                          "tile/0",
                          "tile/0/",
                          "tile/0/1",
                          "tile/0/0001",
                          "tile/00/001",
                          "tile/64/001",
                          "tile/-1/001",
                          "tile/0/x000/001",
                          "tile/0/x001",
                          "tile/0/x001/",
                          "tile/0/x1/001",
                          "tile/0/001.p/0",
                          "tile/0/001.p/256",
                          "tile/0/001.p/01",
                          "tile/0/001.p/",
                          "tile/0/001.p",
                          "tile/0/001/",
                          "/tile/0/001",
                          "tile/entries/1",
                          "tile/entries/../0/001",
                          "tile/0/+01",
                          "tile/0/001.p/+1",
                          "tile/0/x999/x999/x999/x999/x999/x999/999",
                          "tile/0/x001/x000/x000/x000/x000/x000/x000/000"}) {
    EXPECT_FALSE(ParseTilePath(bad).has_value()) << bad;
  }
}

TEST(TilePath, IncrementalListIsTheDifferenceOfTheWholeOnes) {
  for (const std::uint64_t old_size : {0U, 1U, 255U, 256U, 257U, 511U, 65'535U, 65'536U, 65'537U}) {
    for (const std::uint64_t step : {0U, 1U, 2U, 255U, 256U, 257U, 600U}) {
      const auto before = PathsOf(0, old_size, true);
      std::set<std::string> expected;
      for (const std::string& path : PathsOf(0, old_size + step, true)) {
        if (before.count(path) == 0) expected.insert(path);
      }
      EXPECT_EQ(PathsOf(old_size, old_size + step, true), expected) << old_size << " + " << step;
    }
  }
}

TEST(TilePath, ATreeHasOnlyItsOwnTiles) {
  EXPECT_TRUE(TileIsWithin({false, 0, 273, 112}, 70'000));
  EXPECT_TRUE(TileIsWithin({false, 0, 273, 5}, 70'000)) << "an earlier checkpoint had it";
  EXPECT_FALSE(TileIsWithin({false, 0, 273, 113}, 70'000));
  EXPECT_FALSE(TileIsWithin({false, 0, 273, kTileWidth}, 70'000));
  EXPECT_FALSE(TileIsWithin({false, 0, 274, 1}, 70'000));
  EXPECT_FALSE(TileIsWithin({false, 63, 0, 1}, ~std::uint64_t{0}));
  EXPECT_FALSE(TileIsWithin({false, 0, ~std::uint64_t{0}, kTileWidth}, ~std::uint64_t{0}));
}

}  // namespace
}  // namespace stele::ledger
