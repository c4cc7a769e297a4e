// Walks the blocks of one unit from its superblock on, deciding at each place: a whole block, the end, a torn tail, damage.
//
// Torn = every bad sector is all zero (a write that did not reach the medium). Anything else that is wrong is damage. A torn
// tail is never overwritten: its successor (the next block, or the next unit's superblock) records `abandons [unit, from, to)`;
// so are whole blocks that were never acknowledged. The walk is told of them beforehand and skips them. A gap with blocks
// behind it that nobody abandoned is no torn tail but damage.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "appliance/base/limits.h"
#include "appliance/base/seams.h"
#include "appliance/ledger/block.h"
#include "appliance/store/segment.h"

namespace stele::store {

struct ScanStep {
  enum class What : std::uint8_t { kBlock, kEnd, kTorn, kDamaged };
  What what = What::kEnd;
  std::uint64_t offset_bytes = 0;     // of the block, or where the log ends in this unit
  std::uint64_t end_bytes = 0;        // after the block; for torn or damaged: after the last byte that is not zero
  ledger::BlockHeader header;         // kBlock; kDamaged too when header_good
  ledger::BlockTables tables;
  Bytes bytes;                        // the whole block
  bool header_good = false;
  std::vector<std::uint32_t> bad_sectors;
  std::string detail;
};

class UnitScan {
 public:
  // `abandons` may name other units too; those are ignored.
  UnitScan(Device& device, std::uint32_t unit, std::vector<ledger::Abandon> abandons)
      : device_(device), unit_(unit), abandons_(std::move(abandons)) {}
  // kIo when the device cannot be read. After kEnd, kTorn or kDamaged there is nothing more.
  Result<ScanStep> Next();

 private:
  Result<ScanStep> ReadBlockAt(std::uint64_t offset_bytes);
  Result<bool> BlocksBehind(std::uint64_t from_bytes);
  Result<std::uint64_t> LastNonZeroEnd(std::uint64_t from_bytes);

  Device& device_;
  std::uint32_t unit_;
  std::vector<ledger::Abandon> abandons_;
  std::uint64_t at_ = limits::kSectorBytes;
};

// Where an abandoned stretch that begins at `offset_bytes` ends; nothing when none begins there.
[[nodiscard]] std::optional<std::uint64_t> AbandonedTo(const std::vector<ledger::Abandon>& abandons, std::uint32_t unit,
                                                       std::uint64_t offset_bytes);
// The next block header at or behind an offset that says it belongs there; kNotFound when there is none.
[[nodiscard]] Result<ledger::BlockHeader> NextHeader(Device& device, std::uint32_t unit, std::uint64_t from_bytes);
// Everything that the superblock and the blocks of one unit abandon, damaged stretches stepped over.
[[nodiscard]] Result<std::vector<ledger::Abandon>> AbandonsIn(Device& device, std::uint32_t unit);
// The same of all units, expired ones too.
[[nodiscard]] Result<std::vector<ledger::Abandon>> AbandonsInAll(DeviceShelf& shelf);

}  // namespace stele::store
