// The seal of a raw log partition, in its last 4,096 bytes. Whoever seals a partition writes it, flushes, and then says
// BLKROSET; the initial RAM disk reads it at every start and seals the partition again before anything else runs.
//
//   mark := magic[8] = "STLSEAL1"  version:u32 = 1  reserved:u32 = 0  used_bytes:u64  check:u64  zero[4064]
//   little-endian
//
// used_bytes: how much of the partition was written. check: FNV-1a over the 24 bytes before it; it tells a torn mark
// from a whole one and proves nothing: a mark can only take away the right to write.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace stele::guard {

inline constexpr std::size_t kSealMarkBytes = 4096;  // DO NOT CHANGE: on disk

[[nodiscard]] std::array<std::byte, kSealMarkBytes> EncodeSealMark(std::uint64_t used_bytes);
// The used bytes; nothing where there is no whole mark.
[[nodiscard]] std::optional<std::uint64_t> DecodeSealMark(std::span<const std::byte, kSealMarkBytes> mark);

}  // namespace stele::guard
