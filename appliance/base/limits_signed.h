// The bounds of signed syslog (RFC 5848): more of limits.h. All are of one receiver unless they say otherwise; together
// they hold about 20 MiB at worst.
#pragma once

#include "appliance/base/limits.h"

namespace stele::limits {

inline constexpr std::size_t kSignedBlockBytes = 64 * kKiB;    // one Signature or Certificate Block message
inline constexpr std::size_t kSignedPayloadBytes = 16 * kKiB;  // a Payload Block, put together from its fragments
inline constexpr std::size_t kSignedFragments = 256;           // of one Payload Block
inline constexpr std::size_t kSignedPayloads = 2;              // being put together, of one source
inline constexpr std::size_t kSignedPayloadsBytes = 1 * kMiB;  // likewise of all sources
inline constexpr std::size_t kSignedKeysPerHost = 4;           // registered with the same host, tried one after the other
inline constexpr std::size_t kSignedSessionKeys = 8;           // reboot sessions whose key is known, of one source
inline constexpr unsigned kSignedChecksPerSecond = 400;        // DSA verifications, 0.1 to 0.3 ms each
inline constexpr unsigned kSignedChecksPerSourceSecond = 100;

inline constexpr std::size_t kSignedSources = 512;             // with a valid block: their messages are compared
inline constexpr std::size_t kSignedCandidates = 512;          // that only name a host with a registered key
inline constexpr std::size_t kSignedCandidateMessages = 128;   // remembered of one of them
inline constexpr std::size_t kSignedMessages = 8'192;          // remembered of one source
inline constexpr std::size_t kSignedMessagesAll = 65'536;
inline constexpr std::size_t kSignedExpected = 1'024;          // listed hashes of one source that no message fits yet
inline constexpr std::size_t kSignedSessions = 16;             // numberings followed, of one source
inline constexpr std::size_t kSignedGroups = 192;              // Signature Groups of one session: one per priority
inline constexpr std::size_t kSignedGroupsAll = 1'024;
inline constexpr std::size_t kSignedNumbers = 1'024;           // message numbers remembered of one group
inline constexpr std::size_t kSignedGaps = 64;                 // of one group
inline constexpr std::size_t kSignedRanges = 16;               // of message numbers, named in one alarm
inline constexpr unsigned kSignedRepeats = 16;                 // of blocks with nothing new: then it is a replay

inline constexpr std::int64_t kSignedGraceMs = 10'000;         // from a block to the last message it lists
inline constexpr std::int64_t kSignedListMs = 120'000;         // from a message to the block that lists it
inline constexpr std::int64_t kSignedQuietMs = 3'600'000;      // a source that is forgotten when room is needed

static_assert(kSignedMessages <= kSignedMessagesAll && kSignedGroups <= kSignedGroupsAll);
static_assert(kSignedChecksPerSourceSecond < kSignedChecksPerSecond);

}  // namespace stele::limits
