// Offsets and bounds of the block format shared by its encoder and decoder. DO NOT CHANGE: on disk.
#pragma once

#include "appliance/base/limits.h"
#include "appliance/ledger/block.h"

namespace stele::ledger::fields {

inline constexpr std::string_view kMagic = "STELEBLK";
inline constexpr std::uint16_t kVersion = 1;

// magic version codec type header_bytes size_bytes unit offset session session_block first_sequence record_count payload_bytes
// commit min max previous_head head columns(2) counts(6) landmarks(4 x 8, 4) source_entries mac checksum
inline constexpr std::size_t kMac = 8 + 2 + 1 + 1 + 4 + 4 + 4 + 8 + 32 + 8 + 8 + 4 + 8 + 8 + 8 + 8 + 32 + 32 + 4 + 4 + 6 * 4 + 4 * 8 + 4 + 4;
inline constexpr std::size_t kSector0Checksum = kMac + kHashBytes;
inline constexpr std::size_t kFixedBytes = kSector0Checksum + 4;
static_assert(kFixedBytes == 288);

inline constexpr std::size_t kSaltRunBytes = 4 + 4 + 4 + 16;
inline constexpr std::size_t kFrameBytes = 4 + 4 + 4 + kHashBytes;
inline constexpr std::size_t kAbandonBytes = 4 + 8 + 8;
inline constexpr std::size_t kAbandonsMax = 64;

inline constexpr std::uint8_t kColumnConstant = 0;
inline constexpr std::uint8_t kColumnPlain = 1;
inline constexpr std::size_t kColumnBytesPerRecordMax = 1 + 2 + 4 + 8 + 4 + 4;

inline constexpr std::uint64_t kPayloadBytesMax = limits::kMessageBytesCeiling + limits::kBlockRawBytes;
inline constexpr std::uint64_t kBlockBytesMax = kPayloadBytesMax + 16 * limits::kMiB;

}  // namespace stele::ledger::fields
