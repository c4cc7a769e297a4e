// Makes the room of expired units free again, before a log is opened: what stays of each is its spine.
//
// An order names where the log says so: a tombstone entry, a checkpoint above it, and the receipt of the TPM for that
// checkpoint. Everything is read from the log and checked before anything is changed: that retention and holds of today
// and every promise let the unit go, at the time that the TPM signed, is counted again here. A unit that does not match
// its tombstone bit by bit is evidence and stays. Cut off anywhere, the next call goes on: the spine is durable before
// the first byte of the unit goes, and a unit is there as long as its superblock is.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "appliance/ledger/spine.h"
#include "appliance/store/expiry.h"

namespace stele::store {

struct ReclaimOrder {
  std::uint32_t unit = 0;
  std::uint64_t tombstone = 0;  // sequence numbers of the entries
  std::uint64_t checkpoint = 0;
  std::uint64_t receipt = 0;
  bool done = false;  // followed; the log has no entry of it yet
};
[[nodiscard]] std::vector<std::uint32_t> UnitsOf(const std::vector<ReclaimOrder>& orders);
[[nodiscard]] std::string EncodeOrders(const std::vector<ReclaimOrder>& orders);
[[nodiscard]] Result<std::vector<ReclaimOrder>> DecodeOrders(ByteView text);  // kCorrupt; at most 65,536

// What only others can say.
struct ReclaimJudge {
  struct Anchored {
    std::uint64_t size = 0;
    Hash root{};
    std::int64_t wall_ns = 0;    // when the receipt was made
    std::uint64_t clock_ms = 0;  // of the TPM then, as it signed it
    std::uint64_t epoch = 0;
  };
  // Of a checkpoint entry's payload and a receipt's: that the log signed the one and the TPM the other, for it.
  // kDenied: not.
  std::function<Result<Anchored>(ByteView checkpoint, ByteView receipt)> anchored;
  std::int64_t retention_s = 0;  // of today: it may have become longer since
  std::vector<Hold> holds;       // of today
};

struct Reclaimed {
  std::vector<std::uint32_t> units;   // free now
  std::vector<ReclaimOrder> waiting;  // for a later start: sealed, a clock that is behind, a disk that failed
  std::vector<std::string> refused;   // one sentence for each order that was not followed, waiting or dropped
};

// kIo: the store cannot be read at all. What concerns one order is a sentence.
[[nodiscard]] Result<Reclaimed> Reclaim(DeviceShelf& shelf, const Hash& log_id, const std::vector<ReclaimOrder>& orders,
                                        const ReclaimJudge& judge);

// The spine of a unit that is there, made from its blocks and checked against its tombstone. kCorrupt: they do not
// match.
[[nodiscard]] Result<ledger::Spine> MakeSpine(DeviceShelf& shelf, const Hash& log_id, const Tombstone& tombstone);

}  // namespace stele::store
