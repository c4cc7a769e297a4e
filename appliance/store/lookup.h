// Single look-ups for recovery that cost a few superblocks and one unit, not the whole log.
#pragma once

#include "appliance/base/seams.h"
#include "appliance/ledger/merkle.h"
#include "appliance/record/entry.h"

namespace stele::store {

// One committed record. kNotFound when the log does not hold it.
struct FoundEntry {
  record::Kind kind = record::Kind::kSyslog;
  Bytes payload;
};
[[nodiscard]] Result<FoundEntry> EntryAt(DeviceShelf& shelf, std::uint64_t sequence);
// The payload of one committed record. kNotFound when the log does not hold it.
[[nodiscard]] Result<Bytes> PayloadAt(DeviceShelf& shelf, std::uint64_t sequence);

// The compact range [begin, end) of the log's tree, recomputed from the records.
[[nodiscard]] Result<ledger::CompactRange> RangeOf(DeviceShelf& shelf, std::uint64_t begin, std::uint64_t end);

// What lies at and above a sequence number, checkpoint and anchor entries not counted: the tail that nothing vouches for yet.
struct TailSummary {
  std::uint64_t records = 0;
  std::int64_t since_wall_ns = 0;  // receive time of the first of them, 0 when there is none
};
[[nodiscard]] Result<TailSummary> SummarizeFrom(DeviceShelf& shelf, std::uint64_t sequence, std::uint64_t size);

}  // namespace stele::store
