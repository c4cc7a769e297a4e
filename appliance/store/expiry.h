// When the records of a unit may go: its retention is over by the calendar and by the appliance's own time, nobody
// holds it, and the log is anchored far behind it. docs/retention.md.
//
// The appliance's own time is the TPM's clock: milliseconds for which it had power, kept by the TPM, in every receipt
// that it signs. A clock that is set forward makes nothing older by it. What was promised when a unit was begun, or
// later while it was there, holds: a retention that is shortened concerns units begun from then on. Pure but for
// FactsOf() and EndOf(), which read.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "appliance/base/seams.h"
#include "appliance/store/segment.h"

namespace stele::store {

// A legal hold: nothing that was received in [from_ns, to_ns) goes while it is in force.
struct Hold {
  std::string name;
  std::string reason;
  std::int64_t from_ns = 0;
  std::int64_t to_ns = 0;
};

// What each unit begins with, and each start of the ledger: payload of a `policy` entry (docs/entries.md).
struct RetentionEntry {
  std::uint32_t unit = 0;
  std::int64_t retention_s = 0;  // 0: none, nothing goes
  std::vector<Hold> holds;
  std::uint64_t epoch = 0;
  std::optional<std::uint64_t> clock_ms;  // of the TPM when the entry was made; absent: not known
  bool begins = false;                    // it stands at the beginning of its unit: what it says is promised
};
[[nodiscard]] std::string EncodeRetention(const RetentionEntry& entry);
[[nodiscard]] std::optional<RetentionEntry> DecodeRetention(ByteView payload);  // nullopt: another entry

// Says that a unit goes: payload of a `tombstone` entry.
struct Tombstone {
  std::uint32_t unit = 0;
  std::uint64_t first_sequence = 0;
  std::uint64_t end_sequence = 0;
  Hash head{};  // of the chain after its last record
  Hash root{};  // of the tree of end_sequence records
  std::int64_t begun_wall_ns = 0;
  std::int64_t ended_wall_ns = 0;
  std::int64_t retention_s = 0;  // that it had
  std::int64_t age_s = 0;        // by the calendar
  std::int64_t aged_s = 0;       // in the appliance's own time
};
[[nodiscard]] std::string EncodeTombstone(const Tombstone& tombstone);
[[nodiscard]] Result<Tombstone> DecodeTombstone(ByteView payload);  // kCorrupt

// A unit that is there, as its superblock and its first entries say. Costs a few blocks.
struct UnitFacts {
  std::uint32_t unit = 0;
  std::uint64_t first_sequence = 0;
  Hash previous_head{};
  std::vector<Hash> frontier;  // at first_sequence
  std::int64_t begun_wall_ns = 0;
  std::optional<RetentionEntry> declared;
};
// kNotFound: it was never begun.
[[nodiscard]] Result<UnitFacts> FactsOf(DeviceShelf& shelf, std::uint32_t unit);

// Where a unit ends, from its own blocks: for one whose successor is not there any more. Reads the head of every block.
struct UnitEnd {
  std::uint64_t end_sequence = 0;
  Hash head{};
  std::vector<Hash> frontier;
  std::int64_t wall_ns = 0;
};
[[nodiscard]] Result<UnitEnd> EndOf(DeviceShelf& shelf, std::uint32_t unit);

struct RetentionNow {
  std::int64_t wall_ns = 0;
  std::optional<std::uint64_t> clock_ms;  // of the TPM; absent: nothing goes
  std::uint64_t epoch = 0;
  std::int64_t retention_s = 0;  // 0: nothing goes
  std::vector<Hold> holds;
  std::uint64_t anchored_size = 0;
};

// The hold that keeps what was received between two times; null: none does.
[[nodiscard]] const Hold* HeldBy(const std::vector<Hold>& holds, std::int64_t begun_wall_ns,
                                 std::int64_t ended_wall_ns);

// Which of `units` (ascending, all that are there) may go now; never one of the last two. `end_of`: EndOf() for one of
// them.
[[nodiscard]] std::vector<Tombstone> WhatExpired(const std::vector<UnitFacts>& units, const RetentionNow& now,
                                                 const std::function<Result<UnitEnd>(std::uint32_t unit)>& end_of);

}  // namespace stele::store
