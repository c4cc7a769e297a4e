// Goal: the tree is RFC 6962's, its proofs verify and nothing else does. Method: Certificate Transparency's published roots and
// proofs; every proof of every tree of up to 70 leaves against the slow recursive tree; every changed bit, size and index.
#include "appliance/ledger/merkle.h"

#include <gtest/gtest.h>

#include <map>

#include "appliance/base/limits.h"
#include "appliance/ledger/tile_tree.h"
#include "tests/unit/ledger/reference.h"

namespace stele::ledger {
namespace {

constexpr const char* kRoots[] = {"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                                  "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                                  "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                                  "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                                  "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                                  "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                                  "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                                  "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};

std::vector<Hash> PublishedLeaves() {
  std::vector<Hash> leaves;
  for (const char* hex : {"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"}) {
    leaves.push_back(LeafHash(*ParseHex(hex)));
  }
  return leaves;
}

std::vector<Hash> Hashes(std::initializer_list<const char*> hex) {
  std::vector<Hash> hashes;
  for (const char* one : hex) hashes.push_back(*ParseHash(one));
  return hashes;
}

TEST(Merkle, ThePublishedRoots) {
  const auto leaves = PublishedLeaves();
  CompactRange frontier;
  EXPECT_EQ(frontier.Root(), EmptyTreeHash());
  for (std::size_t n = 1; n <= leaves.size(); ++n) {
    frontier.Push(leaves[n - 1]);
    SlowNodes nodes{std::span(leaves).first(n)};
    EXPECT_EQ(HexOf(frontier.Root()), kRoots[n - 1]) << n;
    EXPECT_EQ(HexOf(RootOf(nodes, n).value()), kRoots[n - 1]) << n;
    EXPECT_EQ(HexOf(SlowRoot(std::span(leaves).first(n))), kRoots[n - 1]) << n;
  }
}

TEST(Merkle, ThePublishedInclusionProofs) {
  const auto leaves = PublishedLeaves();
  struct Case {
    std::uint64_t index;
    std::uint64_t size;
    std::vector<Hash> proof;
  };
  const Case cases[] = {
      {0, 1, {}},
      {0, 8,
       Hashes({"96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
               "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
               "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"})},
      {5, 8,
       Hashes({"bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
               "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
               "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"})},
      {2, 3, Hashes({"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"})},
      {1, 5,
       Hashes({"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
               "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
               "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"})},
  };
  for (const Case& c : cases) {
    SlowNodes nodes{std::span(leaves).first(c.size)};
    EXPECT_EQ(InclusionProof(nodes, c.index, c.size).value(), c.proof) << c.index << " " << c.size;
    EXPECT_TRUE(VerifyInclusion(leaves[c.index], c.index, c.size, c.proof, *ParseHash(kRoots[c.size - 1])));
  }
}

TEST(Merkle, ThePublishedConsistencyProofs) {
  const auto leaves = PublishedLeaves();
  struct Case {
    std::uint64_t old_size;
    std::uint64_t new_size;
    std::vector<Hash> proof;
  };
  const Case cases[] = {
      {1, 1, {}},
      {1, 8,
       Hashes({"96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
               "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
               "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"})},
      {6, 8,
       Hashes({"0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
               "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
               "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"})},
      {2, 5,
       Hashes({"5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
               "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"})},
  };
  for (const Case& c : cases) {
    SlowNodes nodes{std::span(leaves).first(c.new_size)};
    EXPECT_EQ(ConsistencyProof(nodes, c.old_size, c.new_size).value(), c.proof) << c.old_size << " " << c.new_size;
    EXPECT_TRUE(VerifyConsistency(c.old_size, c.new_size, *ParseHash(kRoots[c.old_size - 1]), *ParseHash(kRoots[c.new_size - 1]),
                                  c.proof));
  }
}

TEST(Merkle, EveryProofOfEverySmallTreeIsTheSlowTreesAndVerifies) {
  const auto leaves = NumberedLeaves(70);
  std::vector<Hash> roots;
  for (std::size_t n = 0; n <= leaves.size(); ++n) roots.push_back(SlowRoot(std::span(leaves).first(n)));
  for (std::size_t n = 1; n <= leaves.size(); ++n) {
    const auto tree = std::span(leaves).first(n);
    SlowNodes nodes{tree};
    for (std::size_t i = 0; i < n; ++i) {
      const auto proof = InclusionProof(nodes, i, n);
      ASSERT_TRUE(proof);
      ASSERT_EQ(*proof, SlowPath(i, tree)) << i << " " << n;
      ASSERT_TRUE(VerifyInclusion(leaves[i], i, n, *proof, roots[n])) << i << " " << n;
      ASSERT_FALSE(VerifyInclusion(leaves[i], i + 1, n, *proof, roots[n])) << i << " " << n;
      ASSERT_FALSE(VerifyInclusion(leaves[(i + 1) % leaves.size()], i, n, *proof, roots[n])) << i << " " << n;
      ASSERT_FALSE(VerifyInclusion(leaves[i], i, n, *proof, roots[n - 1])) << i << " " << n;
    }
    for (std::size_t m = 0; m <= n; ++m) {
      const auto proof = ConsistencyProof(nodes, m, n);
      ASSERT_TRUE(proof);
      ASSERT_EQ(*proof, SlowConsistency(m, tree)) << m << " " << n;
      ASSERT_TRUE(VerifyConsistency(m, n, roots[m], roots[n], *proof)) << m << " " << n;
      if (m > 0) {
        ASSERT_FALSE(VerifyConsistency(m, n, roots[m - 1], roots[n], *proof)) << m << " " << n;
        ASSERT_FALSE(VerifyConsistency(m, n, roots[m], roots[n - 1], *proof) && m != n) << m << " " << n;
      }
    }
  }
}

TEST(Merkle, AnyChangedBitOfAProofFails) {
  const auto leaves = NumberedLeaves(23);
  SlowNodes nodes{leaves};
  const Hash root = SlowRoot(leaves);
  auto inclusion = InclusionProof(nodes, 9, 23).value();
  for (std::size_t bit = 0; bit < inclusion.size() * 256; ++bit) {
    inclusion[bit / 256][bit % 256 / 8] ^= std::byte{1} << (bit % 8);
    ASSERT_FALSE(VerifyInclusion(leaves[9], 9, 23, inclusion, root)) << bit;
    inclusion[bit / 256][bit % 256 / 8] ^= std::byte{1} << (bit % 8);
  }
  auto consistency = ConsistencyProof(nodes, 9, 23).value();
  const Hash old_root = SlowRoot(std::span(leaves).first(9));
  for (std::size_t bit = 0; bit < consistency.size() * 256; ++bit) {
    consistency[bit / 256][bit % 256 / 8] ^= std::byte{1} << (bit % 8);
    ASSERT_FALSE(VerifyConsistency(9, 23, old_root, root, consistency)) << bit;
    consistency[bit / 256][bit % 256 / 8] ^= std::byte{1} << (bit % 8);
  }
}

TEST(Merkle, TooShortAndTooLongProofsFail) {
  const auto leaves = NumberedLeaves(23);
  SlowNodes nodes{leaves};
  const Hash root = SlowRoot(leaves);
  auto proof = InclusionProof(nodes, 9, 23).value();
  EXPECT_FALSE(VerifyInclusion(leaves[9], 9, 23, std::span(proof).first(proof.size() - 1), root));
  proof.push_back(root);
  EXPECT_FALSE(VerifyInclusion(leaves[9], 9, 23, proof, root));
  auto consistency = ConsistencyProof(nodes, 9, 23).value();
  const Hash old_root = SlowRoot(std::span(leaves).first(9));
  EXPECT_FALSE(VerifyConsistency(9, 23, old_root, root, std::span(consistency).first(consistency.size() - 1)));
  consistency.push_back(root);
  EXPECT_FALSE(VerifyConsistency(9, 23, old_root, root, consistency));
  EXPECT_FALSE(VerifyConsistency(9, 23, old_root, root, {}));
  EXPECT_FALSE(VerifyConsistency(23, 9, root, old_root, {}));
  EXPECT_FALSE(VerifyInclusion(leaves[0], 0, 0, {}, EmptyTreeHash()));
  EXPECT_FALSE(InclusionProof(nodes, 23, 23));
  EXPECT_FALSE(ConsistencyProof(nodes, 24, 23));
}

TEST(CompactRange, IsTheRootsOfTheLargestAlignedSubtrees) {
  EXPECT_EQ(SubtreeLevels(0, 0), std::vector<unsigned>());
  EXPECT_EQ(SubtreeLevels(0, 11), (std::vector<unsigned>{3, 1, 0}));
  EXPECT_EQ(SubtreeLevels(3, 11), (std::vector<unsigned>{0, 2, 1, 0}));
  const auto leaves = NumberedLeaves(50);
  for (std::uint64_t begin = 0; begin <= 50; ++begin) {
    CompactRange range(begin);
    for (std::uint64_t end = begin; end <= 50; ++end) {
      if (end > begin) range.Push(leaves[end - 1]);
      std::vector<Hash> expected;
      std::uint64_t at = begin;
      for (const unsigned level : SubtreeLevels(begin, end)) {
        ASSERT_EQ(at % (std::uint64_t{1} << level), 0U);
        expected.push_back(SlowRoot(std::span(leaves).subspan(at, std::uint64_t{1} << level)));
        at += std::uint64_t{1} << level;
      }
      ASSERT_EQ(at, end);
      ASSERT_EQ(range.Hashes(), expected) << begin << " " << end;
      const auto again = CompactRange::FromHashes(begin, end, expected);
      ASSERT_TRUE(again);
      ASSERT_EQ(again->Hashes(), expected);
    }
  }
}

TEST(CompactRange, AnyTwoAdjacentRangesMergeToTheWhole) {
  const auto leaves = NumberedLeaves(40);
  const auto range_of = [&](std::uint64_t begin, std::uint64_t end) {
    CompactRange range(begin);
    for (std::uint64_t i = begin; i < end; ++i) range.Push(leaves[i]);
    return range;
  };
  for (std::uint64_t a = 0; a <= 40; a += 3) {
    for (std::uint64_t b = a; b <= 40; ++b) {
      for (std::uint64_t c = b; c <= 40; ++c) {
        CompactRange left = range_of(a, b);
        ASSERT_TRUE(left.Extend(range_of(b, c)));
        ASSERT_EQ(left.Hashes(), range_of(a, c).Hashes()) << a << " " << b << " " << c;
        ASSERT_EQ(left.end(), c);
      }
    }
  }
}

TEST(CompactRange, WhatDoesNotFitIsRefused) {
  const auto leaves = NumberedLeaves(4);
  EXPECT_FALSE(CompactRange::FromHashes(5, 4, {}));
  EXPECT_FALSE(CompactRange::FromHashes(0, 3, {leaves[0]}));
  EXPECT_FALSE(CompactRange::FromHashes(0, 4, leaves));
  EXPECT_FALSE(CompactRange::FromHashes(0, ~std::uint64_t{0}, leaves));
  CompactRange range(0);
  range.Push(leaves[0]);
  EXPECT_FALSE(range.Extend(CompactRange(2)));
  EXPECT_TRUE(range.Extend(CompactRange(1)));
}

TEST(Tiles, ATilesRootIsTheRootOfItsLeaves) {
  const auto leaves = NumberedLeaves(limits::kTileLeaves);
  EXPECT_EQ(TileRoot(leaves), SlowRoot(leaves));
}

// A tree of tiles over numbered leaves, and its nodes as a reader has them: rows of leaves and of tile roots on demand.
struct TiledLeaves {
  explicit TiledLeaves(std::size_t count) : leaves(NumberedLeaves(count)) {
    for (std::size_t at = 0; at + limits::kTileLeaves <= count; at += limits::kTileLeaves) {
      tiles.push_back(TileRoot(std::span(leaves).subspan(at, limits::kTileLeaves)));
      tree.PushTileRoot(tiles.back());
    }
  }
  static std::vector<Hash> Row(const std::vector<Hash>& of, std::uint64_t number) {
    const std::size_t from = std::min<std::size_t>(number * 256, of.size());
    const std::size_t to = std::min<std::size_t>(from + 256, of.size());
    return {of.begin() + static_cast<std::ptrdiff_t>(from), of.begin() + static_cast<std::ptrdiff_t>(to)};
  }
  std::vector<Hash> leaves;
  std::vector<Hash> tiles;
  TileTree tree;
  int leaf_rows_asked = 0;
  int tile_rows_asked = 0;
  TileTree::Nodes nodes{tree,
                        [this](std::uint64_t tile) -> Result<std::vector<Hash>> {
                          ++leaf_rows_asked;
                          return Row(leaves, tile);
                        },
                        [this](std::uint64_t group) -> Result<std::vector<Hash>> {
                          ++tile_rows_asked;
                          return Row(tiles, group);
                        }};
};

TEST(Tiles, TheTreeOfTilesGivesTheSlowTreesProofs) {
  TiledLeaves tiled(5 * limits::kTileLeaves + 77);
  EXPECT_EQ(tiled.tree.tile_count(), 5U);
  for (const std::size_t size : {1U, 2U, 255U, 256U, 257U, 511U, 512U, 513U, 1024U, 1280U, 1281U, 1357U}) {
    const auto slow = std::span(tiled.leaves).first(size);
    ASSERT_EQ(RootOf(tiled.nodes, size).value(), SlowRoot(slow)) << size;
    for (std::size_t i = 0; i < size; i += 1 + size / 17) {
      ASSERT_EQ(InclusionProof(tiled.nodes, i, size).value(), SlowPath(i, slow)) << i << " " << size;
      ASSERT_EQ(ConsistencyProof(tiled.nodes, i, size).value(), SlowConsistency(i, slow)) << i << " " << size;
    }
  }
  EXPECT_GT(tiled.leaf_rows_asked, 0);
  EXPECT_EQ(tiled.tile_rows_asked, 0);  // those of the open group are in memory
  EXPECT_FALSE(tiled.nodes.Node(8, 5));   // not complete
  EXPECT_FALSE(tiled.nodes.Node(11, 0));  // above the tree
}

// Checked by verification: the slow tree would take seconds for so many leaves.
TEST(Tiles, CompleteGroupsOfTilesAreForgottenAndAskedForAgain) {
  const std::size_t group = limits::kTileLeaves * kGroupTiles;
  TiledLeaves tiled(2 * group + 3 * limits::kTileLeaves + 5);
  EXPECT_EQ(tiled.tree.tile_count(), 2 * kGroupTiles + 3);
  std::map<std::size_t, Hash> roots;
  CompactRange range;
  for (const std::size_t size : {group - 1, group, group + 1, 2 * group, tiled.leaves.size()}) {
    for (std::size_t i = range.end(); i < size; ++i) range.Push(tiled.leaves[i]);
    roots[size] = range.Root();
    ASSERT_EQ(RootOf(tiled.nodes, size).value(), roots[size]) << size;
    for (const std::size_t i : {std::size_t{0}, size / 3, group - 300, size - 1}) {
      const auto proof = InclusionProof(tiled.nodes, i, size);
      ASSERT_TRUE(proof && VerifyInclusion(tiled.leaves[i], i, size, *proof, roots[size])) << i << " " << size;
    }
    for (const auto& [old_size, old_root] : roots) {
      const auto proof = ConsistencyProof(tiled.nodes, old_size, size);
      ASSERT_TRUE(proof && VerifyConsistency(old_size, size, old_root, roots[size], *proof)) << old_size << " " << size;
    }
  }
  EXPECT_GT(tiled.tile_rows_asked, 0);
  EXPECT_FALSE(tiled.nodes.Node(8, 2 * kGroupTiles + 3));
  EXPECT_FALSE(tiled.nodes.Node(16, 2));
}

}  // namespace
}  // namespace stele::ledger
