// Goal: the courier brings back what witnesses sign, believes nothing that does not verify, and raises the alarm
// exactly when a witness refuses because the log's history does not continue. Method: whole rounds between a small log
// and real witnesses, with forks, roll-backs, dead and lying witnesses; the clock is the test's.
#include "appliance/witness/courier.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <nlohmann/json.hpp>

#include "appliance/base/system.h"
#include "appliance/witness/witness.h"
#include "appliance/witness/refusal_file.h"
#include "tests/unit/witness/small_log.h"

namespace stele::witness {
namespace {

class TestClock final : public Clock {
 public:
  std::int64_t WallNs() override { return now_s * 1'000'000'000; }
  std::int64_t BoottimeNs() override { return WallNs(); }
  std::int64_t now_s = 1'800'000'000;
};

class TestSource final : public LogSource {
 public:
  Result<std::string> NewestCheckpoint() override {
    if (size == 0) return Fail(Code::kNotFound, "none yet");
    return log->NoteAt(size);
  }
  Result<std::vector<Hash>> Consistency(std::uint64_t from, std::uint64_t to) override {
    return ledger::ConsistencyProof(*log, from, to);
  }
  SmallLog* log = nullptr;
  std::uint64_t size = 0;
};

class CourierTest : public testing::Test {
 protected:
  static constexpr std::size_t kWitnesses = 3;

  void SetUp() override {
    std::string text;
    std::string members;
    for (std::size_t i = 0; i < kWitnesses; ++i) {
      const std::string name = "w" + std::to_string(i);
      const std::string vkey = MakeWitnessOf(dirs_[i].path(), "witness.invalid/" + name, {log_.key()});
      auto witness = Witness::Open(dirs_[i].path(), clock_);
      ASSERT_TRUE(witness.has_value());
      witnesses_.push_back(std::move(*witness));
      text += "witness " + name + " " + vkey + "\n";
      members += " " + name;
    }
    auto policy = ParsePolicyFor(text + "group g 2" + members + "\nquorum g\n", log_.key());
    ASSERT_TRUE(policy.has_value()) << Describe(policy.error());
    policy_ = std::move(*policy);
    source_.log = &log_;
    Restart();
  }

  void Restart() {
    courier_ = std::make_unique<Courier>(
        Cosigned(dir_.path(), policy_, log_.key()), source_,
        [this](std::size_t index, const std::string& body) -> Result<HttpAnswer> {
          ++posts_;
          if (dead_.count(index) != 0) return Fail(Code::kUnavailable, "connect: refused");
          HttpAnswer answer = HttpAnswerOf(witnesses_[index]->AddCheckpoint(body));
          if (lie_ && answer.status == 200) lie_(index, answer);
          return answer;
        },
        clock_, 100);
  }
  std::vector<CourierAlarm> Round(std::uint64_t size) {
    source_.size = size;
    const auto alarms = courier_->Round();
    EXPECT_TRUE(alarms.has_value()) << Describe(alarms.error());
    return alarms.value_or(std::vector<CourierAlarm>{});
  }
  std::string StateOf(std::size_t index) {
    return nlohmann::json::parse(courier_->StatusJson())["witnesses"][index]["state"].get<std::string>();
  }
  std::uint64_t QuorumSize() {
    return Cosigned(dir_.path(), policy_, log_.key()).WithQuorum().value_or(Cosigned::Head{}).checkpoint.size;
  }

  TestClock clock_;
  SmallLog log_{"log.invalid/a"};
  SmallLog fork_{"log.invalid/a", 300, 'b'};
  TemporaryDir dir_;
  std::array<TemporaryDir, kWitnesses> dirs_;
  std::vector<std::unique_ptr<Witness>> witnesses_;
  ledger::WitnessPolicy policy_;
  TestSource source_;
  std::set<std::size_t> dead_;
  std::function<void(std::size_t, HttpAnswer&)> lie_;
  std::size_t posts_ = 0;
  std::unique_ptr<Courier> courier_;
};

TEST_F(CourierTest, RoundBringsAQuorumAndKeepsItWithTheCheckpoint) {
  EXPECT_TRUE(Round(0).empty()) << "no checkpoint yet";
  EXPECT_TRUE(Round(64).empty());
  EXPECT_EQ(QuorumSize(), 64U);
  const auto note = ReadFile(dir_.path() / kCosignedFile, ledger::kNoteBytesMax);
  ASSERT_TRUE(note.has_value());
  const auto report = ledger::CheckWitnesses(policy_, *ledger::ParseNote(AsText(*note)));
  ASSERT_TRUE(report.has_value());
  EXPECT_TRUE(report->quorum_met);
  EXPECT_TRUE(Round(100).empty());
  EXPECT_EQ(QuorumSize(), 100U);
  const std::size_t posts = posts_;
  EXPECT_TRUE(Round(100).empty());
  EXPECT_EQ(posts_, posts) << "what is cosigned is not asked for again";
}

TEST_F(CourierTest, DeadWitnessIsNamedAndTheQuorumOfTheOthersHolds) {
  dead_ = {1};
  EXPECT_TRUE(Round(64).empty());
  EXPECT_EQ(StateOf(1), "unreachable");
  EXPECT_EQ(QuorumSize(), 64U);
  dead_.clear();
  EXPECT_TRUE(Round(100).empty());
  EXPECT_EQ(StateOf(1), "cosigned") << "it begins from nothing, at its own pace";
}

TEST_F(CourierTest, LostFilesAreLearntAgainFromTheConflict) {
  EXPECT_TRUE(Round(64).empty());
  for (const auto& file : std::filesystem::directory_iterator(dir_.path())) std::filesystem::remove(file.path());
  Restart();
  EXPECT_TRUE(Round(100).empty());
  EXPECT_EQ(StateOf(0), "cosigned");
  EXPECT_EQ(QuorumSize(), 100U);
}

TEST_F(CourierTest, RefusalThatCameByFileIsAlarmedOnceAndForgotten) {
  ASSERT_TRUE(LeaveRefusal(dir_.path(), "the witness has cosigned another history of this log").has_value());
  const auto alarms = Round(64);
  ASSERT_EQ(alarms.size(), 1U);
  EXPECT_EQ(alarms[0].name, "witness_fork");
  EXPECT_NE(alarms[0].text.find("another history"), std::string::npos);
  EXPECT_TRUE(ReadRefusal(dir_.path()).has_value()) << "not before the alarm is out";
  EXPECT_TRUE(Round(65).empty());
  EXPECT_FALSE(ReadRefusal(dir_.path()).has_value());
  ASSERT_TRUE(LeaveRefusal(dir_.path(), "the witness has cosigned another history of this log").has_value());
  EXPECT_EQ(Round(66).size(), 1U) << "the same again is news again";
}

TEST_F(CourierTest, MissingQuorumIsAlarmedOnceAndAgainAfterItWasThere) {
  dead_ = {0, 1};
  EXPECT_TRUE(Round(64).empty()) << "not at once";
  clock_.now_s += 101;
  const auto alarms = Round(65);
  ASSERT_EQ(alarms.size(), 1U);
  EXPECT_EQ(alarms[0].name, "witness_quorum");
  EXPECT_TRUE(Round(66).empty());
  dead_.clear();
  EXPECT_TRUE(Round(67).empty());
  EXPECT_EQ(QuorumSize(), 67U);
  dead_ = {0, 1};
  clock_.now_s += 101;
  EXPECT_EQ(Round(68).size(), 1U);
}

TEST_F(CourierTest, ForkedLogIsRefusedByEachWitnessAndAlarmedOnce) {
  EXPECT_TRUE(Round(64).empty());
  source_.log = &fork_;
  Restart();
  const auto alarms = Round(100);
  ASSERT_EQ(alarms.size(), kWitnesses);
  for (const CourierAlarm& alarm : alarms) EXPECT_EQ(alarm.name, "witness_fork") << alarm.text;
  EXPECT_EQ(StateOf(0), "forked");
  EXPECT_TRUE(Round(101).empty()) << "said once";
  EXPECT_EQ(QuorumSize(), 64U) << "the fork is cosigned by nobody";
}

TEST_F(CourierTest, RolledBackLogIsAlarmedEvenWhenItsFilesWereRolledBackToo) {
  EXPECT_TRUE(Round(40).empty());
  EXPECT_TRUE(Round(64).empty());
  for (const auto& file : std::filesystem::directory_iterator(dir_.path())) std::filesystem::remove(file.path());
  Restart();
  const auto alarms = Round(50);
  ASSERT_EQ(alarms.size(), kWitnesses);
  EXPECT_EQ(alarms[0].name, "witness_fork");
  EXPECT_NE(alarms[0].text.find("64 records of this log, which has 50"), std::string::npos) << alarms[0].text;
  // Grown beyond the size it was seen with, with other records: the proof does not verify.
  source_.log = &fork_;
  Restart();
  EXPECT_EQ(Round(100).size(), kWitnesses);
}

TEST_F(CourierTest, ForkAtTheVerySameSizeIsAlarmed) {
  EXPECT_TRUE(Round(64).empty());
  source_.log = &fork_;
  Restart();
  EXPECT_EQ(Round(64).size(), kWitnesses);
}

TEST_F(CourierTest, LyingWitnessesAreNotBelieved) {
  const auto other = ledger::Cosigner::FromSeed("witness.invalid/w0", Bytes(ledger::kKeyBytes, std::byte{1}));
  ASSERT_TRUE(other.has_value());
  const std::string text = ledger::FormatCheckpoint(log_.At(64));
  const std::vector<std::function<void(std::size_t, HttpAnswer&)>> lies = {
      [](std::size_t, HttpAnswer& answer) { answer.body = "nonsense"; },
      [](std::size_t, HttpAnswer& answer) { answer.body.clear(); },
      [](std::size_t, HttpAnswer& answer) { answer.body[answer.body.size() - 4] ^= 1; },
      [&](std::size_t, HttpAnswer& answer) { answer.body = other->Cosign(text, 1'800'000'000); },
      [](std::size_t, HttpAnswer& answer) {
        answer = {409, "text/x.tlog.size", "not a size\n"};
      },
      [](std::size_t, HttpAnswer& answer) {
        answer = {500, "", "broken"};
      },
      [](std::size_t, HttpAnswer& answer) {
        answer = {404, "", "who?"};
      },
  };
  for (std::size_t i = 0; i < lies.size(); ++i) {
    lie_ = lies[i];
    Restart();
    EXPECT_TRUE(Round(64).empty()) << i;
    EXPECT_EQ(StateOf(0), i + 1 == lies.size() ? "refused" : "unreachable") << i;
    EXPECT_EQ(QuorumSize(), 0U) << i;
  }
}

TEST_F(CourierTest, CosignatureOfTheFarFutureIsNotBelieved) {
  clock_.now_s += 10'000;  // the witnesses' clock too: their signatures say so
  source_.size = 64;
  lie_ = [this](std::size_t, HttpAnswer&) { clock_.now_s = 1'800'000'000; };
  ASSERT_TRUE(courier_->Round().has_value());
  EXPECT_EQ(StateOf(0), "unreachable");
}

TEST_F(CourierTest, AnswerThatCameAsAFileCountsInTheQuorum) {
  dead_ = {0, 1};
  EXPECT_TRUE(Round(64).empty());
  EXPECT_EQ(QuorumSize(), 0U);
  Cosigned files(dir_.path(), policy_, log_.key());
  const auto decided = witnesses_[0]->AddCheckpoint(log_.Request(0, 64));
  const auto kept = files.Keep(log_.NoteAt(64) + decided.lines);
  ASSERT_TRUE(kept.has_value()) << Describe(kept.error());
  EXPECT_EQ(*kept, std::vector<std::size_t>{0});
  EXPECT_EQ(QuorumSize(), 64U);
  EXPECT_FALSE(files.Keep(fork_.NoteAt(70) + decided.lines).has_value()) << "a line that does not verify";
}

TEST(WitnessPolicyFor, PolicyThatNamesOtherLogsOnlyIsRefused) {
  SmallLog log("log.invalid/a");
  SmallLog other("log.invalid/other");
  EXPECT_TRUE(ParsePolicyFor("quorum none\n", log.key()).has_value());
  EXPECT_TRUE(ParsePolicyFor("log " + log.key().Vkey() + "\nquorum none\n", log.key()).has_value());
  EXPECT_FALSE(ParsePolicyFor("log " + other.key().Vkey() + "\nquorum none\n", log.key()).has_value());
}

}  // namespace
}  // namespace stele::witness
