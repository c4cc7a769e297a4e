// Goal: a witness signs one history of each log, across restarts, and does not start from a state it cannot trust.
// Method: the real thing in a temporary directory; requests of a small log and of its fork.
#include "appliance/witness/witness.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "appliance/base/system.h"
#include "tests/unit/witness/small_log.h"

namespace stele::witness {
namespace {

using ledger::WitnessVerdict;

class WitnessTest : public testing::Test {
 protected:
  void SetUp() override { vkey_ = MakeWitnessOf(dir_.path(), "witness.invalid/w", {log_.key(), other_.key()}); }
  std::unique_ptr<Witness> Open() {
    auto witness = Witness::Open(dir_.path(), clock_);
    EXPECT_TRUE(witness.has_value()) << Describe(witness.error());
    return witness ? std::move(*witness) : nullptr;
  }
  std::filesystem::path HeadFile() {
    return dir_.path() / "heads" / (HexOf(Sha256Of(AsBytes(log_.key().name))) + ".note");
  }

  TemporaryDir dir_;
  SystemClock clock_;
  SmallLog log_{"log.invalid/a"};
  SmallLog fork_{"log.invalid/a", 300, 'b'};
  SmallLog other_{"log.invalid/other", 300, 'c'};
  std::string vkey_;
};

TEST_F(WitnessTest, CosignatureVerifiesUnderTheVkeyItWasMadeWith) {
  const auto witness = Open();
  const auto decided = witness->AddCheckpoint(log_.Request(0, 64));
  ASSERT_EQ(decided.decision.verdict, WitnessVerdict::kCosign) << decided.decision.reason;
  const auto note = ledger::ParseNote(log_.NoteAt(64) + decided.lines);
  const auto key = ledger::ParseCosignerVkey(vkey_);
  ASSERT_TRUE(note.has_value() && key.has_value());
  const auto time_s = ledger::VerifyCosignature(*note, *key);
  ASSERT_TRUE(time_s.has_value()) << Describe(time_s.error());
  EXPECT_LE(*time_s, static_cast<std::uint64_t>(clock_.WallNs() / 1'000'000'000));
}

TEST_F(WitnessTest, RemembersAcrossRestartsAndKeepsLogsApart) {
  ASSERT_EQ(Open()->AddCheckpoint(log_.Request(0, 64)).decision.verdict, WitnessVerdict::kCosign);
  const auto witness = Open();
  EXPECT_EQ(witness->AddCheckpoint(fork_.Request(0, 100)).decision.latest_size, 64U);
  EXPECT_EQ(witness->AddCheckpoint(fork_.Request(64, 100)).decision.verdict, WitnessVerdict::kInconsistent);
  EXPECT_EQ(witness->AddCheckpoint(other_.Request(0, 10)).decision.verdict, WitnessVerdict::kCosign);
  EXPECT_EQ(witness->AddCheckpoint(log_.Request(64, 100)).decision.verdict, WitnessVerdict::kCosign);
}

TEST_F(WitnessTest, SameCheckpointMayBeCosignedAgain) {
  const auto witness = Open();
  ASSERT_EQ(witness->AddCheckpoint(log_.Request(0, 64)).decision.verdict, WitnessVerdict::kCosign);
  EXPECT_EQ(witness->AddCheckpoint(log_.Request(64, 64)).decision.verdict, WitnessVerdict::kCosign);
  EXPECT_EQ(witness->AddCheckpoint(fork_.Request(64, 64)).decision.verdict, WitnessVerdict::kConflict);
}

TEST_F(WitnessTest, NothingIsSignedThatCannotBeMadeDurable) {
  if (::geteuid() == 0) GTEST_SKIP() << "root writes everywhere";
  const auto witness = Open();
  ASSERT_EQ(::chmod((dir_.path() / "heads").c_str(), 0500), 0);
  const auto decided = witness->AddCheckpoint(log_.Request(0, 64));
  ASSERT_EQ(::chmod((dir_.path() / "heads").c_str(), 0700), 0);
  EXPECT_TRUE(decided.lines.empty());
  EXPECT_FALSE(decided.problem.empty());
  EXPECT_EQ(HttpAnswerOf(decided).status, 500);
}

TEST_F(WitnessTest, StateDirectoryThatIsGoneSignsNothing) {
  const auto witness = Open();
  std::filesystem::remove_all(dir_.path() / "heads");
  const auto decided = witness->AddCheckpoint(log_.Request(0, 64));
  EXPECT_TRUE(decided.lines.empty());
  EXPECT_EQ(HttpAnswerOf(decided).status, 500);
}

TEST_F(WitnessTest, DamagedStateEndsTheStart) {
  ASSERT_EQ(Open()->AddCheckpoint(log_.Request(0, 64)).decision.verdict, WitnessVerdict::kCosign);
  const auto good = ReadFile(HeadFile(), 1 << 16);
  ASSERT_TRUE(good.has_value());
  for (std::size_t i = 0; i < good->size(); i += 7) {
    Bytes bad = *good;
    bad[i] ^= std::byte{1};
    ASSERT_TRUE(WriteFileDurably(HeadFile(), bad, 0600).has_value());
    EXPECT_FALSE(Witness::Open(dir_.path(), clock_).has_value()) << i;
  }
  ASSERT_TRUE(WriteFileDurably(HeadFile(), {}, 0600).has_value());
  EXPECT_FALSE(Witness::Open(dir_.path(), clock_).has_value()) << "an empty file is no empty state";
}

TEST_F(WitnessTest, LeftoverOfACrashIsNoState) {
  std::ofstream(dir_.path() / "heads" / "half.note.tmp") << "half";
  EXPECT_NE(Open(), nullptr);
}

TEST_F(WitnessTest, OnlyOneServesFromADirectory) {
  const auto first = Open();
  const auto second = Witness::Open(dir_.path(), clock_);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, Code::kDenied);
}

TEST_F(WitnessTest, InitNeverReplacesAKey) {
  SystemEntropy entropy;
  const auto again = MakeWitness(dir_.path(), "witness.invalid/w", entropy);
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().code, Code::kDenied);
}

TEST_F(WitnessTest, AnswersHaveTheStatusAndTypeOfTheSpecification) {
  const auto witness = Open();
  const HttpAnswer good = HttpAnswerOf(witness->AddCheckpoint(log_.Request(0, 64)));
  EXPECT_EQ(good.status, 200);
  EXPECT_TRUE(ledger::ParseSignatureLines(good.body).has_value());
  const HttpAnswer conflict = HttpAnswerOf(witness->AddCheckpoint(log_.Request(0, 100)));
  EXPECT_EQ(conflict.status, 409);
  EXPECT_EQ(conflict.content_type, "text/x.tlog.size");
  EXPECT_EQ(conflict.body, "64\n");
  SmallLog stranger("log.invalid/stranger");
  EXPECT_EQ(HttpAnswerOf(witness->AddCheckpoint(stranger.Request(0, 64))).status, 404);
  EXPECT_EQ(HttpAnswerOf(witness->AddCheckpoint("nonsense")).status, 400);
  EXPECT_EQ(HttpAnswerOf(witness->AddCheckpoint(fork_.Request(64, 65))).status, 422);
}

TEST(WitnessLogs, FileIsReadStrictly) {
  const std::string vkey = SmallLog("log.invalid/a").key().Vkey();
  const auto logs = ParseLogs("# comment\n\n  " + vkey + "  \n");
  ASSERT_TRUE(logs.has_value());
  EXPECT_EQ(logs->size(), 1U);
  const auto bad = ParseLogs("# comment\nnot a key\n");
  ASSERT_FALSE(bad.has_value());
  EXPECT_EQ(bad.error().context.substr(0, 7), "logs:2:");
}

}  // namespace
}  // namespace stele::witness
