// Goal: over long random lives, a machine that only crashes never hears an alarming word, and one whose log was rolled
// back across an anchor always does. Method: random walks from a seed (printed on failure) over the production anchor,
// log in memory, simulated TPM.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <set>

#include "tests/unit/anchor/rig.h"

namespace stele::anchor {
namespace {

using sim::TpmFault;

class Walk {
 public:
  explicit Walk(std::uint64_t seed) : random_(seed), rig_(seed) {}

  void Run(int steps) {
    Judge(rig_.Start());
    for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) Step();
    rig_.tpm.ClearFaults();
    rig_.tpm.SetNvBusy(false);
    Judge(rig_.Start());
    Settle();
    ExpectRegistersAreTheLogs();
  }

  void CrashOnce() {
    Judge(rig_.Start());
    for (int i = Draw(4); i > 0; --i) (void)rig_.Checkpoint(Draw(3) == 0, 1 + Draw(5));
    Arm(24);
    Crash();
    rig_.tpm.ClearFaults();
    if (Draw(3) == 0) {
      Arm(16);
      Judge(rig_.Start());
      rig_.tpm.ClearFaults();
      MaybeReboot();
    }
    Judge(rig_.Start());
    Settle();
    Judge(rig_.Start());
    ExpectRegistersAreTheLogs();
  }

  // Rolls the log (and perhaps the slots) back to a moment before an anchor that the TPM counts.
  void ExpectRollBackIsSeen() {
    Settle();
    const TestLog old = rig_.log;
    const auto slot_0 = rig_.slots[0].bytes();
    const auto slot_1 = rig_.slots[1].bytes();
    ASSERT_TRUE(rig_.Checkpoint(true).has_value());
    for (int i = Draw(4); i > 0; --i) (void)rig_.Checkpoint(Draw(3) == 0);
    rig_.log = old;
    if (Draw(2) == 0) {
      rig_.slots[0].Set(slot_0);
      rig_.slots[1].Set(slot_1);
    }
    if (Draw(2) == 0) rig_.tpm.Reboot();
    if (Draw(2) == 0) rig_.log.Append(Draw(50));  // invented records on top
    const auto verdict = rig_.Start();
    EXPECT_FALSE(verdict.may_anchor) << verdict.word << ": " << verdict.detail;
  }

 private:
  int Draw(int below) { return std::uniform_int_distribution<int>(0, below - 1)(random_); }

  void Judge(const channel::Verdict& verdict) {
    static const std::set<std::string> kGood = {"OK", "OK_UNANCHORED_TAIL", "RECOVERED_CRASH", "CANNOT_TELL"};
    EXPECT_TRUE(kGood.count(verdict.word) == 1 && verdict.may_anchor) << verdict.word << ": " << verdict.detail;
  }

  // Somebody stops: the anchor before the intent is durable, after it, or after the registers moved but before the
  // receipt.
  void Crash() {
    const auto intent = rig_.Sign(Draw(2) == 0, 1 + Draw(5));
    const int when = Draw(3);
    if (intent && when >= 1) rig_.log.AppendIntent(intent->payload);
    if (intent && when >= 2) (void)rig_.anchor->Confirm(intent->number);  // the receipt is lost
    MaybeReboot();
    Judge(rig_.Start());
  }

  void Arm(int commands) {
    rig_.tpm.FailAt(static_cast<std::size_t>(Draw(commands)), Draw(2) == 0 ? TpmFault::kLostCall : TpmFault::kLostReply);
  }

  void MaybeReboot() {
    const int what = Draw(4);
    if (what == 0) rig_.tpm.Reboot();
    if (what == 1) rig_.tpm.Restart();
    if (what == 2) rig_.tpm.Resume();
  }

  void Step() {
    rig_.clock.Advance(Draw(3) == 0 ? 60'000 : 500);
    rig_.tpm.AdvanceClock(static_cast<std::uint64_t>(Draw(100'000)));
    switch (Draw(8)) {
      case 0:
        Crash();
        break;
      case 1: {
        constexpr TpmFault kFaults[] = {TpmFault::kBusy, TpmFault::kLostCall, TpmFault::kLostReply, TpmFault::kDropped};
        rig_.tpm.FailAt(static_cast<std::size_t>(Draw(20)), kFaults[Draw(4)]);
        break;
      }
      case 2:
        rig_.tpm.SetNvBusy(Draw(3) == 0);
        break;
      case 3:
        MaybeReboot();
        break;  // beneath the running anchor
      default:
        (void)rig_.Checkpoint(Draw(4) == 0, 1 + Draw(9));
        break;
    }
    ASSERT_TRUE(rig_.anchor->verdict().has_value());
    Judge(*rig_.anchor->verdict());
  }

  void Settle() {
    rig_.tpm.ClearFaults();
    rig_.tpm.SetNvBusy(false);
    for (int i = 0; i < 2; ++i) {
      rig_.clock.Advance(60'000);
      EXPECT_TRUE(rig_.Checkpoint().has_value()) << Describe(rig_.last_refusal);
    }
  }

  // The oracle: X is the chain of all receipts' digests, C their number, and every receipt verifies.
  void ExpectRegistersAreTheLogs() {
    Hash index = rig_.tpm.IndexStart();
    std::uint64_t number = 0;
    for (const std::string& payload : rig_.log.receipts) {
      const auto receipt = DecodeReceipt(payload);
      ASSERT_TRUE(receipt.has_value());
      EXPECT_EQ(receipt->number, ++number);
      index = Sha256Of({index, receipt->digest});
      EXPECT_EQ(receipt->index, index);
      EXPECT_TRUE(CheckReceipt(*receipt, rig_.config.pins.receipt).has_value());
    }
    EXPECT_EQ(rig_.tpm.state().index, index);
    EXPECT_EQ(rig_.tpm.state().counter, sim::SimTpm::kCounterStart + number);
    // The PCR is the chain of this boot's intents.
    Hash pcr{};
    std::uint32_t boot = 0;
    std::uint64_t last_size = 0;
    for (const std::string& payload : rig_.log.intents) {
      const auto intent = DecodeIntent(payload, rig_.anchor->verify_key());
      ASSERT_TRUE(intent.has_value());
      EXPECT_GT(intent->size, last_size);
      last_size = intent->size;
      if (intent->number == 1) pcr = Hash{};
      boot = intent->reset_count;
      EXPECT_EQ(intent->pcr_before, pcr) << "checkpoint " << intent->number << " of boot " << boot;
      pcr = Extended(pcr, intent->digest);
    }
    EXPECT_EQ(rig_.tpm.state().pcr, pcr);
  }

  std::mt19937_64 random_;
  Rig rig_;
};

TEST(Walk, CrashesAloneAreNeverAnAlarm) {
  for (std::uint64_t seed = 1; seed <= 150 && !HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Walk(seed).Run(60);
  }
}

// Each point: a life of some checkpoints, a stop at a random command or between two steps, perhaps a reboot, in every
// third life a second stop during the recovery.
TEST(Walk, AThousandRandomCrashPointsGiveNoAlarm) {
  constexpr int kPoints = 1'000;
  const char* given = std::getenv("STELE_SEED");
  const std::uint64_t base = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  for (std::uint64_t point = 0; point < kPoints && !HasFailure(); ++point) {
    SCOPED_TRACE(testing::Message() << "STELE_SEED=" << base << ", point " << point);
    Walk(base + point).CrashOnce();
  }
}

TEST(Walk, ARollBackAcrossAnAnchorIsAlwaysSeen) {
  for (std::uint64_t seed = 1; seed <= 100 && !HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Walk walk(seed);
    walk.Run(15);
    walk.ExpectRollBackIsSeen();
  }
}

}  // namespace
}  // namespace stele::anchor
