// One pass over entries in ascending order that gives the root of the whole tree, and of its beginnings at marked sizes:
// a proof of place for every entry, and of consistency for every mark (docs/format.md, "Evidence bundle", Records).
//
// Between entries lie gaps. A gap is cut at every mark inside it; each part is given as its compact range (ledger/merkle.h).
// Memory: O(log size). Pure; thread safety: none needed.
#pragma once

#include <map>
#include <vector>

#include "appliance/ledger/merkle.h"

namespace stele::evidence {

inline constexpr std::size_t kMarksMax = 1'024;
inline constexpr std::uint64_t kTreeSizeMax = std::uint64_t{1} << 53U;

// The parts of [begin, end): cut at every mark strictly inside. `marks` ascend.
struct GapPart {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};
[[nodiscard]] std::vector<GapPart> CutGap(std::uint64_t begin, std::uint64_t end, const std::vector<std::uint64_t>& marks);

class TreeWalk {
 public:
  TreeWalk() = default;
  // size <= kTreeSizeMax; marks ascend strictly, 0 < mark <= size.
  TreeWalk(std::uint64_t size, std::vector<std::uint64_t> marks);

  // Takes the hashes of the gap [end(), sequence) from `tree`. kInvalid: not ascending, outside the tree, or too few hashes.
  [[nodiscard]] Result<void> SkipTo(std::uint64_t sequence, Reader& tree);
  // The entry at end().
  void Push(const Hash& leaf);

  [[nodiscard]] std::uint64_t end() const { return range_.end(); }
  [[nodiscard]] Hash Root() const { return range_.Root(); }  // of the tree of end() leaves
  [[nodiscard]] const std::map<std::uint64_t, Hash>& roots() const { return roots_; }  // at the marks passed

 private:
  void NoteMark();
  std::uint64_t size_ = 0;
  std::vector<std::uint64_t> marks_;
  std::size_t next_mark_ = 0;
  ledger::Frontier range_;
  std::map<std::uint64_t, Hash> roots_;
};

}  // namespace stele::evidence
