// Goal: the recovery table says what tpm.md's table says, for every combination of facts.
// Method: one scenario per row; then all combinations of the facts against properties that do not repeat the table:
// alarming facts never give a good word, honest facts never an alarming one, actions are safe, and once done leave
// nothing to do.
#include "appliance/anchor/recovery.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>

namespace stele::anchor {
namespace {

bool IsGood(const std::string& word) {
  return word == "OK" || word == "OK_UNANCHORED_TAIL" || word == "RECOVERED_CRASH";
}

// After anchor 3, receipted, at checkpoint 5 of this boot.
RecoveryFacts Clean() {
  RecoveryFacts facts;
  facts.reset_count_last = 4;
  facts.reset_count_now = 4;
  facts.anchors_counted = facts.anchors_intended = facts.anchors_receipted = 3;
  facts.slot_size = 100;
  facts.log_size = 110;
  facts.same_boot = true;
  facts.intents_this_boot = 5;
  facts.pcr = PcrPlace::kAfterIntent;
  return facts;
}

RecoveryFacts CleanNewBoot() {
  RecoveryFacts facts = Clean();
  facts.reset_count_now = 5;
  facts.same_boot = false;
  facts.intents_this_boot = 0;
  facts.pcr = PcrPlace::kBaseline;
  return facts;
}

RecoveryFacts Pending(RecoveryFacts facts) {
  facts.anchors_intended = facts.anchors_receipted + 1;
  facts.anchor_intent_is_newest = true;
  return facts;
}

struct Scenario {
  const char* name;
  RecoveryFacts facts;
  RecoveryRow row;
  const char* word;
};

std::vector<Scenario> Scenarios() {
  using R = RecoveryRow;
  std::vector<Scenario> all;
  const auto add = [&all](const char* name, RecoveryFacts facts, R row, const char* word,
                          const std::function<void(RecoveryFacts&)>& change) {
    change(facts);
    all.push_back({name, facts, row, word});
  };
  using F = RecoveryFacts;
  add("EK differs", Clean(), R::kTpmReplaced, "TPM_REPLACED",
      [](F& f) { f.ek_matches = f.ak_matches = f.registers_match = false; });
  add("AK differs", Clean(), R::kTpmCleared, "TPM_CLEARED", [](F& f) { f.ak_matches = f.registers_match = false; });
  add("C or X redefined", Clean(), R::kAnchorRedefined, "ANCHOR_REDEFINED", [](F& f) { f.registers_match = false; });
  add("resetCount fell", Clean(), R::kTpmRolledBack, "ROLLED_BACK", [](F& f) { f.reset_count_now = 3; });
  add("C below b", Clean(), R::kTpmRolledBack, "ROLLED_BACK", [](F& f) { f.anchors_counted = 2; });
  add("C below C0", Clean(), R::kTpmRolledBack, "ROLLED_BACK", [](F& f) { f.counter_below_start = true; });
  add("foreign entries", Clean(), R::kEntriesForeign, "TAMPERED", [](F& f) { f.entries_ours = false; });
  add("foreign entries in damaged bytes", Clean(), R::kEntriesForeign, "DAMAGED",
      [](F& f) { f.entries_ours = f.bytes_valid = false; });
  add("receipt hole", Clean(), R::kReceiptHole, "DAMAGED", [](F& f) {
    f.anchors_intended = 5;
    f.anchors_counted = 5;
  });
  add("receipt without intent", Clean(), R::kReceiptHole, "DAMAGED", [](F& f) { f.anchors_intended = 2; });
  add("m > A", Clean(), R::kDiskRolledBack, "ROLLED_BACK", [](F& f) {
    f.anchors_counted = 6;
    f.index = IndexPlace::kElsewhere;
  });
  add("X elsewhere", Clean(), R::kHistorySubstituted, "TAMPERED", [](F& f) { f.index = IndexPlace::kElsewhere; });
  add("m > x", Pending(Clean()), R::kCounterBeforeIndex, "TAMPERED", [](F& f) { f.anchors_counted = 4; });
  add("slot ahead, bytes valid", Clean(), R::kSlotAhead, "ROLLED_BACK", [](F& f) { f.slot = SlotPlace::kAhead; });
  add("slot ahead, bytes not valid", Clean(), R::kSlotAhead, "DAMAGED", [](F& f) {
    f.slot = SlotPlace::kAhead;
    f.bytes_valid = false;
  });
  add("slot contradicts", Clean(), R::kSlotContradicts, "TAMPERED", [](F& f) { f.slot = SlotPlace::kContradicts; });
  add("same boot, PCR elsewhere", Clean(), R::kForeignExtend, "FOREIGN_EXTEND",
      [](F& f) { f.pcr = PcrPlace::kElsewhere; });
  add("same boot, X before PCR", Pending(Clean()), R::kIndexBeforePcr, "TAMPERED", [](F& f) {
    f.pcr = PcrPlace::kBeforeIntent;
    f.index = IndexPlace::kAtIntent;
  });
  add("same boot, p = q - 1", Clean(), R::kExtendNow, "RECOVERED_CRASH", [](F& f) { f.pcr = PcrPlace::kBeforeIntent; });
  add("same boot, p = q - 1, anchor pending", Pending(Clean()), R::kExtendNow, "RECOVERED_CRASH",
      [](F& f) { f.pcr = PcrPlace::kBeforeIntent; });
  add("same boot, p = q - 1, an earlier anchor pending", Pending(Clean()), R::kExtendNow, "RECOVERED_CRASH", [](F& f) {
    f.pcr = PcrPlace::kBeforeIntent;
    f.index = IndexPlace::kAtIntent;
    f.anchor_intent_is_newest = false;
  });
  add("new boot, PCR not at baseline", CleanNewBoot(), R::kForeignBeforeLogger, "FOREIGN_EXTEND",
      [](F& f) { f.pcr = PcrPlace::kElsewhere; });
  add("new boot, anchor pending", Pending(CleanNewBoot()), R::kFinishLate, "RECOVERED_CRASH", [](F&) {});
  add("same boot, anchor pending", Pending(Clean()), R::kFinishNow, "RECOVERED_CRASH", [](F&) {});
  add("damaged bytes below", Clean(), R::kBytesDamaged, "DAMAGED", [](F& f) { f.bytes_valid = false; });
  add("new boot, intents after b", CleanNewBoot(), R::kUnanchoredTail, "OK_UNANCHORED_TAIL",
      [](F& f) { f.checkpoints_after_anchor = true; });
  add("records above the newest checkpoint", Clean(), R::kUnanchoredTail, "OK_UNANCHORED_TAIL",
      [](F& f) { f.tail_records = 12; });
  add("clean, same boot", Clean(), R::kClean, "OK", [](F&) {});
  add("clean, new boot", CleanNewBoot(), R::kClean, "OK", [](F&) {});
  return all;
}

TEST(RecoveryTable, EveryRowHasItsScenario) {
  std::set<RecoveryRow> seen;
  for (const Scenario& scenario : Scenarios()) {
    const RecoveryDecision decision = Decide(scenario.facts);
    EXPECT_EQ(decision.row, scenario.row) << scenario.name << ": " << decision.detail;
    EXPECT_EQ(decision.word, scenario.word) << scenario.name;
    EXPECT_FALSE(decision.detail.empty()) << scenario.name;
    EXPECT_EQ(decision.may_anchor, IsGood(decision.word) || decision.row == RecoveryRow::kBytesDamaged)
        << scenario.name;
    seen.insert(decision.row);
  }
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(kRecoveryRows));
}

TEST(RecoveryTable, ActionsAreWhatIsMissing) {
  RecoveryFacts facts = Pending(Clean());
  facts.pcr = PcrPlace::kBeforeIntent;
  EXPECT_EQ(Decide(facts).actions, (RecoveryActions{true, true, true, true, false}));
  facts.pcr = PcrPlace::kAfterIntent;
  EXPECT_EQ(Decide(facts).actions, (RecoveryActions{false, true, true, true, false}));
  facts.index = IndexPlace::kAtIntent;
  EXPECT_EQ(Decide(facts).actions, (RecoveryActions{false, false, true, true, false}));
  facts.anchors_counted = facts.anchors_intended;
  EXPECT_EQ(Decide(facts).actions, (RecoveryActions{false, false, false, true, false}));
  facts = Pending(CleanNewBoot());
  EXPECT_EQ(Decide(facts).actions, (RecoveryActions{false, true, true, true, true}));
}

TEST(RecoveryTable, WarningsAndQualifiersDoNotChangeTheWord) {
  RecoveryFacts facts = CleanNewBoot();
  facts.reset_count_now = 8;
  facts.software_tpm = true;
  facts.slot = SlotPlace::kMissing;
  const RecoveryDecision decision = Decide(facts);
  EXPECT_EQ(decision.word, "OK");
  EXPECT_EQ(decision.qualifiers, std::vector<std::string>{"SOFTWARE_TPM"});
  ASSERT_EQ(decision.warnings.size(), 2U);
  EXPECT_EQ(decision.warnings[0], "3 boots without the logger");
  facts = Clean();
  facts.clock_gap = true;
  EXPECT_EQ(Decide(facts).qualifiers, std::vector<std::string>{"GAP"});
}

// Every combination that can be told apart.
void ForAll(const std::function<void(const RecoveryFacts&)>& check) {
  constexpr unsigned kBits = 13;
  for (unsigned bits = 0; bits < (1U << kBits); ++bits) {
    RecoveryFacts facts;
    unsigned rest = bits;
    const auto bit = [&rest] {
      const bool set = (rest & 1U) != 0;
      rest >>= 1U;
      return set;
    };
    facts.ek_matches = !bit();
    facts.ak_matches = !bit();
    facts.registers_match = !bit();
    facts.entries_ours = !bit();
    facts.bytes_valid = !bit();
    facts.counter_below_start = bit();
    facts.same_boot = bit();
    facts.slot_this_boot = bit();
    facts.anchor_intent_is_newest = bit();
    facts.checkpoints_after_anchor = bit();
    facts.tail_records = bit() ? 9 : 0;
    facts.reset_count_last = 4;
    facts.reset_count_now = bit() ? 3 : 4;
    facts.clock_gap = bit();
    facts.anchors_receipted = 3;
    facts.intents_this_boot = facts.same_boot ? 5 : 0;
    for (std::uint64_t intended = 2; intended <= 5; ++intended) {
      for (std::uint64_t counted = 2; counted <= 5; ++counted) {
        for (const IndexPlace index : {IndexPlace::kAtReceipt, IndexPlace::kAtIntent, IndexPlace::kElsewhere}) {
          for (const PcrPlace pcr :
               {PcrPlace::kBaseline, PcrPlace::kBeforeIntent, PcrPlace::kAfterIntent, PcrPlace::kElsewhere}) {
            for (const SlotPlace slot : {SlotPlace::kAgrees, SlotPlace::kMissing, SlotPlace::kOlder, SlotPlace::kAhead,
                                         SlotPlace::kContradicts}) {
              facts.anchors_intended = intended;
              facts.anchors_counted = counted;
              facts.index = index;
              facts.pcr = pcr;
              facts.slot = slot;
              check(facts);
            }
          }
        }
      }
    }
  }
}

// What an honest machine can leave behind, whenever it stops: written from the order of operations, not from the table.
bool Honest(const RecoveryFacts& f) {
  if (!f.ek_matches || !f.ak_matches || !f.registers_match || !f.entries_ours || f.counter_below_start) return false;
  if (f.reset_count_now < f.reset_count_last || f.slot == SlotPlace::kAhead || f.slot == SlotPlace::kContradicts)
    return false;
  if (f.same_boot ? (f.pcr != PcrPlace::kBeforeIntent && f.pcr != PcrPlace::kAfterIntent)
                  : f.pcr != PcrPlace::kBaseline)
    return false;
  const std::uint64_t b = f.anchors_receipted;
  if (f.anchors_intended == b) return f.anchors_counted == b && f.index == IndexPlace::kAtReceipt;
  if (f.anchors_intended != b + 1) return false;
  // Steps of the pending anchor, in order: its PCR extend, X, C.
  const bool pcr_done = !f.same_boot || !f.anchor_intent_is_newest || f.pcr == PcrPlace::kAfterIntent;
  const bool index_done = f.index == IndexPlace::kAtIntent;
  const bool counter_done = f.anchors_counted == b + 1;
  if (f.index == IndexPlace::kElsewhere || (!counter_done && f.anchors_counted != b)) return false;
  return (!counter_done || index_done) && (!index_done || pcr_done);
}

// The table as tests/model/recovery_table.def has it: the text that the model checker proves things of.
struct ModelSays {
  RecoveryRow row = RecoveryRow::kClean;
  std::string_view word;
  bool goes_on = false;
  RecoveryActions actions;
};

ModelSays Model(const RecoveryFacts& f) {
  enum { X_RECEIPT, X_INTENT, X_ELSEWHERE };
  enum { SLOT_AGREES, SLOT_MISSING, SLOT_OLDER, SLOT_AHEAD, SLOT_OTHER };
  enum { PCR_BASELINE, PCR_BEFORE, PCR_AFTER, PCR_ELSEWHERE };
  const bool ek = f.ek_matches, ak = f.ak_matches, regs = f.registers_match, ours = f.entries_ours;
  const bool valid = f.bytes_valid, same = f.same_boot, newest = f.anchor_intent_is_newest;
  const bool fell = f.reset_count_now < f.reset_count_last || f.counter_below_start;
  const bool after = f.checkpoints_after_anchor, tail = f.tail_records > 0;
  const std::uint64_t A = f.anchors_intended, b = f.anchors_receipted, m = f.anchors_counted;
  const int X = static_cast<int>(f.index), slot = static_cast<int>(f.slot), pcr = static_cast<int>(f.pcr);
  ModelSays says;
  bool decided = false;
#define ROW(guard, name, whole, broken, on)                                            \
  if (!decided && (guard)) {                                                           \
    says = {RecoveryRow::k##name, valid ? #whole : #broken, static_cast<bool>(on), {}}; \
    decided = true;                                                                    \
  }
#define ACTION(name, guard) says.actions.name = (guard);
  const bool& goes_on = says.goes_on;
#include "tests/model/recovery_table.def"
#undef ROW
#undef ACTION
  return says;
}

TEST(RecoveryTable, IsTheOneThatTheModelCheckerProves) {
  std::size_t wrong = 0;
  std::set<RecoveryRow> seen;
  ForAll([&](const RecoveryFacts& facts) {
    const RecoveryDecision decision = Decide(facts);
    const ModelSays model = Model(facts);
    seen.insert(model.row);
    const bool agree = decision.row == model.row && decision.word == model.word && decision.may_anchor == model.goes_on &&
                       decision.actions == model.actions;
    if (!agree && ++wrong < 5) {
      ADD_FAILURE() << "code: row " << static_cast<int>(decision.row) << " " << decision.word << "; model: row "
                    << static_cast<int>(model.row) << " " << model.word;
    }
  });
  EXPECT_EQ(wrong, 0U);
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(kRecoveryRows));
}

TEST(RecoveryTable, HonestStatesAndOnlyThoseGetAGoodWord) {
  std::size_t honest = 0;
  std::size_t wrong = 0;
  ForAll([&](const RecoveryFacts& facts) {
    const RecoveryDecision decision = Decide(facts);
    const bool good = IsGood(decision.word);
    const bool expected = Honest(facts) && facts.bytes_valid;
    honest += expected ? 1U : 0U;
    if (good != expected && ++wrong < 5)
      ADD_FAILURE() << decision.word << " row " << static_cast<int>(decision.row) << ": " << decision.detail;
    // Damage does not stop the protection of what comes next; every other bad word does.
    if (decision.may_anchor != Honest(facts) && ++wrong < 5)
      ADD_FAILURE() << "may_anchor " << decision.word << ": " << decision.detail;
  });
  EXPECT_EQ(wrong, 0U);
  EXPECT_GT(honest, 1000U);
}

TEST(RecoveryTable, ActionsAreSafeAndLeaveNothingToDo) {
  std::size_t wrong = 0;
  ForAll([&](const RecoveryFacts& facts) {
    const RecoveryDecision decision = Decide(facts);
    const RecoveryActions& act = decision.actions;
    const bool any = act.extend_pcr || act.extend_index || act.increment || act.make_receipt;
    bool ok = decision.may_anchor || !any;
    ok = ok && (!act.extend_pcr || (facts.same_boot && facts.pcr == PcrPlace::kBeforeIntent));
    ok = ok && (!act.extend_index ||
                (facts.index == IndexPlace::kAtReceipt && facts.anchors_counted == facts.anchors_receipted));
    ok = ok && (!act.increment || facts.anchors_counted == facts.anchors_receipted);
    ok = ok && (!(act.extend_index || act.increment) || act.make_receipt);
    ok = ok && (act.make_receipt == (decision.may_anchor && facts.anchors_intended > facts.anchors_receipted));
    ok = ok && (!act.make_receipt || facts.same_boot || act.late);
    if (ok && any) {
      RecoveryFacts after = facts;
      if (act.extend_pcr) after.pcr = PcrPlace::kAfterIntent;
      if (act.make_receipt) {
        after.anchors_receipted = after.anchors_counted = after.anchors_intended;
        after.index = IndexPlace::kAtReceipt;
      }
      const RecoveryDecision again = Decide(after);
      ok = again.may_anchor && again.actions == RecoveryActions{} && again.word != "RECOVERED_CRASH";
    }
    if (!ok && ++wrong < 5) ADD_FAILURE() << decision.word << " row " << static_cast<int>(decision.row);
  });
  EXPECT_EQ(wrong, 0U);
}

}  // namespace
}  // namespace stele::anchor
