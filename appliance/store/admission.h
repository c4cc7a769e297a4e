// Who may still write when the disk is full: payload stops first, then access entries; the rest of the reserve is for
// Stele's own life. Pure.
#pragma once

#include <algorithm>
#include <cstdint>

#include "appliance/base/limits.h"

namespace stele::store {

enum class Need : std::uint8_t {
  kPayload,  // syslog, json
  kAccess,   // without it nothing may be read
  kRoutine,  // loss, clock: they can wait and lose nothing
  kClosing,  // lifecycle, checkpoint, anchor, alarm: what the log needs to go on and to end properly
};

// store.reserve_bytes where nobody says it.
[[nodiscard]] constexpr std::uint64_t DefaultReserveBytes(std::uint64_t segment_bytes) {
  return std::clamp(segment_bytes / 4, limits::kReserveBytesMin, limits::kReserveBytesDefaultMax);
}

// What must be left behind an entry of this need.
[[nodiscard]] constexpr std::uint64_t FloorBytes(Need need, std::uint64_t reserve_bytes) {
  switch (need) {
    case Need::kPayload:
      return reserve_bytes;
    case Need::kAccess:
      return reserve_bytes / 2;
    case Need::kRoutine:
      return reserve_bytes / 8;
    case Need::kClosing:
      return 0;
  }
  return reserve_bytes;
}

[[nodiscard]] constexpr bool Admits(Need need, std::uint64_t room_bytes, std::uint64_t wanted_bytes,
                                    std::uint64_t reserve_bytes) {
  return room_bytes >= wanted_bytes && room_bytes - wanted_bytes >= FloorBytes(need, reserve_bytes);
}

}  // namespace stele::store
