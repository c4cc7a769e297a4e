// Goal: whatever stops the machine, an acknowledged record survives, nothing is invented, no crash looks like tampering, and an
// anchored root is never contradicted; and what tampering does is seen. Method: the production ledger, store and anchor on a simulated
// disk and TPM, driven from a seed. A failure prints its seed: STELE_SIM_SEED=n runs that one alone, STELE_SIM_SEEDS=n runs n seeds.
#include <gtest/gtest.h>

#include <cstdlib>

#include "appliance/store/segment.h"
#include "appliance/store/verify.h"
#include "tests/sim/machine.h"

namespace stele::sim {
namespace {

std::optional<std::uint64_t> FromEnvironment(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') return std::nullopt;
  return std::strtoull(text, nullptr, 10);
}

// Runs `life` for each seed; stops at the first that has complaints.
void ForSeeds(std::uint64_t first, std::uint64_t count, const std::function<void(Machine&)>& life, std::uint32_t partitions = 0) {
  if (const auto one = FromEnvironment("STELE_SIM_SEED")) {
    first = *one;
    count = 1;
  } else if (const auto many = FromEnvironment("STELE_SIM_SEEDS")) {
    count = *many;
  }
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    Machine machine(seed, partitions);
    life(machine);
    for (const std::string& complaint : machine.oracle.complaints()) ADD_FAILURE() << "seed " << seed << ": " << complaint;
    if (testing::Test::HasFailure()) {
      ADD_FAILURE() << "replay with STELE_SIM_SEED=" << seed;
      return;
    }
  }
}

bool Bad(const Machine& machine) { return !machine.oracle.complaints().empty(); }

void Step(Machine& m) {
  m.clock.Advance(static_cast<std::int64_t>(m.Draw(3) == 0 ? 60'000 : 200) * 1'000'000);
  m.tpm.AdvanceClock(m.Draw(100'000));
  switch (m.Draw(10)) {
    case 0: (void)m.Append(200 + m.Draw(400), 60); break;
    case 1: (void)m.Append(1 + m.Draw(6), 8'000); break;
    case 2:
    case 3:
    case 4: (void)m.Checkpoint(m.Draw(3) == 0); break;
    default: (void)m.Append(1 + m.Draw(60)); break;
  }
}

// One life: steps with mishaps at random operations, crashes of all kinds, recovery under fire.
void Live(Machine& m, int steps, const std::vector<Mishap>& mishaps) {
  const auto arm = [&] {
    if (m.Draw(8) != 0) m.faults.Strike(m.Draw(40), mishaps[m.Draw(mishaps.size())]);
  };
  arm();
  m.BootThrough();
  for (int i = 0; i < steps && !Bad(m); ++i) {
    if (m.faults.count > m.faults.strike_at) arm();
    try {
      Step(m);
      if (m.Draw(3) == 0) m.Follow("between");
      if (m.Draw(12) == 0) throw SimCrash();
      continue;
    } catch (const SimCrash&) {
      m.Down(static_cast<Crash>(m.Draw(3)));
    }
    arm();
    m.BootThrough();
    if (m.Draw(4) == 0 && m.up() && !Bad(m)) {  // recovery is idempotent: the oracle sees the same log again
      m.Down(static_cast<Crash>(m.Draw(3)));
      m.BootThrough();
    }
  }
  if (!Bad(m)) m.SettleAndCheck();
  if (Bad(m)) return;
  m.Down(Crash::kPower);
  m.CheckDisk("after the last power cut");
}

const std::vector<Mishap> kStops = {Mishap::kStopBefore, Mishap::kStopAfter};
const std::vector<Mishap> kEverything = {Mishap::kStopBefore, Mishap::kStopAfter, Mishap::kFails, Mishap::kFailsDone, Mishap::kBusy};
const std::vector<Mishap> kErrors = {Mishap::kFails, Mishap::kFailsDone, Mishap::kBusy};

TEST(Simulation, StopsAtRandomOperationsLoseNothing) {
  ForSeeds(1, 400, [](Machine& m) { Live(m, 14, kStops); });
}

TEST(Simulation, StopsAndErrorsTogetherLoseNothing) {
  ForSeeds(10'001, 400, [](Machine& m) { Live(m, 14, kEverything); });
}

TEST(Simulation, ErrorsAloneLoseNothing) {
  ForSeeds(20'001, 200, [](Machine& m) { Live(m, 14, kErrors); });
}

// The same on raw partitions, more of them than a life can take: a unit begins where nothing was, seals are marks and kernel's flags.
TEST(Simulation, OnPartitionsStopsAndErrorsLoseNothing) {
  ForSeeds(40'001, 60, [](Machine& m) { Live(m, 14, m.Draw(2) == 0 ? kStops : kEverything); }, 24);
}

TEST(Simulation, OnTooFewPartitionsNothingIsLostAndNothingOverwritten) {
  std::uint64_t full = 0;
  ForSeeds(50'001, 40, [&](Machine& m) {
    m.BootThrough();
    for (int i = 0; i < 14 && !Bad(m); ++i) {
      if (m.Draw(4) == 0) m.faults.Strike(m.Draw(40), kStops[m.Draw(2)]);
      try {
        if (!m.Append(200 + m.Draw(400), 60)) ++full;
        (void)m.Checkpoint(m.Draw(3) == 0);
        if (m.Draw(6) == 0) throw SimCrash();
        continue;
      } catch (const SimCrash&) {
        m.Down(static_cast<Crash>(m.Draw(3)));
      }
      m.faults.Clear();
      m.BootThrough();
    }
    m.CheckDisk("at the end");
  }, 2);
  if (!FromEnvironment("STELE_SIM_SEED")) {
    EXPECT_GT(full, 10U);
  }
}

// Room for a few units only: what does not fit is refused, what was there stays, and when there is room the log goes on.
TEST(Simulation, AFullDiskLosesNothingAndTheLogGoesOn) {
  std::uint64_t full = 0;
  ForSeeds(30'001, 150, [&](Machine& m) {
    m.shelf.units_max = 1 + m.Draw(3);
    Live(m, 20, m.Draw(2) == 0 ? kStops : kErrors);
    full += m.shelf.refused_for_room();
  });
  if (!FromEnvironment("STELE_SIM_SEED")) {
    EXPECT_GT(full, 100U);
  }
}

// The same short life, struck at each of its operations in turn: append, anchored checkpoint, a roll to the next unit, append.
TEST(Simulation, EveryOperationOfAShortLifeMayBeTheLast) {
  if (FromEnvironment("STELE_SIM_SEED")) GTEST_SKIP() << "one seed was asked for";
  const auto life = [](Machine& m) {
    m.Boot();
    (void)m.Append(20);
    (void)m.Checkpoint(true);
    (void)m.Append(500, 100);
    (void)m.Append(600, 100);
    (void)m.Append(600, 100);
    (void)m.Checkpoint(true);
    (void)m.Append(5);
  };
  std::uint64_t struck = 0;
  for (const Mishap mishap : kEverything) {
    const bool stops = mishap == Mishap::kStopBefore || mishap == Mishap::kStopAfter;
    for (const Crash crash : {Crash::kLedger, Crash::kProcesses, Crash::kPower}) {
      if (!stops && crash != Crash::kPower) continue;  // after an error the life goes on and the crash comes at its end
      for (std::uint64_t at = 0;; ++at) {
        Machine m(at + 1);
        m.faults.Strike(at, mishap);
        try {
          life(m);
        } catch (const SimCrash&) {
        }
        const bool done = m.faults.count <= at;
        m.Down(crash);
        m.BootThrough();
        if (!Bad(m)) m.SettleAndCheck();
        for (const std::string& complaint : m.oracle.complaints()) {
          ADD_FAILURE() << "mishap " << static_cast<int>(mishap) << " crash " << static_cast<int>(crash) << " at operation " << at << ": "
                        << complaint;
        }
        if (HasFailure()) return;
        if (done) break;
        ++struck;
      }
    }
  }
  EXPECT_GT(struck, 400U);
  RecordProperty("operations_struck", std::to_string(struck));
}

// Two stops in a row: the processes die inside an anchored checkpoint, and the power fails at each operation of the recovery. What
// recovery found in memory only must be on the medium before the TPM is moved on its word.
TEST(Simulation, ThePowerMayFailAtEveryOperationOfARecovery) {
  if (FromEnvironment("STELE_SIM_SEED")) GTEST_SKIP() << "one seed was asked for";
  std::uint64_t pairs = 0;
  for (std::uint64_t first = 0;; ++first) {
    bool first_struck = true;
    for (std::uint64_t second = 0;; ++second) {
      Machine m(first * 100 + second);
      m.Boot();
      (void)m.Append(5);
      m.faults.Strike(first, Mishap::kStopAfter);
      const std::uint64_t first_at = m.faults.strike_at;
      try {
        (void)m.Checkpoint(true);
      } catch (const SimCrash&) {
      }
      first_struck = m.faults.count > first_at;
      m.Down(Crash::kProcesses);
      m.faults.Strike(second, Mishap::kStopBefore);
      const std::uint64_t second_at = m.faults.strike_at;
      try {
        m.Boot();
      } catch (const SimCrash&) {
      }
      const bool second_struck = m.faults.count > second_at;
      m.Down(Crash::kPower);
      m.BootThrough();
      if (!Bad(m)) m.SettleAndCheck();
      for (const std::string& complaint : m.oracle.complaints()) ADD_FAILURE() << "stops at " << first << " and " << second << ": " << complaint;
      if (HasFailure()) return;
      if (!second_struck) break;
      ++pairs;
    }
    if (!first_struck) break;
  }
  EXPECT_GT(pairs, 150U);
}

TEST(Simulation, TheSameSeedWritesTheSameBytes) {
  const auto run = [] {
    Machine m(77);
    Live(m, 12, kEverything);
    return m.shelf.Snapshot();
  };
  EXPECT_EQ(run(), run());
}

// The canaries: bugs planted on purpose. If the oracle takes them, it takes anything.
TEST(Canary, AStoreThatAcknowledgesWithoutASyncIsCaught) {
  int caught = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Machine m(seed);
    m.faults.syncs_lie = true;
    m.BootThrough();
    for (int i = 0; i < 4; ++i) (void)m.Append(1 + m.Draw(60));
    m.Down(Crash::kPower);
    m.BootThrough();
    caught += Bad(m) ? 1 : 0;
  }
  EXPECT_GE(caught, 19);  // by luck everything may have reached the medium
}

TEST(Canary, ARecordThatComesBackChangedIsCaught) {
  Machine m(1);
  m.Boot();
  ASSERT_TRUE(m.Append(30));
  m.CheckDisk("clean");
  ASSERT_FALSE(Bad(m));
  auto& unit = *m.shelf.units().at(0);
  unit.durable[limits::kSectorBytes * 3 / 2] ^= std::byte{1};
  m.CheckDisk("altered");
  EXPECT_TRUE(Bad(m));
}

TEST(Canary, WritingAfterAFailedSyncIsCaught) {
  SimShelf shelf;
  auto device = shelf.Create(0, limits::kMiB).value();
  shelf.SetFaultPlan([](std::string_view operation) { return operation == "sync" ? DiskFault::kError : DiskFault::kNone; });
  ASSERT_TRUE(device->Write(0, Bytes(limits::kSectorBytes)));
  ASSERT_FALSE(device->Sync());
  EXPECT_EQ(shelf.misuse(), 0U);
  (void)device->Write(0, Bytes(limits::kSectorBytes));
  EXPECT_EQ(shelf.misuse(), 1U);
}

// What a failed sync left in memory is not on the medium, and a later sync does not bring it there.
TEST(Canary, ASecondSyncDoesNotRepairAFailedOne) {
  SimShelf shelf;
  auto device = shelf.Create(0, limits::kMiB).value();
  int syncs = 0;
  shelf.SetFaultPlan([&](std::string_view operation) {
    return operation == "sync" && syncs++ == 0 ? DiskFault::kError : DiskFault::kNone;
  });
  ASSERT_TRUE(device->Write(0, Bytes(4 * limits::kSectorBytes, std::byte{7})));
  ASSERT_FALSE(device->Sync());
  ASSERT_TRUE(device->Sync());
  Bytes back(4 * limits::kSectorBytes);
  ASSERT_TRUE(device->Read(0, back));
  EXPECT_NE(back, Bytes(4 * limits::kSectorBytes, std::byte{7}));
}

// --- tampering, after which no verdict may be good ---

void Prepare(Machine& m) {
  m.Boot();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(m.Append(1 + m.Draw(200)));
    ASSERT_TRUE(m.Checkpoint(true));
  }
  ASSERT_TRUE(m.Append(40));
}

TEST(Tampering, ADiskRolledBackAcrossAnAnchorIsRolledBack) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Machine m(seed);
    ASSERT_NO_FATAL_FAILURE(Prepare(m));
    const auto old = m.shelf.Snapshot();
    const auto slot_0 = m.slots[0].inner.bytes();
    const auto slot_1 = m.slots[1].inner.bytes();
    for (std::uint64_t i = 0; i <= m.Draw(3); ++i) {
      ASSERT_TRUE(m.Append(1 + m.Draw(100)));
      ASSERT_TRUE(m.Checkpoint(true));
    }
    m.Down(m.Draw(2) == 0 ? Crash::kPower : Crash::kProcesses);
    m.shelf.Restore(old);
    if (m.Draw(2) == 0) {
      m.slots[0].inner.Set(slot_0);
      m.slots[1].inner.Set(slot_1);
    }
    const auto verdict = m.Judge();
    EXPECT_EQ(verdict.word, "ROLLED_BACK") << verdict.detail;
    EXPECT_FALSE(verdict.may_anchor);
  }
}

TEST(Tampering, ADiskRolledBackBehindASignedCheckpointIsSeenByTheSlot) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Machine m(seed);
    ASSERT_NO_FATAL_FAILURE(Prepare(m));
    const auto old = m.shelf.Snapshot();
    ASSERT_TRUE(m.Append(1 + m.Draw(100)));
    (void)m.Checkpoint(false);  // PCR only
    m.Down(m.Draw(2) == 0 ? Crash::kPower : Crash::kProcesses);
    m.shelf.Restore(old);
    const auto verdict = m.Judge();
    EXPECT_EQ(verdict.word, "ROLLED_BACK") << verdict.detail;
    EXPECT_FALSE(verdict.may_anchor);
  }
}

struct BlockAt {
  std::uint32_t unit = 0;
  ledger::BlockHeader header;
};
std::vector<BlockAt> BlocksOf(SimShelf& shelf) {
  std::vector<BlockAt> blocks;
  for (const auto& entry : shelf.units()) {
    std::size_t at = limits::kSectorBytes;
    while (at + limits::kSectorBytes <= entry.second->durable.size()) {
      const auto header = ledger::DecodeBlockHeader(ByteView(entry.second->durable).subspan(at));
      if (!header) break;
      blocks.push_back({entry.first, *header});
      at += header->size_bytes;
    }
  }
  return blocks;
}
void Blank(SimShelf& shelf, const BlockAt& block) {
  auto& unit = *shelf.units().at(block.unit);
  std::fill_n(unit.durable.begin() + static_cast<std::ptrdiff_t>(block.header.offset_bytes), block.header.size_bytes, std::byte{0});
  unit.volatile_image = unit.durable;
}

TEST(Tampering, ABlockTakenOutOfTheMiddleIsSeenByRecoveryOrVerification) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Machine m(seed);
    ASSERT_NO_FATAL_FAILURE(Prepare(m));
    m.Down(Crash::kPower);
    const auto blocks = BlocksOf(m.shelf);
    ASSERT_GT(blocks.size(), 3U);
    const BlockAt& victim = blocks[m.Draw(blocks.size() - 1)];
    Blank(m.shelf, victim);
    const auto report = store::VerifyStore(m.shelf, {});
    ASSERT_TRUE(report);
    EXPECT_TRUE(report->word == "DAMAGED" || report->word == "TAMPERED") << report->word;
    ASSERT_TRUE(report->first_bad);
    EXPECT_EQ(report->first_bad->unit, victim.unit);
    EXPECT_EQ(report->first_bad->first_sequence, victim.header.first_sequence);
    const auto verdict = m.Judge();
    if (victim.unit == blocks.back().unit) {
      EXPECT_TRUE(verdict.word == "DAMAGED" || verdict.word == "ROLLED_BACK") << verdict.word;
    }
  }
}

TEST(Tampering, BlocksCutOffBehindAnAnchorAreNeverGood) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Machine m(seed);
    ASSERT_NO_FATAL_FAILURE(Prepare(m));
    m.Down(Crash::kPower);
    auto blocks = BlocksOf(m.shelf);
    // Everything from the newest receipt's block on, and some more.
    std::size_t keep = blocks.size();
    const std::uint64_t receipt_at = blocks.back().header.landmarks.anchor;
    while (keep > 1 && blocks[keep - 1].header.end_sequence() > receipt_at) --keep;
    keep -= std::min<std::size_t>(keep - 1, 1 + m.Draw(3));
    for (std::size_t i = keep; i < blocks.size(); ++i) Blank(m.shelf, blocks[i]);
    const auto verdict = m.Judge();
    EXPECT_TRUE(verdict.word == "ROLLED_BACK" || verdict.word == "DAMAGED") << verdict.word << ": " << verdict.detail;
    EXPECT_FALSE(verdict.may_anchor && verdict.word != "DAMAGED");
  }
}

TEST(Tampering, InventedBlocksAreQuarantinedAndNeverSigned) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Machine m(seed);
    ASSERT_NO_FATAL_FAILURE(Prepare(m));
    const std::uint64_t true_size = m.size();
    m.Down(Crash::kPower);
    // Self-consistent in chain and tree, written exactly where the log goes on; only the MAC key is not to be had.
    auto tail = store::ReadTail(m.shelf);
    ASSERT_TRUE(tail);
    ledger::Sequencer sequencer(tail->head(), tail->frontier());
    ledger::Batch batch;
    const std::size_t count = 1 + m.Draw(50);
    record::SaltKey key{};
    for (std::size_t i = 0; i < count; ++i) {
      const std::string payload = "invented " + std::to_string(i);
      batch.Add(record::Kind::kSyslog, 0, 0, 5, {},
                record::CommitPayload(record::DeriveSalt(key, static_cast<std::uint32_t>(i)), {}, AsBytes(payload)), AsBytes(payload));
    }
    batch.salt_runs.push_back({0, static_cast<std::uint32_t>(count), 0, key});
    const bool own_session = m.Draw(2) == 0;
    const Hash session = own_session ? tail->superblock.session : Sha256Of(AsBytes("any session"));
    ledger::MacChain mac(session, Sha256Of(AsBytes("a guessed key")));
    ASSERT_TRUE(mac.AdvanceTo(tail->blocks.back().header.session_block + 1));
    ledger::BlockEncoder encoder;
    const ByteView block = encoder.Encode(sequencer.Sequence(std::move(batch)),
                                          {tail->unit, tail->end_bytes, 5, tail->landmarks(), tail->abandons}, ledger::Codec::kLz4, mac);
    auto& unit = *m.shelf.units().at(tail->unit);
    ASSERT_LE(tail->end_bytes + block.size(), unit.durable.size());
    std::copy(block.begin(), block.end(), unit.durable.begin() + static_cast<std::ptrdiff_t>(tail->end_bytes));
    unit.volatile_image = unit.durable;

    const auto verdict = m.Judge();
    EXPECT_EQ(verdict.word, "DAMAGED") << verdict.detail;
    EXPECT_EQ(m.tail().quarantined_records, count);
    EXPECT_EQ(m.size(), true_size);
    // The log goes on without them, and what is signed next does not hold them.
    ASSERT_TRUE(m.Append(5));
    m.CheckDisk("after the quarantine");
    EXPECT_EQ(m.oracle.complaints(), std::vector<std::string>());
  }
}

}  // namespace
}  // namespace stele::sim
