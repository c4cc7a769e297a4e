// Goal: what was committed is read back, proven and verified, across segments and after any crash picture.
// Method: the real sequencer and store on a simulated disk; every alteration is made to the durable bytes themselves.
#include "tests/unit/store/store_fixture.h"

namespace stele::store {
namespace {

using limits::kSectorBytes;

Hash SlowRoot(std::span<const Hash> leaves) {
  if (leaves.empty()) return EmptyTreeHash();
  if (leaves.size() == 1) return leaves[0];
  const std::size_t k = std::bit_floor(leaves.size() - 1);
  return NodeHash(SlowRoot(leaves.first(k)), SlowRoot(leaves.subspan(k)));
}

TEST(Store, RecordsComeBackWithTheirProofsAcrossSegments) {
  TestLog log;
  log.Open();
  for (int i = 0; i < 150; ++i) ASSERT_TRUE(log.Write(log.MakeBatch(1 + log.random()() % 400)));
  ASSERT_GT(log.shelf().units().size(), 2U);
  auto reader = LogReader::Open(log.shelf());
  ASSERT_TRUE(reader);
  EXPECT_EQ((*reader)->damage(), "");
  ASSERT_EQ((*reader)->size(), log.leaves().size());
  const Hash root = SlowRoot(log.leaves());
  EXPECT_EQ(log.sequencer().frontier().Root(), root);
  EXPECT_EQ((*reader)->RootAt((*reader)->size()).value(), root);
  for (std::uint64_t s = 0; s < (*reader)->size(); s += 97) {
    EXPECT_EQ((*reader)->LeafOf(s).value(), log.leaves()[s]);
    const auto proof = (*reader)->InclusionProof(s, (*reader)->size());
    ASSERT_TRUE(proof);
    EXPECT_TRUE(ledger::VerifyInclusion(log.leaves()[s], s, (*reader)->size(), *proof, root));
  }
  const std::uint64_t old_size = (*reader)->size() / 3;
  const auto proof = (*reader)->ConsistencyProof(old_size, (*reader)->size());
  ASSERT_TRUE(proof);
  EXPECT_TRUE(ledger::VerifyConsistency(old_size, (*reader)->size(), SlowRoot(std::span(log.leaves()).first(old_size)), root,
                                        *proof));
}

TEST(Store, ACleanStoreVerifiesAndSegmentsEndOnTileBorders) {
  TestLog log;
  log.Open();
  for (int i = 0; i < 150; ++i) ASSERT_TRUE(log.Write(log.MakeBatch(1 + log.random()() % 400)));
  const auto report = VerifyStore(log.shelf(), {});
  ASSERT_TRUE(report);
  EXPECT_EQ(report->word, "OK_UNANCHORED_TAIL") << report->detail;
  EXPECT_EQ(report->records, log.leaves().size());
  EXPECT_EQ(report->root, log.sequencer().frontier().Root());
  for (auto& [number, unit] : log.shelf().units()) {
    const auto superblock = DecodeSuperblock(unit->durable);
    ASSERT_TRUE(superblock);
    EXPECT_EQ(superblock->first_sequence % limits::kTileLeaves, 0U);
  }
}

TEST(Store, ARestartContinuesWhereTheLogEnded) {
  TestLog log;
  log.Open();
  for (int round = 0; round < 12; ++round) {
    ASSERT_TRUE(log.Write(log.MakeBatch(1 + log.random()() % 700)));
    log.Close();
    log.Open();
    ASSERT_EQ(log.tail().size(), log.leaves().size());
    ASSERT_FALSE(log.tail().damaged) << log.tail().detail;
  }
  const auto report = VerifyStore(log.shelf(), {});
  ASSERT_TRUE(report);
  EXPECT_EQ(report->word, "OK_UNANCHORED_TAIL") << report->detail;
  EXPECT_EQ(report->records, log.leaves().size());
}

TEST(Store, ATornTailIsAbandonedAndNeverOverwritten) {
  TestLog log;
  log.Open();
  ASSERT_TRUE(log.Write(log.MakeBatch(500)));
  const std::uint64_t before = log.store().position_bytes();
  const auto clean = log.shelf().units().at(0)->durable;
  ASSERT_TRUE(log.Write(log.MakeBatch(500)));
  // The last block loses one of its sectors, as a power cut may leave it.
  auto& unit = *log.shelf().units().at(0);
  std::fill_n(unit.durable.begin() + static_cast<std::ptrdiff_t>(before + 3 * kSectorBytes), kSectorBytes, std::byte{0});
  unit.volatile_image = unit.durable;
  log.leaves().resize(500);
  log.Close();
  const auto crashed = VerifyStore(log.shelf(), {});
  ASSERT_TRUE(crashed);
  EXPECT_EQ(crashed->word, "RECOVERED_CRASH") << crashed->detail;
  log.Open();
  EXPECT_EQ(log.tail().size(), 500U);
  EXPECT_FALSE(log.tail().damaged);
  ASSERT_EQ(log.tail().abandons.size(), 1U);
  const Bytes torn(unit.durable.begin() + static_cast<std::ptrdiff_t>(before),
                   unit.durable.begin() + static_cast<std::ptrdiff_t>(log.tail().end_bytes));
  ASSERT_TRUE(log.Write(log.MakeBatch(300)));
  EXPECT_TRUE(SameBytes(torn, ByteView(unit.durable).subspan(before, torn.size())));
  const auto report = VerifyStore(log.shelf(), {});
  ASSERT_TRUE(report);
  EXPECT_EQ(report->word, "OK_UNANCHORED_TAIL") << report->detail;
  EXPECT_EQ(report->records, 800U);
  EXPECT_EQ(report->abandoned_bytes, torn.size());
  auto reader = LogReader::Open(log.shelf());
  ASSERT_TRUE(reader);
  EXPECT_EQ((*reader)->size(), 800U);
}

TEST(Store, BlocksThatNobodyAuthenticatedAreQuarantined) {
  TestLog log;
  log.Open();
  ASSERT_TRUE(log.Write(log.MakeBatch(300)));
  ASSERT_TRUE(log.Write(log.MakeBatch(100)));
  auto tail = ReadTail(log.shelf());
  ASSERT_TRUE(tail);
  // A disk-only attacker has no session key: whatever he appends carries the MAC of some other key.
  int asked = 0;
  Authenticate(*tail, [&](const Hash& session) {
    ++asked;
    return std::optional<Hash>(TestLog::SessionKey(session));
  });
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(tail->quarantined_records, 0U);
  tail->blocks[1].header.mac[0] ^= std::byte{1};
  Authenticate(*tail, [](const Hash& session) { return std::optional<Hash>(TestLog::SessionKey(session)); });
  EXPECT_EQ(tail->quarantined_records, 100U);
  EXPECT_EQ(tail->size(), 300U);
  ASSERT_EQ(tail->abandons.size(), 1U);
}

// Threat 1: every changed byte is refused, and the verdict names a place that contains it.
TEST(Verify, AnyChangedByteIsRefusedAndItsPlaceNamed) {
  TestLog log;
  log.Open();
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(log.Write(log.MakeBatch(40 + log.random()() % 100)));
  auto& unit = *log.shelf().units().at(0);
  const std::uint64_t used = log.store().position_bytes();
  const auto original = unit.durable;
  int named_record = 0;
  for (int round = 0; round < 400; ++round) {
    const std::uint64_t at = log.random()() % used;
    unit.durable[at] ^= static_cast<std::byte>(1 + log.random()() % 255);
    unit.volatile_image = unit.durable;
    const auto report = VerifyStore(log.shelf(), {});
    ASSERT_TRUE(report);
    EXPECT_TRUE(report->word == "DAMAGED" || report->word == "TAMPERED") << at << " " << report->word;
    ASSERT_TRUE(report->first_bad.has_value()) << at;
    EXPECT_LE(report->first_bad->offset_bytes, at);
    if (report->first_bad->what == "record") ++named_record;
    unit.durable = original;
    unit.volatile_image = original;
  }
  EXPECT_GT(named_record, 0);
}

TEST(Verify, AMissingSegmentIsNamed) {
  TestLog log;
  log.Open();
  for (int i = 0; i < 150; ++i) ASSERT_TRUE(log.Write(log.MakeBatch(1 + log.random()() % 400)));
  ASSERT_GT(log.shelf().units().size(), 2U);
  log.shelf().units().erase(1);
  const auto report = VerifyStore(log.shelf(), {});
  ASSERT_TRUE(report);
  EXPECT_EQ(report->word, "DAMAGED");
  ASSERT_TRUE(report->first_bad);
  EXPECT_EQ(report->first_bad->what, "segment");
  EXPECT_EQ(report->first_bad->unit, 1U);
}

TEST(Store, AFailedSyncKillsTheUnitAndTheRecordsGoToTheNext) {
  TestLog log;
  log.Open();
  ASSERT_TRUE(log.Write(log.MakeBatch(300)));
  int syncs = 0;
  log.shelf().SetFaultPlan([&](std::string_view operation) {
    return operation == "sync" && syncs++ == 0 ? sim::DiskFault::kError : sim::DiskFault::kNone;
  });
  ASSERT_TRUE(log.Write(log.MakeBatch(50)));
  log.shelf().SetFaultPlan({});
  EXPECT_EQ(log.store().unit(), 1U);
  ASSERT_TRUE(log.Write(log.MakeBatch(20)));
  auto reader = LogReader::Open(log.shelf());
  ASSERT_TRUE(reader);
  EXPECT_EQ((*reader)->size(), 370U) << (*reader)->damage();
  log.Close();
  std::mt19937_64 random(3);
  log.shelf().Crash(random);
  log.Open();
  EXPECT_EQ(log.tail().size(), 370U);
  const auto report = VerifyStore(log.shelf(), {});
  ASSERT_TRUE(report);
  EXPECT_EQ(report->word, "OK_UNANCHORED_TAIL") << report->detail;
  EXPECT_EQ(report->records, 370U);
}

TEST(Store, NothingGoesBehindASealWhenTheNextUnitCannotBeOpened) {
  TestLog log(256 * limits::kKiB);
  log.Open();
  log.shelf().SetFaultPlan([](std::string_view operation) {
    return operation == "create" ? sim::DiskFault::kError : sim::DiskFault::kNone;
  });
  int refused = 0;
  for (int i = 0; i < 40; ++i) refused += log.Write(log.MakeBatch(60)) ? 0 : 1;
  ASSERT_GT(refused, 1);
  log.shelf().SetFaultPlan({});
  ASSERT_TRUE(log.Write(log.MakeBatch(60)));
  EXPECT_EQ(log.store().unit(), 1U);
  const auto report = VerifyStore(log.shelf(), {});
  ASSERT_TRUE(report);
  EXPECT_EQ(report->word, "OK_UNANCHORED_TAIL") << report->detail;
  EXPECT_EQ(report->records, log.leaves().size());
}

TEST(Store, MoreUnitsGivenUpThanASuperblockNamesIsAnErrorAndNoAbort) {
  TestLog log(256 * limits::kKiB);
  log.Open();
  ASSERT_TRUE(log.Write(log.MakeBatch(10)));
  log.shelf().SetFaultPlan([](std::string_view operation) {
    return operation == "write" ? sim::DiskFault::kError : sim::DiskFault::kNone;
  });
  for (int i = 0; i < 80; ++i) {
    const auto rolled = log.store().Roll(10, log.sequencer().head(), log.sequencer().frontier());
    ASSERT_FALSE(rolled);
  }
  EXPECT_LE(log.shelf().units().size(), 1 + kSuperblockAbandonsMax + 1);
}

// More units than the reader keeps lists of, more leaves than a group of tiles has, and a unit that was given up at an odd size among
// them: whatever was let go is read again, and says the same.
TEST(LogReader, WhatItLetGoOfALongLogItFindsAgain) {
  TestLog log(256 * limits::kKiB);
  log.Open();
  for (int i = 0; i < 12; ++i) ASSERT_TRUE(log.Write(log.MakeBatch(1'777, 40)));
  ASSERT_TRUE(log.store().Roll(log.sequencer().size(), log.sequencer().head(), log.sequencer().frontier()));
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(log.Write(log.MakeBatch(1'777, 40)));
  auto opened = LogReader::Open(log.shelf());
  ASSERT_TRUE(opened);
  LogReader& reader = **opened;
  const std::vector<Hash>& leaves = log.leaves();
  const std::uint64_t size = leaves.size();
  ASSERT_EQ(reader.size(), size) << reader.damage();
  ASSERT_GT(size, 65'536U + 256);
  ASSERT_GT(reader.units().size(), 5U);

  std::uint64_t next = 0;
  for (std::size_t b = 0; b < reader.block_count(); ++b) {
    const auto info = reader.BlockAt(b);
    ASSERT_TRUE(info);
    ASSERT_EQ(info->first_sequence, next);
    ASSERT_LT(info->unit, reader.units().size());
    ASSERT_LT(b - reader.units()[info->unit].first_block, reader.units()[info->unit].block_count);
    next += info->record_count;
  }
  EXPECT_EQ(next, size);

  ledger::CompactRange whole;
  for (const Hash& leaf : leaves) whole.Push(leaf);
  const Hash root = reader.RootAt(size).value();
  ASSERT_EQ(root, whole.Root());
  for (int i = 0; i < 60; ++i) {
    const std::uint64_t sequence = log.random()() % size;
    const std::size_t index = reader.BlockIndexOf(sequence).value();
    EXPECT_LE(reader.BlockAt(index)->first_sequence, sequence);
    ASSERT_EQ(reader.LeafOf(sequence).value(), leaves[sequence]);
    const auto proof = reader.InclusionProof(sequence, size);
    ASSERT_TRUE(proof) << proof.error().context;
    ASSERT_TRUE(ledger::VerifyInclusion(leaves[sequence], sequence, size, *proof, root)) << sequence;
  }
}

// The reader lives on while the ledger fails to commit, gives the unit up and goes on in the next one.
TEST(LogReader, AFollowerNeverShowsWhatWasNotCommitted) {
  TestLog log;
  log.Open();
  ASSERT_TRUE(log.Write(log.MakeBatch(20)));
  auto reader = LogReader::Open(log.shelf(), 0);
  ASSERT_TRUE(reader);
  ASSERT_TRUE((*reader)->Refresh(20));
  const ledger::Sequencer before = log.sequencer();
  // Written and reported as failed, twice: nothing of it is acknowledged.
  log.shelf().SetFaultPlan([](std::string_view operation) {
    return operation == "sync" ? sim::DiskFault::kErrorDone : sim::DiskFault::kNone;
  });
  ledger::Sequencer lost = before;
  ASSERT_FALSE(log.store().Commit(lost.Sequence(log.MakeBatch(5)), {}));
  log.shelf().SetFaultPlan({});
  ledger::Sequencer kept = before;
  const ledger::SequencedBatch batch = kept.Sequence(log.MakeBatch(5));
  ASSERT_TRUE(log.store().Commit(batch, {}));
  ASSERT_TRUE((*reader)->Refresh(25));
  ASSERT_EQ((*reader)->size(), 25U);
  for (std::uint64_t s = 20; s < 25; ++s) EXPECT_EQ((*reader)->LeafOf(s).value(), batch.leaves[s - 20]);
}

}  // namespace
}  // namespace stele::store
