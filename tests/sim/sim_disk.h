// A disk made of memory that can lose what was not synced: the Device and DeviceShelf seams for tests and the simulation.
//
// Writes go to a volatile image; Sync() makes the sectors written since the last sync durable. Crash() decides for each of
// them, by the seed, whether it reached the medium whole or not at all, in any order. A failed sync leaves some on the medium
// and marks all of them clean: no later sync writes them. Reads are direct, as the seam says: a clean sector is read from the
// medium, not from what the failed sync left in memory. Writing to a device after it failed is noted in misuse().
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>

#include "appliance/base/limits.h"
#include "appliance/base/seams.h"

namespace stele::sim {

struct DiskUnit {
  Bytes durable;
  Bytes volatile_image;
  std::set<std::uint64_t> dirty_sectors;
  bool read_only = false;
};

enum class DiskFault : std::uint8_t {
  kNone,
  kError,        // EIO, nothing done
  kErrorDone,    // EIO, although it was done
  kCrashBefore,  // the machine stops before the operation
  kCrashAfter,   // ... after it
  kNotDone,      // reported as done, and not done: a dropped flush (sync only)
};

struct SimCrash {};  // thrown by the disk to stop the machine; only simulation catches it

class SimShelf final : public DeviceShelf {
 public:
  // Called before every write, sync and create; decides what happens to it.
  using FaultPlan = std::function<DiskFault(std::string_view operation)>;
  void SetFaultPlan(FaultPlan plan) { plan_ = std::move(plan); }

  Result<std::vector<std::uint32_t>> List() override;
  Result<std::unique_ptr<Device>> Open(std::uint32_t unit, bool writable) override;
  Result<std::unique_ptr<Device>> Create(std::uint32_t unit, std::uint64_t size_bytes) override;
  std::vector<std::uint32_t> Expired() override;
  Result<Bytes> Spine(std::uint32_t unit) override;
  Result<void> KeepSpine(std::uint32_t unit, ByteView spine) override;
  Result<void> Clear(std::uint32_t unit) override;
  std::map<std::uint32_t, Bytes> spines;  // durable at once: as files that are written beside and renamed

  // The power fails: each unsynced sector survives or not. Afterwards volatile == durable.
  void Crash(std::mt19937_64& random);
  [[nodiscard]] std::map<std::uint32_t, std::shared_ptr<DiskUnit>>& units() { return units_; }
  [[nodiscard]] std::map<std::uint32_t, Bytes> Snapshot() const;  // of what is durable
  void Restore(const std::map<std::uint32_t, Bytes>& snapshot);

  // Writes and syncs of a device that had failed before; the contract of Device forbids them.
  [[nodiscard]] std::uint64_t misuse() const { return misuse_; }
  void NoteMisuse() { ++misuse_; }

  std::size_t units_max = ~std::size_t{0};  // the disk's room, in units
  [[nodiscard]] std::uint64_t refused_for_room() const { return refused_for_room_; }
  bool can_refuse_writes = false;  // MakeReadOnly() works; off by default, as stele-ledger runs: it must not rely on it

  bool can_zero = false;            // Zero() works, as a drive does it that can
  std::uint64_t zeroed_bytes = 0;   // by Zero()

  DiskFault Fault(std::string_view operation) { return plan_ ? plan_(operation) : DiskFault::kNone; }

 private:
  std::map<std::uint32_t, std::shared_ptr<DiskUnit>> units_;
  FaultPlan plan_;
  std::uint64_t misuse_ = 0;
  std::uint64_t refused_for_room_ = 0;
};

class SimClock final : public Clock {
 public:
  std::int64_t WallNs() override { return wall_ns; }
  std::int64_t BoottimeNs() override { return boottime_ns; }
  void Advance(std::int64_t ns) {
    wall_ns += ns;
    boottime_ns += ns;
  }
  std::int64_t wall_ns = 1'700'000'000'000'000'000;
  std::int64_t boottime_ns = 1'000'000'000;
};

class SimEntropy final : public Entropy {
 public:
  explicit SimEntropy(std::uint64_t seed) : random_(seed) {}
  void Fill(MutableBytes out) override {
    for (std::byte& b : out) b = static_cast<std::byte>(random_() & 0xffU);
  }

 private:
  std::mt19937_64 random_;
};

}  // namespace stele::sim
