// The seal of a raw log partition, in its last whole 4,096 bytes (docs/format.md). Whoever seals a partition
// (appliance/store/partition_shelf.h) writes it, flushes, and then says BLKROSET; the initial RAM disk reads it at every
// start and seals the partition again before anything else runs.
//
//   mark := magic[8] = "STLSEAL1"  version:u32 = 1  reserved:u32 = 0  used_bytes:u64  check:u64  zero[4064]
//   little-endian
//
// used_bytes: up to where the partition was written; all before the mark where it was given up rather than filled. check: FNV-1a over the 24 bytes before it; it tells a torn mark
// from a whole one and proves nothing: a mark can only take away the right to write.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace stele::guard {

inline constexpr std::size_t kSealMarkBytes = 4096;  // DO NOT CHANGE: on disk

// Where it lies in a partition of that size; nothing where there is no room for it.
[[nodiscard]] constexpr std::optional<std::uint64_t> SealMarkAt(std::uint64_t partition_bytes) {
  const std::uint64_t whole_bytes = partition_bytes / kSealMarkBytes * kSealMarkBytes;
  return whole_bytes < kSealMarkBytes ? std::nullopt : std::optional(whole_bytes - kSealMarkBytes);
}
[[nodiscard]] std::array<std::byte, kSealMarkBytes> EncodeSealMark(std::uint64_t used_bytes);
// The used bytes; nothing where there is no whole mark.
[[nodiscard]] std::optional<std::uint64_t> DecodeSealMark(std::span<const std::byte, kSealMarkBytes> mark);

}  // namespace stele::guard
