// A TPM for tests: deterministic, in memory, with the faults real ones have. What it attests is real: TPMS_ATTEST
// structures signed by a P-256 key derived from the seed (same seed, same calls, same bytes), so production code
// verifies them.
//
// Registers follow the TPM 2.0 rules Stele relies on: extend = SHA-256(old || digest); the counter never falls; the NV
// cells survive everything but a restored snapshot; resetCount rises at a reset, restartCount at a restart or resume.
#pragma once

#include <deque>
#include <string>

#include "appliance/base/seams.h"
#include "tpm/handles.h"

namespace stele::sim {

enum class TpmFault {
  kNone,
  kBusy,       // kUnavailable, not executed
  kLostReply,  // executed, then kIo
  kLostCall,   // not executed, kIo
  kDropped,    // reported as done, not executed (extend, increment)
};

class SimTpm final : public Tpm {
 public:
  explicit SimTpm(std::uint64_t seed);

  // What provisioning would have pinned.
  [[nodiscard]] TpmIdentity PinnedIdentity() const { return provisioned_; }
  [[nodiscard]] std::string AkPublicPem() const { return ak_public_pem_; }
  static constexpr std::uint64_t kCounterStart = 7;  // C0
  [[nodiscard]] Hash IndexStart() const { return index_start_; }

  // --- faults ---
  void FailNext(TpmFault fault) { FailAt(0, fault); }
  // The command that comes after `calls` others.
  void FailAt(std::size_t calls, TpmFault fault);
  void ClearFaults() { faults_.clear(); }
  void SetGone(bool gone) { gone_ = gone; }  // everything is kIo until it is back
  // Only the permanent cells refuse (NV_RATE).
  void SetNvBusy(bool busy) { nv_busy_ = busy; }
  [[nodiscard]] std::size_t calls() const { return calls_; }

  // --- what happens to TPMs ---
  void Reboot();   // TPM Reset: PCRs to zero, resetCount + 1
  void Restart();  // TPM Restart: PCRs to zero, restartCount + 1
  void Resume();   // TPM Resume: PCRs kept, restartCount + 1
  void AdvanceClock(std::uint64_t ms) { state_.clock.clock_ms += ms; }
  void ForeignExtendPcr(const Hash& digest);
  void ForeignExtendIndex(const Hash& digest);
  void CounterAhead(std::uint64_t by) { state_.counter += by; }
  void RedefineCounter();  // deleted and defined again: not yet written
  void RedefineIndex();
  void Clear();    // TPM2_Clear: the persistent EK and its child AK are gone
  void Replace();  // another chip

  struct State {
    TpmIdentity identity;
    TpmClock clock;
    Hash pcr{};
    std::uint64_t counter = 0;
    Hash index{};
    bool registers_usable = true;
  };
  [[nodiscard]] State Snapshot() const { return state_; }
  void Restore(const State& state) { state_ = state; }  // a rolled-back or cloned state
  [[nodiscard]] const State& state() const { return state_; }

  // --- Tpm ---
  [[nodiscard]] Result<TpmIdentity> Identity() override;
  [[nodiscard]] Result<TpmClock> ReadClock() override;
  [[nodiscard]] Result<Hash> ReadPcr() override;
  [[nodiscard]] Result<void> ExtendPcr(const Hash& digest) override;
  [[nodiscard]] Result<std::uint64_t> ReadCounter() override;
  [[nodiscard]] Result<void> IncrementCounter() override;
  [[nodiscard]] Result<Hash> ReadIndex() override;
  [[nodiscard]] Result<void> ExtendIndex(const Hash& digest) override;
  [[nodiscard]] Result<TpmAttestation> Quote(const Hash& qualifying_data) override;
  [[nodiscard]] Result<TpmAttestation> CertifyCounter(const Hash& qualifying_data) override;
  [[nodiscard]] Result<TpmAttestation> CertifyIndex(const Hash& qualifying_data) override;

 private:
  TpmFault NextFault();
  template <typename T, typename Run>
  Result<T> Call(bool permanent_cell, Run run);
  template <typename Run>
  Result<void> Write(bool permanent_cell, Run run);
  [[nodiscard]] std::vector<Hash> QuotedValues() const;
  [[nodiscard]] TpmAttestation Sign(Bytes attest, std::vector<Hash> values) const;

  std::uint64_t seed_;
  Hash ak_private_{};
  std::string ak_public_pem_;
  TpmIdentity provisioned_;
  Hash index_start_{};
  State state_;
  std::deque<TpmFault> faults_;
  bool gone_ = false;
  bool nv_busy_ = false;
  std::size_t calls_ = 0;
};

}  // namespace stele::sim
