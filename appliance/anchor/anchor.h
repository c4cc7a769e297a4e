// The in-box witness. It signs a checkpoint only if it continues the last one it signed, makes it permanent in the TPM
// only once its intent is durable in the log, and judges log against TPM at every start.
//
// The methods mirror the operations of appliance/channel/anchor_messages.h. Order of one checkpoint:
//   Sign: consistent? -> slot persisted -> signed | ledger: intent durable | Confirm: PCR extend, read back
//   -> (anchor due) NV extend, NV increment, read back, quote, certify C, certify X | ledger: receipt durable
//
// When the TPM does not answer: nothing is repeated blindly. The registers count as unsettled, and before anything else
// is signed they are read back and judged by the recovery table, which also does what is missing. Intent j + 1 is
// signed only after read-back gave P_j: while the TPM is away nothing is signed, the log goes on, and the vulnerability
// window grows (the status says since when). While only the NV part is refused (NV_RATE), checkpoints go on in the PCR
// and the anchor is finished later, its receipt marked late.
//
// Thread safety: one thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "appliance/anchor/entries.h"
#include "appliance/anchor/facts.h"
#include "appliance/anchor/keys.h"
#include "appliance/anchor/slots.h"
#include "appliance/base/limits.h"
#include "appliance/channel/anchor_messages.h"
#include "appliance/ledger/merkle.h"

namespace stele::anchor {

// The log as a later epoch found it, under the provisioning key's signature: what a new anchor counts as signed.
struct EpochStart {
  std::uint64_t number = 0;
  std::uint64_t size = 0;
  Hash root{};
  std::vector<Hash> frontier;
};

struct AnchorConfig {
  std::string origin;  // also the note key's name
  Hash log_id{};
  Pins pins;
  std::int64_t anchor_interval_ms = limits::kAnchorIntervalMs;
  std::int64_t provisioned_wall_ns = 0;
  std::string key = "file";  // where the seed is from, for the status: file, tpm-sealed
  std::string key_policy;    // tpm-sealed: what must hold for it to be unsealed, "PCR 14"
  // NV cells endure 100,000 writes unless the vendor says more; each anchor writes each of the two cells once.
  std::uint64_t nv_budget = 100'000;
  bool wears = true;  // else the budget is only shown: a software TPM's memory does not wear
  // Anchors on demand (never those due by time or boot) are granted while all anchors together stay within so many a
  // day since provisioning, and a start-up allowance. A software TPM does not wear and is not limited.
  std::uint64_t anchors_per_day = 27;
  std::uint64_t anchors_allowance = 64;
  EpochStart epoch;
  std::vector<std::string> earlier;  // how each epoch before ended, as qualifiers: they stay in every verdict
};

class Anchor {
 public:
  // What is referred to must outlive the anchor. `keys` must have been derived for config.origin.
  Anchor(Tpm& tpm, Clock& clock, StateSlot& first, StateSlot& second, AnchorKeys keys, AnchorConfig config);

  Anchor(const Anchor&) = delete;  // its slots refer to its key
  Anchor& operator=(const Anchor&) = delete;

  // Session keys for block MACs. kDenied once recovery is done: from then on a ledger that was taken over cannot obtain
  // the keys of earlier sessions and make blocks that would pass for theirs.
  [[nodiscard]] Result<channel::KeysAnswer> Keys(const channel::KeysRequest& request) const;

  // Judges and finishes what was under way. Always gives a verdict; CANNOT_TELL while the TPM does not answer (it is
  // judged as soon as it does, and the alarm then says the verdict).
  [[nodiscard]] channel::Verdict Recover(const channel::LogState& state);

  // kInvalid: not strictly larger than, or not consistent with, what was signed last. kDenied: the verdict forbids it,
  // or the last intent was never confirmed. kUnavailable, kTpm, kIo: not now; the same request may come again.
  [[nodiscard]] Result<channel::Intent> Sign(const channel::CheckpointRequest& request);

  // The intent is durable. kInvalid when it is not the open one; trouble with the TPM is not an error but in the
  // status. May carry the receipt of an earlier anchor that could not be finished before.
  [[nodiscard]] Result<channel::Extended> Confirm(std::uint64_t number);

  // The receipt handed out last is durable: the next anchor may come. kInvalid when there is none.
  [[nodiscard]] Result<void> ReceiptDurable();

  // An auditor's nonce: the TPM signs registers, C and X over it and the newest checkpoint in the PCR. Nothing is
  // written. kUnavailable: not now (no checkpoint of this boot yet, a checkpoint under way, the TPM does not answer).
  [[nodiscard]] Result<AuditEntry> Attest(const channel::AttestRequest& request);

  // A new ledger: forget what the old one was told; keys may be asked for again until the next Recover().
  void Reset();
  // A fresh connection to the (same?) TPM: everything is read back before it is used.
  void UseTpm(Tpm& tpm);

  [[nodiscard]] std::string StatusJson() const;
  [[nodiscard]] std::vector<std::string> TakeAlarms();  // texts for alarm entries, oldest first
  [[nodiscard]] std::uint64_t signed_size() const { return last_signed_ ? last_signed_->size : config_.epoch.size; }
  [[nodiscard]] const ledger::VerifyKey& verify_key() const { return keys_.note_key.verify_key(); }
  [[nodiscard]] const std::optional<channel::Verdict>& verdict() const { return verdict_; }

 private:
  // The vulnerability window is counted from when the log had the size that is covered, not from when it was covered.
  struct Covered {
    std::uint64_t size = 0;
    std::int64_t wall_ns = 0;  // of the request; 0: not known
  };

  Result<void> Settle();
  void Adopt(const RecoveryDecision& decision);
  Result<void> ExtendPcr(const Hash& digest);
  Result<void> FinishAnchor();
  Result<void> AdvanceIndexAndCounter(const IntentEntry& anchored);
  Result<void> MakeReceipt(const IntentEntry& anchored);
  void TryFinishAnchor();
  Result<ledger::CompactRange> CheckConsistent(const channel::CheckpointRequest& request) const;
  Result<void> PersistSlot(const IntentEntry& intent, const ledger::CompactRange& frontier);
  [[nodiscard]] tl::unexpected<Error> VerdictForbids() const;
  Result<bool> StillThisBoot();
  Result<void> Advance(const Hash& digest);
  void NoteExtended();
  [[nodiscard]] Covered CoveredBy(const ReceiptEntry& receipt) const;
  [[nodiscard]] bool AnchorDue(bool wanted) const;
  [[nodiscard]] bool DemandGranted() const;
  [[nodiscard]] std::string DemandRefusal() const;
  std::optional<std::string> HandOutReceipt();
  void Degrade(const Error& error);
  void Restored();
  void CountAnchors(std::uint64_t counter);
  [[nodiscard]] bool Waiting() const;

  Tpm* tpm_;
  Clock& clock_;
  AnchorKeys keys_;
  AnchorConfig config_;
  SlotPair slots_;
  std::optional<SlotState> last_signed_;

  std::optional<channel::Verdict> verdict_;  // since the last Recover()
  channel::LogState log_;                    // as recovery found it, its size kept up
  LogView view_;                             // its entries, kept up
  std::optional<IntentEntry> open_;          // signed, not yet confirmed
  std::optional<std::string> receipt_;       // made, not yet durable
  bool receipt_handed_out_ = false;

  bool settled_ = false;           // the PCR is at boot_pcr_, read back
  TpmClock boot_;                  // the running boot, clock as last read
  std::uint64_t boot_number_ = 0;  // q
  Hash boot_pcr_{};                // P_q
  Registers registers_;            // as last read, for the status

  std::int64_t asked_wall_ns_ = 0;  // when the operation under way began
  std::int64_t unanchored_since_ns_ = 0;
  Covered extended_;
  Covered intended_;  // the newest anchored intent of this process
  Covered anchored_;  // the newest receipt made by this process
  std::int64_t retry_after_ms_ = 0;
  std::int64_t retry_at_boottime_ns_ = 0;
  std::uint64_t wear_alarm_percent_ = 0;
  std::string last_error_;
  std::string demand_refusal_;  // why the anchor asked for last was not made; empty: it was
  std::vector<std::string> alarms_;
};

}  // namespace stele::anchor
