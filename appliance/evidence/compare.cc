#include "appliance/evidence/compare.h"

#include <algorithm>

namespace stele::evidence {
namespace {

std::string Both(std::uint64_t earlier, std::uint64_t later) {
  return std::to_string(earlier) + " then, " + std::to_string(later) + " later";
}

class Comparer {
 public:
  void Require(bool holds, const char* name, const char* word, std::string detail) {
    checks_.push_back({name, holds ? Outcome::kPassed : Outcome::kFailed, std::move(detail), holds ? "" : word, {}});
  }
  void Cannot(const char* name, std::string detail) {
    checks_.push_back({name, Outcome::kSkipped, std::move(detail), "CANNOT_TELL", {}});
  }
  [[nodiscard]] Comparison Done() {
    Comparison out;
    out.word = "OK";
    const auto take = [&](Outcome outcome) {
      const auto bad = std::find_if(checks_.begin(), checks_.end(), [outcome](const Check& check) {
        return check.outcome == outcome && !check.word.empty();
      });
      if (bad == checks_.end()) return false;
      out.word = bad->word;
      out.detail = bad->name + ": " + bad->detail;
      return true;
    };
    if (!take(Outcome::kFailed) && !take(Outcome::kSkipped)) out.detail = "the later bundle continues the earlier one";
    out.checks = std::move(checks_);
    return out;
  }

 private:
  std::vector<Check> checks_;
};

// The earlier bundle's anchors must be those that the later one lists under the same numbers.
void CompareChains(const Facts& earlier, const Facts& later, Comparer& comparer) {
  std::size_t common = 0;
  for (const AnchorEvent& anchor : earlier.anchors) {
    const auto same = std::find_if(later.anchors.begin(), later.anchors.end(),
                                   [&anchor](const AnchorEvent& other) { return other.number == anchor.number; });
    if (same == later.anchors.end()) continue;
    ++common;
    if (same->digest != anchor.digest) {
      return comparer.Require(false, "chain", "TAMPERED", "anchor " + std::to_string(anchor.number) + " is another one");
    }
  }
  if (common == 0 && earlier.anchor != 0) return comparer.Cannot("chain", "no anchor is listed in both");
  comparer.Require(true, "chain", "", std::to_string(common) + " anchors are in both");
}

void CompareTrees(const Facts& earlier, const Facts& later, Comparer& comparer) {
  if (later.size < earlier.size) return comparer.Require(false, "tree", "ROLLED_BACK", Both(earlier.size, later.size) + " entries");
  bool proven = false;
  for (const auto& [size, root] : earlier.roots) {
    const auto same = later.roots.find(size);
    if (same == later.roots.end()) continue;
    if (same->second != root) {
      return comparer.Require(false, "tree", "TAMPERED", "the first " + std::to_string(size) + " entries are others");
    }
    proven = proven || size == earlier.size;
  }
  if (!proven) {
    return comparer.Cannot("tree", "the later bundle holds no proof for size " + std::to_string(earlier.size) + ": make it with --since");
  }
  comparer.Require(true, "tree", "", Both(earlier.size, later.size) + " entries: a continuation");
}

}  // namespace

Comparison Compare(const Facts& one, const Facts& other) {
  const bool in_order = one.created_ns <= other.created_ns;
  const Facts& earlier = in_order ? one : other;
  const Facts& later = in_order ? other : one;
  Comparer comparer;
  comparer.Require(earlier.log_id == later.log_id, "same_log", "TAMPERED", "log " + earlier.log_id + " and " + later.log_id);
  if (earlier.epoch != later.epoch) {  // another TPM state and another key: only the tree says that one continues the other
    comparer.Require(earlier.epoch < later.epoch, "epoch", "ROLLED_BACK", "epoch: " + Both(earlier.epoch, later.epoch));
    CompareTrees(earlier, later, comparer);
    return comparer.Done();
  }
  comparer.Require(earlier.vkey == later.vkey, "keys", "TAMPERED", "the checkpoint key");
  comparer.Require(earlier.counter <= later.counter, "counter", "ROLLED_BACK", "C: " + Both(earlier.counter, later.counter));
  comparer.Require(earlier.reset_count <= later.reset_count, "boots", "ROLLED_BACK",
                   "resetCount: " + Both(earlier.reset_count, later.reset_count));
  const bool same_boot = earlier.reset_count == later.reset_count;
  comparer.Require(!same_boot || earlier.clock_ms <= later.clock_ms, "clock", "ROLLED_BACK",
                   same_boot ? "TPM clock in ms: " + Both(earlier.clock_ms, later.clock_ms) : "another boot: not compared");
  CompareChains(earlier, later, comparer);
  CompareTrees(earlier, later, comparer);
  return comparer.Done();
}

}  // namespace stele::evidence
