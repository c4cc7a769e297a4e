// The outside world as the production core sees it: time, disk, TPM and randomness come only through these, so that the
// same core runs on real parts and in a deterministic simulation.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "appliance/base/bytes.h"

namespace stele {

class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual std::int64_t WallNs() = 0;      // CLOCK_REALTIME, ns since the Unix epoch, UTC
  [[nodiscard]] virtual std::int64_t BoottimeNs() = 0;  // CLOCK_BOOTTIME
};

class Entropy {
 public:
  virtual ~Entropy() = default;
  virtual void Fill(MutableBytes out) = 0;  // getrandom(2): cannot fail after boot
};

// One write-once unit: a file today, a raw partition in the image. Offsets and sizes are multiples of sector_bytes().
// Thread safety: one writer; any number of readers of the synced prefix.
class Device {
 public:
  virtual ~Device() = default;
  [[nodiscard]] virtual std::uint64_t size_bytes() const = 0;
  [[nodiscard]] virtual Result<void> Write(std::uint64_t offset_bytes, ByteView data) = 0;
  // Durable or unknown: after an error nothing more may be written to this unit (the page cache may hold what the disk
  // does not).
  [[nodiscard]] virtual Result<void> Sync() = 0;
  // Zeros, whole sectors; durable as what is written. kUnavailable: no quicker way than to write them.
  [[nodiscard]] virtual Result<void> Zero(std::uint64_t /*offset_bytes*/, std::uint64_t /*size_bytes*/) {
    return Fail(Code::kUnavailable, "zeros have to be written");
  }
  // Reads what is on the medium. Bytes never written read as zero.
  [[nodiscard]] virtual Result<void> Read(std::uint64_t offset_bytes, MutableBytes out) = 0;
  // Asks the kernel to refuse any further write (immutable flag, BLKROSET). kUnavailable where it cannot.
  [[nodiscard]] virtual Result<void> MakeReadOnly() = 0;
};

// All units of one store, by number.
class DeviceShelf {
 public:
  virtual ~DeviceShelf() = default;
  [[nodiscard]] virtual Result<std::vector<std::uint32_t>> List() = 0;  // ascending
  [[nodiscard]] virtual Result<std::unique_ptr<Device>> Open(std::uint32_t unit, bool writable) = 0;
  // A fresh unit full of zeros, its room taken, durable in its directory; one never begun (first sector zero) anew. kIo: no room.
  [[nodiscard]] virtual Result<std::unique_ptr<Device>> Create(std::uint32_t unit, std::uint64_t size_bytes) = 0;

  // Units whose records have expired: what stays of each is its spine (appliance/ledger/spine.h). Ascending; those known at the start.
  [[nodiscard]] virtual std::vector<std::uint32_t> Expired() { return {}; }
  // The bytes of a spine. kNotFound: there is none.
  [[nodiscard]] virtual Result<Bytes> Spine(std::uint32_t /*unit*/) { return Fail(Code::kNotFound, "no spine is kept here"); }
  // Those of reclaiming (appliance/store/reclaim.h). KeepSpine is durable when it returns. Clear makes the room of a unit free
  // and full of zeros; cut off, the unit is there whole as long as its superblock is, and FinishClearing goes on.
  [[nodiscard]] virtual Result<void> KeepSpine(std::uint32_t /*unit*/, ByteView /*spine*/) { return Fail(Code::kUnavailable, "nothing is reclaimed here"); }
  // kDenied: not before the next start of the machine.
  [[nodiscard]] virtual Result<void> MayClear(std::uint32_t /*unit*/) { return {}; }
  [[nodiscard]] virtual Result<void> Clear(std::uint32_t /*unit*/) { return Fail(Code::kUnavailable, "nothing is reclaimed here"); }
  [[nodiscard]] virtual Result<void> FinishClearing() { return {}; }
};

// A small slot of state that survives crashes whole or not at all (stele-anchor keeps two).
class StateSlot {
 public:
  virtual ~StateSlot() = default;
  [[nodiscard]] virtual Result<Bytes> Load() = 0;  // kNotFound when never stored
  [[nodiscard]] virtual Result<void> Store(ByteView data) = 0;
};

struct TpmClock {
  std::uint64_t clock_ms = 0;
  std::uint32_t reset_count = 0;
  std::uint32_t restart_count = 0;
  bool safe = false;
};

struct TpmAttestation {
  Bytes attest;     // TPMS_ATTEST, raw, big-endian as the TPM made it
  Bytes signature;  // TPMT_SIGNATURE, raw
  std::vector<Hash> pcr_values = {};  // quote only: the quoted registers, ascending; their digest is what is signed
  Bytes contents = {};                // audited read of an NV index only: what was read; the TPM signs a digest of it
};

struct TpmIdentity {  // TPM Names: nameAlg || digest
  Bytes ek_name;
  Bytes ak_name;
  Bytes counter_name;  // empty when the index is absent or unwritten
  Bytes index_name;
};

// The anchor's registers: one PCR, one NV counter (C), one NV extend index (X), one attestation key.
// Extend and Increment are not idempotent: after kTpm or kIo nothing is known; read back and decide.
// Errors: kTpm with the TSS2_RC, kUnavailable when the TPM is absent or says retry (NV_RATE, LOCKOUT, RETRY), kIo.
class Tpm {
 public:
  virtual ~Tpm() = default;
  [[nodiscard]] virtual Result<TpmIdentity> Identity() = 0;
  [[nodiscard]] virtual Result<TpmClock> ReadClock() = 0;
  [[nodiscard]] virtual Result<Hash> ReadPcr() = 0;
  [[nodiscard]] virtual Result<void> ExtendPcr(const Hash& digest) = 0;
  [[nodiscard]] virtual Result<std::uint64_t> ReadCounter() = 0;
  [[nodiscard]] virtual Result<void> IncrementCounter() = 0;
  [[nodiscard]] virtual Result<Hash> ReadIndex() = 0;
  [[nodiscard]] virtual Result<void> ExtendIndex(const Hash& digest) = 0;
  [[nodiscard]] virtual Result<TpmAttestation> Quote(const Hash& qualifying_data) = 0;  // PCR 0-7, 9, 11, 12, 14
  [[nodiscard]] virtual Result<TpmAttestation> CertifyCounter(const Hash& qualifying_data) = 0;
  [[nodiscard]] virtual Result<TpmAttestation> CertifyIndex(const Hash& qualifying_data) = 0;
};

}  // namespace stele
