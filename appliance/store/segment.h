// A segment: one write-once unit. Sector 0 is the superblock, then blocks in order, then a seal. docs/format.md.
//
//   superblock := magic[8] version:u16 reserved:u16 unit:u32 size_bytes:u64 log_id[32] first_sequence:u64 head[32]
//                 created_wall_ns:i64 landmarks(4 x u64, u32) session[32] session_block:u64
//                 frontier_count:u32 frontier[32]* abandon_count:u32 (unit:u32 from:u64 to:u64)*   ... zero ...
//                 mac[32] checksum:u32                                       the last 36 bytes of the sector
//
// The landmarks are those below first_sequence: start-up reads one segment and finds the entries it needs by number.
#pragma once

#include <vector>

#include "appliance/base/seams.h"
#include "appliance/ledger/block.h"

namespace stele::store {

inline constexpr std::size_t kSuperblockAbandonsMax = 64;

struct Superblock {
  std::uint32_t unit = 0;
  std::uint64_t size_bytes = 0;
  Hash log_id{};
  std::uint64_t first_sequence = 0;
  Hash head{};
  std::int64_t created_wall_ns = 0;
  ledger::Landmarks landmarks;
  Hash session{};
  std::uint64_t session_block = 0;
  std::vector<Hash> frontier;
  std::vector<ledger::Abandon> abandons;
  Hash mac{};
};

// `mac` is computed here with the chain's current key (the chain is not advanced).
[[nodiscard]] Bytes EncodeSuperblock(const Superblock& superblock, const ledger::MacChain& mac);
// kNotFound: the sector is all zero. kCorrupt: anything else wrong.
[[nodiscard]] Result<Superblock> DecodeSuperblock(ByteView sector);
// Of a unit. kNotFound too: the device is smaller than a sector.
[[nodiscard]] Result<Superblock> ReadSuperblock(Device& device);
[[nodiscard]] Hash SuperblockMacDigest(ByteView sector);

}  // namespace stele::store
