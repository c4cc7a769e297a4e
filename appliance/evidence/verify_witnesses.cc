// Whether others saw this log: the cosigned checkpoint that the bundle carries, judged by the auditor's own policy. The
// box's policy rides in the bundle for information; nothing here reads it.
#include <algorithm>
#include <set>

#include "appliance/evidence/verify_state.h"

namespace stele::evidence {
namespace {

constexpr const char* kPlace = "witnesses/cosigned.note";
constexpr std::int64_t kNsPerSecond = 1'000'000'000;

// The cosigned checkpoint is a beginning of this log: so say its signature and the roots that the records proved.
bool ContinuesInThisLog(VerifyState& state) {
  const auto fail = [&state](const char* word, std::string detail) {
    state.checks.Fail("witnesses", word, std::move(detail), kPlace);
    return false;
  };
  const auto opened = ledger::OpenCheckpoint(state.TextOf(Part::kCosigned), *state.key);
  if (!opened) return fail("TAMPERED", "the cosigned checkpoint is not signed by this log: " + opened.error().context);
  const std::uint64_t size = opened->checkpoint.size;
  const std::string sizes = std::to_string(size) + " entries cosigned, " + std::to_string(state.facts.size) + " quoted";
  if (size > state.facts.size) return fail("ROLLED_BACK", "the witnesses have seen a larger log: " + sizes);
  const auto root = state.facts.roots.find(size);
  if (root == state.facts.roots.end()) {
    return fail("CANNOT_TELL", "no proof that the cosigned checkpoint is a beginning of this log: " + sizes);
  }
  if (root->second != opened->checkpoint.root)
    return fail("TAMPERED", "the witnesses have seen another history: " + sizes);
  state.facts.witnessed.size = size;
  return true;
}

// Either way, so that neither a witness's clock nor the box's can make an old word new.
bool IsFresh(const VerifyState& state, std::uint64_t time_s) {
  const std::uint64_t limit_s = state.policy.witness_max_age_s;
  if (limit_s == 0) return true;
  const auto quoted_s =
      static_cast<std::uint64_t>(std::max<std::int64_t>(0, state.facts.attested_wall_ns / kNsPerSecond));
  return std::max(time_s, quoted_s) - std::min(time_s, quoted_s) <= limit_s;
}

// Names with times, the quorum once by all and once by those that are new enough.
struct Judged {
  std::set<std::string, std::less<>> cosigned;
  std::set<std::string, std::less<>> fresh;
};
Judged Take(VerifyState& state, const ledger::WitnessReport& report) {
  Judged judged;
  for (const auto& witness : report.witnesses) {
    const bool fresh = witness.time_s && IsFresh(state, *witness.time_s);
    state.facts.witnessed.witnesses.push_back({witness.name, witness.time_s, fresh});
    if (witness.time_s) judged.cosigned.insert(witness.name);
    if (fresh) judged.fresh.insert(witness.name);
  }
  return judged;
}

// The size that a receipt brought by the auditor proves the witnesses had seen by then; 0: it proves none.
std::uint64_t SizeSeenBefore(const VerifyState& state) {
  if (!state.policy.since_note) return 0;
  const auto opened = ledger::OpenCheckpoint(*state.policy.since_note, *state.key);
  const auto note = ledger::ParseNote(*state.policy.since_note);
  if (!opened || !note) return 0;
  const auto report = ledger::CheckWitnesses(*state.policy.witnesses, *note);
  return report && report->quorum_met ? opened->checkpoint.size : 0;
}

void JudgeByPolicy(VerifyState& state, const ledger::WitnessPolicy& policy) {
  const auto fail = [&state](const char* word, std::string detail) {
    state.checks.Fail("witnesses", word, std::move(detail), kPlace);
  };
  const auto note = ledger::ParseNote(state.TextOf(Part::kCosigned));
  const auto report = note ? ledger::CheckWitnesses(policy, *note) : tl::unexpected(note.error());
  if (!report) return fail("TAMPERED", report.error().context);
  Witnessed& witnessed = state.facts.witnessed;
  const Judged judged = Take(state, *report);
  const std::string counts =
      std::to_string(judged.cosigned.size()) + " of " + std::to_string(policy.witnesses.size()) + " witnesses cosigned";
  if (!report->quorum_met) return fail("CANNOT_TELL", "no quorum: " + counts);
  if (!policy.QuorumMet(judged.fresh)) {
    return fail("CANNOT_TELL", "no quorum that is new enough: " + counts + ", " + std::to_string(judged.fresh.size()) +
                                   " of them within " + std::to_string(state.policy.witness_max_age_s) +
                                   " s of the quote (--witness-max-age)");
  }
  if (const std::uint64_t before = SizeSeenBefore(state); before > witnessed.size) {
    return fail("CANNOT_TELL", "the witnesses had cosigned " + std::to_string(before) +
                                   " entries when the receipt was made; here they cosign " +
                                   std::to_string(witnessed.size) + ": an older word of theirs");
  }
  witnessed.quorum = true;
  const std::uint64_t above = state.facts.size - witnessed.size;
  if (state.facts.last_sequence >= witnessed.size) {
    state.unchecked.push_back("witnesses for the entries from " + std::to_string(witnessed.size) +
                              " on: they cosigned those before");
  }
  state.checks.Pass("witnesses", "a quorum: " + counts + " " + std::to_string(witnessed.size) + " entries, " +
                                     std::to_string(above) + " fewer than quoted");
}

}  // namespace

void CheckWitnesses(VerifyState& state) {
  const bool asked = state.policy.witnesses.has_value();
  if (!state.key || !state.checkpoint) return state.checks.Skip("witnesses", "there is no checkpoint to compare with");
  state.facts.witnessed.judged = asked;
  if (asked && state.policy.witnesses->QuorumMet({}))
    return state.checks.Pass("witnesses", "the given policy asks for none");
  if (!state.Has(Part::kCosigned)) {
    if (!asked) return state.checks.Skip("witnesses", "no witness policy was given");
    return state.checks.Fail("witnesses", "CANNOT_TELL", "the bundle carries no cosigned checkpoint", kPlace);
  }
  if (!ContinuesInThisLog(state)) return;
  if (asked) return JudgeByPolicy(state, *state.policy.witnesses);
  state.unchecked.emplace_back("the witnesses: whose cosignatures count is for you to say (--witness-policy)");
  state.checks.Skip("witnesses", "a cosigned checkpoint of " + std::to_string(state.facts.witnessed.size) +
                                     " entries is a beginning of this log; no witness policy was given");
}

}  // namespace stele::evidence
