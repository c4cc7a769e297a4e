// What the registers, the log and the anchor's own slots say together: the recovery table, as a pure function.
//
// Names as in the table:  A anchors intended on disk, b receipted;  m = C - C0;  x = the place of X on the X-chain
// (X_0 = X0, X_a = SHA-256(X_(a-1) || d_a));  q intents of this boot on disk, p = the place of the PCR on this boot's
// P-chain (P_0 = baseline, P_j = SHA-256(P_(j-1) || d_j)). First match wins; README.md has the table and why it is in
// this order.
//
// A crash alone never gives an alarming word, provided the disk honours flush; whatever contradicts an anchored
// register never gives a good one. Recovery never extends an old checkpoint into the PCR of a new boot.
#pragma once

#include <string>
#include <vector>

#include "appliance/base/bytes.h"

namespace stele::anchor {

enum class IndexPlace {
  kAtReceipt,  // X_b
  kAtIntent,   // X_A, A = b + 1
  kElsewhere,
};

enum class PcrPlace {
  kBaseline,      // q = 0 and nothing extended
  kBeforeIntent,  // p = q - 1
  kAfterIntent,   // p = q
  kElsewhere,
};

enum class SlotPlace {
  kAgrees,
  kMissing,      // never written, damaged, or of another log
  kOlder,        // signed less than the newest checkpoint in the log
  kAhead,        // signed more than the log holds
  kContradicts,  // signed another history than the log's
};

struct RecoveryFacts {  // NOLINT(clang-analyzer-optin.performance.Padding)  // one at a time; in the order of the table
  // Identities, against the provisioning record's pins.
  bool ek_matches = true;
  bool ak_matches = true;
  bool registers_match = true;  // Names of C and X: present, written, as pinned

  // What the log's own entries say of themselves. False: one does not parse, is not signed by this anchor, its receipt
  // is not this TPM's, or they do not follow one another.
  bool entries_ours = true;
  std::string entries_fault;
  bool bytes_valid = true;  // everything present is whole and authenticated

  std::uint64_t reset_count_last = 0;  // the largest on record; 0: none
  std::uint64_t reset_count_now = 0;

  bool counter_below_start = false;     // C < C0
  std::uint64_t anchors_counted = 0;    // m
  std::uint64_t anchors_intended = 0;   // A
  std::uint64_t anchors_receipted = 0;  // b
  IndexPlace index = IndexPlace::kAtReceipt;

  SlotPlace slot = SlotPlace::kAgrees;
  std::uint64_t slot_size = 0;
  std::uint64_t log_size = 0;

  bool same_boot = false;               // the newest intent belongs to the running boot
  bool slot_this_boot = false;          // the slot was written in the running boot
  std::uint64_t intents_this_boot = 0;  // q
  PcrPlace pcr = PcrPlace::kBaseline;
  bool anchor_intent_is_newest = false;   // the newest intent is that of anchor A
  bool checkpoints_after_anchor = false;  // intents on disk newer than that of the newest anchor

  std::uint64_t tail_records = 0;  // above the newest checkpoint, checkpoint and anchor entries not counted
  std::int64_t tail_since_wall_ns = 0;
  bool clock_gap =
      false;  // the TPM's clock ran on, within one boot, longer than heartbeat and update period without us
  bool software_tpm = false;
};

// What recovery must still do. Each step reads the register first and afterwards: it is done at most once.
struct RecoveryActions {
  bool extend_pcr = false;    // by the newest intent's digest
  bool extend_index = false;  // by the pending anchor's digest
  bool increment = false;
  bool make_receipt = false;
  bool late = false;  // the receipt's quote will not show the PCR as it was right after the checkpoint

  friend bool operator==(const RecoveryActions&, const RecoveryActions&) = default;
};

enum class RecoveryRow {
  kTpmReplaced,
  kTpmCleared,
  kAnchorRedefined,
  kTpmRolledBack,
  kEntriesForeign,
  kReceiptHole,
  kDiskRolledBack,
  kHistorySubstituted,
  kCounterBeforeIndex,
  kSlotAhead,
  kSlotContradicts,
  kForeignExtend,
  kIndexBeforePcr,
  kExtendNow,
  kForeignBeforeLogger,
  kFinishLate,
  kFinishNow,
  kBytesDamaged,
  kUnanchoredTail,
  kClean,
};
inline constexpr int kRecoveryRows = static_cast<int>(RecoveryRow::kClean) + 1;

struct RecoveryDecision {
  RecoveryRow row = RecoveryRow::kClean;
  std::string word;  // architecture.md's stable verdict words
  std::string detail;
  std::vector<std::string> qualifiers;
  std::vector<std::string> warnings;  // alarms that do not change the word
  bool may_anchor = true;             // false: log on, alarmed; nothing more is signed
  RecoveryActions actions;
};

[[nodiscard]] RecoveryDecision Decide(const RecoveryFacts& facts);

}  // namespace stele::anchor
