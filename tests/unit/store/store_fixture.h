// A small log on a simulated disk, written by the real sequencer and store.
#pragma once

#include <gtest/gtest.h>

#include <random>

#include "appliance/store/log_reader.h"
#include "appliance/store/store.h"
#include "appliance/store/verify.h"
#include "tests/sim/sim_disk.h"

namespace stele::store {

inline Hash TestHash(std::uint8_t fill) {
  Hash hash;
  hash.fill(std::byte{fill});
  return hash;
}

class TestLog {
 public:
  explicit TestLog(std::uint64_t segment_bytes = limits::kMiB, std::uint64_t seed = 1)
      : segment_bytes_(segment_bytes), random_(seed), sequencer_(LogId()) {}

  static Hash LogId() { return TestHash(0x11); }
  static Hash SessionKey(const Hash& session) { return HmacSha256(AsBytes("test seed"), {session}); }

  // Another shelf than the simulated one, from the next Open() on; outlives this.
  void On(DeviceShelf& shelf) { on_ = &shelf; }

  void Open() {
    auto tail = ReadTail(*on_);
    ASSERT_TRUE(tail.has_value()) << tail.error().context;
    Authenticate(*tail, [](const Hash& session) { return std::optional<Hash>(SessionKey(session)); });
    tail_ = *tail;
    sequencer_ = tail->fresh ? ledger::Sequencer(LogId()) : ledger::Sequencer(tail->head(), tail->frontier());
    Hash session;
    for (auto& b : session) b = static_cast<std::byte>(random_() & 0xffU);
    auto store = Store::Open(*on_, clock_, {segment_bytes_, codec}, *tail, LogId(), {session, SessionKey(session)});
    ASSERT_TRUE(store.has_value()) << store.error().context;
    store_ = std::move(*store);
  }

  ledger::Batch MakeBatch(std::size_t count, std::size_t payload_bytes_max = 300) {
    ledger::Batch batch;
    record::SaltKey key;
    for (auto& b : key) b = static_cast<std::byte>(random_() & 0xffU);
    for (std::size_t i = 0; i < count; ++i) {
      Bytes payload(random_() % (payload_bytes_max + 1));
      for (auto& b : payload) b = static_cast<std::byte>('a' + random_() % 20);
      record::Peer peer{};
      peer[10] = peer[11] = std::byte{0xff};
      peer[12] = std::byte{192};
      peer[15] = static_cast<std::byte>(random_() % 4);
      clock_.Advance(1000);
      batch.Add(record::Kind::kSyslog, 0, 1, clock_.WallNs(), peer,
                record::CommitPayload(record::DeriveSalt(key, static_cast<std::uint32_t>(i)), peer, payload), payload);
    }
    batch.salt_runs.push_back({0, static_cast<std::uint32_t>(count), 0, key});
    return batch;
  }

  Result<void> Write(ledger::Batch batch) {
    while (!batch.empty()) {
      const std::size_t fits = store_->Fits(batch, sequencer_.size());
      if (fits == 0) {
        const std::size_t pad = Store::PadCount(sequencer_.size());
        if (pad > 0) STELE_TRY_VOID(Commit(MakeBatch(pad, 8)));
        STELE_TRY_VOID(store_->Roll(sequencer_.size(), sequencer_.head(), sequencer_.frontier()));
        continue;
      }
      STELE_TRY_VOID(Commit(batch.TakeFirst(fits)));
    }
    return {};
  }

  sim::SimShelf& shelf() { return shelf_; }
  Store& store() { return *store_; }
  const Tail& tail() const { return tail_; }
  const ledger::Sequencer& sequencer() const { return sequencer_; }
  std::vector<Hash>& leaves() { return leaves_; }
  sim::SimClock& clock() { return clock_; }
  std::mt19937_64& random() { return random_; }
  void Close() { store_.reset(); }
  ledger::Codec codec = ledger::Codec::kZstd;
  ledger::Landmarks landmarks;  // of the next commit

 private:
  Result<void> Commit(ledger::Batch batch) {
    const ledger::SequencedBatch sequenced = sequencer_.Sequence(std::move(batch));
    STELE_TRY_VOID(store_->Commit(sequenced, landmarks));
    leaves_.insert(leaves_.end(), sequenced.leaves.begin(), sequenced.leaves.end());
    return {};
  }

  std::uint64_t segment_bytes_;
  std::mt19937_64 random_;
  sim::SimShelf shelf_;
  DeviceShelf* on_ = &shelf_;
  sim::SimClock clock_;
  ledger::Sequencer sequencer_;
  std::unique_ptr<Store> store_;
  Tail tail_;
  std::vector<Hash> leaves_;
};

}  // namespace stele::store
