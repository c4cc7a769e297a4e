// One appliance without processes: the production sequencer, store and anchor on a simulated disk, TPM, clock and slots. What
// stele-ledger does at start and at each commit (appliance/daemons/ledger_startup.cc, ledger_writer.cc) is done here in one thread, so
// that a stop can strike at any operation.
#pragma once

#include <memory>
#include <optional>
#include <random>

#include "appliance/anchor/anchor.h"
#include "appliance/store/partition_shelf.h"
#include "appliance/store/store.h"
#include "tests/sim/faults.h"
#include "tests/sim/oracle.h"

namespace stele::sim {

enum class Crash : std::uint8_t {
  kLedger,    // stele-ledger dies, stele-anchor lives
  kProcesses, // both die, the machine runs on: what was written and not synced is still in memory
  kPower,     // and everything unsynced is at the mercy of the seed; the TPM is reset
};

class Machine {
 public:
  static constexpr std::uint64_t kSegmentBytes = 256 * limits::kKiB;
  // `partitions`: the log lies on so many raw partitions of kSegmentBytes and their seal, 0: on files.
  explicit Machine(std::uint64_t seed, std::uint32_t partitions = 0);

  // --- life; each may throw SimCrash where a fault strikes ---
  void Boot();  // recovery until the log is open; complains unless a crash explains everything
  bool Append(std::size_t count, std::size_t payload_bytes_max = 120);  // one batch, committed; false: the store refused it
  bool Checkpoint(bool want_anchor);  // one whole checkpoint; true when a receipt became durable
  void Down(Crash crash);
  // Boots until it succeeds, whatever strikes meanwhile.
  void BootThrough();
  // Faults off; the log must take records and anchors again, and registers and disk must agree.
  void SettleAndCheck();
  // What stele-query does: follows the announcements, through every restart of the ledger.
  void Follow(const char* when);
  void CheckDisk(const char* when);

  [[nodiscard]] bool up() const { return store_ != nullptr; }
  [[nodiscard]] const channel::Verdict& verdict() const { return verdict_; }
  [[nodiscard]] const store::Tail& tail() const { return tail_; }
  [[nodiscard]] const ledger::VerifyKey& anchor_key() const { return key_; }
  [[nodiscard]] const Hash& log_id() const { return config_.log_id; }
  [[nodiscard]] std::uint64_t size() const { return sequencer_ ? sequencer_->size() : 0; }
  [[nodiscard]] std::uint64_t Draw(std::uint64_t below) { return random() % below; }
  // Judges tampered disks: recovery as in Boot(), without the oracle's opinion.
  channel::Verdict Judge();

  std::mt19937_64 random;
  Faults faults;
  SimShelf shelf;
  SimTpm tpm;
  SimClock clock;
  SimEntropy entropy;
  FaultySlot slots[2];
  Oracle oracle;

 private:
  Result<void> Recover();
  Result<channel::LogState> Describe() const;
  // The log as a process finds it that starts now. On files the disk itself.
  Result<DeviceShelf*> Look(std::unique_ptr<store::PartitionShelf>& partitions);
  [[nodiscard]] ledger::Batch RandomBatch(std::size_t count, std::size_t payload_bytes_max);
  void AddOwn(ledger::Batch& batch, record::Kind kind, std::string_view payload);
  Result<void> CommitAll(ledger::Batch batch, std::optional<std::size_t> anchored_intent = std::nullopt);
  Result<void> CommitPart(ledger::Batch part, std::optional<std::size_t> anchored_intent);
  Result<void> PadAndRoll();
  void WriteReceipt(const std::optional<std::string>& receipt);
  Result<ledger::CompactRange> UnsignedRange();

  bool on_partitions_ = false;
  FaultyTpm faulty_tpm_;
  anchor::AnchorConfig config_;
  ledger::VerifyKey key_;
  std::unique_ptr<anchor::Anchor> anchor_;
  std::unique_ptr<store::PartitionShelf> follower_partitions_;
  std::unique_ptr<store::LogReader> follower_;

  // The memory of stele-ledger.
  std::unique_ptr<store::PartitionShelf> partitions_;
  DeviceShelf* log_ = &shelf;
  std::unique_ptr<store::Store> store_;
  std::optional<ledger::Sequencer> sequencer_;
  ledger::Landmarks landmarks_;
  store::Tail tail_;
  channel::Verdict verdict_;
  std::uint64_t signed_size_ = 0;
  std::optional<ledger::CompactRange> unsigned_range_;
  bool intent_lost_ = false;  // the store refused an intent: the anchor waits for it until a restart
};

}  // namespace stele::sim
