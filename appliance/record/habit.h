// How often a source speaks: what "silent for longer than usual" is measured against. Pure arithmetic, any clock.
//
// What comes within kBurstNs of the last counts as one burst. The mean interval between bursts moves by 1/32 of the difference
// each time, so it follows a source that changes its ways within a few dozen bursts.
#pragma once

#include <algorithm>
#include <cstdint>

namespace stele::record {

struct Habit {
  static constexpr std::int64_t kBurstNs = 100'000'000;
  static constexpr std::int64_t kWeight = 32;
  static constexpr std::uint64_t kIntervalsMin = 8;  // fewer are no habit, however many messages came

  std::uint64_t messages = 0;
  std::uint64_t intervals = 0;
  std::int64_t last_ns = 0;
  std::int64_t mean_interval_ns = 0;
  std::int64_t longest_interval_ns = 0;

  void Heard(std::int64_t now_ns, std::uint64_t count = 1) {
    const std::int64_t interval_ns = now_ns - last_ns;
    if (messages > 0 && interval_ns >= kBurstNs) {
      mean_interval_ns += intervals == 0 ? interval_ns : (interval_ns - mean_interval_ns) / kWeight;
      longest_interval_ns = std::max(longest_interval_ns, interval_ns);
      ++intervals;
    }
    messages += count;
    if (messages == count || interval_ns > 0) last_ns = now_ns;  // records of one frame may be a little out of order
  }

  // From which age on it is silent; 0: it has no habit yet.
  [[nodiscard]] std::int64_t SilenceNs(std::uint64_t messages_min, std::int64_t factor, std::int64_t least_ns) const {
    if (messages < messages_min || intervals < kIntervalsMin) return 0;
    constexpr std::int64_t kMost = std::int64_t{366} * 86'400 * 1'000'000'000;
    const std::int64_t usual_ns = mean_interval_ns > kMost / factor ? kMost : factor * mean_interval_ns;
    return std::max(least_ns, usual_ns);
  }
};

}  // namespace stele::record
