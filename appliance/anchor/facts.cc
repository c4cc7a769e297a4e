#include "appliance/anchor/facts.h"

#include <fmt/format.h>

#include <algorithm>

#include "appliance/ledger/merkle.h"

namespace stele::anchor {
namespace {

// Idle, the ledger asks for a checkpoint every heartbeat (60 s); with the work around it.
constexpr std::uint64_t kClockGapMs = 75'000;

bool SameBoot(const IntentEntry& a, const IntentEntry& b) {
  return a.reset_count == b.reset_count && a.restart_count == b.restart_count;
}

// What must hold between two intents of the log, the older first. There may be others between them.
std::string FaultBetween(const IntentEntry& older, const IntentEntry& newer) {
  if (newer.size <= older.size) return fmt::format("checkpoint of size {} follows size {}", newer.size, older.size);
  if (newer.reset_count < older.reset_count) return "a checkpoint of an earlier boot follows one of a later boot";
  if (newer.anchor != 0 && newer.anchor <= older.anchor) return "anchor numbers do not increase";
  if (!SameBoot(older, newer)) return {};
  if (newer.number <= older.number) return "checkpoint numbers of one boot do not increase";
  if (newer.number == older.number + 1 && newer.pcr_before != Extended(older.pcr_before, older.digest)) {
    return fmt::format("checkpoint {} does not begin where checkpoint {} of its boot ends", newer.number, older.number);
  }
  return {};
}

std::string FaultOf(const LogView& view, const channel::LogState& state, const Pins& pins) {
  for (std::size_t i = 0; i < view.intents.size(); ++i) {
    const IntentEntry& intent = view.intents[i];
    if (intent.size > state.size)
      return fmt::format("a checkpoint of size {} lies in a log of {}", intent.size, state.size);
    if (intent.epoch != pins.receipt.epoch) {
      return fmt::format("a checkpoint of epoch {} stands in epoch {}", intent.epoch, pins.receipt.epoch);
    }
    if (intent.number == 1 && intent.pcr_before != pins.pcr_baseline)
      return "a boot's first checkpoint is not at the baseline";
    if (i > 0) {
      std::string fault = FaultBetween(view.intents[i - 1], intent);
      if (!fault.empty()) return fault;
    }
  }
  if (!view.receipt) return {};
  const auto checked = CheckReceipt(*view.receipt, pins.receipt);
  if (!checked) return checked.error().context;
  const IntentEntry* anchored = view.anchored();
  if (anchored == nullptr) return "there is a receipt and no anchored checkpoint";
  if (anchored->anchor == view.receipt->number &&
      (anchored->digest != view.receipt->digest || anchored->size != view.receipt->size)) {
    return fmt::format("receipt {} is for another checkpoint than the log's", view.receipt->number);
  }
  if (anchored->anchor > view.receipt->number && anchored->size <= view.receipt->size) {
    return fmt::format("anchor {} does not grow on receipt {}", anchored->anchor, view.receipt->number);
  }
  return {};
}

SlotPlace PlaceOf(const std::optional<SlotState>& slot, const channel::LogState& state, const LogView& view) {
  if (!slot || slot->log_id != state.log_id) return SlotPlace::kMissing;
  if (slot->size > state.size) return SlotPlace::kAhead;
  if (!FrontiersAgree(slot->size, slot->root, slot->frontier, state)) return SlotPlace::kContradicts;
  const IntentEntry* newest = view.newest();
  if (newest == nullptr || slot->size > newest->size) return SlotPlace::kAgrees;
  if (slot->size < newest->size) return SlotPlace::kOlder;
  return slot->root == newest->root ? SlotPlace::kAgrees : SlotPlace::kContradicts;
}

// Whether the running boot is the newest intent's. A resume from suspend raises restartCount and keeps the registers
// (TPM 2.0 Library, Part 1, section 12.2.3, TPM Resume): the P-chain's own value, not at its baseline, tells it from a
// restart.
bool InRunningBoot(const IntentEntry& newest, const Registers& registers, const Pins& pins) {
  if (newest.reset_count != registers.clock.reset_count) return false;
  if (newest.restart_count == registers.clock.restart_count) return true;
  return newest.restart_count < registers.clock.restart_count && registers.pcr != pins.pcr_baseline &&
         (registers.pcr == newest.pcr_before || registers.pcr == Extended(newest.pcr_before, newest.digest));
}

void TakeBootFacts(const LogView& view, const Registers& registers, const Pins& pins, RecoveryFacts& facts) {
  const IntentEntry* newest = view.newest();
  facts.same_boot = newest != nullptr && InRunningBoot(*newest, registers, pins);
  if (!facts.same_boot) {
    facts.pcr = registers.pcr == pins.pcr_baseline ? PcrPlace::kBaseline : PcrPlace::kElsewhere;
    return;
  }
  facts.intents_this_boot = newest->number;
  if (registers.pcr == Extended(newest->pcr_before, newest->digest)) {
    facts.pcr = PcrPlace::kAfterIntent;
  } else {
    facts.pcr = registers.pcr == newest->pcr_before ? PcrPlace::kBeforeIntent : PcrPlace::kElsewhere;
  }
}

void TakeAnchorFacts(const LogView& view, const Registers& registers, const Pins& pins, RecoveryFacts& facts) {
  const std::uint64_t start = pins.receipt.counter_start;
  facts.counter_below_start = registers.counter < start;
  facts.anchors_counted = facts.counter_below_start ? 0 : registers.counter - start;
  facts.anchors_intended = view.anchors_intended();
  facts.anchors_receipted = view.anchors_receipted();
  const Hash at_receipt = IndexAtReceipt(view, pins);
  if (registers.index == at_receipt) {
    facts.index = IndexPlace::kAtReceipt;
  } else if (view.anchor_pending() && registers.index == Extended(at_receipt, view.anchored()->digest)) {
    facts.index = IndexPlace::kAtIntent;
  } else {
    facts.index = IndexPlace::kElsewhere;
  }
  facts.anchor_intent_is_newest = view.anchored() != nullptr && view.anchored() == view.newest();
  facts.checkpoints_after_anchor = view.newest() != nullptr && !facts.anchor_intent_is_newest;
}

}  // namespace

bool FrontiersAgree(std::uint64_t size, const Hash& root, const std::vector<Hash>& frontier,
                    const channel::LogState& state) {
  const auto mine = ledger::SubtreeLevels(0, size);
  const auto theirs = ledger::SubtreeLevels(0, state.size);
  const std::size_t count = std::min({mine.size(), theirs.size(), frontier.size(), state.frontier.size()});
  for (std::size_t i = 0; i < count && mine[i] == theirs[i]; ++i) {
    if (frontier[i] != state.frontier[i]) return false;
  }
  return size != state.size || root == state.root;
}

const IntentEntry* LogView::anchored() const {
  for (auto it = intents.rbegin(); it != intents.rend(); ++it) {
    if (it->anchor != 0) return &*it;
  }
  return nullptr;
}

LogView ViewOf(const channel::LogState& state, const ledger::VerifyKey& key, const Pins& pins) {
  LogView view;
  for (const std::string& payload : state.intents) {
    auto intent = DecodeIntent(payload, key);
    if (!intent) {
      view.fault = intent.error().context;
      return view;
    }
    const bool repeated = std::any_of(view.intents.begin(), view.intents.end(), [&intent](const IntentEntry& known) {
      return known.digest == intent->digest && known.number == intent->number;
    });
    if (!repeated) view.intents.push_back(std::move(*intent));
  }
  if (state.last_receipt) {
    auto receipt = DecodeReceipt(*state.last_receipt);
    if (!receipt) {
      view.fault = receipt.error().context;
      return view;
    }
    view.receipt = std::move(*receipt);
  }
  view.fault = FaultOf(view, state, pins);
  return view;
}

void Remember(LogView& view, IntentEntry intent) {
  view.intents.push_back(std::move(intent));
  const std::uint64_t anchored = view.anchors_intended();
  while (view.intents.size() > 2) {
    const auto spare = std::find_if(view.intents.begin(), view.intents.end() - 2, [anchored](const IntentEntry& known) {
      return known.anchor == 0 || known.anchor != anchored;
    });
    if (spare == view.intents.end() - 2) return;
    view.intents.erase(spare);
  }
}

Result<Registers> ReadRegisters(Tpm& tpm, const Pins& pins) {
  Registers registers;
  STELE_TRY(registers.identity, tpm.Identity());
  const TpmIdentity& pinned = pins.identity;
  if (registers.identity.ek_name != pinned.ek_name || registers.identity.ak_name != pinned.ak_name ||
      registers.identity.counter_name != pinned.counter_name || registers.identity.index_name != pinned.index_name) {
    return registers;  // the verdict needs no more, and a stranger's registers say nothing
  }
  STELE_TRY(registers.clock, tpm.ReadClock());
  STELE_TRY(registers.pcr, tpm.ReadPcr());
  STELE_TRY(registers.counter, tpm.ReadCounter());
  STELE_TRY(registers.index, tpm.ReadIndex());
  return registers;
}

RecoveryFacts FactsOf(const channel::LogState& state, const LogView& view, const Registers& registers,
                      const std::optional<SlotState>& slot, const Pins& pins) {
  RecoveryFacts facts;
  // TPM2_Clear takes away the persistent endorsement key as well: only another one speaks of another TPM.
  const bool has_ek = !registers.identity.ek_name.empty();
  facts.ek_matches = !has_ek || registers.identity.ek_name == pins.identity.ek_name;
  facts.ak_matches = has_ek && registers.identity.ak_name == pins.identity.ak_name;
  facts.registers_match = registers.identity.counter_name == pins.identity.counter_name &&
                          registers.identity.index_name == pins.identity.index_name;
  facts.entries_ours = view.fault.empty();
  facts.entries_fault = view.fault;
  facts.bytes_valid = state.bytes_valid;
  facts.software_tpm = pins.software_tpm;
  facts.tail_records = state.tail_records;
  facts.tail_since_wall_ns = state.tail_since_wall_ns;
  facts.log_size = state.size;

  facts.reset_count_now = registers.clock.reset_count;
  facts.reset_count_last = pins.reset_count;
  for (const IntentEntry& intent : view.intents) {
    facts.reset_count_last = std::max<std::uint64_t>(facts.reset_count_last, intent.reset_count);
  }
  if (view.receipt) facts.reset_count_last = std::max<std::uint64_t>(facts.reset_count_last, view.receipt->reset_count);
  facts.slot = PlaceOf(slot, state, view);
  if (slot && facts.slot != SlotPlace::kMissing) {
    facts.slot_size = slot->size;
    facts.reset_count_last = std::max<std::uint64_t>(facts.reset_count_last, slot->reset_count);
    facts.slot_this_boot =
        slot->reset_count == registers.clock.reset_count && slot->restart_count == registers.clock.restart_count;
    facts.clock_gap = facts.slot_this_boot && registers.clock.clock_ms > slot->clock_ms + kClockGapMs;
  }
  TakeAnchorFacts(view, registers, pins, facts);
  TakeBootFacts(view, registers, pins, facts);
  return facts;
}

Hash IndexAtReceipt(const LogView& view, const Pins& pins) {
  return view.receipt ? view.receipt->index : pins.index_start;
}

}  // namespace stele::anchor
