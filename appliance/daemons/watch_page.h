// What stele-guard-watch knows of its sockets, in a page that the supervisor holds: when one watcher dies, the next
// says exactly how many packets died with it (those of rows that were in no entry yet).
//
// A group's state changes as a whole: it is written beside the one that is valid, and then made valid.
// Thread safety: one writer.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "appliance/base/fd.h"
#include "appliance/base/limits.h"
#include "appliance/base/result.h"
#include "netfilter/log_prefix.h"

namespace stele::watch {

// Of one socket, since it was made.
struct GroupState {
  std::uint64_t seen = 0;         // packets that were delivered, or are known to be missed
  std::uint64_t missed = 0;       // of these
  std::uint64_t passed_over = 0;  // by their numbers
  std::uint64_t dropped = 0;      // by the kernel's count, of which dropped_low is the lower half
  std::uint32_t dropped_low = 0;
  std::uint32_t next = 0;  // the number of the next packet
};

struct WatchPage {
  static constexpr std::uint64_t kMagic = 0x3148435457455453;  // "STEWTCH1"
  static constexpr std::size_t kGroups = netfilter::kLogGroups * (limits::kZones + 1);
  struct Group {
    std::atomic<std::uint64_t> turn;  // even: the first is valid
    std::array<GroupState, 2> states;
  };
  std::uint64_t magic;
  std::atomic<std::uint64_t> reported;   // packets in entries that are in the log
  std::atomic<std::uint64_t> under_way;  // in entries that may be
  std::array<Group, kGroups> groups;

  [[nodiscard]] GroupState StateOf(std::size_t group) const { return groups[group].states[groups[group].turn % 2]; }
  void SetState(std::size_t group, const GroupState& state);
  [[nodiscard]] std::uint64_t Seen() const { return SumOf(&GroupState::seen); }
  [[nodiscard]] std::uint64_t Missed() const { return SumOf(&GroupState::missed); }

 private:
  [[nodiscard]] std::uint64_t SumOf(std::uint64_t GroupState::*member) const;
};

[[nodiscard]] Result<UniqueFd> MakeWatchPage();

struct UnmapWatchPage {
  void operator()(WatchPage* page) const;
};
using WatchPagePtr = std::unique_ptr<WatchPage, UnmapWatchPage>;
[[nodiscard]] Result<WatchPagePtr> MapWatchPage(int fd);

}  // namespace stele::watch
