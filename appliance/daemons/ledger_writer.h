// The writer thread of stele-ledger: the only owner of the store and the sequencer. It takes one batch at a time, gives it
// its place in chain and tree, compresses, writes and syncs it, and reports.
//
// Thread rules: Submit() and TakeDone() from the main thread; everything else happens on the writer's own thread.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "appliance/base/fd.h"
#include "appliance/store/store.h"

namespace stele::ledger_daemon {

struct WriteJob {
  ledger::Batch batch;                 // may be empty when only the range is wanted
  ledger::Codec codec = ledger::Codec::kZstd;
  std::optional<std::size_t> anchored_intent;  // index in the batch of a checkpoint entry that carries an anchor number
  std::uint32_t next_source = 1;
  std::vector<std::pair<std::size_t, std::size_t>> leaf_ranges;  // [begin, end) of the batch: whose leaf hashes are wanted
  std::uint64_t prepare_bytes = 0;     // make spare units until there is so much room; 0: do not try
  bool cut_range = false;              // return the compact range since the last cut, and start a new one
};

struct WriteDone {
  Result<void> result;
  std::uint64_t first_sequence = 0;    // of the batch's records, pads not counted
  std::size_t record_count = 0;
  std::size_t committed_count = 0;     // of them, from the first on; fewer than record_count only after an error
  std::uint64_t size = 0;              // of the log now
  std::vector<Hash> frontier;
  std::optional<ledger::CompactRange> range;
  std::vector<Hash> leaves;            // of leaf_ranges, one after the other
  ledger::Landmarks landmarks;
  std::uint32_t unit = 0;
  std::uint64_t position_bytes = 0;
  std::uint64_t room_bytes = 0;        // store::Store::RoomBytes()
  std::optional<Result<void>> prepared;  // where it was tried
  ledger::Batch spent;                 // the batch's buffers, to be used again
};

class Writer {
 public:
  Writer(std::unique_ptr<store::Store> store, ledger::Sequencer sequencer, ledger::Landmarks landmarks, Clock& clock,
         Entropy& entropy);
  ~Writer();  // finishes the job at hand
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  void Start();  // after the sandbox: the thread inherits it
  [[nodiscard]] bool busy() const { return busy_; }
  void Submit(WriteJob job);              // only when not busy
  [[nodiscard]] std::optional<WriteDone> TakeDone();
  [[nodiscard]] int event_fd() const { return event_.get(); }  // readable when a job is done

 private:
  void Run();
  WriteDone Work(WriteJob job);
  Result<void> CommitAll(WriteJob& job, WriteDone& done);
  void CollectLeaves(const WriteJob& job, std::size_t begin, std::vector<Hash>& out) const;
  Result<void> CommitPart(ledger::Batch part, std::uint64_t& first_sequence, std::optional<std::size_t> anchored_intent);
  Result<void> PadAndRoll();

  std::unique_ptr<store::Store> store_;
  ledger::Sequencer sequencer_;
  ledger::Landmarks landmarks_;
  Clock& clock_;
  Entropy& entropy_;
  ledger::SequencedBatch sequenced_;

  UniqueFd event_;
  bool busy_ = false;  // main thread's view
  std::mutex mutex_;
  std::condition_variable wake_;
  std::optional<WriteJob> job_;
  std::optional<WriteDone> done_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace stele::ledger_daemon
