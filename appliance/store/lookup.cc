#include "appliance/store/lookup.h"

#include <algorithm>
#include <functional>

#include "appliance/base/limits.h"
#include "appliance/store/segment.h"
#include "appliance/store/unit_scan.h"

namespace stele::store {
namespace {

// The index in `units` of the one that holds a record: the last whose superblock does not begin behind it.
Result<std::size_t> UnitOf(DeviceShelf& shelf, const std::vector<std::uint32_t>& units, std::uint64_t sequence) {
  for (std::size_t i = units.size(); i > 0; --i) {
    STELE_TRY(const auto device, shelf.Open(units[i - 1], false));
    const auto superblock = ReadSuperblock(*device);
    if (!superblock && superblock.error().code == Code::kIo) return tl::unexpected(superblock.error());
    if (superblock && superblock->first_sequence <= sequence) return i - 1;
  }
  return Fail(Code::kNotFound, "no unit holds record " + std::to_string(sequence));
}

// Calls `visit` for each block from the one holding `sequence` on, until it returns false or the log ends.
Result<void> VisitBlocks(DeviceShelf& shelf, std::uint64_t sequence,
                         const std::function<Result<bool>(const ledger::DecodedBlock&)>& visit) {
  STELE_TRY(const std::vector<std::uint32_t> units, shelf.List());
  STELE_TRY(std::size_t index, UnitOf(shelf, units, sequence));
  std::vector<ledger::Abandon> abandons;
  for (std::size_t i = index; i < units.size(); ++i) {
    STELE_TRY(const auto device, shelf.Open(units[i], false));
    STELE_TRY(const std::vector<ledger::Abandon> some, AbandonsIn(*device, units[i]));
    abandons.insert(abandons.end(), some.begin(), some.end());
  }
  for (; index < units.size(); ++index) {
    STELE_TRY(const auto device, shelf.Open(units[index], false));
    UnitScan scan(*device, units[index], abandons);
    while (true) {
      STELE_TRY(const ScanStep step, scan.Next());
      if (step.what != ScanStep::What::kBlock) break;
      if (step.header.type != ledger::BlockType::kData || step.header.end_sequence() <= sequence) continue;
      STELE_TRY(const ledger::DecodedBlock block, ledger::DecodeBlock(step.bytes));
      STELE_TRY(const bool more, visit(block));
      if (!more) return {};
    }
  }
  return {};
}

}  // namespace

Result<FoundEntry> EntryAt(DeviceShelf& shelf, std::uint64_t sequence) {
  Result<FoundEntry> found = Fail(Code::kNotFound, "the log does not hold record " + std::to_string(sequence));
  STELE_TRY_VOID(VisitBlocks(shelf, sequence, [&](const ledger::DecodedBlock& block) -> Result<bool> {
    const std::uint64_t first = block.header.first_sequence;
    if (first <= sequence) found = FoundEntry{static_cast<record::Kind>(block.kinds[sequence - first]), ToBytes(block.Payload(sequence - first))};
    return false;
  }));
  return found;
}

Result<Bytes> PayloadAt(DeviceShelf& shelf, std::uint64_t sequence) {
  STELE_TRY(FoundEntry found, EntryAt(shelf, sequence));
  return std::move(found.payload);
}

Result<ledger::CompactRange> RangeOf(DeviceShelf& shelf, std::uint64_t begin, std::uint64_t end) {
  ledger::CompactRange range(begin);
  if (begin >= end) return range;
  STELE_TRY_VOID(VisitBlocks(shelf, begin, [&](const ledger::DecodedBlock& block) -> Result<bool> {
    if (block.header.first_sequence > range.end()) return Fail(Code::kCorrupt, "range: records are missing");
    const auto entries = block.Entries();
    for (std::size_t i = range.end() - block.header.first_sequence; i < entries.size() && range.end() < end; ++i) {
      range.Push(LeafHash(entries[i]));
    }
    return range.end() < end;
  }));
  if (range.end() != end) return Fail(Code::kNotFound, "range: the log is shorter");
  return range;
}

Result<TailSummary> SummarizeFrom(DeviceShelf& shelf, std::uint64_t sequence, std::uint64_t size) {
  TailSummary tail;
  if (sequence >= size) return tail;
  STELE_TRY_VOID(VisitBlocks(shelf, sequence, [&](const ledger::DecodedBlock& block) -> Result<bool> {
    const std::uint64_t first = block.header.first_sequence;
    for (std::size_t i = sequence > first ? sequence - first : 0; i < block.kinds.size(); ++i) {
      const auto kind = static_cast<record::Kind>(block.kinds[i]);
      if (first + i >= size || kind == record::Kind::kCheckpoint || kind == record::Kind::kAnchor) continue;
      if (tail.records++ == 0) tail.since_wall_ns = block.wall_ns[i];
    }
    return block.header.end_sequence() < size;
  }));
  return tail;
}

}  // namespace stele::store
