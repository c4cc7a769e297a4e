// Goal: when a unit's records expire, its room is free again, everything else still proves bit by bit, and nobody can
// make a unit vanish that the log does not say may go. Method: a log with real checkpoints in many small units, some
// ended in the middle of a tile; all proofs before and after compared with a plain list of leaves; every order that
// must be refused; every crash while reclaiming, on files and on partitions; every changed bit of a spine.
#include "appliance/store/reclaim.h"

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "appliance/ledger/note.h"
#include "appliance/store/partition_shelf.h"
#include "tests/unit/golden.h"
#include "tests/unit/store/store_fixture.h"

namespace stele::store {
namespace {

using nlohmann::json;
using record::Kind;

constexpr std::int64_t kNsPerSecond = 1'000'000'000;
constexpr std::uint64_t kPartitionBytes = limits::kMiB;

constexpr std::int64_t kMuchLaterNs = 1'800'000'000'000'000'000;
constexpr std::uint64_t kMuchLaterMs = 1'000'000'000;

const ledger::SigningKey& LogKey() {
  static const ledger::SigningKey key =
      std::move(*ledger::SigningKey::FromSeed("log.invalid/a", Bytes(ledger::kKeyBytes, std::byte{1})));
  return key;
}

// A log that also writes what a ledger says of itself.
class OwnLog : public TestLog {
 public:
  OwnLog() : TestLog(limits::kMiB, SeedFromEnvironment()) {}
  static std::uint64_t SeedFromEnvironment() {  // STELE_TEST_SEED: other logs than the usual one
    const char* seed = std::getenv("STELE_TEST_SEED");
    return seed == nullptr ? 1 : std::strtoull(seed, nullptr, 10);
  }

  std::uint64_t Say(Kind kind, std::string_view payload) {
    ledger::Batch batch;
    record::SaltKey key;
    for (auto& b : key) b = static_cast<std::byte>(random()() & 0xffU);
    const record::Peer nobody{};
    batch.Add(kind, 0, 0, clock().WallNs(), nobody,
              record::CommitPayload(record::DeriveSalt(key, 0), nobody, AsBytes(payload)), AsBytes(payload));
    batch.salt_runs.push_back({0, 1, 0, key});
    std::uint64_t sequence = sequencer().size();
    if (store().Fits(batch, sequence) == 0) sequence += Store::PadCount(sequence);
    if (kind == Kind::kCheckpoint) landmarks.checkpoint = sequence;
    if (kind == Kind::kAnchor) landmarks.anchor = sequence;
    EXPECT_TRUE(Write(std::move(batch)));
    EXPECT_EQ(sequencer().size(), sequence + 1);
    return sequence;
  }
  Hash RootOfFirst(std::uint64_t size) {
    ledger::Frontier frontier;
    for (std::uint64_t i = 0; i < size; ++i) frontier.Push(leaves()[i]);
    return frontier.Root();
  }
  // The records up to here, signed; with an anchor number also receipted.
  std::uint64_t Checkpoint(std::uint64_t anchor, std::uint64_t late_records = 0) {
    const std::uint64_t size = sequencer().size();
    const std::string note =
        LogKey().Sign(ledger::FormatCheckpoint({"log.invalid/a", size, sequencer().frontier().Root()}));
    if (late_records > 0) {
      EXPECT_TRUE(Write(MakeBatch(late_records)));
    }
    checkpoint = Say(Kind::kCheckpoint, json{{"note", note}, {"size", size}, {"anchor", anchor}}.dump());
    sizes.push_back(size);
    if (anchor != 0) {
      anchored_sizes.push_back(size);
      receipt = Say(Kind::kAnchor, json{{"number", anchor}, {"size", size}}.dump());
    }
    return size;
  }
  // Some records, each source and checkpoint in its place, until the log is in its unit number `units`.
  void Live(std::uint32_t units) {
    (void)Say(Kind::kSource, R"({"source":1,"zone":"a"})");
    for (std::uint64_t turn = 0; store().unit() < units; ++turn) {
      Declare();
      ASSERT_TRUE(Write(MakeBatch(1 + random()() % 300)));
      if (turn % 3 == 0) (void)Checkpoint(turn % 6 == 0 ? ++anchors : 0, random()() % 40);
      if (turn % 11 == 5) (void)Say(Kind::kPolicy, R"({"config_sha256":"00"})");
    }
  }
  // What each unit begins with. Ten seconds pass with each unit, by both clocks.
  void Declare(std::int64_t retention_s = 100) {
    if (std::exchange(declared_unit, store().unit()) == store().unit()) return;
    clock().Advance(10 * kNsPerSecond);
    (void)Say(Kind::kPolicy,
              EncodeRetention({store().unit(), retention_s, {}, 0, std::uint64_t{10'000} * store().unit(), true}));
  }
  // Gives the unit up in the middle of a tile, as after a failed write.
  void EndUnitEarly() {
    shelf().SetFaultPlan([struck = false](std::string_view operation) mutable {
      return operation == "sync" && !std::exchange(struck, true) ? sim::DiskFault::kError : sim::DiskFault::kNone;
    });
    ASSERT_TRUE(Write(MakeBatch(17)));
    shelf().SetFaultPlan({});
  }
  Tombstone TombstoneOf(DeviceShelf& on, std::uint32_t unit) {
    const auto facts = FactsOf(on, unit);
    const auto end = EndOf(on, unit);
    EXPECT_TRUE(facts && end);
    Tombstone tombstone;
    tombstone.unit = unit;
    tombstone.first_sequence = facts->first_sequence;
    tombstone.end_sequence = end->end_sequence;
    tombstone.head = end->head;
    tombstone.root = RootOfFirst(end->end_sequence);
    tombstone.begun_wall_ns = facts->begun_wall_ns;
    tombstone.ended_wall_ns = end->wall_ns;
    tombstone.retention_s = 100;
    tombstone.age_s = 200;
    tombstone.aged_s = 150;
    return tombstone;
  }
  // Says of units that they go, and has it signed and anchored.
  std::vector<ReclaimOrder> Bury(DeviceShelf& on, const std::vector<std::uint32_t>& units) {
    std::vector<ReclaimOrder> orders;
    Declare();
    for (const std::uint32_t unit : units)
      orders.push_back({unit, Say(Kind::kTombstone, EncodeTombstone(TombstoneOf(on, unit))), 0, 0});
    (void)Checkpoint(++anchors);
    for (ReclaimOrder& order : orders) {
      order.checkpoint = checkpoint;
      order.receipt = receipt;
    }
    return orders;
  }

  std::optional<std::uint32_t> declared_unit;
  std::uint64_t anchors = 0;
  std::uint64_t checkpoint = 0;
  std::uint64_t receipt = 0;
  std::vector<std::uint64_t> sizes;
  std::vector<std::uint64_t> anchored_sizes;
};

ReclaimJudge Judge() {
  ReclaimJudge judge;
  judge.retention_s = 100;
  judge.anchored = [](ByteView checkpoint, ByteView receipt) -> Result<ReclaimJudge::Anchored> {
    const json intent = json::parse(AsText(checkpoint));
    const json confirmed = json::parse(AsText(receipt));
    STELE_TRY(const auto opened, ledger::OpenCheckpoint(intent["note"].get<std::string>(), LogKey().verify_key()));
    if (confirmed["size"] != opened.checkpoint.size) return Fail(Code::kDenied, "a receipt of another checkpoint");
    return ReclaimJudge::Anchored{opened.checkpoint.size, opened.checkpoint.root, kMuchLaterNs, kMuchLaterMs, 0};
  };
  return judge;
}

std::string WordOf(DeviceShelf& shelf, OwnLog& log) {
  VerifyOptions options;
  options.checkpoint_key = LogKey().verify_key();
  const auto report = VerifyStore(shelf, options);
  if (!report) return report.error().context;
  if (!report->first_bad) {
    EXPECT_EQ(report->records, log.leaves().size());
    EXPECT_EQ(report->root, log.sequencer().frontier().Root());
  }
  return report->word + (report->first_bad ? ": " + report->detail : "");
}

using Numbers = std::vector<std::uint32_t>;

bool IsGood(const std::string& word) { return word == "OK" || word == "OK_UNANCHORED_TAIL"; }

class ListNodes final : public ledger::NodeSource {
 public:
  explicit ListNodes(const std::vector<Hash>& leaves) : leaves_(leaves) {}
  Result<Hash> Node(unsigned level, std::uint64_t index) override {
    ledger::CompactRange range(index << level);
    for (std::uint64_t i = index << level; i < (index + 1) << level; ++i) range.Push(leaves_.at(i));
    return range.Hashes().front();
  }

 private:
  const std::vector<Hash>& leaves_;
};

// Everything that is there, and everything that is kept, proves as it did; the rest says that it has expired.
void ExpectProofs(DeviceShelf& shelf, OwnLog& log) {
  auto opened = LogReader::Open(shelf);
  ASSERT_TRUE(opened) << opened.error().context;
  LogReader& reader = **opened;
  const std::uint64_t size = log.leaves().size();
  ASSERT_EQ(reader.damage(), "");
  ASSERT_EQ(reader.size(), size);
  ASSERT_EQ(reader.RootAt(size).value(), log.sequencer().frontier().Root());
  std::size_t kept = 0;
  for (std::uint64_t s = 0; s < size; s += reader.HasExpired(s, s + 1) ? 1 : 1 + log.random()() % 31) {
    const auto leaf = reader.LeafOf(s);
    if (reader.HasExpired(s, s + 1)) {
      EXPECT_FALSE(reader.BlockIndexOf(s));
      if (!leaf) {
        EXPECT_EQ(leaf.error().code, Code::kNotFound);
        continue;
      }
      ++kept;
      EXPECT_TRUE(reader.SaltOf(s));
    }
    ASSERT_TRUE(leaf) << s << ": " << leaf.error().context;
    ASSERT_EQ(*leaf, log.leaves()[s]);
    const auto proof = reader.InclusionProof(s, size);
    ASSERT_TRUE(proof) << s << ": " << proof.error().context;
    ASSERT_TRUE(ledger::VerifyInclusion(*leaf, s, size, *proof, reader.RootAt(size).value())) << s;
  }
  EXPECT_GT(kept, 5U);
  ListNodes list(log.leaves());
  std::uint64_t before = 0;
  for (const std::uint64_t at : log.anchored_sizes) {
    if (log.random()() % 4 != 0) continue;
    EXPECT_EQ(reader.RootAt(at).value(), log.RootOfFirst(at)) << at;
    const auto proof = reader.ConsistencyProof(at, size);
    ASSERT_TRUE(proof) << at << ": " << proof.error().context;
    EXPECT_EQ(*proof, *ledger::ConsistencyProof(list, at, size));
    if (before > 0) {
      EXPECT_EQ(reader.ConsistencyProof(before, at).value(), *ledger::ConsistencyProof(list, before, at))
          << before << " " << at;
    }
    ASSERT_TRUE(reader.RangeHashes(before, at)) << before << " " << at;
    before = at;
  }
  std::size_t receipts = 0;
  for (std::uint64_t s = size;;) {
    const auto landmark = reader.LastOfKind(Kind::kAnchor, s);
    if (!landmark) break;
    s = landmark->sequence;
    EXPECT_EQ(json::parse(AsText(landmark->payload))["number"], log.anchors - receipts++);
  }
  EXPECT_EQ(receipts, log.anchors);
}

TEST(Reclaim, WhatIsLeftProvesAsBefore) {
  OwnLog log;
  log.Open();
  log.Live(2);
  log.EndUnitEarly();
  log.Live(6);
  log.EndUnitEarly();
  log.Live(9);
  for (const std::vector<std::uint32_t>& units : {std::vector<std::uint32_t>{0}, {2, 3}, {1}, {6, 5}, {4}}) {
    const auto orders = log.Bury(log.shelf(), units);
    const auto done = Reclaim(log.shelf(), TestLog::LogId(), orders, Judge());
    ASSERT_TRUE(done) << done.error().context;
    ASSERT_EQ(done->units.size(), units.size()) << (done->refused.empty() ? "" : done->refused[0]);
    log.Close();
    log.Open();
    EXPECT_FALSE(log.tail().damaged) << log.tail().detail;
    EXPECT_EQ(log.tail().size(), log.leaves().size());
    ASSERT_NO_FATAL_FAILURE(ExpectProofs(log.shelf(), log)) << units[0];
    EXPECT_TRUE(IsGood(WordOf(log.shelf(), log))) << WordOf(log.shelf(), log);
    ASSERT_TRUE(log.Write(log.MakeBatch(100)));
  }
  const auto report = VerifyStore(log.shelf(), {});
  EXPECT_EQ(report->expired_units, 7U);
  EXPECT_GT(report->expired_records, 1'000U);
}

TEST(Reclaim, ALogGoesOnOverPartitionsThatWereUsedBefore) {
  sim::SimShelf disk;
  disk.can_refuse_writes = true;
  std::shared_ptr<SpineFolder> spines;
  char folder[] = "/tmp/stele-reclaim-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  for (std::uint32_t i = 0; i < 5; ++i) ASSERT_TRUE(disk.Create(i, kPartitionBytes));
  const auto open = [&] {
    std::vector<Partition> partitions;
    for (std::uint32_t i = 0; i < 5; ++i) partitions.push_back({"log-" + std::to_string(i), *disk.Open(i, true), true});
    auto shelf = PartitionShelf::Open(std::move(partitions), TestLog::LogId());
    EXPECT_TRUE(shelf);
    spines = std::make_shared<SpineFolder>(folder);
    (*shelf)->KeepSpinesIn(spines);
    return std::move(*shelf);
  };
  auto shelf = open();
  OwnLog log;
  log.On(*shelf);
  log.Open();
  for (std::uint32_t round = 0; round < 4; ++round) {
    log.Live(3 + 2 * round);
    const auto orders = log.Bury(*shelf, {2 * round, 2 * round + 1});
    EXPECT_FALSE(shelf->Use().empty > 3);
    EXPECT_TRUE(Reclaim(*shelf, TestLog::LogId(), orders, Judge())->units.empty())
        << "sealed until the machine starts again";
    log.Close();
    for (std::uint32_t i = 0; i < 5; ++i) disk.units()[i]->read_only = false;
    shelf = open();
    const auto done = Reclaim(*shelf, TestLog::LogId(), orders, Judge());
    ASSERT_TRUE(done) << done.error().context;
    ASSERT_EQ(done->units.size(), 2U) << done->refused[0];
    shelf = open();
    EXPECT_GE(shelf->Use().empty, 3U);
    log.On(*shelf);
    log.Open();
    EXPECT_FALSE(log.tail().damaged) << log.tail().detail;
    ASSERT_NO_FATAL_FAILURE(ExpectProofs(*shelf, log));
    EXPECT_TRUE(IsGood(WordOf(*shelf, log))) << WordOf(*shelf, log);
  }
  std::filesystem::remove_all(folder);
}

// The only one who says that a number was given up is the unit behind it. When that expires, somebody must go on saying
// it.
TEST(Reclaim, ANumberThatWasGivenUpIsNoHoleAfterwards) {
  sim::SimShelf disk;
  char folder[] = "/tmp/stele-reclaim-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  for (std::uint32_t i = 0; i < 6; ++i) ASSERT_TRUE(disk.Create(i, kPartitionBytes));
  const auto open = [&] {
    std::vector<Partition> partitions;
    for (std::uint32_t i = 0; i < 6; ++i) partitions.push_back({"log-" + std::to_string(i), *disk.Open(i, true), true});
    auto shelf = std::move(*PartitionShelf::Open(std::move(partitions), TestLog::LogId()));
    shelf->KeepSpinesIn(std::make_shared<SpineFolder>(folder));
    return shelf;
  };
  auto shelf = open();
  OwnLog log;
  log.On(*shelf);
  log.Open();
  log.Live(1);
  ASSERT_TRUE(log.Write(log.MakeBatch(Store::PadCount(log.sequencer().size()))));
  int writes = 0;
  disk.SetFaultPlan([&](std::string_view operation) {
    return operation == "write" && ++writes == 3 ? sim::DiskFault::kError
                                                 : sim::DiskFault::kNone;  // seal, mark, superblock
  });
  EXPECT_FALSE(log.store().Roll(log.sequencer().size(), log.sequencer().head(), log.sequencer().frontier()));
  disk.SetFaultPlan({});
  log.Live(5);
  EXPECT_EQ(FactsOf(*shelf, 3)->unit, 3U);
  EXPECT_FALSE(FactsOf(*shelf, 2)) << "the number that was given up";
  EXPECT_TRUE(IsGood(WordOf(*shelf, log))) << WordOf(*shelf, log);
  const auto orders = log.Bury(*shelf, {3});
  log.Close();
  shelf = open();
  const auto done = Reclaim(*shelf, TestLog::LogId(), orders, Judge());
  ASSERT_TRUE(done && done->units.size() == 1U) << (done->refused.empty() ? "" : done->refused[0]);
  shelf = open();
  EXPECT_EQ(shelf->Expired(), (Numbers{2, 3}));
  EXPECT_FALSE(ReadTail(*shelf)->damaged) << ReadTail(*shelf)->detail;
  EXPECT_TRUE(IsGood(WordOf(*shelf, log))) << WordOf(*shelf, log);
  ASSERT_NO_FATAL_FAILURE(ExpectProofs(*shelf, log));
  std::filesystem::remove_all(folder);
}

// Every operation on the disk fails or is the last one before the power goes.
TEST(Reclaim, ACrashAnywhereLeavesAUnitOrItsSpine) {
  enum class Medium : std::uint8_t { kFiles, kPartitions, kPartitionsThatZero };
  for (const Medium kind : {Medium::kFiles, Medium::kPartitions, Medium::kPartitionsThatZero}) {
    const bool partitions = kind != Medium::kFiles;
    OwnLog made;
    sim::SimShelf disk;
    disk.can_zero = kind == Medium::kPartitionsThatZero;
    for (std::uint32_t i = 0; partitions && i < 4; ++i) ASSERT_TRUE(disk.Create(i, kPartitionBytes));
    char folder[] = "/tmp/stele-reclaim-XXXXXX";
    ASSERT_NE(::mkdtemp(folder), nullptr);
    sim::SimShelf& medium = partitions ? disk : made.shelf();
    std::unique_ptr<PartitionShelf> on_partitions;
    const auto open = [&]() -> DeviceShelf& {
      if (!partitions) return medium;
      std::vector<Partition> list;
      for (std::uint32_t i = 0; i < 4; ++i) list.push_back({"log-" + std::to_string(i), *disk.Open(i, true), true});
      on_partitions = std::move(*PartitionShelf::Open(std::move(list), TestLog::LogId()));
      on_partitions->KeepSpinesIn(std::make_shared<SpineFolder>(folder));
      return *on_partitions;
    };
    made.On(open());
    made.Open();
    made.Live(3);
    const auto orders = made.Bury(open(), {0, 1});
    made.Close();
    const auto snapshot = medium.Snapshot();
    bool all_done = false;
    std::size_t crashes = 0;
    for (int strike = 0; !all_done; ++strike) {
      for (const sim::DiskFault fault :
           {sim::DiskFault::kCrashBefore, sim::DiskFault::kCrashAfter, sim::DiskFault::kError}) {
        medium.Restore(snapshot);
        medium.spines.clear();
        for (const auto& file : std::filesystem::directory_iterator(folder)) std::filesystem::remove(file);
        DeviceShelf& shelf = open();
        int operations = 0;
        medium.SetFaultPlan([&](std::string_view) { return operations++ == strike ? fault : sim::DiskFault::kNone; });
        try {
          const auto done = Reclaim(shelf, TestLog::LogId(), orders, Judge());
          all_done = operations <= strike;
          if (all_done) {
            ASSERT_TRUE(done);
            EXPECT_EQ(done->units.size(), 2U);
          }
        } catch (const sim::SimCrash&) {
          ++crashes;
          medium.Crash(made.random());
        }
        medium.SetFaultPlan({});
        DeviceShelf& after = open();
        // Whatever happened: nothing is lost but what the log says, also before the next call.
        EXPECT_TRUE(IsGood(WordOf(after, made)))
            << strike << " " << static_cast<int>(fault) << ": " << WordOf(after, made);
        EXPECT_FALSE(ReadTail(after)->damaged);
        const auto again = Reclaim(after, TestLog::LogId(), orders, Judge());
        ASSERT_TRUE(again) << again.error().context;
        EXPECT_TRUE(again->refused.empty()) << again->refused[0];
        DeviceShelf& finished = open();
        EXPECT_TRUE(IsGood(WordOf(finished, made))) << WordOf(finished, made);
        EXPECT_EQ(finished.Expired().size(), 2U);
        if (partitions) {
          EXPECT_EQ(on_partitions->Use().taken, 2U);
          EXPECT_EQ(on_partitions->Use().empty, 2U);
        }
      }
    }
    EXPECT_GT(crashes, partitions ? 6U : 3U);
    std::filesystem::remove_all(folder);
  }
}

// A start that is cut off again and again comes to an end.
TEST(Reclaim, WhatAnEarlierStartMadeZeroIsNotMadeZeroAgain) {
  sim::SimShelf disk;
  disk.can_zero = true;
  char folder[] = "/tmp/stele-reclaim-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  for (std::uint32_t i = 0; i < 4; ++i) ASSERT_TRUE(disk.Create(i, kPartitionBytes));
  std::unique_ptr<PartitionShelf> shelf;
  const auto open = [&]() -> PartitionShelf& {
    std::vector<Partition> list;
    for (std::uint32_t i = 0; i < 4; ++i) list.push_back({"log-" + std::to_string(i), *disk.Open(i, true), true});
    shelf = std::move(*PartitionShelf::Open(std::move(list), TestLog::LogId()));
    shelf->KeepSpinesIn(std::make_shared<SpineFolder>(folder));
    return *shelf;
  };
  OwnLog log;
  log.On(open());
  log.Open();
  log.Live(3);
  const auto orders = log.Bury(open(), {0});
  log.Close();
  bool durable = false;
  disk.SetFaultPlan([&](std::string_view operation) {
    if (disk.zeroed_bytes > 0 && operation == "sync") durable = true;
    return durable && operation == "write" ? sim::DiskFault::kCrashBefore : sim::DiskFault::kNone;
  });
  EXPECT_THROW((void)Reclaim(open(), TestLog::LogId(), orders, Judge()), sim::SimCrash);
  disk.SetFaultPlan({});
  disk.Crash(log.random());
  const std::uint64_t zeroed_bytes = std::exchange(disk.zeroed_bytes, 0);
  EXPECT_GT(zeroed_bytes, 0U);
  EXPECT_LE(zeroed_bytes, kPartitionBytes);
  ASSERT_TRUE(open().FinishClearing());
  EXPECT_EQ(disk.zeroed_bytes, 0U);
  EXPECT_EQ(open().Use().empty, 1U);
  std::filesystem::remove_all(folder);
}

class ReclaimRefusals : public testing::Test {
 protected:
  void SetUp() override {
    log_.Open();
    log_.Live(4);
  }
  std::string RefusalOf(const std::vector<ReclaimOrder>& orders, const ReclaimJudge& judge = Judge()) {
    const auto before = log_.shelf().Snapshot();
    const auto done = Reclaim(log_.shelf(), TestLog::LogId(), orders, judge);
    EXPECT_TRUE(done && done->units.empty());
    EXPECT_EQ(log_.shelf().Snapshot(), before);
    EXPECT_TRUE(log_.shelf().spines.empty());
    return done && done->refused.size() == 1 ? done->refused[0] : "no refusal";
  }
  OwnLog log_;
};

TEST_F(ReclaimRefusals, ATombstoneThatNoCheckpointSigned) {
  auto orders = log_.Bury(log_.shelf(), {0});
  orders[0].tombstone = log_.Say(Kind::kTombstone, EncodeTombstone(log_.TombstoneOf(log_.shelf(), 0)));
  EXPECT_NE(RefusalOf(orders).find("no anchored checkpoint covers it"), std::string::npos);
}

TEST_F(ReclaimRefusals, AnEntryThatIsNoTombstone) {
  auto orders = log_.Bury(log_.shelf(), {0});
  orders[0].tombstone = orders[0].tombstone - 1;
  EXPECT_NE(RefusalOf(orders).find("is no tombstone"), std::string::npos);
}

// A sender may write anything, and somebody may have the file of orders in hand.
TEST_F(ReclaimRefusals, ATombstoneThatASenderWrote) {
  const std::uint64_t at = log_.Say(Kind::kJson, EncodeTombstone(log_.TombstoneOf(log_.shelf(), 0)));
  (void)log_.Checkpoint(++log_.anchors);
  EXPECT_NE(RefusalOf({{0, at, log_.checkpoint, log_.receipt}}).find("is no tombstone"), std::string::npos);
  EXPECT_NE(RefusalOf({{0, at, log_.receipt, log_.checkpoint}}).find("is no tombstone"), std::string::npos);
  auto orders = log_.Bury(log_.shelf(), {0});
  std::swap(orders[0].checkpoint, orders[0].receipt);
  EXPECT_NE(RefusalOf(orders).find("is no checkpoint"), std::string::npos);
}

// The ledger that wrote the tombstone may have been somebody else's: ages are counted again.
TEST_F(ReclaimRefusals, ATombstoneThatComesTooEarly) {
  const auto orders = log_.Bury(log_.shelf(), {0});
  for (const auto& [wall_ns, clock_ms] : {std::pair{kMuchLaterNs, std::uint64_t{10'000 + 99'999}},
                                          std::pair{std::int64_t{1'700'000'000'000'000'000}, kMuchLaterMs}}) {
    ReclaimJudge judge = Judge();
    judge.anchored = [&log = log_, wall = wall_ns, clock = clock_ms](ByteView,
                                                                     ByteView) -> Result<ReclaimJudge::Anchored> {
      return ReclaimJudge::Anchored{log.anchored_sizes.back(), log.RootOfFirst(log.anchored_sizes.back()), wall, clock,
                                    0};
    };
    EXPECT_NE(RefusalOf(orders, judge).find("its retention is not over"), std::string::npos);
  }
}

TEST_F(ReclaimRefusals, AUnitOfWhichMoreWasPromised) {
  log_.Declare();
  while (log_.store().unit() < 5) ASSERT_TRUE(log_.Write(log_.MakeBatch(200)));
  log_.Declare(2 * static_cast<std::int64_t>(kMuchLaterMs / 1'000));
  log_.Live(7);
  EXPECT_NE(RefusalOf(log_.Bury(log_.shelf(), {0})).find("its retention is not over"), std::string::npos);
}

TEST_F(ReclaimRefusals, ACheckpointByAnotherKey) {
  const auto orders = log_.Bury(log_.shelf(), {0});
  ReclaimJudge judge = Judge();
  judge.anchored = [](ByteView, ByteView) -> Result<ReclaimJudge::Anchored> {
    return Fail(Code::kDenied, "not the log's");
  };
  EXPECT_NE(RefusalOf(orders, judge).find("not the log's"), std::string::npos);
}

TEST_F(ReclaimRefusals, ASignedRootThatIsNotTheRecords) {
  const auto orders = log_.Bury(log_.shelf(), {0});
  ReclaimJudge judge = Judge();
  judge.anchored = [&](ByteView, ByteView) -> Result<ReclaimJudge::Anchored> {
    return ReclaimJudge::Anchored{log_.anchored_sizes.back(), TestHash(9)};
  };
  EXPECT_NE(RefusalOf(orders, judge).find("the signed root is not that of the records"), std::string::npos);
}

TEST_F(ReclaimRefusals, WhatTheConfigurationOfTodayKeeps) {
  const auto orders = log_.Bury(log_.shelf(), {0});
  ReclaimJudge judge = Judge();
  judge.retention_s = 0;
  EXPECT_NE(RefusalOf(orders, judge).find("no retention is configured"), std::string::npos);
  judge.retention_s = static_cast<std::int64_t>(kMuchLaterMs / 1'000);
  EXPECT_NE(RefusalOf(orders, judge).find("its retention is not over"), std::string::npos);
  judge.retention_s = 100;
  judge.holds = {{"court", "case 7", 0, std::int64_t{1} << 62U}};
  EXPECT_NE(RefusalOf(orders, judge).find("held by court"), std::string::npos);
}

TEST_F(ReclaimRefusals, AUnitThatWasChangedIsEvidence) {
  const auto orders = log_.Bury(log_.shelf(), {1});
  auto& unit = *log_.shelf().units().at(1);
  for (const std::size_t at : {std::size_t{4096} + 3000, unit.durable.size() / 2}) {
    unit.durable[at] ^= std::byte{1};
    unit.volatile_image = unit.durable;
    const std::string refusal = RefusalOf(orders);
    EXPECT_NE(refusal.find("unit 1 is not reclaimed"), std::string::npos) << refusal;
    unit.durable[at] ^= std::byte{1};
    unit.volatile_image = unit.durable;
  }
}

TEST_F(ReclaimRefusals, ATombstoneWithOtherNumbers) {
  Tombstone wrong = log_.TombstoneOf(log_.shelf(), 1);
  wrong.head = TestHash(4);
  const std::uint64_t at = log_.Say(Kind::kTombstone, EncodeTombstone(wrong));
  (void)log_.Checkpoint(++log_.anchors);
  EXPECT_NE(RefusalOf({{1, at, log_.checkpoint, log_.receipt}}).find("does not go on where the tombstone says"),
            std::string::npos);
}

TEST_F(ReclaimRefusals, TheLastUnit) {
  const std::uint32_t last = log_.store().unit();
  const auto orders = log_.Bury(log_.shelf(), {last});
  EXPECT_NE(RefusalOf(orders).find("not reclaimed"), std::string::npos);
}

TEST_F(ReclaimRefusals, AMissingUnitWithoutATombstoneIsTampering) {
  const auto spine = MakeSpine(log_.shelf(), TestLog::LogId(), log_.TombstoneOf(log_.shelf(), 1));
  ASSERT_TRUE(spine) << spine.error().context;
  (void)log_.Checkpoint(0);
  log_.shelf().spines[1] = ledger::EncodeSpine(*spine);
  log_.shelf().units().erase(1);
  EXPECT_EQ(WordOf(log_.shelf(), log_),
            "TAMPERED: segment 1 is missing and no tombstone below an anchored checkpoint says that its records have "
            "expired");
}

// Somebody who can write tombstones and the disk does without the checks of a start: verify makes its own.
TEST_F(ReclaimRefusals, ATombstoneThatIsWrongInItselfIsTampering) {
  const auto vanish = [this](const char* fault, const std::function<void(Tombstone&)>& change) {
    Tombstone tombstone = log_.TombstoneOf(log_.shelf(), 1);
    change(tombstone);
    (void)log_.Say(Kind::kTombstone, EncodeTombstone(tombstone));
    (void)log_.Checkpoint(++log_.anchors);
    const auto spine = MakeSpine(log_.shelf(), TestLog::LogId(), tombstone);
    ASSERT_TRUE(spine) << spine.error().context;
    log_.shelf().spines[1] = ledger::EncodeSpine(*spine);
    const auto unit = log_.shelf().units().extract(1);
    const std::string word = WordOf(log_.shelf(), log_);
    EXPECT_EQ(word, std::string(fault).empty() ? "OK" : "TAMPERED: segment 1 is missing and " + std::string(fault));
    log_.shelf().units().insert_or_assign(1, unit.mapped());
    log_.shelf().spines.clear();
  };
  vanish("its tombstone is none: it came too early", [](Tombstone& t) { t.age_s = 99; });
  vanish("its tombstone is none: it came too early", [](Tombstone& t) { t.aged_s = 99; });
  vanish("its tombstone is none: it came too early", [](Tombstone& t) { t.retention_s = 151; });
  (void)log_.Say(Kind::kPolicy,
                 EncodeRetention({4, 100, {{"court", "case 7", 0, std::int64_t{1} << 62U}}, 0, 1, false}));
  vanish("its tombstone is none: it was held by court", [](Tombstone&) {});
  (void)log_.Say(Kind::kPolicy, EncodeRetention({4, 100, {}, 0, 1, false}));
  vanish("", [](Tombstone&) {});
}

// Superblock and tombstone lie about the time; the records themselves are in the tree.
TEST_F(ReclaimRefusals, AUnitWhoseRecordsAreHeldWhateverIsSaidOfIt) {
  Tombstone tombstone = log_.TombstoneOf(log_.shelf(), 0);
  tombstone.begun_wall_ns = 0;
  tombstone.ended_wall_ns = 1;
  const std::uint64_t at = log_.Say(Kind::kTombstone, EncodeTombstone(tombstone));
  (void)log_.Checkpoint(++log_.anchors);
  ReclaimJudge judge = Judge();
  auto& next = *log_.shelf().units().at(1);
  auto superblock = *DecodeSuperblock(ByteView(next.durable).first(limits::kSectorBytes));
  superblock.created_wall_ns = 0;
  const Bytes forged = EncodeSuperblock(superblock, {TestHash(1), TestHash(2)});
  std::copy(forged.begin(), forged.end(), next.durable.begin());
  next.volatile_image = next.durable;
  judge.holds = {{"court", "case 7", 1'700'000'000'000'000'000, 1'700'000'001'000'000'000}};
  EXPECT_NE(RefusalOf({{0, at, log_.checkpoint, log_.receipt}}, judge).find("held by court"), std::string::npos);
}

// A crash came between spine and emptying, and then somebody put in a hold.
TEST_F(ReclaimRefusals, ASpineBesideItsUnitCountsForNothing) {
  const auto orders = log_.Bury(log_.shelf(), {0, 1});
  const auto spine = MakeSpine(log_.shelf(), TestLog::LogId(), log_.TombstoneOf(log_.shelf(), 1));
  ASSERT_TRUE(spine);
  log_.shelf().spines[1] = ledger::EncodeSpine(*spine);
  ReclaimJudge judge = Judge();
  const auto first = FactsOf(log_.shelf(), 1);
  judge.holds = {{"court", "case 7", first->begun_wall_ns + 1'000'000, first->begun_wall_ns + 2'000'000}};
  const auto done = Reclaim(log_.shelf(), TestLog::LogId(), orders, judge);
  ASSERT_TRUE(done);
  EXPECT_EQ(done->units, Numbers{0});
  EXPECT_TRUE(IsGood(WordOf(log_.shelf(), log_))) << WordOf(log_.shelf(), log_);
  ASSERT_NO_FATAL_FAILURE(ExpectProofs(log_.shelf(), log_));
}

TEST_F(ReclaimRefusals, AChangedSpineIsFound) {
  const auto orders = log_.Bury(log_.shelf(), {1});
  ASSERT_EQ(Reclaim(log_.shelf(), TestLog::LogId(), orders, Judge())->units.size(), 1U);
  const Bytes good = log_.shelf().spines[1];
  for (std::size_t at = 0; at < good.size(); at += 1 + at / 7) {
    Bytes changed = good;
    changed[at] ^= std::byte{0x10};
    EXPECT_FALSE(ledger::DecodeSpine(changed)) << at;
    const std::uint32_t checksum = Checksum32(ByteView(changed).first(changed.size() - 4));
    if (at >= changed.size() - 4) continue;
    std::memcpy(changed.data() + changed.size() - 4, &checksum, 4);
    log_.shelf().spines[1] = changed;
    const std::string word = WordOf(log_.shelf(), log_);
    const bool time_only = at >= 64 && at < 80;  // receive times are for people; entries carry their own
    EXPECT_TRUE(time_only || word.starts_with("DAMAGED") || word.starts_with("TAMPERED")) << at << ": " << word;
  }
  log_.shelf().spines.erase(1);
  EXPECT_TRUE(WordOf(log_.shelf(), log_).starts_with("DAMAGED: segment 1 is missing"));
  EXPECT_TRUE(ReadTail(log_.shelf())->damaged);
}

TEST(Spine, GoldenBytes) {
  ledger::Spine spine;
  spine.unit = 3;
  spine.log_id = TestLog::LogId();
  spine.first_sequence = 256;
  spine.end_sequence = 515;
  spine.wall_ns_min = 1'700'000'000'000'000'000;
  spine.wall_ns_max = 1'700'000'100'000'000'000;
  spine.previous_head = TestHash(2);
  spine.head = TestHash(3);
  spine.frontier = {TestHash(4)};
  spine.tile_roots = {TestHash(5)};
  spine.abandons = {{2, 4096, 8192}};
  spine.nodes = {{{0, 512}, TestHash(6)}, {{0, 513}, TestHash(7)}, {{0, 514}, TestHash(8)}, {{7, 2}, TestHash(9)}};
  record::Entry entry;
  entry.kind = Kind::kTombstone;
  entry.sequence = 300;
  entry.payload_length = 2;
  spine.entries[300] = {record::EncodeEntry(entry), {}, {}, ToBytes(AsBytes("{}"))};
  const Bytes bytes = ledger::EncodeSpine(spine);
  ExpectGolden("spine.bin", bytes);
  const auto decoded = ledger::DecodeSpine(bytes);
  ASSERT_TRUE(decoded) << decoded.error().context;
  EXPECT_EQ(ledger::EncodeSpine(*decoded), bytes);
  for (std::size_t length = 0; length < bytes.size(); ++length)
    EXPECT_FALSE(ledger::DecodeSpine(ByteView(bytes).first(length))) << length;
}

TEST(Reclaim, OrdersAreReadBackAsTheyWereWritten) {
  const std::vector<ReclaimOrder> orders = {{1, 2, 3, 4}, {0xffffffffU, 5, 6, 7, true}};
  EXPECT_EQ(EncodeOrders(*DecodeOrders(AsBytes(EncodeOrders(orders)))), EncodeOrders(orders));
  EXPECT_FALSE(DecodeOrders(AsBytes(R"({"stele":"reclaim","version":1,"orders":[{"unit":1}]})")));
  EXPECT_FALSE(DecodeOrders(AsBytes("[")));
}

}  // namespace
}  // namespace stele::store
