// What the TPM said: the quote and both certifications over the auditor's nonce, the newest anchor's receipt, the X-chain of
// all anchors and the P-chain of this boot's checkpoints.
#include <algorithm>

#include "appliance/evidence/event_log.h"
#include "appliance/evidence/verify_state.h"
#include "firmware/measure/event_log.h"
#include "tpm/names.h"
#include "tpm/signing.h"

namespace stele::evidence {
namespace {

constexpr std::uint32_t kBootRegisters = 8;  // PCR 0 to 7, which the firmware's log explains

std::string Number(std::uint64_t value) { return std::to_string(value); }

tpm::Signer SignerOf(const VerifyState& state, Bytes& qualified) {
  qualified = tpm::QualifiedNameOf(state.record->identity.ek_name, state.record->identity.ak_name);
  return {state.record->ak_public_pem, qualified};
}

// `listed`: the same in attest.json, which alone has what an audited read said.
TpmAttestation AttestationOf(const VerifyState& state, Part attest, Part signature, const TpmAttestation& listed) {
  return {ToBytes(state.Of(attest)), ToBytes(state.Of(signature)), {}, listed.contents};
}

// The forms of one signature must be the same signature, and attest.json must not say otherwise.
Result<void> CheckForms(const VerifyState& state, const TpmAttestation& attestation, Part der, const TpmAttestation& listed) {
  STELE_TRY(const tpm::EcSignature signature, tpm::ParseSignature(attestation.signature));
  if (!SameBytes(tpm::DerOf(signature), state.Of(der))) return Fail(Code::kDenied, "its DER form is another signature");
  if (listed.attest != attestation.attest || listed.signature != attestation.signature) {
    return Fail(Code::kDenied, "attest.json holds another one");
  }
  return {};
}

std::optional<std::vector<Hash>> HashesOf(ByteView raw) {
  if (raw.size() % kHashBytes != 0) return std::nullopt;
  std::vector<Hash> hashes(raw.size() / kHashBytes);
  Reader in(raw);
  for (Hash& hash : hashes) hash = in.ReadHash();
  return hashes;
}

Result<void> VerifyQuoteOf(VerifyState& state) {
  Bytes qualified;
  const tpm::Signer signer = SignerOf(state, qualified);
  const TpmAttestation attestation =
      AttestationOf(state, Part::kQuoteAttest, Part::kQuoteSignature, state.audit->quote);
  STELE_TRY(tpm::Attested quote, tpm::VerifyQuote(attestation, signer, state.QualifyingData(), state.record->pcr));
  STELE_TRY_VOID(CheckForms(state, attestation, Part::kQuoteDer, state.audit->quote));
  const auto values = HashesOf(state.Of(Part::kPcrs));
  if (!values) return Fail(Code::kInvalid, "quote.pcrs is not a list of digests");
  STELE_TRY(state.quoted_pcr, tpm::VerifyQuotedValues(quote, *values, state.record->pcr));
  if (!SameBytes(tpm::ToolPcrBlob(quote.selection, *values), state.Of(Part::kToolPcrs))) {
    return Fail(Code::kDenied, "quote.pcrs.tpm2-tools holds other values");
  }
  const std::vector<std::uint32_t> registers = tpm::RegistersOf(quote.selection);
  for (std::size_t i = 0; i < registers.size(); ++i) state.facts.pcrs.emplace_back(registers[i], (*values)[i]);
  state.facts.reset_count = quote.clock.reset_count;
  state.facts.restart_count = quote.clock.restart_count;
  state.facts.clock_ms = quote.clock.clock_ms;
  state.quote = std::move(quote);
  return {};
}

void CheckQuote(VerifyState& state) {
  if (const auto verified = VerifyQuoteOf(state); !verified) {
    state.quote.reset();
    return state.checks.Fail("quote", "TAMPERED", verified.error().context, "quote.attest");
  }
  state.checks.Pass("quote", "signed by the attestation key over this log, checkpoint and nonce");
}

void CheckNonce(VerifyState& state) {
  if (!state.policy.nonce) {
    state.unchecked.emplace_back("freshness: no nonce was given (--nonce), so the quote may be old");
    return state.checks.Skip("nonce", "no nonce was given");
  }
  if (*state.policy.nonce != state.info->nonce) {
    return state.checks.Fail("nonce", "TAMPERED", "the quote answers another nonce: it may be an old one, shown again",
                             "attest.json");
  }
  state.checks.Pass("nonce", "the quote answers the given nonce");
}

void CheckCounter(VerifyState& state) {
  Bytes qualified;
  const tpm::Signer signer = SignerOf(state, qualified);
  const TpmAttestation attestation =
      AttestationOf(state, Part::kCounterAttest, Part::kCounterSignature, state.audit->certify_counter);
  const Hash data = state.QualifyingData();
  auto counter = tpm::VerifyCounter(attestation, signer, data, state.record->identity.counter_name);
  const auto forms = CheckForms(state, attestation, Part::kCounterDer, state.audit->certify_counter);
  if (!counter || !forms) {
    const auto parsed = tpm::ParseAttest(attestation.attest);
    const bool redefined = parsed && tpm::VerifyCounter(attestation, signer, data, parsed->index_name).has_value() && !counter;
    return state.checks.Fail("counter", redefined ? "ANCHOR_REDEFINED" : "TAMPERED",
                             counter ? forms.error().context : counter.error().context, "counter.attest");
  }
  state.facts.counter = counter->value;
  state.checks.Pass("counter", "C = " + Number(counter->value));
  state.counter = std::move(*counter);
}

void CheckIndex(VerifyState& state) {
  Bytes qualified;
  const tpm::Signer signer = SignerOf(state, qualified);
  const TpmAttestation attestation =
      AttestationOf(state, Part::kIndexAttest, Part::kIndexSignature, state.audit->certify_index);
  const Hash data = state.QualifyingData();
  auto index = tpm::VerifyIndex(attestation, signer, data, state.record->identity.index_name);
  const auto forms = CheckForms(state, attestation, Part::kIndexDer, state.audit->certify_index);
  if (!index || !forms) {
    const auto parsed = tpm::ParseAttest(attestation.attest);
    const bool redefined = parsed && tpm::VerifyIndex(attestation, signer, data, parsed->index_name).has_value() && !index;
    return state.checks.Fail("index", redefined ? "ANCHOR_REDEFINED" : "TAMPERED",
                             index ? forms.error().context : index.error().context, "index.attest");
  }
  state.facts.index = index->value;
  state.checks.Pass("index", "X = " + HexOf(index->value));
  state.index = std::move(*index);
}

void CheckReceipt(VerifyState& state) {
  const auto fail = [&state](std::string detail) {
    state.checks.Fail("receipt", "TAMPERED", std::move(detail), "receipt.json");
  };
  if (!state.Has(Part::kReceipt)) {
    if (state.audit->anchor != 0) return fail("anchor " + Number(state.audit->anchor) + " has no receipt here");
    return state.checks.Pass("receipt", "there is no anchor yet");
  }
  auto receipt = anchor::DecodeReceipt(state.TextOf(Part::kReceipt));
  if (!receipt) return fail(receipt.error().context);
  if (const auto checked = anchor::CheckReceipt(*receipt, state.pins.receipt); !checked) return fail(checked.error().context);
  if (receipt->number != state.audit->anchor) return fail("it is not that of anchor " + Number(state.audit->anchor));
  auto quote = tpm::ParseAttest(receipt->quote.attest);
  if (!quote) return fail(quote.error().context);
  state.facts.anchor = receipt->number;
  state.facts.anchored_size = receipt->size;
  state.checks.Pass("receipt", "anchor " + Number(receipt->number) + " over " + Number(receipt->size) + " entries");
  state.receipt_quote = std::move(*quote);
  state.receipt = std::move(*receipt);
}

void CheckBoot(VerifyState& state) {
  if (!state.quote || !state.counter || !state.index) return state.checks.Skip("boot", "the quote or a certification failed");
  const TpmClock& quote = state.quote->clock;
  for (const TpmClock& other : {state.counter->attested.clock, state.index->attested.clock}) {
    if (other.reset_count != quote.reset_count || other.restart_count != quote.restart_count) {
      return state.checks.Fail("boot", "TAMPERED", "quote, counter and index were signed in different boots", "quote.attest");
    }
  }
  const auto rolled_back = [&state](std::string detail) {
    state.checks.Fail("boot", "ROLLED_BACK", std::move(detail), "quote.attest");
  };
  if (quote.reset_count < state.record->reset_count) {
    return rolled_back("the TPM was reset " + Number(quote.reset_count) + " times, " + Number(state.record->reset_count) +
                       " when the log was provisioned");
  }
  if (state.receipt_quote) {
    const TpmClock& before = state.receipt_quote->clock;
    if (quote.reset_count < before.reset_count) return rolled_back("the TPM was reset fewer times than at its last anchor");
    if (quote.reset_count == before.reset_count && quote.clock_ms < before.clock_ms) {
      return rolled_back("the TPM's clock stands before its last anchor of the same boot");
    }
    state.gap = quote.reset_count > before.reset_count + 1;
  }
  state.checks.Pass("boot", "resetCount " + Number(quote.reset_count) + ", restartCount " + Number(quote.restart_count) +
                                ", clock " + Number(quote.clock_ms) + " ms");
}

// What the X-chain starts at: X0, or the X of the receipt before the first listed anchor.
Result<Hash> ChainStart(const VerifyState& state) {
  if (state.info->anchors_first <= 1) return state.record->index_start;
  STELE_TRY(const auto before, anchor::DecodeReceipt(state.TextOf(Part::kReceiptBefore)));
  STELE_TRY_VOID(anchor::CheckReceipt(before, state.pins.receipt));
  if (before.number + 1 != state.info->anchors_first) return Fail(Code::kDenied, "receipt-before.json is of another anchor");
  return before.index;
}

// Every note of an anchor: it hashes to its digest, is signed by this log, and sizes grow.
Result<void> CheckAnchorNotes(VerifyState& state, const std::vector<AnchorEvent>& anchors) {
  std::uint64_t last_size = 0;
  for (const AnchorEvent& anchor : anchors) {
    if (!anchor.note) continue;
    STELE_TRY(const auto opened, ledger::OpenCheckpoint(*anchor.note, *state.key));
    if (opened.digest != anchor.digest || Sha256Of(AsBytes(*anchor.note)) != anchor.digest) {
      return Fail(Code::kDenied, "the note of anchor " + Number(anchor.number) + " is not the one that was anchored");
    }
    if (opened.checkpoint.size <= last_size) return Fail(Code::kDenied, "the sizes of the anchors do not grow");
    if (anchor.number == state.audit->anchor && opened.checkpoint.size != state.receipt->size) {
      return Fail(Code::kDenied, "the receipt names another size than its checkpoint");
    }
    last_size = opened.checkpoint.size;
    state.anchored_roots.emplace(last_size, opened.checkpoint.root);
  }
  return {};
}

struct Chain {
  std::uint64_t newest = 0;  // the newest listed anchor, 0: none
  Hash at_receipt{};         // X_b
  Hash at_newest{};
};

Result<Chain> FollowChain(VerifyState& state) {
  STELE_TRY(const auto anchors, ParseAnchorsCel(state.TextOf(Part::kAnchorsCel), state.record->handles.index));
  if (anchors.size() != state.info->anchors_count || (!anchors.empty() && anchors.front().number != state.info->anchors_first)) {
    return Fail(Code::kDenied, "anchors.cel does not list what bundle.json says");
  }
  STELE_TRY(Hash value, ChainStart(state));
  const std::uint64_t receipted = state.audit->anchor;
  Chain chain;
  chain.at_receipt = value;
  for (const AnchorEvent& anchor : anchors) {
    value = anchor::Extended(value, anchor.digest);
    if (anchor.number != receipted) continue;
    chain.at_receipt = value;
    if (anchor.digest != state.receipt->digest || !anchor.note) {
      return Fail(Code::kDenied, "the newest anchor is not that of its receipt, or its note is missing");
    }
  }
  chain.newest = anchors.empty() ? 0 : anchors.back().number;
  chain.at_newest = value;
  if ((chain.newest != receipted && chain.newest != receipted + 1) || (receipted != 0 && state.info->anchors_first > receipted)) {
    return Fail(Code::kDenied, "the list ends at anchor " + Number(chain.newest) + ", the receipt is of " + Number(receipted));
  }
  if (state.receipt && chain.at_receipt != state.receipt->index) {
    return Fail(Code::kDenied, "the listed anchors do not lead to the X of the receipt");
  }
  STELE_TRY_VOID(CheckAnchorNotes(state, anchors));
  state.facts.anchors = anchors;
  return chain;
}

void CheckAnchors(VerifyState& state) {
  const auto fail = [&state](std::string_view word, std::string detail) {
    state.checks.Fail("anchors", word, std::move(detail), "anchors.cel");
  };
  if (!state.key || !state.counter || !state.index || !state.checks.Passed("receipt")) {
    return state.checks.Skip("anchors", "the checkpoint, a certification or the receipt failed");
  }
  const auto chain = FollowChain(state);
  if (!chain) return fail("TAMPERED", chain.error().context);
  const std::uint64_t start = state.record->counter_start;
  const std::uint64_t receipted = state.audit->anchor;
  if (state.counter->value < start + receipted) return fail("ROLLED_BACK", "the TPM counted fewer anchors than there are");
  const std::uint64_t counted = state.counter->value - start;
  if (counted > chain->newest) {
    return fail("ROLLED_BACK", "the TPM counted " + Number(counted) + " anchors, this evidence shows " + Number(chain->newest));
  }
  const bool at_newest = state.index->value == chain->at_newest;
  if (!at_newest && state.index->value != chain->at_receipt) return fail("TAMPERED", "X is not on the chain of these anchors");
  if (counted > receipted && !at_newest) return fail("TAMPERED", "an anchor was counted that is not in X");
  state.checks.Pass("anchors", Number(counted) + " anchors, from " +
                                   (state.info->anchors_first <= 1 ? "the first" : Number(state.info->anchors_first)) +
                                   " on, lead to the certified X");
}

// Where the register's replay begins.
Result<Hash> ReplayStart(const VerifyState& state) {
  if (state.info->pcr_from_baseline) return state.record->pcr_baseline;
  if (!state.receipt || state.receipt->quote.pcr_values.empty()) return Fail(Code::kDenied, "there is no receipt to begin at");
  const TpmClock& then = state.receipt_quote->clock;
  const TpmClock& now = state.quote->clock;
  if (then.reset_count != now.reset_count || then.restart_count != now.restart_count) {
    return Fail(Code::kDenied, "the receipt it begins at is of another boot");
  }
  return state.receipt->pcr;  // among the quoted values: CheckReceipt
}

Result<Hash> ReplayEvents(const VerifyState& state) {
  STELE_TRY(const auto events, ParseEventLog(state.Of(Part::kCheckpointsTcg), state.record->pcr));
  if (events.size() != state.info->pcr_events) return Fail(Code::kDenied, "it does not hold as many events as bundle.json says");
  if (EncodeCheckpointsCel(state.record->pcr, events) != state.TextOf(Part::kCheckpointsCel)) {
    return Fail(Code::kDenied, "checkpoints.cel says something else");
  }
  STELE_TRY(Hash value, ReplayStart(state));
  std::uint64_t last_size = 0;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const std::string place = "event " + Number(i);
    const auto opened = ledger::OpenCheckpoint(events[i].note, *state.key);
    if (!opened) return Fail(Code::kDenied, place + ": " + opened.error().context);
    if (Sha256Of(AsBytes(events[i].note)) != events[i].digest) return Fail(Code::kDenied, place + ": the digest is not its data's");
    if (opened->checkpoint.size <= last_size) return Fail(Code::kDenied, place + ": its size does not grow");
    last_size = opened->checkpoint.size;
    value = anchor::Extended(value, events[i].digest);
  }
  const std::optional<Hash> newest =
      !events.empty() ? std::optional(events.back().digest) : state.receipt ? std::optional(state.receipt->digest) : std::nullopt;
  if (newest != state.audit->digest) return Fail(Code::kDenied, "the quoted checkpoint is not the newest event");
  return value;
}

void CheckPcrLog(VerifyState& state) {
  if (!state.key || !state.checkpoint || !state.quote || !state.checks.Passed("receipt")) {
    return state.checks.Skip("pcr_log", "the checkpoint, the quote or the receipt failed");
  }
  const auto value = ReplayEvents(state);
  if (!value) return state.checks.Fail("pcr_log", "TAMPERED", value.error().context, "checkpoints.tcg");
  if (*value != state.quoted_pcr) {
    return state.checks.Fail("pcr_log", "FOREIGN_EXTEND",
                             "PCR " + Number(state.record->pcr) + " is not what these checkpoints make: something else was extended, " +
                                 "or the log was rolled back within this boot",
                             "checkpoints.tcg");
  }
  state.checks.Pass("pcr_log", Number(state.info->pcr_events) + " checkpoints give the quoted PCR " + Number(state.record->pcr));
}

// The firmware's event log against the quoted registers it speaks of. Nobody signs it: it explains what the TPM signed.
void CheckBootLog(VerifyState& state) {
  if (!state.Has(Part::kBootTcg)) {
    return state.checks.Skip("boot_log", state.record->software_tpm ? "a software TPM knows nothing of the firmware"
                                                                    : "the bundle carries no boot event log");
  }
  if (!state.quote) return state.checks.Skip("boot_log", "the quote failed");
  const auto replayed = measure::ReplayLog(state.Of(Part::kBootTcg), measure::kAlgSha256);
  if (!replayed) return state.checks.Fail("boot_log", "DAMAGED", replayed.error().context, "boot.tcg");
  std::string wrong;
  for (const auto& [pcr, value] : state.facts.pcrs) {
    if (pcr >= kBootRegisters) continue;
    const measure::RegisterReplay& one = (*replayed)[pcr];
    const bool quoted = SameBytes(one.value, value);
    state.facts.boot_registers.push_back({pcr, one.events, Hash{}, quoted});
    std::copy_n(one.value.begin(), kHashBytes, state.facts.boot_registers.back().value.begin());
    if (!quoted) wrong += (wrong.empty() ? "" : ", ") + Number(pcr);
  }
  if (!wrong.empty()) {
    return state.checks.Fail("boot_log", "FOREIGN_EXTEND", "the boot event log does not give the quoted PCR " + wrong, "boot.tcg");
  }
  state.checks.Pass("boot_log", "the boot event log gives the quoted PCR 0 to 7");
}

void CheckExpectedPcrs(VerifyState& state) {
  if (state.policy.expected_pcrs.empty()) return state.checks.Skip("expected_pcrs", "no expected values were given");
  if (!state.quote) return state.checks.Skip("expected_pcrs", "the quote failed");
  for (const auto& [number, value] : state.policy.expected_pcrs) {
    const auto quoted = std::find_if(state.facts.pcrs.begin(), state.facts.pcrs.end(),
                                     [wanted = number](const auto& pcr) { return pcr.first == wanted; });
    if (quoted == state.facts.pcrs.end() || quoted->second != value) {
      return state.checks.Fail("expected_pcrs", "TAMPERED",
                               "PCR " + Number(number) + (quoted == state.facts.pcrs.end() ? " is not quoted" : " is not as expected"),
                               "quote.pcrs");
    }
  }
  state.checks.Pass("expected_pcrs", Number(state.policy.expected_pcrs.size()) + " registers are as expected");
}

}  // namespace

void CheckTpm(VerifyState& state) {
  if (!state.record) return;
  CheckQuote(state);
  CheckNonce(state);
  CheckCounter(state);
  CheckIndex(state);
  CheckReceipt(state);
  CheckBoot(state);
  CheckAnchors(state);
  CheckPcrLog(state);
  CheckBootLog(state);
  CheckExpectedPcrs(state);
}

}  // namespace stele::evidence
