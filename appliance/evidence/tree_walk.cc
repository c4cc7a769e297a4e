#include "appliance/evidence/tree_walk.h"

#include <algorithm>

namespace stele::evidence {

std::vector<GapPart> CutGap(std::uint64_t begin, std::uint64_t end, const std::vector<std::uint64_t>& marks) {
  std::vector<GapPart> parts;
  for (auto mark = std::upper_bound(marks.begin(), marks.end(), begin); mark != marks.end() && *mark < end; ++mark) {
    parts.push_back({begin, *mark});
    begin = *mark;
  }
  if (begin < end) parts.push_back({begin, end});
  return parts;
}

TreeWalk::TreeWalk(std::uint64_t size, std::vector<std::uint64_t> marks) : size_(size), marks_(std::move(marks)) {
  STELE_CHECK(size_ <= kTreeSizeMax);
  STELE_CHECK(marks_.size() <= kMarksMax);
}

Result<void> TreeWalk::SkipTo(std::uint64_t sequence, Reader& tree) {
  if (sequence < end() || sequence > size_) return Fail(Code::kInvalid, "entries that do not ascend, or lie outside the tree");
  for (const GapPart& part : CutGap(end(), sequence, marks_)) {
    for (const unsigned level : ledger::SubtreeLevels(part.begin, part.end)) {
      const Hash root = tree.ReadHash();
      if (!tree.ok()) return Fail(Code::kInvalid, "the tree's hashes end early");
      range_.PushSubtree(level, root);
    }
    NoteMark();
  }
  return {};
}

void TreeWalk::Push(const Hash& leaf) {
  range_.Push(leaf);
  NoteMark();
}

void TreeWalk::NoteMark() {
  if (next_mark_ == marks_.size() || marks_[next_mark_] != end()) return;
  roots_.emplace(end(), range_.Root());
  ++next_mark_;
}

}  // namespace stele::evidence
