// The entry: the unit of the log. Its SHA-256 over 0x00 || entry is at once the RFC 6962 leaf hash and the chain link.
//
//   entry := version:u8 kind:u8 flags:u16 source:u32 sequence:u64 receive_wall_ns:i64
//            previous_leaf_hash[32] payload_commitment[32] payload_length:u32             92 bytes, little-endian
//
//   payload_commitment := SHA-256("stele/payload/v1" || salt[16] || peer || payload)
//   peer               := address[16] port:u16 (big-endian)    IPv6, or IPv4 as ::ffff:a.b.c.d; all zero when none
//
// Leaf 0's previous hash is the log id. The version fixes every algorithm.
#pragma once

#include <array>
#include <span>
#include <string>

#include "appliance/base/bytes.h"
#include "appliance/base/hash.h"

namespace stele::record {

enum class Kind : std::uint8_t {
  kSyslog = 1,
  kJson = 2,
  kSource = 3,
  kLoss = 4,
  kAccess = 5,
  kCheckpoint = 6,
  kAnchor = 7,
  kPolicy = 8,
  kAlarm = 9,
  kLifecycle = 10,
  kClock = 11,
  kEpoch = 12,
  kTombstone = 13,
};
inline constexpr std::uint8_t kKindMax = 13;
[[nodiscard]] const char* KindName(Kind kind);
[[nodiscard]] bool IsKind(std::uint8_t value);

// Bits of Entry::flags.
inline constexpr std::uint16_t kFlagTruncated = 1U << 0U;          // longer than the configured maximum; a loss entry follows
inline constexpr std::uint16_t kFlagIncomplete = 1U << 1U;         // the stream ended or stalled inside the message
inline constexpr std::uint16_t kFlagUnparsed = 1U << 2U;           // claimed to be JSON and is not
inline constexpr std::uint16_t kFlagPossibleDuplicate = 1U << 3U;  // sent again after a reconnect
inline constexpr std::uint16_t kFlagRestamped = 1U << 4U;          // the receiver's clock was more than 5 s off the ledger's
inline constexpr std::uint16_t kFlagFramingError = 1U << 5U;       // bytes kept where the framing was lost
inline constexpr std::uint16_t kFlagOverflowSource = 1U << 6U;     // the listener's source table was full
inline constexpr std::uint16_t kFlagIdentityMismatch = 1U << 7U;   // the peer's certificate does not name the host the message claims
inline constexpr std::uint16_t kFlagSignatureValid = 1U << 8U;     // signed by a registered source key, and right
inline constexpr std::uint16_t kFlagSignatureInvalid = 1U << 9U;   // signed, and wrong: kept and alarmed
inline constexpr std::uint16_t kFlagSignatureUnknown = 1U << 10U;  // signed by a key that is not registered
[[nodiscard]] std::string FlagNames(std::uint16_t flags);          // comma-separated, empty when none

inline constexpr std::uint8_t kEntryVersion = 1;
inline constexpr std::size_t kEntryBytes = 1 + 1 + 2 + 4 + 8 + 8 + 32 + 32 + 4;  // DO NOT CHANGE: hashed and on the wire
static_assert(kEntryBytes == 92);

inline constexpr std::size_t kSaltBytes = 16;
inline constexpr std::size_t kPeerBytes = 18;
using Salt = std::array<std::byte, kSaltBytes>;
using SaltKey = std::array<std::byte, 16>;
using Peer = std::array<std::byte, kPeerBytes>;
using EntryBytes = std::array<std::byte, kEntryBytes>;

[[nodiscard]] std::string PeerText(const Peer& peer);  // "192.0.2.1:514", "[2001:db8::1]:514", "" when all zero
[[nodiscard]] std::string PeerAddressText(const Peer& peer);

struct Entry {
  Kind kind = Kind::kSyslog;
  std::uint16_t flags = 0;
  std::uint32_t source = 0;
  std::uint64_t sequence = 0;
  std::int64_t receive_wall_ns = 0;
  Hash previous{};
  Hash commitment{};
  std::uint32_t payload_length = 0;
};

[[nodiscard]] EntryBytes EncodeEntry(const Entry& entry);
[[nodiscard]] Result<Entry> DecodeEntry(ByteView bytes);  // kCorrupt on any other version, kind or length

// What precedes the payload in its commitment: label, salt, peer.
using CommitmentPrefix = std::array<std::byte, 16 + kSaltBytes + kPeerBytes>;
[[nodiscard]] CommitmentPrefix MakeCommitmentPrefix(const Salt& salt, const Peer& peer);
[[nodiscard]] Hash CommitPayload(const Salt& salt, const Peer& peer, ByteView payload);

// The salts of one channel frame: salt i = AES-128(key, i as a 128-bit big-endian block). Disclose a salt, never the key.
[[nodiscard]] Salt DeriveSalt(const SaltKey& key, std::uint32_t position);
void DeriveSalts(const SaltKey& key, std::uint32_t first_position, std::span<Salt> out);

}  // namespace stele::record
