// One count of operations over disk, TPM and the anchor's slots, and what happens at the chosen one.
#pragma once

#include <limits>

#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_slot.h"
#include "tests/sim/sim_tpm.h"

namespace stele::sim {

enum class Mishap : std::uint8_t {
  kNone,
  kStopBefore,  // the process or the machine stops before the operation
  kStopAfter,   // ... after it, before anybody learns of it
  kFails,       // an error, nothing done
  kFailsDone,   // an error, although it was done
  kBusy,        // TPM: not now; elsewhere an error
};
inline constexpr int kMishaps = 6;

struct Faults {
  static constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t count = 0;
  std::uint64_t strike_at = kNever;
  Mishap mishap = Mishap::kNone;
  bool syncs_lie = false;    // the planted bug: acknowledged without being durable
  bool in_anchor = false;    // the stop hit stele-anchor rather than stele-ledger

  void Strike(std::uint64_t after_operations, Mishap what) {
    strike_at = count + after_operations;
    mishap = what;
  }
  void Clear() { strike_at = kNever; }
  Mishap Next() { return count++ == strike_at ? mishap : Mishap::kNone; }

  DiskFault ForDisk(std::string_view operation) {
    switch (Next()) {
      case Mishap::kNone: return syncs_lie && operation == "sync" ? DiskFault::kNotDone : DiskFault::kNone;
      case Mishap::kStopBefore: return DiskFault::kCrashBefore;
      case Mishap::kStopAfter: return DiskFault::kCrashAfter;
      case Mishap::kFailsDone: return DiskFault::kErrorDone;
      case Mishap::kFails:
      case Mishap::kBusy: return DiskFault::kError;
    }
    return DiskFault::kNone;
  }
};

class FaultyTpm final : public Tpm {
 public:
  FaultyTpm(SimTpm& tpm, Faults& faults) : tpm_(tpm), faults_(faults) {}
  Result<TpmIdentity> Identity() override { return With([&] { return tpm_.Identity(); }); }
  Result<TpmClock> ReadClock() override { return With([&] { return tpm_.ReadClock(); }); }
  Result<Hash> ReadPcr() override { return With([&] { return tpm_.ReadPcr(); }); }
  Result<void> ExtendPcr(const Hash& digest) override { return With([&] { return tpm_.ExtendPcr(digest); }); }
  Result<std::uint64_t> ReadCounter() override { return With([&] { return tpm_.ReadCounter(); }); }
  Result<void> IncrementCounter() override { return With([&] { return tpm_.IncrementCounter(); }); }
  Result<Hash> ReadIndex() override { return With([&] { return tpm_.ReadIndex(); }); }
  Result<void> ExtendIndex(const Hash& digest) override { return With([&] { return tpm_.ExtendIndex(digest); }); }
  Result<TpmAttestation> Quote(const Hash& data) override { return With([&] { return tpm_.Quote(data); }); }
  Result<TpmAttestation> CertifyCounter(const Hash& data) override { return With([&] { return tpm_.CertifyCounter(data); }); }
  Result<TpmAttestation> CertifyIndex(const Hash& data) override { return With([&] { return tpm_.CertifyIndex(data); }); }

 private:
  template <typename Run>
  auto With(Run run) -> decltype(run()) {
    const Mishap mishap = faults_.Next();
    if (mishap == Mishap::kStopBefore) Stop();
    if (mishap == Mishap::kFails) tpm_.FailNext(TpmFault::kLostCall);
    if (mishap == Mishap::kFailsDone) tpm_.FailNext(TpmFault::kLostReply);
    if (mishap == Mishap::kBusy) tpm_.FailNext(TpmFault::kBusy);
    auto result = run();
    if (mishap == Mishap::kStopAfter) Stop();
    return result;
  }
  [[noreturn]] void Stop() {
    faults_.in_anchor = true;
    throw SimCrash();
  }
  SimTpm& tpm_;
  Faults& faults_;
};

class FaultySlot final : public StateSlot {
 public:
  explicit FaultySlot(Faults& faults) : faults_(faults) {}
  SimSlot inner;

  Result<Bytes> Load() override { return inner.Load(); }
  Result<void> Store(ByteView data) override {
    const Mishap mishap = faults_.Next();
    if (mishap == Mishap::kStopBefore) Stop();
    if (mishap == Mishap::kFails) inner.FailNext(SlotFault::kLost);
    if (mishap == Mishap::kFailsDone) inner.FailNext(SlotFault::kWrittenReported);
    if (mishap == Mishap::kBusy) inner.FailNext(SlotFault::kTorn);
    auto stored = inner.Store(data);
    if (mishap == Mishap::kStopAfter) Stop();
    return stored;
  }

 private:
  [[noreturn]] void Stop() {
    faults_.in_anchor = true;
    throw SimCrash();
  }
  Faults& faults_;
};

}  // namespace stele::sim
