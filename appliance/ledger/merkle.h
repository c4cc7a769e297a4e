// The Merkle tree of RFC 6962 section 2.1: right edge (compact range), node access, proofs and their verification.
//
// A compact range [begin, end) is the list of roots of the largest aligned subtrees that tile it, left to right. The
// frontier of a tree of n leaves is the compact range [0, n). A frontier at m and the compact range [m, n) together give
// the frontier at n: that is the consistency proof stele-ledger hands to stele-anchor.
// Pure: no I/O, no clock. Thread safety: none needed, value types.
#pragma once

#include <vector>

#include "appliance/base/hash.h"

namespace stele::ledger {

class CompactRange {
 public:
  CompactRange() = default;
  explicit CompactRange(std::uint64_t begin) : begin_(begin), end_(begin) {}
  // kInvalid unless `hashes` has exactly the number of subtrees that tile [begin, end).
  static Result<CompactRange> FromHashes(std::uint64_t begin, std::uint64_t end, std::vector<Hash> hashes);

  void Push(const Hash& leaf) { PushSubtree(0, leaf); }
  // A complete subtree of 2^level leaves starting at end(), which must be aligned to it.
  void PushSubtree(unsigned level, const Hash& root);
  // kInvalid unless next.begin() == end().
  Result<void> Extend(const CompactRange& next);

  [[nodiscard]] std::uint64_t begin() const { return begin_; }
  [[nodiscard]] std::uint64_t end() const { return end_; }
  [[nodiscard]] std::vector<Hash> Hashes() const;
  [[nodiscard]] Hash Root() const;  // of the whole tree; begin() must be 0; the empty tree's hash when end() is 0

 private:
  struct Subtree {
    unsigned level = 0;
    Hash hash{};
  };
  void MergeTop();

  std::uint64_t begin_ = 0;
  std::uint64_t end_ = 0;
  std::vector<Subtree> stack_;
};

using Frontier = CompactRange;  // begin() == 0

// The levels of the aligned subtrees that tile [begin, end), left to right.
[[nodiscard]] std::vector<unsigned> SubtreeLevels(std::uint64_t begin, std::uint64_t end);

// The 256 leaf hashes of a tile to its root, nodes hashed two at a time.
[[nodiscard]] Hash TileRoot(std::span<const Hash> leaves);

// Where proofs get their nodes from: the root of the complete subtree [index << level, (index + 1) << level).
class NodeSource {
 public:
  virtual ~NodeSource() = default;
  [[nodiscard]] virtual Result<Hash> Node(unsigned level, std::uint64_t index) = 0;
};

[[nodiscard]] Result<Hash> RootOf(NodeSource& nodes, std::uint64_t size);
[[nodiscard]] Result<std::vector<Hash>> InclusionProof(NodeSource& nodes, std::uint64_t index, std::uint64_t size);
[[nodiscard]] Result<std::vector<Hash>> ConsistencyProof(NodeSource& nodes, std::uint64_t old_size, std::uint64_t new_size);

// RFC 9162 sections 2.1.3.2 and 2.1.4.2. Total: any input gives true or false.
[[nodiscard]] bool VerifyInclusion(const Hash& leaf, std::uint64_t index, std::uint64_t size, std::span<const Hash> proof,
                                   const Hash& root);
[[nodiscard]] bool VerifyConsistency(std::uint64_t old_size, std::uint64_t new_size, const Hash& old_root,
                                     const Hash& new_root, std::span<const Hash> proof);

}  // namespace stele::ledger
