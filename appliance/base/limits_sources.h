// The bounds of the sources: more of limits.h.
#pragma once

#include "appliance/base/limits.h"

namespace stele::limits {

// Sources.
inline constexpr std::size_t kSourcesNamed = 1'024;             // [[sources.named]]
inline constexpr std::size_t kSourceRulesBytes = 40 * kKiB;     // all of [sources] as JSON: it travels in one frame
inline constexpr std::size_t kSourceAddresses = 64;             // of one name
inline constexpr std::size_t kSourceNameBytes = 64;
inline constexpr std::int64_t kSilenceSecondsMax = 366 * 86'400;
inline constexpr std::size_t kSourcesCarried = 4'096;           // declared again at a stop, to keep their numbers
inline constexpr std::size_t kSourceAlarmsPerMinute = 32;       // then one alarm that says how many more
inline constexpr std::size_t kSilentSourcesListed = 32;         // in the status
inline constexpr std::size_t kSilentNumbersListed = 2'048;      // likewise, by number only
inline constexpr std::size_t kRefusedPeersListed = 32;          // per listener, one loss entry each, the rest in one more
inline constexpr std::int64_t kRefusedEntryIntervalMs = 60'000; // between two such sets of entries

static_assert(kSourceRulesBytes < kChannelFrameBytes);

}  // namespace stele::limits
