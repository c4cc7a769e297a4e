#include "appliance/daemons/ledger_writer.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

namespace stele::ledger_daemon {

Writer::Writer(std::unique_ptr<store::Store> store, ledger::Sequencer sequencer, ledger::Landmarks landmarks, Clock& clock,
               Entropy& entropy)
    : store_(std::move(store)), sequencer_(std::move(sequencer)), landmarks_(landmarks), clock_(clock), entropy_(entropy),
      event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  STELE_CHECK(event_.valid());
  sequencer_.StartRange();
}

Writer::~Writer() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Writer::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Writer::Submit(WriteJob job) {
  STELE_CHECK(!busy_);
  busy_ = true;
  {
    const std::lock_guard lock(mutex_);
    job_ = std::move(job);
  }
  wake_.notify_one();
}

std::optional<WriteDone> Writer::TakeDone() {
  std::uint64_t count = 0;
  (void)!::read(event_.get(), &count, sizeof count);  // only a wake-up; `done_` is the truth
  const std::lock_guard lock(mutex_);
  if (!done_) return std::nullopt;
  busy_ = false;
  return std::exchange(done_, std::nullopt);
}

void Writer::Run() {
  while (true) {
    WriteJob job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return job_.has_value() || stop_; });
      if (!job_) return;
      job = std::move(*job_);
      job_.reset();
    }
    WriteDone done = Work(std::move(job));
    {
      const std::lock_guard lock(mutex_);
      done_ = std::move(done);
    }
    const std::uint64_t one = 1;
    (void)!::write(event_.get(), &one, sizeof one);  // an eventfd counter of 1 cannot overflow here
  }
}

WriteDone Writer::Work(WriteJob job) {
  WriteDone done;
  done.record_count = job.batch.size();
  landmarks_.next_source = job.next_source;
  if (!job.batch.empty()) {
    store_->UseCodec(job.codec);
    const ledger::Sequencer before = sequencer_;
    const ledger::Landmarks landmarks_before = landmarks_;
    done.result = CommitAll(job, done);
    if (!done.result && sequencer_.size() == before.size()) landmarks_ = landmarks_before;
  }
  done.size = sequencer_.size();
  done.frontier = sequencer_.frontier().Hashes();
  if (job.cut_range) {
    done.range = sequencer_.range();
    sequencer_.StartRange();
  }
  done.landmarks = landmarks_;
  if (job.prepare_bytes > 0) done.prepared = store_->Prepare(job.prepare_bytes);
  done.room_bytes = store_->RoomBytes();
  done.unit = store_->unit();
  done.position_bytes = store_->position_bytes();
  done.spent = std::move(sequenced_.batch);
  done.spent.Clear();
  return done;
}

// A batch may cross the end of a unit: its first part then ends on a tile boundary, the rest opens the next unit. Pads come
// only before a batch, so that its records keep consecutive numbers.
Result<void> Writer::CommitAll(WriteJob& job, WriteDone& done) {
  bool first_part = true;
  std::optional<std::size_t> anchored = job.anchored_intent;
  while (!job.batch.empty()) {
    const std::size_t fits = store_->Fits(job.batch, sequencer_.size());
    if (fits == 0) {
      STELE_TRY_VOID(PadAndRoll());
      if (store_->Fits(job.batch, sequencer_.size()) == 0) {
        return Fail(Code::kInvalid, "a batch larger than an empty unit");
      }
      continue;
    }
    std::uint64_t first_sequence = 0;
    const bool whole = fits == job.batch.size();
    if (!whole) STELE_TRY_VOID(store_->PrepareRoll());  // half a batch is committed only if there is a place for the rest
    const bool anchored_here = anchored && *anchored < fits;
    STELE_TRY_VOID(CommitPart(whole ? std::move(job.batch) : job.batch.TakeFirst(fits), first_sequence,
                              anchored_here ? anchored : std::nullopt));
    if (first_part) done.first_sequence = first_sequence;
    CollectLeaves(job, done.committed_count, done.leaves);
    done.committed_count += fits;
    first_part = false;
    if (whole) return {};
    if (anchored) anchored = anchored_here ? std::nullopt : std::optional(*anchored - fits);
  }
  return {};
}

// `begin`: where in the whole batch the part that was just committed began.
void Writer::CollectLeaves(const WriteJob& job, std::size_t begin, std::vector<Hash>& out) const {
  const std::size_t end = begin + sequenced_.leaves.size();
  for (const auto& range : job.leaf_ranges) {
    const std::size_t from = std::max(range.first, begin);
    const std::size_t to = std::min(range.second, end);
    for (std::size_t i = from; i < to; ++i) out.push_back(sequenced_.leaves[i - begin]);
  }
}

Result<void> Writer::CommitPart(ledger::Batch part, std::uint64_t& first_sequence,
                                std::optional<std::size_t> anchored_intent) {
  const ledger::Sequencer before = sequencer_;
  ledger::Landmarks landmarks = landmarks_;
  first_sequence = sequencer_.size();
  for (std::size_t i = 0; i < part.size(); ++i) {
    const auto kind = static_cast<record::Kind>(part.kinds[i]);
    if (kind == record::Kind::kCheckpoint) {
      landmarks.previous_checkpoint = landmarks.checkpoint;
      landmarks.checkpoint = first_sequence + i;
      if (anchored_intent == i) landmarks.anchor_checkpoint = first_sequence + i;
    } else if (kind == record::Kind::kAnchor) {
      landmarks.anchor = first_sequence + i;
    } else if (kind == record::Kind::kEpoch) {
      landmarks = ledger::Landmarks{.next_source = landmarks.next_source};  // checkpoints and anchors are counted anew
    }
  }
  sequenced_ = sequencer_.Sequence(std::move(part));
  auto committed = store_->Commit(sequenced_, landmarks);
  if (!committed) {
    sequencer_ = before;  // nothing of it counts: it was not acknowledged, and its bytes are abandoned
    return committed;
  }
  landmarks_ = landmarks;
  return {};
}

Result<void> Writer::PadAndRoll() {
  STELE_TRY_VOID(store_->PrepareRoll());  // before anything is written that only the end of a unit needs
  const std::size_t pad = store::Store::PadCount(sequencer_.size());
  if (pad > 0) {
    constexpr std::string_view kPayload = R"({"event":"segment_pad"})";
    ledger::Batch pads;
    record::SaltKey key;
    entropy_.Fill(key);
    const record::Peer nobody{};
    std::vector<record::Salt> salts(pad);
    record::DeriveSalts(key, 0, salts);
    for (std::size_t i = 0; i < pad; ++i) {
      pads.Add(record::Kind::kLifecycle, 0, 0, clock_.WallNs(), nobody,
               record::CommitPayload(salts[i], nobody, AsBytes(kPayload)), AsBytes(kPayload));
    }
    pads.salt_runs.push_back({0, static_cast<std::uint32_t>(pad), 0, key});
    std::uint64_t first_sequence = 0;
    STELE_TRY_VOID(CommitPart(std::move(pads), first_sequence, std::nullopt));
  }
  return store_->Roll(sequencer_.size(), sequencer_.head(), sequencer_.frontier());
}

}  // namespace stele::ledger_daemon
