// Checks a whole store, byte by byte, and names the first place that is wrong: the record if its frame still decodes, else
// the frame; a consistently recomputed block: the block; a recomputed interval: the checkpoint interval; a missing unit.
//
// Where a unit has expired, its spine stands for it: every hash in it is recomputed, and a tombstone below an anchored checkpoint
// must say that it goes, old enough for what was promised when it and later units were begun, and held by nobody.
//
// Knows the log's own bytes and its checkpoint key; what the TPM and the anchor's slots say is judged by the caller, who
// gets what that needs in the report. Reads every unit once; hashing runs on two threads.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "appliance/base/seams.h"
#include "appliance/ledger/block.h"
#include "appliance/ledger/note.h"

namespace stele::store {

struct Place {
  std::string what;  // "record" "frame" "block" "interval" "superblock" "segment" "padding"
  std::uint32_t unit = 0;
  std::uint64_t offset_bytes = 0;
  std::uint64_t first_sequence = 0;  // the records concerned: [first, end)
  std::uint64_t end_sequence = 0;
};

struct VerifyOptions {
  std::optional<ledger::VerifyKey> checkpoint_key;  // absent: signatures go unchecked, and the report says so
  std::optional<Hash> log_id;                       // absent: taken from unit 0
  // Called for an `epoch` entry above leaf 0, with the root of the leaves before it: the checkpoint key of that epoch, from
  // there on; nullopt: none is known. An error: the entry is forged. Absent: such entries are records like others.
  std::function<Result<std::optional<ledger::VerifyKey>>(std::uint64_t sequence, const Hash& root, ByteView payload)> on_epoch;
  // Called for checkpoint and anchor entries, in order.
  std::function<void(record::Kind, std::uint64_t sequence, ByteView payload)> on_entry;
  std::function<void(std::uint64_t records)> on_progress;
};

struct VerifyReport {
  std::string word;  // OK OK_UNANCHORED_TAIL RECOVERED_CRASH TAMPERED DAMAGED CANNOT_TELL
  std::string detail;
  std::optional<Place> first_bad;
  Hash log_id{};
  Hash head{};
  Hash root{};
  ledger::Frontier frontier;
  std::uint64_t records = 0;
  std::uint64_t blocks = 0;
  std::uint64_t units = 0;            // that are there
  std::uint64_t expired_units = 0;    // of which a spine is there, and a tombstone below a checkpoint
  std::uint64_t expired_records = 0;  // counted in `records`
  std::uint64_t payload_bytes = 0;
  std::uint64_t checkpoints = 0;
  std::uint64_t checkpoint_size = 0;  // of the newest checkpoint whose signature and root are right
  std::int64_t checkpoint_wall_ns = 0;
  std::uint64_t tail_records = 0;     // above it, checkpoint and anchor entries not counted
  std::uint64_t abandoned_bytes = 0;  // torn tails of earlier crashes
  bool signatures_checked = false;
};

// kIo when the medium cannot be read.
[[nodiscard]] Result<VerifyReport> VerifyStore(DeviceShelf& shelf, const VerifyOptions& options);

}  // namespace stele::store
