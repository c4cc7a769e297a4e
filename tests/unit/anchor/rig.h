// A log and a machine around one Anchor: enough of stele-ledger to drive it, and everything that can happen to both.
#pragma once

#include <memory>

#include "appliance/anchor/anchor.h"
#include "tests/sim/sim_slot.h"
#include "tests/sim/sim_tpm.h"

namespace stele::anchor {

class FakeClock final : public Clock {
 public:
  std::int64_t WallNs() override { return 1'700'000'000'000'000'000 + now_ns_; }
  std::int64_t BoottimeNs() override { return now_ns_; }
  void Advance(std::int64_t ms) { now_ns_ += ms * 1'000'000; }

 private:
  std::int64_t now_ns_ = 1'000'000'000;
};

// The durable log: leaves, and the checkpoint and anchor entries among them.
struct TestLog {
  Hash log_id{};
  std::vector<Hash> leaves;
  std::vector<std::string> intents;
  std::vector<std::string> receipts;
  std::uint64_t salt = 0;  // makes another history

  void Append(int count);
  void AppendIntent(const std::string& payload);
  void AppendReceipt(const std::string& payload);
  [[nodiscard]] channel::LogState State() const;
  [[nodiscard]] channel::CheckpointRequest Request(std::uint64_t range_begin, bool want_anchor) const;
};

// From whom the parts of a provisioned log come.
Pins PinsFor(const sim::SimTpm& tpm, const Hash& log_id);

struct Rig {
  explicit Rig(std::uint64_t seed = 1);

  // A new anchor process: Recover on the log as it is; a late receipt is appended and acknowledged.
  channel::Verdict Start();
  // One whole checkpoint over `records` new records. nullopt: refused (last_refusal).
  std::optional<channel::Extended> Checkpoint(bool want_anchor = false, int records = 3);
  // The same in steps.
  Result<channel::Intent> Sign(bool want_anchor = false, int records = 3);
  std::optional<channel::Extended> Confirm(const channel::Intent& intent);
  void TakeReceipt(const std::optional<std::string>& receipt);

  sim::SimTpm tpm;
  FakeClock clock;
  sim::SimSlot slots[2];
  TestLog log;
  AnchorConfig config;
  std::unique_ptr<Anchor> anchor;
  Error last_refusal;
};

}  // namespace stele::anchor
