// Who may fetch the static tree (/log/...), and what is said of it in the log. A mirror fetches thousands of tiles, so
// there is no access entry for each: one before a reader's first answer, then one a minute with the counts while it
// goes on, and one at the end. Tiles hold hashes; entry bundles hold time, length and source of every record. Thread
// safety: none.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace stele::query {

enum class TreeServe : std::uint8_t { kOff, kSignedIn, kAnyone };
[[nodiscard]] std::optional<TreeServe> ParseTreeServe(std::string_view word);  // off, signed-in, anyone

struct TreeAccess {
  TreeServe serve = TreeServe::kSignedIn;
  bool entries = false;  // entry bundles too; the local operator has them always
};

struct TreeCounts {
  std::uint64_t checkpoints = 0;
  std::uint64_t tiles = 0;
  std::uint64_t bundles = 0;
  std::uint64_t bytes = 0;

  [[nodiscard]] bool empty() const { return checkpoints + tiles + bundles == 0; }
  [[nodiscard]] std::string Text() const;  // "checkpoints 1, tiles 120, bundles 0, bytes 983040"
};

// `Reader` is whatever the caller needs to write an entry for one of them later.
template <typename Reader>
class TreeReaders {
 public:
  static constexpr std::int64_t kWindowNs = 60'000'000'000;
  static constexpr std::size_t kReadersMax = 1'024;  // above it every request has its own entry

  // True: not known yet (or too many are): the entry is written before this answer, and Count() is not called for it.
  bool Meets(const std::string& who, const Reader& reader, std::int64_t now_ns) {
    if (readers_.count(who) != 0) return false;
    if (readers_.size() < kReadersMax) readers_.emplace(who, Window{reader, {}, now_ns});
    return true;
  }
  TreeCounts& CountsOf(const std::string& who) { return readers_.at(who).counts; }

  struct Summary {
    Reader reader;
    TreeCounts counts;
  };
  // Windows that are over by `now_ns`; who fetched nothing more is forgotten.
  std::vector<Summary> Due(std::int64_t now_ns) {
    std::vector<Summary> due;
    for (auto at = readers_.begin(); at != readers_.end();) {
      Window& window = at->second;
      if (now_ns - window.since_ns < kWindowNs) {
        ++at;
      } else if (window.counts.empty()) {
        at = readers_.erase(at);
      } else {
        due.push_back({window.reader, window.counts});
        window.counts = {};
        window.since_ns = now_ns;
        ++at;
      }
    }
    return due;
  }

 private:
  struct Window {
    Reader reader;
    TreeCounts counts;
    std::int64_t since_ns = 0;
  };
  std::map<std::string, Window> readers_;
};

}  // namespace stele::query
