#include "appliance/anchor/anchor.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

namespace stele::anchor {
namespace {

constexpr std::int64_t kNsPerMs = 1'000'000;
constexpr std::int64_t kNsPerDay = 86'400LL * 1'000 * kNsPerMs;
constexpr std::int64_t kRetryAfterMsMin = 1'000;
constexpr std::int64_t kRetryAfterMsMax = 60'000;

bool SameBoot(const TpmClock& a, const TpmClock& b) {
  return a.reset_count == b.reset_count && a.restart_count == b.restart_count;
}

channel::Verdict CannotTell(const Error& error) {
  channel::Verdict verdict;
  verdict.word = "CANNOT_TELL";
  verdict.detail = "the TPM does not answer: " + Describe(error);
  return verdict;
}

channel::Verdict Refusal(std::string word, std::string detail) {
  channel::Verdict verdict;
  verdict.word = std::move(word);
  verdict.detail = std::move(detail);
  verdict.may_anchor = false;
  return verdict;
}

}  // namespace

Anchor::Anchor(Tpm& tpm, Clock& clock, StateSlot& first, StateSlot& second, AnchorKeys keys, AnchorConfig config)
    : tpm_(&tpm),
      clock_(clock),
      keys_(std::move(keys)),
      config_(std::move(config)),
      slots_(first, second, keys_.slot_key.view()) {}

Result<channel::KeysAnswer> Anchor::Keys(const channel::KeysRequest& request) const {
  if (verdict_) return Fail(Code::kDenied, "session keys are given out before recovery only");
  channel::KeysAnswer answer;
  for (const Hash& session : request.sessions)
    answer.keys.push_back(SessionKey(keys_.mac_root, config_.log_id, session));
  answer.new_key = SessionKey(keys_.mac_root, config_.log_id, request.new_session);
  return answer;
}

void Anchor::Reset() {
  verdict_.reset();
  open_.reset();
  receipt_.reset();
  receipt_handed_out_ = false;
  settled_ = false;
}

void Anchor::UseTpm(Tpm& tpm) {
  tpm_ = &tpm;
  settled_ = false;
  retry_after_ms_ = 0;
  retry_at_boottime_ns_ = 0;
}

channel::Verdict Anchor::Recover(const channel::LogState& state) {
  Reset();
  asked_wall_ns_ = clock_.WallNs();
  log_ = state;
  const SlotPair::Loaded loaded = slots_.Load();
  last_signed_ = loaded.newest && loaded.newest->log_id == config_.log_id ? loaded.newest : std::nullopt;
  if (loaded.unreadable > 0) {
    alarms_.push_back(fmt::format("{} of the anchor's two slots is damaged{}", loaded.unreadable,
                                  last_signed_ ? "; the other one is whole" : ""));
  }
  const auto frontier = ledger::CompactRange::FromHashes(0, state.size, state.frontier);
  if (state.log_id != config_.log_id) {
    verdict_ = Refusal("TAMPERED", "the store holds another log than the one provisioned with this TPM");
  } else if (!frontier || frontier->Root() != state.root) {
    verdict_ = Refusal("CANNOT_TELL", "the ledger's frontier does not give its root");
  } else if (state.size < config_.epoch.size) {
    verdict_ = Refusal("ROLLED_BACK", fmt::format("the log holds {} records; epoch {} began over {}", state.size,
                                                  config_.epoch.number, config_.epoch.size));
  } else if (config_.epoch.number > 0 &&
             !FrontiersAgree(config_.epoch.size, config_.epoch.root, config_.epoch.frontier, state)) {
    verdict_ = Refusal("TAMPERED", fmt::format("the first {} records are not those that epoch {} began over",
                                               config_.epoch.size, config_.epoch.number));
  }
  if (verdict_) {
    alarms_.push_back("verdict " + verdict_->word + ": " + verdict_->detail);
    return *verdict_;
  }

  view_ = ViewOf(state, verify_key(), config_.pins);
  const auto settled = Settle();
  if (!verdict_) verdict_ = CannotTell(settled ? Error{} : settled.error());
  channel::Verdict verdict = *verdict_;
  verdict.late_receipt = HandOutReceipt();
  return verdict;
}

// Reads everything back, judges it by the table and does what the table says is missing. Afterwards either the PCR is
// known to be at boot_pcr_ or the verdict forbids anchoring; an error means the TPM did not answer.
Result<void> Anchor::Settle() {
  settled_ = false;
  auto registers = ReadRegisters(*tpm_, config_.pins);
  if (!registers) {
    Degrade(registers.error());
    return tl::unexpected(registers.error());
  }
  registers_ = std::move(*registers);
  const RecoveryFacts facts = FactsOf(log_, view_, registers_, last_signed_, config_.pins);
  const RecoveryDecision decision = Decide(facts);
  Adopt(decision);
  if (!verdict_->may_anchor) return {};

  boot_ = registers_.clock;
  boot_number_ = facts.intents_this_boot;
  boot_pcr_ = registers_.pcr;
  CountAnchors(registers_.counter);
  if (decision.actions.extend_pcr) {
    STELE_TRY_VOID(ExtendPcr(view_.newest()->digest));
  }
  settled_ = true;
  NoteExtended();
  TryFinishAnchor();
  return {};
}

// The first decision after Recover() is the verdict; later ones can only make it worse, or answer what could not be
// told.
void Anchor::Adopt(const RecoveryDecision& decision) {
  const bool first = !verdict_ || verdict_->word == "CANNOT_TELL";
  if (first || (verdict_->may_anchor && !decision.may_anchor)) {
    const bool told = verdict_.has_value();
    channel::Verdict verdict;
    verdict.word = decision.word;
    verdict.qualifiers = decision.qualifiers;
    verdict.qualifiers.insert(verdict.qualifiers.end(), config_.earlier.begin(), config_.earlier.end());
    verdict.detail = decision.detail;
    verdict.may_anchor = decision.may_anchor;
    verdict_ = std::move(verdict);
    if (told || !decision.may_anchor) alarms_.push_back("verdict " + decision.word + ": " + decision.detail);
  }
  if (!verdict_->may_anchor && unanchored_since_ns_ == 0) unanchored_since_ns_ = clock_.WallNs();
  if (first) alarms_.insert(alarms_.end(), decision.warnings.begin(), decision.warnings.end());
}

Result<ledger::CompactRange> Anchor::CheckConsistent(const channel::CheckpointRequest& request) const {
  const std::uint64_t newest_size = view_.newest() == nullptr ? 0 : view_.newest()->size;
  if (request.size <= std::max(signed_size(), newest_size)) {
    return Fail(Code::kInvalid, fmt::format("size {} is not larger than {}, signed before", request.size,
                                            std::max(signed_size(), newest_size)));
  }
  if (request.range_begin != signed_size()) {
    return Fail(Code::kInvalid,
                fmt::format("the range begins at {}, the last signed size is {}", request.range_begin, signed_size()));
  }
  const std::vector<Hash>& own = last_signed_ ? last_signed_->frontier : config_.epoch.frontier;
  STELE_TRY(auto frontier, ledger::CompactRange::FromHashes(0, signed_size(), own));
  STELE_TRY(const auto range,
            ledger::CompactRange::FromHashes(request.range_begin, request.size, request.range_hashes));
  STELE_TRY_VOID(frontier.Extend(range));
  if (frontier.Root() != request.root) {
    return Fail(Code::kInvalid,
                fmt::format("size {} does not continue the {} records signed before", request.size, signed_size()));
  }
  return frontier;
}

// The TPM may have been reset beneath us; then this boot's P-chain is over and the table decides anew. False: it was.
Result<bool> Anchor::StillThisBoot() {
  const auto clock = tpm_->ReadClock();
  if (!clock) {
    settled_ = false;
    Degrade(clock.error());
    return tl::unexpected(clock.error());
  }
  if (!SameBoot(*clock, boot_)) return false;
  boot_.clock_ms = clock->clock_ms;
  return true;
}

tl::unexpected<Error> Anchor::VerdictForbids() const {
  return Fail(Code::kDenied, "verdict " + verdict_->word + ": " + verdict_->detail);
}

Result<channel::Intent> Anchor::Sign(const channel::CheckpointRequest& request) {
  if (!verdict_) return Fail(Code::kDenied, "no recovery yet");
  if (!verdict_->may_anchor) return VerdictForbids();
  asked_wall_ns_ = clock_.WallNs();
  if (open_) return Fail(Code::kDenied, fmt::format("checkpoint {} was signed and never confirmed", open_->number));
  STELE_TRY(const auto frontier, CheckConsistent(request));
  if (!settled_) {
    if (Waiting()) return Fail(Code::kUnavailable, "the TPM does not answer; it is asked again soon: " + last_error_);
    STELE_TRY_VOID(Settle());
  }
  if (verdict_->may_anchor) {
    STELE_TRY(const bool still, StillThisBoot());
    if (!still) STELE_TRY_VOID(Settle());
  }
  if (!verdict_->may_anchor) return VerdictForbids();  // it may have turned just now
  TryFinishAnchor();
  if (!settled_) return Fail(Code::kUnavailable, "the TPM's registers are unclear: " + last_error_);

  IntentEntry intent;
  intent.size = request.size;
  intent.root = request.root;
  intent.reset_count = boot_.reset_count;
  intent.restart_count = boot_.restart_count;
  intent.number = boot_number_ + 1;
  intent.pcr_before = boot_pcr_;
  intent.anchor = AnchorDue(request.want_anchor) ? view_.anchors_intended() + 1 : 0;
  intent.epoch = config_.epoch.number;
  if (request.want_anchor) demand_refusal_ = intent.anchor == 0 ? DemandRefusal() : std::string{};
  STELE_TRY_VOID(PersistSlot(intent, frontier));
  if (intent.anchor != 0) intended_ = {intent.size, asked_wall_ns_};

  intent.note = keys_.note_key.Sign(ledger::FormatCheckpoint({config_.origin, request.size, request.root}));
  intent.digest = Sha256Of(AsBytes(intent.note));
  channel::Intent answer{EncodeIntent(intent), intent.number, intent.anchor};
  open_ = std::move(intent);
  return answer;
}

Result<void> Anchor::PersistSlot(const IntentEntry& intent, const ledger::CompactRange& frontier) {
  SlotState slot;
  slot.log_id = config_.log_id;
  slot.size = intent.size;
  slot.root = intent.root;
  slot.frontier = frontier.Hashes();
  slot.number = intent.number;
  slot.anchor = std::max(view_.anchors_intended(), intent.anchor);
  slot.index = registers_.index;
  slot.counter = registers_.counter;
  slot.pcr = intent.pcr_before;
  slot.reset_count = boot_.reset_count;
  slot.restart_count = boot_.restart_count;
  slot.clock_ms = boot_.clock_ms;
  slot.wall_ns = asked_wall_ns_;
  STELE_TRY_VOID(slots_.Store(slot));
  last_signed_ = std::move(slot);
  return {};
}

Result<channel::Extended> Anchor::Confirm(std::uint64_t number) {
  if (!open_ || open_->number != number) return Fail(Code::kInvalid, fmt::format("checkpoint {} is not open", number));
  asked_wall_ns_ = clock_.WallNs();
  const IntentEntry intent = std::move(*open_);
  open_.reset();
  Remember(view_, intent);
  log_.size = std::max(log_.size, intent.size + 1);  // the intent itself is an entry
  log_.tail_records = 0;
  log_.frontier.clear();  // recovery's; the slot now knows more
  boot_number_ = intent.number;
  (void)Advance(intent.digest);  // trouble is in the status, and the table has or will have the last word
  return channel::Extended{number, HandOutReceipt(), StatusJson()};
}

// Makes the checkpoint just confirmed permanent, or leaves the registers unsettled.
Result<void> Anchor::Advance(const Hash& digest) {
  if (!settled_) {
    if (Waiting()) return Fail(Code::kUnavailable, last_error_);
    return Settle();  // a fresh connection: the table says whether to extend
  }
  STELE_TRY(const bool still, StillThisBoot());
  if (!still) return Settle();
  const auto extended = ExtendPcr(digest);
  if (!extended && extended.error().code == Code::kCorrupt) return Settle();  // the table names it
  if (extended) {
    NoteExtended();
    TryFinishAnchor();
  }
  return extended;
}

void Anchor::NoteExtended() {
  if (boot_number_ == 0) {
    extended_ = view_.receipt ? CoveredBy(*view_.receipt) : Covered{};
    return;
  }
  const std::uint64_t size = view_.newest()->size;
  if (size == extended_.size) return;
  const bool signed_last = last_signed_ && last_signed_->size == size;
  extended_ = {size, signed_last ? last_signed_->wall_ns : 0};
}

// A late receipt was made long after its checkpoint: its own time would make the window look small.
Anchor::Covered Anchor::CoveredBy(const ReceiptEntry& receipt) const {
  if (receipt.size == anchored_.size) return anchored_;
  if (receipt.size == intended_.size) return intended_;
  return {receipt.size, receipt.late ? 0 : receipt.wall_ns};
}

Result<void> Anchor::ReceiptDurable() {
  if (!receipt_ || !receipt_handed_out_) return Fail(Code::kInvalid, "no receipt is waiting to become durable");
  STELE_TRY(view_.receipt, DecodeReceipt(*receipt_));
  log_.last_receipt = std::exchange(receipt_, std::nullopt);
  receipt_handed_out_ = false;
  return {};
}

// One extend and its read-back. On any other outcome the registers are unsettled and the table decides, later or at
// once.
Result<void> Anchor::ExtendPcr(const Hash& digest) {
  settled_ = false;
  const Hash expected = Extended(boot_pcr_, digest);
  if (const auto extended = tpm_->ExtendPcr(digest); !extended) {
    Degrade(extended.error());
    return extended;
  }
  const auto read = tpm_->ReadPcr();
  if (!read) {
    Degrade(read.error());
    return tl::unexpected(read.error());
  }
  registers_.pcr = *read;
  if (*read == boot_pcr_) {
    const Error error{Code::kTpm, "the PCR did not move: a disabled bank, or the command was dropped", 0};
    Degrade(error);
    return tl::unexpected(error);
  }
  if (*read != expected) return Fail(Code::kCorrupt, "the PCR is not where this checkpoint leaves it");
  boot_pcr_ = expected;
  settled_ = true;
  if (!view_.anchor_pending() || receipt_) Restored();
  return {};
}

// Finishes a pending anchor if its checkpoint is in the PCR (or its boot is over) and the TPM lets us; else later.
void Anchor::TryFinishAnchor() {
  if (!settled_ || !view_.anchor_pending() || receipt_ || Waiting()) return;
  const auto finished = FinishAnchor();
  if (finished) {
    Restored();
    return;
  }
  Degrade(finished.error());
  if (finished.error().code == Code::kCorrupt) (void)Settle();  // impossible registers: the table names it
}

Result<void> Anchor::FinishAnchor() {
  const IntentEntry anchored = *view_.anchored();
  STELE_TRY_VOID(AdvanceIndexAndCounter(anchored));
  return MakeReceipt(anchored);
}

// X first, then C: content before count, else a forged pending checkpoint could be counted before it is bound. Each
// register is read first and moved only from the one place where this anchor must find it.
Result<void> Anchor::AdvanceIndexAndCounter(const IntentEntry& anchored) {
  const Hash index_before = IndexAtReceipt(view_, config_.pins);
  const Hash index_after = Extended(index_before, anchored.digest);
  const std::uint64_t counter_after = config_.pins.receipt.counter_start + anchored.anchor;
  STELE_TRY(registers_.index, tpm_->ReadIndex());
  STELE_TRY(registers_.counter, tpm_->ReadCounter());
  const bool index_done = registers_.index == index_after;
  const bool counter_done = registers_.counter == counter_after;
  if ((!index_done && registers_.index != index_before) || (!counter_done && registers_.counter + 1 != counter_after) ||
      (counter_done && !index_done)) {
    return Fail(Code::kCorrupt,
                fmt::format("index and counter are not where anchor {} must find them", anchored.anchor));
  }
  if (!index_done) {
    STELE_TRY_VOID(tpm_->ExtendIndex(anchored.digest));
    STELE_TRY(registers_.index, tpm_->ReadIndex());
    if (registers_.index == index_before) return Fail(Code::kTpm, "the index did not move");
    if (registers_.index != index_after) return Fail(Code::kCorrupt, "the index is not where this anchor leaves it");
  }
  if (!counter_done) {
    STELE_TRY_VOID(tpm_->IncrementCounter());
    STELE_TRY(registers_.counter, tpm_->ReadCounter());
    if (registers_.counter + 1 == counter_after) return Fail(Code::kTpm, "the counter did not move");
    if (registers_.counter != counter_after)
      return Fail(Code::kCorrupt, "the counter is not where this anchor leaves it");
  }
  CountAnchors(registers_.counter);
  return {};
}

Result<void> Anchor::MakeReceipt(const IntentEntry& anchored) {
  const auto data = [&](Purpose purpose) {
    return QualifyingData(purpose, config_.log_id, anchored.anchor, anchored.digest, Hash{});
  };
  ReceiptEntry receipt;
  receipt.epoch = config_.epoch.number;
  receipt.number = anchored.anchor;
  receipt.size = anchored.size;
  receipt.digest = anchored.digest;
  receipt.index = registers_.index;
  receipt.counter = registers_.counter;
  STELE_TRY(const TpmClock clock, tpm_->ReadClock());
  receipt.reset_count = clock.reset_count;
  receipt.restart_count = clock.restart_count;
  receipt.clock_ms = clock.clock_ms;
  receipt.wall_ns = clock_.WallNs();
  STELE_TRY(receipt.quote, tpm_->Quote(data(Purpose::kReceiptQuote)));
  STELE_TRY(receipt.certify_counter, tpm_->CertifyCounter(data(Purpose::kCertifyCounter)));
  STELE_TRY(receipt.certify_index, tpm_->CertifyIndex(data(Purpose::kCertifyIndex)));
  STELE_TRY(receipt.pcr, tpm_->ReadPcr());
  if (receipt.pcr != boot_pcr_) return Fail(Code::kCorrupt, "the PCR moved while the receipt was made");
  receipt.late = receipt.pcr != Extended(anchored.pcr_before, anchored.digest);
  const auto checked = CheckReceipt(receipt, config_.pins.receipt);
  if (!checked) return Fail(Code::kTpm, "the TPM's own answer does not verify: " + checked.error().context);
  receipt_ = EncodeReceipt(receipt);
  anchored_ = CoveredBy(receipt);
  receipt_handed_out_ = false;
  return {};
}

bool Anchor::AnchorDue(bool wanted) const {
  if (view_.anchor_pending() || receipt_) return false;                                // one at a time
  if (!view_.receipt || view_.receipt->reset_count != boot_.reset_count) return true;  // the boot anchor
  if (boot_.clock_ms >= view_.receipt->clock_ms + static_cast<std::uint64_t>(config_.anchor_interval_ms)) return true;
  return wanted && DemandGranted();
}

bool Anchor::DemandGranted() const {
  if (config_.pins.software_tpm) return true;
  const std::int64_t age_ns = std::max<std::int64_t>(0, clock_.WallNs() - config_.provisioned_wall_ns);
  const auto days = static_cast<std::uint64_t>(age_ns / kNsPerDay);
  return view_.anchors_intended() < config_.anchors_allowance + days * config_.anchors_per_day;
}

std::string Anchor::DemandRefusal() const {
  if (view_.anchor_pending() || receipt_) return "an earlier anchor is not finished yet";
  return fmt::format("{} anchors were made and each wears the TPM's memory: {} a day since provisioning and {} more are granted",
                     view_.anchors_intended(), config_.anchors_per_day, config_.anchors_allowance);
}

Result<AuditEntry> Anchor::Attest(const channel::AttestRequest& request) {
  if (!verdict_) return Fail(Code::kUnavailable, "no recovery yet");
  const bool unsettled = open_ || !settled_;
  if (unsettled && !verdict_->may_anchor) return Fail(Code::kUnavailable, VerdictForbids().value().context);
  if (unsettled) return Fail(Code::kUnavailable, "the TPM's registers are not settled: " + last_error_);
  STELE_TRY(const bool still, StillThisBoot());
  const IntentEntry* newest = view_.newest();
  if (!still || newest == nullptr || boot_number_ == 0) {
    return Fail(Code::kUnavailable, "this boot has no checkpoint in the TPM yet");
  }
  AuditEntry audit;
  audit.log_id = config_.log_id;
  audit.origin = config_.origin;
  audit.epoch = config_.epoch.number;
  audit.nonce = request.nonce;
  audit.anchor = view_.anchors_receipted();
  audit.digest = newest->digest;
  audit.note = newest->note;
  audit.pcr = config_.pins.receipt.pcr;
  audit.counter = registers_.counter;
  audit.index = registers_.index;
  audit.reset_count = boot_.reset_count;
  audit.restart_count = boot_.restart_count;
  audit.clock_ms = boot_.clock_ms;
  audit.wall_ns = clock_.WallNs();
  const bool made = newest->anchor != 0 && !view_.anchor_pending();
  audit.demand = !request.demanded ? "not_asked" : made ? "made" : "refused";
  if (audit.demand == "refused") audit.demand_text = demand_refusal_.empty() ? "not finished: " + last_error_ : demand_refusal_;
  const Hash data = QualifyingData(Purpose::kAudit, audit.log_id, audit.anchor, audit.digest, audit.nonce);
  STELE_TRY(audit.quote, tpm_->Quote(data));
  STELE_TRY(audit.certify_counter, tpm_->CertifyCounter(data));
  STELE_TRY(audit.certify_index, tpm_->CertifyIndex(data));
  return audit;
}

std::optional<std::string> Anchor::HandOutReceipt() {
  if (!receipt_ || receipt_handed_out_) return std::nullopt;
  receipt_handed_out_ = true;
  return receipt_;
}

void Anchor::CountAnchors(std::uint64_t counter) {
  const std::uint64_t made = counter - std::min(counter, config_.pins.receipt.counter_start);
  for (const std::uint64_t percent : {50U, 80U}) {
    if (made * 100 >= config_.nv_budget * percent && wear_alarm_percent_ < percent && config_.wears) {
      wear_alarm_percent_ = percent;
      alarms_.push_back(fmt::format("{} % of the NV write budget of {} are used", percent, config_.nv_budget));
    }
  }
}

bool Anchor::Waiting() const { return retry_after_ms_ > 0 && clock_.BoottimeNs() < retry_at_boottime_ns_; }

void Anchor::Degrade(const Error& error) {
  last_error_ = Describe(error);
  if (unanchored_since_ns_ == 0) {
    unanchored_since_ns_ = asked_wall_ns_;
    alarms_.push_back("unanchored: " + last_error_);
  }
  retry_after_ms_ = std::clamp(retry_after_ms_ * 2, kRetryAfterMsMin, kRetryAfterMsMax);
  retry_at_boottime_ns_ = clock_.BoottimeNs() + retry_after_ms_ * kNsPerMs;
}

void Anchor::Restored() {
  if (unanchored_since_ns_ != 0) alarms_.emplace_back("anchored again");
  unanchored_since_ns_ = 0;
  retry_after_ms_ = 0;
  last_error_.clear();
}

std::string Anchor::StatusJson() const {
  using nlohmann::json;
  const bool bad = verdict_ && !verdict_->may_anchor;
  const bool anchored = verdict_ && settled_ && !bad && unanchored_since_ns_ == 0;
  const std::uint64_t start = config_.pins.receipt.counter_start;
  // The receipt just made counts although it is not yet durable: the registers hold it.
  std::optional<ReceiptEntry> newest = view_.receipt;
  if (receipt_) {
    if (auto made = DecodeReceipt(*receipt_)) newest = std::move(*made);
  }
  const Covered covered = newest ? CoveredBy(*newest) : Covered{};
  const json status = {{"state", anchored ? "anchored" : "unanchored"},
                       {"unanchored_since_ns", unanchored_since_ns_ == 0 ? json(nullptr) : json(unanchored_since_ns_)},
                       {"pcr", HexOf(registers_.pcr)},
                       {"counter", registers_.counter},
                       {"index", HexOf(registers_.index)},
                       {"epoch", config_.epoch.number},
                       {"anchor", newest ? newest->number : 0},
                       {"anchored_size", covered.size},
                       {"anchored_wall_ns", covered.wall_ns},
                       {"extended_size", extended_.size},
                       {"extended_wall_ns", extended_.wall_ns},
                       {"reset_count", boot_.reset_count},
                       {"restart_count", boot_.restart_count},
                       {"nv_writes", registers_.counter - std::min(registers_.counter, start)},
                       {"nv_budget", config_.nv_budget},
                       {"key", config_.key},
                       {"key_policy", config_.key_policy},
                       {"software_tpm", config_.pins.software_tpm},
                       {"verdict", verdict_ ? verdict_->word : ""},
                       {"verdict_qualifiers", verdict_ ? verdict_->qualifiers : std::vector<std::string>{}},
                       {"verdict_detail", verdict_ ? verdict_->detail : ""},
                       {"may_anchor", verdict_ && verdict_->may_anchor},
                       {"last_error", last_error_}};
  return status.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::vector<std::string> Anchor::TakeAlarms() { return std::exchange(alarms_, {}); }

}  // namespace stele::anchor
