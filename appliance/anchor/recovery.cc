#include "appliance/anchor/recovery.h"

#include <fmt/format.h>

#include "appliance/base/text.h"

namespace stele::anchor {
namespace {

RecoveryDecision Alarm(RecoveryRow row, std::string word, std::string detail) {
  RecoveryDecision decision;
  decision.row = row;
  decision.word = std::move(word);
  decision.detail = std::move(detail);
  decision.may_anchor = false;
  return decision;
}

RecoveryDecision Good(RecoveryRow row, std::string word, std::string detail) {
  RecoveryDecision decision = Alarm(row, std::move(word), std::move(detail));
  decision.may_anchor = true;
  return decision;
}

bool AnchorPending(const RecoveryFacts& facts) { return facts.anchors_intended > facts.anchors_receipted; }

// What is missing of the pending anchor. A receipt is late unless its quote still shows the PCR right after its
// checkpoint.
RecoveryActions FinishAnchor(const RecoveryFacts& facts) {
  RecoveryActions actions;
  actions.extend_index = facts.index == IndexPlace::kAtReceipt;
  actions.increment = facts.anchors_counted == facts.anchors_receipted;
  actions.make_receipt = true;
  actions.late = !facts.same_boot || !facts.anchor_intent_is_newest;
  return actions;
}

std::string TailText(const RecoveryFacts& facts) {
  std::string text;
  if (!facts.same_boot && facts.checkpoints_after_anchor) {
    text =
        fmt::format("checkpoints after anchor {} lost their PCR with the last boot: backed by signature and block MAC",
                    facts.anchors_intended);
  }
  if (facts.tail_records > 0) {
    if (!text.empty()) text += "; ";
    text += fmt::format("{} records since {} are above the newest checkpoint: adopted on their block MACs",
                        facts.tail_records, FormatTime(facts.tail_since_wall_ns));
  }
  return text;
}

// The TPM is another one, or not in the state it was left in. These rows do not depend on the disk.
bool JudgeIdentity(const RecoveryFacts& facts, RecoveryDecision& out) {
  if (!facts.ek_matches) {
    out = Alarm(RecoveryRow::kTpmReplaced, "TPM_REPLACED", "the endorsement key is not the provisioned one");
  } else if (!facts.ak_matches) {
    out = Alarm(RecoveryRow::kTpmCleared, "TPM_CLEARED",
                "the attestation key is gone or another: the TPM was cleared (or never was this log's); the log so far "
                "stays verifiable");
  } else if (!facts.registers_match) {
    out = Alarm(RecoveryRow::kAnchorRedefined, "ANCHOR_REDEFINED",
                "the counter or the index is absent, unwritten or not as provisioned");
  } else {
    return false;
  }
  return true;
}

// The permanent registers against the entries of the log.
bool JudgeHistory(const RecoveryFacts& facts, RecoveryDecision& out) {
  const std::uint64_t intended = facts.anchors_intended;
  const std::uint64_t receipted = facts.anchors_receipted;
  const std::uint64_t counted = facts.anchors_counted;
  if (!facts.entries_ours) {
    out = Alarm(RecoveryRow::kEntriesForeign, facts.bytes_valid ? "TAMPERED" : "DAMAGED",
                "checkpoint or anchor entries are not this anchor's: " + facts.entries_fault);
  } else if (facts.reset_count_now < facts.reset_count_last || facts.counter_below_start || counted < receipted) {
    out = Alarm(RecoveryRow::kTpmRolledBack, "ROLLED_BACK",
                fmt::format("the TPM's state is older than the log: boot {} after {}, {} anchors counted, {} receipted",
                            facts.reset_count_now, facts.reset_count_last, counted, receipted));
  } else if (intended < receipted || receipted + 1 < intended) {
    out =
        Alarm(RecoveryRow::kReceiptHole, "DAMAGED",
              fmt::format("receipts and intents do not meet: {} anchors intended, {} receipted", intended, receipted));
  } else if (counted > intended) {
    out = Alarm(RecoveryRow::kDiskRolledBack, "ROLLED_BACK",
                fmt::format("the log is older than the TPM: {} anchors are missing after anchor {} (counted {})",
                            counted - intended, intended, counted));
  } else if (facts.index == IndexPlace::kElsewhere || (facts.index == IndexPlace::kAtIntent && !AnchorPending(facts))) {
    out = Alarm(RecoveryRow::kHistorySubstituted, "TAMPERED",
                fmt::format("the index does not hold the chain of the log's anchors up to {}: history was substituted",
                            intended));
  } else if (counted > receipted && facts.index == IndexPlace::kAtReceipt) {
    out = Alarm(RecoveryRow::kCounterBeforeIndex, "TAMPERED",
                fmt::format("the counter counts anchor {} and the index does not hold it: impossible order", counted));
  } else {
    return false;
  }
  return true;
}

bool JudgeSlot(const RecoveryFacts& facts, RecoveryDecision& out) {
  const char* word = nullptr;
  if (facts.slot == SlotPlace::kAhead) {
    word = facts.bytes_valid ? "ROLLED_BACK" : "DAMAGED";
    out = Alarm(RecoveryRow::kSlotAhead, word,
                fmt::format("the anchor signed size {} and the log holds {} records", facts.slot_size, facts.log_size));
  } else if (facts.slot == SlotPlace::kContradicts) {
    word = facts.bytes_valid ? "TAMPERED" : "DAMAGED";
    out = Alarm(RecoveryRow::kSlotContradicts, word,
                fmt::format("the first {} records are not those the anchor signed", facts.slot_size));
  }
  return word != nullptr;
}

// The PCR of the running boot; the newest intent is of this boot.
bool JudgeSameBoot(const RecoveryFacts& facts, RecoveryDecision& out) {
  const bool before = facts.pcr == PcrPlace::kBeforeIntent;
  if (!before && facts.pcr != PcrPlace::kAfterIntent) {
    out = Alarm(
        RecoveryRow::kForeignExtend, "FOREIGN_EXTEND",
        fmt::format("the PCR is not where checkpoint {} of this boot leaves it: another program extended it, or the "
                    "log was rolled back within this boot",
                    facts.intents_this_boot));
  } else if (before && AnchorPending(facts) && facts.anchor_intent_is_newest && facts.index == IndexPlace::kAtIntent) {
    out =
        Alarm(RecoveryRow::kIndexBeforePcr, "TAMPERED",
              fmt::format("the index holds anchor {} and the PCR does not: impossible order", facts.anchors_intended));
  } else if (before) {
    out = Good(RecoveryRow::kExtendNow, "RECOVERED_CRASH",
               fmt::format("checkpoint {} of this boot was signed and is extended now", facts.intents_this_boot));
    if (AnchorPending(facts)) out.actions = FinishAnchor(facts);
    out.actions.extend_pcr = true;
  } else if (AnchorPending(facts)) {
    out = Good(RecoveryRow::kFinishNow, "RECOVERED_CRASH",
               fmt::format("anchor {} was under way and is finished now", facts.anchors_intended));
    out.actions = FinishAnchor(facts);
  } else {
    return false;
  }
  return true;
}

bool JudgeNewBoot(const RecoveryFacts& facts, RecoveryDecision& out) {
  if (facts.pcr != PcrPlace::kBaseline) {
    out = Alarm(RecoveryRow::kForeignBeforeLogger, "FOREIGN_EXTEND",
                facts.slot_this_boot
                    ? "the PCR is not at its baseline although the log has no checkpoint of this boot: another "
                      "program extended it, or the log was rolled back within this boot"
                    : "the PCR was extended before the logger started");
  } else if (AnchorPending(facts)) {
    out = Good(RecoveryRow::kFinishLate, "RECOVERED_CRASH",
               fmt::format("anchor {} was under way in an earlier boot; index, counter and receipt are finished late",
                           facts.anchors_intended));
    out.actions = FinishAnchor(facts);
  } else {
    return false;
  }
  return true;
}

void Qualify(const RecoveryFacts& facts, RecoveryDecision& decision) {
  if (facts.software_tpm) decision.qualifiers.emplace_back("SOFTWARE_TPM");
  if (facts.clock_gap) decision.qualifiers.emplace_back("GAP");
  if (facts.reset_count_last > 0 && facts.reset_count_now > facts.reset_count_last + 1) {
    decision.warnings.push_back(
        fmt::format("{} boots without the logger", facts.reset_count_now - facts.reset_count_last - 1));
  }
  if (facts.slot == SlotPlace::kMissing && facts.log_size > 0 &&
      (facts.anchors_intended > 0 || facts.intents_this_boot > 0)) {
    decision.warnings.emplace_back("the anchor's own record of what it signed is missing or unreadable");
  }
  if (facts.slot == SlotPlace::kOlder) {
    decision.warnings.emplace_back("the anchor's own record is older than the log: its partition was rolled back");
  }
}

RecoveryDecision FirstMatch(const RecoveryFacts& facts) {
  RecoveryDecision out;
  if (JudgeIdentity(facts, out) || JudgeHistory(facts, out) || JudgeSlot(facts, out)) return out;
  const bool decided = facts.same_boot ? JudgeSameBoot(facts, out) : JudgeNewBoot(facts, out);
  const std::string tail = TailText(facts);
  if (decided) {
    if (out.may_anchor && !tail.empty()) out.detail += "; " + tail;
    // Damage stays the word; what was under way is finished all the same.
    if (out.may_anchor && !facts.bytes_valid) {
      out.word = "DAMAGED";
      out.detail = "bytes of the log are damaged or not authenticated; " + out.detail;
    }
    return out;
  }
  if (!facts.bytes_valid) {
    // Every register agrees with what is readable: going on protects what comes next and hides nothing of the damage.
    return Good(RecoveryRow::kBytesDamaged, "DAMAGED",
                "bytes of the log are damaged or not authenticated; every register agrees");
  }
  if (!tail.empty()) return Good(RecoveryRow::kUnanchoredTail, "OK_UNANCHORED_TAIL", tail);
  return Good(RecoveryRow::kClean, "OK", "log and registers agree");
}

}  // namespace

RecoveryDecision Decide(const RecoveryFacts& facts) {
  RecoveryDecision decision = FirstMatch(facts);
  Qualify(facts, decision);
  return decision;
}

}  // namespace stele::anchor
