// Single look-ups for recovery that cost a few superblocks and one unit, not the whole log.
#pragma once

#include "appliance/base/seams.h"
#include "appliance/ledger/merkle.h"

namespace stele::store {

// The payload of one committed record. kNotFound when the log does not hold it.
[[nodiscard]] Result<Bytes> PayloadAt(DeviceShelf& shelf, std::uint64_t sequence);

// The compact range [begin, end) of the log's tree, recomputed from the records.
[[nodiscard]] Result<ledger::CompactRange> RangeOf(DeviceShelf& shelf, std::uint64_t begin, std::uint64_t end);

}  // namespace stele::store
