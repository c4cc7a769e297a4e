// Goal: a log on raw partitions takes only what is empty, knows its units by what they hold, seals what is full, and leaves alone
// everything that is not its own. Method: the real store on partitions of memory (the simulated disk), each bad case made by hand and the
// bytes of the others compared; the last block of a sealed partition is decoded as the initial RAM disk does it.
#include "appliance/store/partition_shelf.h"

#include <array>

#include "firmware/guard/seal_mark.h"
#include "tests/unit/store/store_fixture.h"

namespace stele::store {
namespace {

constexpr std::uint64_t kPartitionBytes = limits::kMiB;

class Rack {
 public:
  explicit Rack(std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) Add(kPartitionBytes);
    disk.can_refuse_writes = true;
  }
  void Add(std::uint64_t size_bytes) {
    ASSERT_TRUE(disk.Create(count_, size_bytes));
    order.push_back(count_++);
  }
  Result<std::unique_ptr<PartitionShelf>> TryOpen(std::optional<Hash> log_id = TestLog::LogId()) {
    std::vector<Partition> partitions;
    for (const std::uint32_t i : order) {
      partitions.push_back({"log-" + std::to_string(i), *disk.Open(i, true), !disk.units()[i]->read_only});
    }
    return PartitionShelf::Open(std::move(partitions), log_id);
  }
  PartitionShelf& Open() {
    auto opened = TryOpen();
    EXPECT_TRUE(opened.has_value()) << (opened ? "" : opened.error().context);
    shelf = std::move(*opened);
    return *shelf;
  }
  Bytes& Content(std::uint32_t i) { return disk.units()[i]->durable; }
  void Put(std::uint32_t i, std::uint64_t offset, ByteView bytes) {
    std::copy(bytes.begin(), bytes.end(), Content(i).begin() + static_cast<std::ptrdiff_t>(offset));
    disk.units()[i]->volatile_image = Content(i);
  }
  [[nodiscard]] bool Sealed(std::uint32_t i) {
    const auto at = guard::SealMarkAt(Content(i).size());
    std::array<std::byte, guard::kSealMarkBytes> mark{};
    std::copy_n(Content(i).begin() + static_cast<std::ptrdiff_t>(*at), mark.size(), mark.begin());
    return guard::DecodeSealMark(mark).has_value();
  }
  [[nodiscard]] std::string Refused() {
    std::string all;
    const PartitionsUse use = shelf->Use();
    for (const std::string& one : use.refused) all += one + "\n";
    return all;
  }

  sim::SimShelf disk;
  std::vector<std::uint32_t> order;
  std::unique_ptr<PartitionShelf> shelf;

 private:
  std::uint32_t count_ = 0;
};

// Opens the rack anew, as a restarted ledger does, and the log on it.
void Restart(Rack& rack, TestLog& log) {
  log.Close();
  log.On(rack.Open());
  log.Open();
}

void WriteUnits(TestLog& log, std::uint32_t units) {
  while (log.store().unit() < units) ASSERT_TRUE(log.Write(log.MakeBatch(200)));
}

std::string WordOf(Rack& rack, TestLog& log) {
  const auto report = VerifyStore(rack.Open(), {});
  if (!report) return report.error().context;
  EXPECT_TRUE(report->records == log.leaves().size() || report->first_bad) << report->records << " of " << log.leaves().size();
  return report->word + (report->first_bad ? ": " + report->detail : "");
}

constexpr const char* kGood = "OK_UNANCHORED_TAIL";

TEST(PartitionShelf, UnitsFillPartitionsInOrderAndTheFullOnesAreSealed) {
  Rack rack(4);
  TestLog log;
  Restart(rack, log);
  WriteUnits(log, 2);
  EXPECT_EQ(WordOf(rack, log), kGood);
  for (std::uint32_t i = 0; i < 4; ++i) {
    const auto superblock = DecodeSuperblock(rack.Content(i));
    ASSERT_EQ(superblock.has_value(), i < 3) << i;
    if (superblock) {
      EXPECT_EQ(superblock->unit, i);
      EXPECT_EQ(superblock->size_bytes, kPartitionBytes - guard::kSealMarkBytes);
    }
    EXPECT_EQ(rack.Sealed(i), i < 2) << i;
    EXPECT_EQ(rack.disk.units()[i]->read_only, i < 2) << i;
  }
  const PartitionsUse use = rack.shelf->Use();
  EXPECT_EQ(use.taken, 3U);
  EXPECT_EQ(use.read_only, 2U);
  EXPECT_EQ(use.empty, 1U);
  EXPECT_EQ(use.empty_bytes, kPartitionBytes);
  EXPECT_EQ(use.unit_bytes_min, kPartitionBytes - guard::kSealMarkBytes);
}

TEST(PartitionShelf, ARestartGoesOnWhateverTheOrderOfTheNames) {
  Rack rack(5);
  TestLog log;
  for (std::uint32_t round = 0; round < 4; ++round) {
    std::shuffle(rack.order.begin(), rack.order.end(), log.random());
    Restart(rack, log);
    ASSERT_FALSE(log.tail().damaged) << log.tail().detail;
    ASSERT_EQ(log.tail().size(), log.leaves().size());
    WriteUnits(log, round);
    ASSERT_TRUE(log.Write(log.MakeBatch(50)));
  }
  EXPECT_EQ(WordOf(rack, log), kGood);
  auto reader = LogReader::Open(*rack.shelf);
  ASSERT_TRUE(reader);
  EXPECT_EQ((*reader)->damage(), "");
  EXPECT_EQ((*reader)->size(), log.leaves().size());
}

TEST(PartitionShelf, WithoutAnEmptyPartitionTheLogRefusesAndOverwritesNothing) {
  Rack rack(2);
  TestLog log;
  Restart(rack, log);
  const auto prepared = log.store().Prepare(4 * limits::kMiB);
  ASSERT_FALSE(prepared);
  EXPECT_EQ(prepared.error().detail, static_cast<std::uint32_t>(ENOSPC));
  std::size_t refused = 0;
  for (int i = 0; i < 400 && refused < 20; ++i) refused += log.Write(log.MakeBatch(100)) ? 0U : 1U;
  EXPECT_EQ(refused, 20U);
  EXPECT_FALSE(rack.Sealed(1)) << "the last one stays open for what still fits";
  Restart(rack, log);
  ASSERT_EQ(log.tail().size(), log.leaves().size());
  EXPECT_FALSE(log.Write(log.MakeBatch(100)));
  EXPECT_EQ(WordOf(rack, log), kGood);
  rack.Add(kPartitionBytes);  // room again
  Restart(rack, log);
  ASSERT_TRUE(log.Write(log.MakeBatch(300)));
  EXPECT_EQ(WordOf(rack, log), kGood);
}

TEST(PartitionShelf, TheSameUnitTwiceIsRefused) {
  Rack rack(3);
  TestLog log;
  Restart(rack, log);
  WriteUnits(log, 1);
  log.Close();
  rack.Put(2, 0, rack.Content(1));
  const Bytes before = rack.Content(2);
  const auto opened = rack.TryOpen();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::kDenied);
  EXPECT_NE(opened.error().context.find("unit 1 of the log is there twice, in log-1 and in log-2"), std::string::npos) << opened.error().context;
  EXPECT_EQ(rack.Content(2), before);
}

TEST(PartitionShelf, TwoNodesOfOneMediumAreSeenBeforeTheSecondIsUsed) {
  Rack rack(2);
  rack.order = {0, 0, 1};
  TestLog log;
  Restart(rack, log);
  ASSERT_TRUE(log.Write(log.MakeBatch(10)));
  WriteUnits(log, 1);
  EXPECT_NE(rack.Refused().find("it is the medium of another one"), std::string::npos) << rack.Refused();
  EXPECT_EQ(DecodeSuperblock(rack.Content(1))->unit, 1U);
  rack.order = {0, 1};
  EXPECT_EQ(WordOf(rack, log), kGood);
}

TEST(PartitionShelf, AnotherLogsPartitionIsLeftAlone) {
  Rack rack(3);
  TestLog log;
  Restart(rack, log);
  ASSERT_TRUE(log.Write(log.MakeBatch(10)));
  log.Close();
  Superblock foreign = *DecodeSuperblock(rack.Content(0));
  foreign.log_id = TestHash(0x77);
  foreign.unit = 1;
  rack.Put(1, 0, EncodeSuperblock(foreign, {TestHash(1), TestHash(2)}));
  const Bytes before = rack.Content(1);
  Restart(rack, log);
  EXPECT_NE(rack.Refused().find("log-1: it belongs to another log (7777777777777777)"), std::string::npos) << rack.Refused();
  WriteUnits(log, 1);
  EXPECT_EQ(rack.Content(1), before);
  EXPECT_EQ(DecodeSuperblock(rack.Content(2))->unit, 1U);
  EXPECT_EQ(WordOf(rack, log), kGood);
  rack.order = {1};
  const auto opened = rack.TryOpen();
  ASSERT_FALSE(opened) << "no log is begun beside another one's";
  EXPECT_EQ(opened.error().code, Code::kDenied);
}

TEST(PartitionShelf, AHalfWrittenSuperblockCostsItsPartitionAndNothingElse) {
  for (const std::size_t kept : {std::size_t{512}, std::size_t{3584}, limits::kSectorBytes - 1}) {
    Rack rack(4);
    TestLog log;
    Restart(rack, log);
    ASSERT_TRUE(log.Write(log.MakeBatch(10)));
    log.Close();
    Superblock next = *DecodeSuperblock(rack.Content(0));
    next.unit = 1;
    rack.Put(1, 0, ByteView(EncodeSuperblock(next, {TestHash(1), TestHash(2)})).first(kept));
    const Bytes before = rack.Content(1);
    Restart(rack, log);
    EXPECT_FALSE(log.tail().damaged) << log.tail().detail;
    EXPECT_NE(rack.Refused().find("log-1: its superblock was never finished"), std::string::npos) << rack.Refused();
    WriteUnits(log, 2);
    EXPECT_EQ(rack.Content(1), before);
    EXPECT_EQ(WordOf(rack, log), kGood);
  }
}

TEST(PartitionShelf, ALostSuperblockOfABegunUnitIsDamage) {
  Rack rack(4);
  TestLog log;
  Restart(rack, log);
  WriteUnits(log, 2);
  log.Close();
  for (const std::size_t kept : {std::size_t{0}, std::size_t{100}}) {
    const Bytes whole = rack.Content(1);
    rack.Put(1, kept, Bytes(limits::kSectorBytes - kept));
    const std::string word = WordOf(rack, log);
    EXPECT_TRUE(word.starts_with("DAMAGED: superblock")) << word;
    rack.Put(1, 0, whole);
  }
  EXPECT_EQ(WordOf(rack, log), kGood);
  rack.order = {0, 2, 3};  // its partition is not there at all
  EXPECT_EQ(WordOf(rack, log), "DAMAGED: segment 1 is missing");
}

TEST(PartitionShelf, WhatIsNotZeroOrTooSmallIsNotUsed) {
  Rack rack(1);
  rack.Add(kPartitionBytes);
  rack.Add(limits::kMiB - limits::kSectorBytes);
  rack.Add(4 * limits::kMiB);
  rack.Add(4 * limits::kMiB);
  rack.Put(1, 700'000, AsBytes("a file system was here"));
  rack.Put(3, 4 * limits::kMiB - 10, AsBytes("the end"));
  const Bytes before = rack.Content(1);
  TestLog log;
  Restart(rack, log);
  WriteUnits(log, 1);
  EXPECT_EQ(rack.Content(1), before);
  EXPECT_NE(rack.Refused().find("log-1: it holds something that is not Stele's"), std::string::npos) << rack.Refused();
  EXPECT_NE(rack.Refused().find("log-2: its 1044480 bytes are too few for a unit, which takes at least 1048576"), std::string::npos) << rack.Refused();
  EXPECT_NE(rack.Refused().find("log-3: it holds something"), std::string::npos) << rack.Refused();
  EXPECT_EQ(DecodeSuperblock(rack.Content(4))->size_bytes, 4 * limits::kMiB - guard::kSealMarkBytes) << "its own size";
  EXPECT_EQ(WordOf(rack, log), kGood);
}

// What no sample looks at shows at the next start as bytes behind the end: it is given up, and the log goes on in the same unit.
TEST(PartitionShelf, BytesThatNoSampleSawAreGivenUpAtTheNextStart) {
  Rack rack(0);
  rack.Add(16 * limits::kMiB);
  rack.Add(16 * limits::kMiB);
  rack.Put(0, 9 * limits::kMiB + 6 * limits::kSectorBytes, AsBytes("left by somebody"));
  TestLog log;
  Restart(rack, log);
  ASSERT_TRUE(log.Write(log.MakeBatch(100)));
  Restart(rack, log);
  EXPECT_FALSE(log.tail().damaged) << log.tail().detail;
  EXPECT_EQ(log.tail().size(), log.leaves().size());
  ASSERT_EQ(log.tail().abandons.size(), 1U);
  ASSERT_TRUE(log.Write(log.MakeBatch(100)));
  EXPECT_EQ(log.store().unit(), 0U);
  const auto report = VerifyStore(rack.Open(), {});
  ASSERT_TRUE(report);
  EXPECT_FALSE(report->first_bad) << report->detail;
  EXPECT_EQ(report->records, log.leaves().size());
}

TEST(PartitionShelf, ACopyOnALargerPartitionIsReadAndNotWritten) {
  Rack rack(1);
  TestLog log;
  Restart(rack, log);
  ASSERT_TRUE(log.Write(log.MakeBatch(10)));
  log.Close();
  rack.Add(2 * limits::kMiB);
  rack.Add(kPartitionBytes);
  rack.Put(1, 0, rack.Content(0));
  rack.order = {1, 2};
  const Bytes before = rack.Content(1);
  Restart(rack, log);
  EXPECT_TRUE(log.tail().damaged);
  EXPECT_EQ(log.tail().size(), log.leaves().size()) << "what it holds is not lost";
  ASSERT_TRUE(log.Write(log.MakeBatch(10)));
  EXPECT_EQ(log.store().unit(), 1U);
  EXPECT_TRUE(std::equal(before.begin(), before.end() - guard::kSealMarkBytes, rack.Content(1).begin()));
}

TEST(PartitionShelf, ASealThatACrashPreventedIsMadeUpForAtTheNextStart) {
  for (const std::string_view struck : {"write", "sync"}) {
    Rack rack(4);
    TestLog log;
    Restart(rack, log);
    ASSERT_TRUE(log.Write(log.MakeBatch(256)));
    // The machine stops at the first operation of the seal mark: after the seal block's write and sync.
    int operations = 0;
    bool sealing = false;
    rack.disk.SetFaultPlan([&](std::string_view operation) {
      if (!sealing) return sim::DiskFault::kNone;
      ++operations;
      return operation == struck && operations > 2 ? sim::DiskFault::kCrashBefore : sim::DiskFault::kNone;
    });
    bool crashed = false;
    try {
      sealing = true;
      (void)log.store().Roll(log.sequencer().size(), log.sequencer().head(), log.sequencer().frontier());
    } catch (const sim::SimCrash&) {
      crashed = true;
    }
    ASSERT_TRUE(crashed);
    rack.disk.SetFaultPlan({});
    rack.disk.Crash(log.random());
    ASSERT_FALSE(rack.disk.units()[0]->read_only);
    Restart(rack, log);
    EXPECT_EQ(log.tail().size(), log.leaves().size());
    EXPECT_EQ(log.store().unit(), 1U);
    EXPECT_TRUE(rack.Sealed(0));
    EXPECT_TRUE(rack.disk.units()[0]->read_only);
    ASSERT_TRUE(log.Write(log.MakeBatch(10)));
    EXPECT_EQ(WordOf(rack, log), kGood);
  }
}

TEST(PartitionShelf, ASealMarkThatWasTakenAwayIsSaidAndTheUnitIsNotWrittenAgain) {
  Rack rack(5);
  TestLog log;
  Restart(rack, log);
  WriteUnits(log, 3);
  EXPECT_TRUE(rack.shelf->Use().unmarked.empty());
  log.Close();
  const Bytes nothing(guard::kSealMarkBytes);
  const std::uint64_t mark_at = kPartitionBytes - nothing.size();
  const Bytes content = rack.Content(1);
  rack.Put(1, mark_at, nothing);
  rack.disk.units()[1]->read_only = false;  // as after a start of the machine that found no mark
  const auto said = [&rack] {
    const auto unmarked = rack.shelf->Use().unmarked;
    return unmarked.size() == 1 ? unmarked.front() : std::to_string(unmarked.size());
  };
  ASSERT_EQ(WordOf(rack, log), kGood);
  EXPECT_TRUE(said().starts_with("log-1: it holds unit 1, the log has gone on to unit 3, and it bears no seal mark")) << said();
  Restart(rack, log);
  EXPECT_TRUE(said().starts_with("log-1: ")) << said();
  EXPECT_EQ(log.store().unit(), 3U);
  EXPECT_TRUE(rack.disk.units()[1]->read_only);
  EXPECT_TRUE(rack.Sealed(1));
  EXPECT_TRUE(std::equal(content.begin(), content.begin() + static_cast<std::ptrdiff_t>(mark_at), rack.Content(1).begin()));
  Restart(rack, log);
  EXPECT_TRUE(rack.shelf->Use().unmarked.empty());
}

TEST(PartitionShelf, AFirstStartThatFailedIsRepeated) {
  for (const sim::DiskFault fault : {sim::DiskFault::kError, sim::DiskFault::kErrorDone}) {
    for (const std::string_view where : {"write", "sync"}) {
      Rack rack(3);
      TestLog log;
      log.On(rack.Open());
      bool struck = false;
      rack.disk.SetFaultPlan([&](std::string_view operation) {
        if (struck || operation != where) return sim::DiskFault::kNone;
        struck = true;
        return fault;
      });
      auto tail = ReadTail(*rack.shelf);
      ASSERT_TRUE(tail);
      const auto store = Store::Open(*rack.shelf, log.clock(), {}, *tail, TestLog::LogId(), {TestHash(3), TestLog::SessionKey(TestHash(3))});
      EXPECT_FALSE(store);
      rack.disk.SetFaultPlan({});
      Restart(rack, log);
      ASSERT_TRUE(log.Write(log.MakeBatch(20)));
      EXPECT_EQ(WordOf(rack, log), kGood) << static_cast<int>(fault) << " " << where;
      EXPECT_EQ(rack.disk.misuse(), 0U);
    }
  }
}

// The error strikes in a running log: its number is given up, whether or not the partition holds it, and readers pass over it.
TEST(PartitionShelf, ANumberThatWasGivenUpIsNoHoleInTheLog) {
  for (const sim::DiskFault fault : {sim::DiskFault::kError, sim::DiskFault::kErrorDone}) {
    Rack rack(5);
    TestLog log;
    Restart(rack, log);
    ASSERT_TRUE(log.Write(log.MakeBatch(256)));
    int writes = 0;
    rack.disk.SetFaultPlan([&](std::string_view operation) {
      return operation == "write" && ++writes == 3 ? fault : sim::DiskFault::kNone;  // seal, mark, superblock
    });
    EXPECT_FALSE(log.store().Roll(log.sequencer().size(), log.sequencer().head(), log.sequencer().frontier()));
    rack.disk.SetFaultPlan({});
    ASSERT_TRUE(log.Write(log.MakeBatch(30)));
    EXPECT_EQ(log.store().unit(), 2U);
    EXPECT_EQ(rack.disk.misuse(), 0U);
    EXPECT_EQ(WordOf(rack, log), kGood) << static_cast<int>(fault);
    auto reader = LogReader::Open(*rack.shelf);
    ASSERT_TRUE(reader);
    EXPECT_EQ((*reader)->size(), log.leaves().size());
    EXPECT_EQ((*reader)->damage(), "");
    Restart(rack, log);
    EXPECT_FALSE(log.tail().damaged) << log.tail().detail;
    EXPECT_EQ(log.tail().size(), log.leaves().size());
    WriteUnits(log, 3);
    EXPECT_EQ(WordOf(rack, log), kGood);
  }
}

TEST(PartitionShelf, AReaderFollowsToPartitionsThatWereEmptyWhenItCame) {
  Rack rack(4);
  auto readers = rack.TryOpen();
  ASSERT_TRUE(readers);
  auto reader = LogReader::Open(**readers, 0);
  ASSERT_TRUE(reader) << reader.error().context;
  TestLog log;
  Restart(rack, log);
  for (std::uint32_t unit = 0; unit < 3; ++unit) {
    WriteUnits(log, unit);
    ASSERT_TRUE(log.Write(log.MakeBatch(10)));
    ASSERT_TRUE((*reader)->Refresh(log.leaves().size()));
    EXPECT_EQ((*reader)->size(), log.leaves().size());
    EXPECT_EQ((*reader)->damage(), "");
  }
}

}  // namespace
}  // namespace stele::store
