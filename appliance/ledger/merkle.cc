#include "appliance/ledger/merkle.h"

#include <algorithm>
#include <bit>

#include "appliance/base/limits.h"

namespace stele::ledger {
namespace {

std::uint64_t LargestPowerBelow(std::uint64_t n) { return std::bit_floor(n - 1); }  // n >= 2

// MTH(D[begin:end]) for a range whose begin is a multiple of bit_ceil(end - begin) or that RFC 6962's split produced.
Result<Hash> RangeRoot(NodeSource& nodes, std::uint64_t begin, std::uint64_t end) {
  const std::uint64_t n = end - begin;
  if (std::has_single_bit(n) && begin % n == 0) {
    const auto level = static_cast<unsigned>(std::countr_zero(n));
    return nodes.Node(level, begin >> level);
  }
  const std::uint64_t k = LargestPowerBelow(n);
  STELE_TRY(const Hash left, RangeRoot(nodes, begin, begin + k));
  STELE_TRY(const Hash right, RangeRoot(nodes, begin + k, end));
  return NodeHash(left, right);
}

Result<void> InclusionPath(NodeSource& nodes, std::uint64_t index, std::uint64_t begin, std::uint64_t end,
                           std::vector<Hash>& path) {
  const std::uint64_t n = end - begin;
  if (n == 1) return {};
  const std::uint64_t middle = begin + LargestPowerBelow(n);
  const bool left = index < middle;
  STELE_TRY_VOID(InclusionPath(nodes, index, left ? begin : middle, left ? middle : end, path));
  STELE_TRY(const Hash sibling, left ? RangeRoot(nodes, middle, end) : RangeRoot(nodes, begin, middle));
  path.push_back(sibling);
  return {};
}

// RFC 6962 section 2.1.2, SUBPROOF(m, D[begin:end], whole).
Result<void> SubProof(NodeSource& nodes, std::uint64_t m, std::uint64_t begin, std::uint64_t end, bool whole,
                      std::vector<Hash>& path) {
  const std::uint64_t n = end - begin;
  if (m == n) {
    if (whole) return {};
    STELE_TRY(const Hash root, RangeRoot(nodes, begin, end));
    path.push_back(root);
    return {};
  }
  const std::uint64_t k = LargestPowerBelow(n);
  if (m <= k) {
    STELE_TRY_VOID(SubProof(nodes, m, begin, begin + k, whole, path));
    STELE_TRY(const Hash right, RangeRoot(nodes, begin + k, end));
    path.push_back(right);
    return {};
  }
  STELE_TRY_VOID(SubProof(nodes, m - k, begin + k, end, false, path));
  STELE_TRY(const Hash left, RangeRoot(nodes, begin, begin + k));
  path.push_back(left);
  return {};
}

}  // namespace

std::vector<unsigned> SubtreeLevels(std::uint64_t begin, std::uint64_t end) {
  std::vector<unsigned> levels;
  while (begin < end) {
    const auto by_alignment = begin == 0 ? 63U : static_cast<unsigned>(std::countr_zero(begin));
    const auto by_length = static_cast<unsigned>(std::bit_width(end - begin) - 1);
    const unsigned level = std::min(by_alignment, by_length);
    levels.push_back(level);
    begin += std::uint64_t{1} << level;
  }
  return levels;
}

Result<CompactRange> CompactRange::FromHashes(std::uint64_t begin, std::uint64_t end, std::vector<Hash> hashes) {
  if (end < begin) return Fail(Code::kInvalid, "compact range: ends before it begins");
  const std::vector<unsigned> levels = SubtreeLevels(begin, end);
  if (levels.size() != hashes.size()) return Fail(Code::kInvalid, "compact range: wrong number of hashes");
  CompactRange range(begin);
  range.end_ = end;
  for (std::size_t i = 0; i < levels.size(); ++i) range.stack_.push_back({levels[i], hashes[i]});
  return range;
}

void CompactRange::PushSubtree(unsigned level, const Hash& root) {
  STELE_CHECK(end_ % (std::uint64_t{1} << level) == 0);
  stack_.push_back({level, root});
  end_ += std::uint64_t{1} << level;
  MergeTop();
}

void CompactRange::MergeTop() {
  while (stack_.size() >= 2) {
    const Subtree& right = stack_[stack_.size() - 1];
    const Subtree& left = stack_[stack_.size() - 2];
    if (left.level != right.level) return;
    const std::uint64_t left_begin = end_ - (std::uint64_t{2} << right.level);
    if (left_begin % (std::uint64_t{2} << right.level) != 0) return;
    const Subtree parent{right.level + 1, NodeHash(left.hash, right.hash)};
    stack_.pop_back();
    stack_.back() = parent;
  }
}

Result<void> CompactRange::Extend(const CompactRange& next) {
  if (next.begin_ != end_) return Fail(Code::kInvalid, "compact range: does not continue this one");
  for (const Subtree& subtree : next.stack_) {
    if (end_ % (std::uint64_t{1} << subtree.level) != 0) return Fail(Code::kInvalid, "compact range: misaligned");
    PushSubtree(subtree.level, subtree.hash);
  }
  return {};
}

std::vector<Hash> CompactRange::Hashes() const {
  std::vector<Hash> hashes;
  hashes.reserve(stack_.size());
  for (const Subtree& subtree : stack_) hashes.push_back(subtree.hash);
  return hashes;
}

Hash CompactRange::Root() const {
  STELE_CHECK(begin_ == 0);
  if (stack_.empty()) return EmptyTreeHash();
  Hash root = stack_.back().hash;
  for (std::size_t i = stack_.size() - 1; i > 0; --i) root = NodeHash(stack_[i - 1].hash, root);
  return root;
}

Hash TileRoot(std::span<const Hash> leaves) {
  STELE_CHECK(leaves.size() == limits::kTileLeaves);
  std::array<Hash, limits::kTileLeaves> level;
  std::copy(leaves.begin(), leaves.end(), level.begin());
  constexpr std::byte kNodePrefix[1] = {std::byte{1}};
  for (std::size_t width = limits::kTileLeaves; width > 1; width /= 2) {
    const ByteView children = std::as_bytes(std::span(level).first(width));
    if (width == 2) return NodeHash(level[0], level[1]);
    for (std::size_t i = 0; i < width / 2; i += 2) {
      Hash first;
      Hash second;
      Sha256Pair({kNodePrefix, children.subspan(i * 64, 64)}, {kNodePrefix, children.subspan(i * 64 + 64, 64)}, first,
                 second);
      level[i] = first;  // children of i and i + 1 lie at 2i and above: already read
      level[i + 1] = second;
    }
  }
  return level[0];
}

Result<Hash> RootOf(NodeSource& nodes, std::uint64_t size) {
  if (size == 0) return EmptyTreeHash();
  return RangeRoot(nodes, 0, size);
}

Result<std::vector<Hash>> InclusionProof(NodeSource& nodes, std::uint64_t index, std::uint64_t size) {
  if (index >= size) return Fail(Code::kInvalid, "inclusion proof: index outside the tree");
  std::vector<Hash> path;
  STELE_TRY_VOID(InclusionPath(nodes, index, 0, size, path));
  return path;
}

Result<std::vector<Hash>> ConsistencyProof(NodeSource& nodes, std::uint64_t old_size, std::uint64_t new_size) {
  if (old_size > new_size) return Fail(Code::kInvalid, "consistency proof: the old tree is larger");
  std::vector<Hash> path;
  if (old_size == 0 || old_size == new_size) return path;
  STELE_TRY_VOID(SubProof(nodes, old_size, 0, new_size, true, path));
  return path;
}

//= RFC 9162 section 2.1.3.2 (Verifying an Inclusion Proof)
bool VerifyInclusion(const Hash& leaf, std::uint64_t index, std::uint64_t size, std::span<const Hash> proof,
                     const Hash& root) {
  if (index >= size) return false;
  std::uint64_t fn = index;
  std::uint64_t sn = size - 1;
  Hash r = leaf;
  for (const Hash& p : proof) {
    if (sn == 0) return false;
    if ((fn & 1U) != 0 || fn == sn) {
      r = NodeHash(p, r);
      while ((fn & 1U) == 0 && fn != 0) {
        fn >>= 1U;
        sn >>= 1U;
      }
    } else {
      r = NodeHash(r, p);
    }
    fn >>= 1U;
    sn >>= 1U;
  }
  return sn == 0 && r == root;
}

//= RFC 9162 section 2.1.4.2 (Verifying Consistency between Two Tree Heads)
bool VerifyConsistency(std::uint64_t old_size, std::uint64_t new_size, const Hash& old_root, const Hash& new_root,
                       std::span<const Hash> proof) {
  if (old_size > new_size) return false;
  if (old_size == new_size) return proof.empty() && old_root == new_root;
  if (old_size == 0) return proof.empty() && old_root == EmptyTreeHash();
  std::vector<Hash> path(proof.begin(), proof.end());
  if (std::has_single_bit(old_size)) path.insert(path.begin(), old_root);
  if (path.empty()) return false;
  std::uint64_t fn = old_size - 1;
  std::uint64_t sn = new_size - 1;
  while ((fn & 1U) != 0) {
    fn >>= 1U;
    sn >>= 1U;
  }
  Hash fr = path[0];
  Hash sr = path[0];
  for (std::size_t i = 1; i < path.size(); ++i) {
    if (sn == 0) return false;
    if ((fn & 1U) != 0 || fn == sn) {
      fr = NodeHash(path[i], fr);
      sr = NodeHash(path[i], sr);
      while ((fn & 1U) == 0 && fn != 0) {
        fn >>= 1U;
        sn >>= 1U;
      }
    } else {
      sr = NodeHash(sr, path[i]);
    }
    fn >>= 1U;
    sn >>= 1U;
  }
  return sn == 0 && fr == old_root && sr == new_root;
}

}  // namespace stele::ledger
