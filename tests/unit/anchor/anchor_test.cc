// Goal: the anchor signs only what continues its last checkpoint, survives a stop at every step, and names what was
// done to log or TPM while it was away. Method: a log in memory and a simulated TPM with real signatures; every fault
// at every TPM command.
#include "appliance/anchor/anchor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "appliance/anchor/service.h"
#include "tests/unit/anchor/rig.h"

namespace stele::anchor {
namespace {

using nlohmann::json;
using sim::TpmFault;

// A log with two receipted anchors and two checkpoints after them, in one boot.
void Fill(Rig& rig) {
  ASSERT_EQ(rig.Start().word, "OK");
  ASSERT_TRUE(rig.Checkpoint().has_value());  // the boot anchor
  ASSERT_TRUE(rig.Checkpoint(true).has_value());
  ASSERT_TRUE(rig.Checkpoint().has_value());
  ASSERT_TRUE(rig.Checkpoint().has_value());
  ASSERT_EQ(rig.log.receipts.size(), 2U);
  ASSERT_EQ(rig.tpm.state().counter, sim::SimTpm::kCounterStart + 2);
}

TEST(Anchor, FirstCheckpointOfABootIsAnchored) {
  Rig rig;
  EXPECT_EQ(rig.Start().word, "OK");
  const auto extended = rig.Checkpoint();
  ASSERT_TRUE(extended.has_value());
  ASSERT_TRUE(extended->receipt.has_value());
  const auto receipt = DecodeReceipt(*extended->receipt);
  ASSERT_TRUE(receipt.has_value());
  EXPECT_EQ(receipt->number, 1U);
  EXPECT_FALSE(receipt->late);
  EXPECT_EQ(receipt->counter, sim::SimTpm::kCounterStart + 1);
  EXPECT_EQ(receipt->index, rig.tpm.state().index);
  EXPECT_TRUE(CheckReceipt(*receipt, rig.config.pins.receipt).has_value());
  ReceiptEntry ahead = *receipt;  // by it records grow old: it must not say more than the TPM signed
  ahead.clock_ms += 3'600'000;
  EXPECT_NE(CheckReceipt(ahead, rig.config.pins.receipt).error().context.find("ahead of the quote's"), std::string::npos);
  const auto status = json::parse(extended->status_json);
  EXPECT_EQ(status["state"], "anchored");
  EXPECT_EQ(status["anchor"], 1);
  EXPECT_TRUE(status["unanchored_since_ns"].is_null());
}

TEST(Anchor, IntentIsWhatTheContractSays) {
  Rig rig;
  (void)rig.Start();
  const auto first = rig.Sign();
  ASSERT_TRUE(first.has_value());
  const auto intent = DecodeIntent(first->payload, rig.anchor->verify_key());
  ASSERT_TRUE(intent.has_value());
  EXPECT_EQ(intent->number, 1U);
  EXPECT_EQ(intent->anchor, 1U);
  EXPECT_EQ(intent->pcr_before, Hash{});
  EXPECT_EQ(intent->digest, Sha256Of(AsBytes(intent->note)));
  EXPECT_EQ(rig.tpm.state().pcr, Hash{}) << "nothing may be extended before the intent is durable";
  ASSERT_TRUE(rig.Confirm(*first).has_value());
  EXPECT_EQ(rig.tpm.state().pcr, Extended(Hash{}, intent->digest));
}

TEST(Anchor, AnchorsByIntervalAndOnDemandOnly) {
  Rig rig;
  rig.config.anchor_interval_ms = 10'000;
  (void)rig.Start();
  EXPECT_TRUE(rig.Checkpoint()->receipt.has_value());
  EXPECT_FALSE(rig.Checkpoint()->receipt.has_value());
  EXPECT_TRUE(rig.Checkpoint(true)->receipt.has_value());
  EXPECT_FALSE(rig.Checkpoint()->receipt.has_value());
  rig.tpm.AdvanceClock(10'000);
  EXPECT_TRUE(rig.Checkpoint()->receipt.has_value());
}

// A rig whose log has been continued by epoch 1 over its first 41 leaves; the 42nd is the epoch's entry.
void BeginEpoch(Rig& rig) {
  rig.log.Append(40);
  const channel::LogState then = rig.log.State();
  rig.config.epoch = {1, then.size, then.root, then.frontier};
  rig.config.pins.receipt.epoch = 1;
  rig.config.earlier = {"EPOCH_0_TPM_CLEARED"};
  rig.log.Append(1);
}

TEST(Anchor, LaterEpochBeginsWithTheLogThatItsRecordSigns) {
  Rig rig;
  BeginEpoch(rig);
  const auto verdict = rig.Start();
  EXPECT_EQ(verdict.word, "OK") << verdict.detail;
  EXPECT_NE(std::find(verdict.qualifiers.begin(), verdict.qualifiers.end(), "EPOCH_0_TPM_CLEARED"), verdict.qualifiers.end());
  EXPECT_EQ(rig.anchor->signed_size(), 41U);
  const auto extended = rig.Checkpoint();
  ASSERT_TRUE(extended.has_value()) << rig.last_refusal.context;
  EXPECT_EQ(DecodeIntent(rig.log.intents.front(), rig.anchor->verify_key())->epoch, 1U);
  EXPECT_EQ(DecodeReceipt(extended->receipt.value())->epoch, 1U);
  EXPECT_EQ(json::parse(extended->status_json)["epoch"], 1);
  EXPECT_EQ(rig.Start().word, "OK") << "and every restart is clean";
  EXPECT_TRUE(rig.Checkpoint(true).has_value());
}

TEST(Anchor, LaterEpochRefusesALogThatIsSmallerOrAnotherThanItsRecordSigns) {
  Rig smaller;
  BeginEpoch(smaller);
  smaller.log.leaves.resize(40);
  EXPECT_EQ(smaller.Start().word, "ROLLED_BACK");
  Rig other;
  BeginEpoch(other);
  other.log.leaves[3][0] ^= std::byte{1};
  const auto verdict = other.Start();
  EXPECT_EQ(verdict.word, "TAMPERED");
  EXPECT_FALSE(verdict.may_anchor);
  Rig exact;  // the same subtrees and another end: the next checkpoint's proof does not fit
  BeginEpoch(exact);
  exact.log.leaves[40][0] ^= std::byte{1};
  (void)exact.Start();
  EXPECT_FALSE(exact.Checkpoint().has_value());
}

TEST(Anchor, CheckpointsOfAnEarlierEpochCountForNothing) {
  Rig rig;
  Fill(rig);
  BeginEpoch(rig);
  EXPECT_EQ(rig.Start().word, "TAMPERED") << "they must not stand behind the epoch's entry";
}

TEST(Anchor, BudgetOfNvWritesIsAlarmedAtHalfAndAtFourFifths) {
  Rig rig;
  rig.config.nv_budget = 10;
  (void)rig.Start();
  std::vector<std::string> alarms;
  for (int anchors = 1; anchors <= 10; ++anchors) {
    ASSERT_TRUE(rig.Checkpoint(true).has_value());
    for (std::string& alarm : rig.anchor->TakeAlarms()) alarms.push_back(std::to_string(anchors) + ": " + alarm);
  }
  EXPECT_EQ(alarms, (std::vector<std::string>{"5: 50 % of the NV write budget of 10 are used",
                                              "8: 80 % of the NV write budget of 10 are used"}));
  rig.config.wears = false;
  (void)rig.Start();
  EXPECT_TRUE(rig.anchor->TakeAlarms().empty());
}

TEST(Anchor, DemandIsLimitedWhereCellsWear) {
  Rig rig;
  rig.config.pins.software_tpm = false;
  rig.config.anchors_allowance = 3;
  rig.config.provisioned_wall_ns = rig.clock.WallNs();
  rig.config.nv_budget = 4;
  (void)rig.Start();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(rig.Checkpoint(true)->receipt.has_value()) << i;
  EXPECT_FALSE(rig.Checkpoint(true)->receipt.has_value());
  const auto alarms = rig.anchor->TakeAlarms();
  ASSERT_EQ(alarms.size(), 1U);
  EXPECT_NE(alarms[0].find("50 %"), std::string::npos);
  rig.clock.Advance(86'400'000);
  EXPECT_TRUE(rig.Checkpoint(true)->receipt.has_value());
}

TEST(Anchor, RefusesASmallerOrEqualSize) {
  Rig rig;
  (void)rig.Start();
  ASSERT_TRUE(rig.Checkpoint().has_value());
  TestLog shorter = rig.log;
  shorter.leaves.resize(2);
  auto request = shorter.Request(0, false);
  request.range_begin = rig.anchor->signed_size();
  const auto refused = rig.anchor->Sign(request);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Code::kInvalid);
  shorter = rig.log;
  shorter.leaves.resize(rig.anchor->signed_size());
  EXPECT_FALSE(rig.anchor->Sign(shorter.Request(rig.anchor->signed_size(), false)).has_value());
}

TEST(Anchor, RefusesARewrittenPast) {
  Rig rig;
  (void)rig.Start();
  ASSERT_TRUE(rig.Checkpoint().has_value());
  TestLog forged = rig.log;
  forged.leaves[1] = Sha256Of(AsBytes("another record"));
  forged.Append(3);
  const auto refused = rig.anchor->Sign(forged.Request(rig.anchor->signed_size(), false));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Code::kInvalid);
  // A range from the very beginning proves nothing about what was signed.
  EXPECT_FALSE(rig.anchor->Sign(forged.Request(0, false)).has_value());
  EXPECT_TRUE(rig.Checkpoint().has_value()) << "the true log still goes on";
}

TEST(Anchor, RefusesASecondIntentBeforeTheFirstIsConfirmed) {
  Rig rig;
  (void)rig.Start();
  const auto first = rig.Sign();
  ASSERT_TRUE(first.has_value());
  EXPECT_FALSE(rig.Sign().has_value());
  EXPECT_EQ(rig.last_refusal.code, Code::kDenied);
  EXPECT_FALSE(rig.anchor->Confirm(first->number + 1).has_value());
  EXPECT_TRUE(rig.Confirm(*first).has_value());
  EXPECT_FALSE(rig.anchor->Confirm(first->number).has_value());
}

TEST(Anchor, SignsNothingWithoutRecovery) {
  Rig rig;
  (void)rig.Start();
  rig.anchor->Reset();
  EXPECT_FALSE(rig.Sign().has_value());
}

TEST(Anchor, SessionKeysArePerSessionAndEndWithRecovery) {
  Rig rig;
  (void)rig.Start();
  rig.anchor->Reset();
  const Hash a = Sha256Of(AsBytes("a"));
  const Hash b = Sha256Of(AsBytes("b"));
  const auto keys = rig.anchor->Keys({{a, b}, a});
  ASSERT_TRUE(keys.has_value());
  EXPECT_NE(keys->keys[0], keys->keys[1]);
  EXPECT_EQ(keys->keys[0], keys->new_key);
  (void)rig.anchor->Recover(rig.log.State());
  const auto refused = rig.anchor->Keys({{a}, b});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Code::kDenied);
}

TEST(Anchor, CleanRestartsAreOk) {
  Rig rig;
  Fill(rig);
  EXPECT_EQ(rig.Start().word, "OK");
  EXPECT_FALSE(rig.Checkpoint()->receipt.has_value()) << "the boot already has its anchor";
  rig.tpm.Reboot();
  const auto verdict = rig.Start();
  EXPECT_EQ(verdict.word, "OK_UNANCHORED_TAIL") << verdict.detail;
  EXPECT_EQ(verdict.qualifiers, std::vector<std::string>{"SOFTWARE_TPM"});
  EXPECT_TRUE(rig.Checkpoint()->receipt.has_value()) << "the boot anchor";
  rig.tpm.Reboot();
  EXPECT_EQ(rig.Start().word, "OK") << "nothing lies above the anchor";
}

TEST(Anchor, ResumeFromSuspendIsNoForeignExtend) {
  Rig rig;
  Fill(rig);
  rig.tpm.Resume();
  EXPECT_TRUE(rig.Checkpoint().has_value()) << "while running";
  rig.tpm.Resume();
  EXPECT_EQ(rig.Start().word, "OK");
  EXPECT_TRUE(rig.Checkpoint().has_value());
  EXPECT_EQ(rig.Start().word, "OK");
  rig.tpm.Restart();
  EXPECT_EQ(rig.Start().word, "OK_UNANCHORED_TAIL");
}

// A stop of stele-anchor at every TPM command of an anchored checkpoint, the command lost or executed, and then a
// restart in the same boot, or after a reboot: never an alarming word, and the log goes on.
TEST(Anchor, AStopAtEveryCommandRecovers) {
  for (const bool reboot : {false, true}) {
    for (const TpmFault fault : {TpmFault::kLostCall, TpmFault::kLostReply, TpmFault::kBusy}) {
      for (std::size_t at = 0; at < 24; ++at) {
        SCOPED_TRACE(testing::Message() << "reboot " << reboot << " fault " << static_cast<int>(fault) << " at " << at);
        Rig rig;
        Fill(rig);
        rig.tpm.FailAt(at, fault);
        (void)rig.Checkpoint(true);
        rig.tpm.ClearFaults();
        if (reboot) rig.tpm.Reboot();
        const auto verdict = rig.Start();
        EXPECT_TRUE(verdict.may_anchor) << verdict.word << ": " << verdict.detail;
        EXPECT_TRUE(verdict.word == "OK" || verdict.word == "RECOVERED_CRASH" || verdict.word == "OK_UNANCHORED_TAIL")
            << verdict.word;
        const auto next = rig.Checkpoint(true);
        ASSERT_TRUE(next.has_value()) << Describe(rig.last_refusal);
        EXPECT_TRUE(next->receipt.has_value());
        EXPECT_EQ(rig.tpm.state().counter, sim::SimTpm::kCounterStart + rig.log.receipts.size());
        EXPECT_EQ(rig.Start().word, "OK");
      }
    }
  }
}

// Two stops in a row: one at every command of an anchored checkpoint, one at every command of the recovery from it, both
// before or both after the command took effect, with a reboot after both or none.
TEST(Anchor, ASecondStopAtEveryCommandOfTheRecoveryRecovers) {
  const TpmFault faults[] = {TpmFault::kLostCall, TpmFault::kLostReply};
  for (std::size_t first = 0; first < 18; ++first) {
    for (std::size_t second = 0; second < 14; ++second) {
      for (unsigned how = 0; how < 4; ++how) {
        SCOPED_TRACE(testing::Message() << "first " << first << " second " << second << " how " << how);
        Rig rig;
        Fill(rig);
        rig.tpm.FailAt(first, faults[how & 1U]);
        (void)rig.Checkpoint(true);
        rig.tpm.ClearFaults();
        if ((how & 2U) != 0) rig.tpm.Reboot();
        rig.tpm.FailAt(second, faults[how & 1U]);
        const auto interrupted = rig.Start();
        EXPECT_TRUE(interrupted.may_anchor) << interrupted.word << ": " << interrupted.detail;
        rig.tpm.ClearFaults();
        if ((how & 2U) != 0) rig.tpm.Reboot();
        const auto verdict = rig.Start();
        ASSERT_TRUE(verdict.word == "OK" || verdict.word == "RECOVERED_CRASH" || verdict.word == "OK_UNANCHORED_TAIL")
            << verdict.word << ": " << verdict.detail;
        ASSERT_TRUE(rig.Checkpoint(true).has_value()) << Describe(rig.last_refusal);
        ASSERT_EQ(rig.tpm.state().counter, sim::SimTpm::kCounterStart + rig.log.receipts.size());
      }
    }
  }
}

// The same faults without a restart: the running anchor reads back and goes on by itself.
TEST(Anchor, AFaultAtEveryCommandHealsWithoutARestart) {
  for (const TpmFault fault : {TpmFault::kLostCall, TpmFault::kLostReply, TpmFault::kBusy, TpmFault::kDropped}) {
    for (std::size_t at = 0; at < 24; ++at) {
      SCOPED_TRACE(testing::Message() << "fault " << static_cast<int>(fault) << " at " << at);
      Rig rig;
      Fill(rig);
      rig.tpm.FailAt(at, fault);
      (void)rig.Checkpoint(true);
      rig.tpm.ClearFaults();
      rig.clock.Advance(60'000);
      (void)rig.Checkpoint();
      rig.clock.Advance(60'000);
      const auto last = rig.Checkpoint();
      ASSERT_TRUE(last.has_value()) << Describe(rig.last_refusal);
      const auto status = json::parse(last->status_json);
      EXPECT_EQ(status["state"], "anchored") << last->status_json;
      EXPECT_EQ(rig.tpm.state().counter, sim::SimTpm::kCounterStart + rig.log.receipts.size());
      for (const std::string& payload : rig.log.receipts) {
        EXPECT_TRUE(CheckReceipt(*DecodeReceipt(payload), rig.config.pins.receipt).has_value());
      }
      EXPECT_EQ(rig.Start().word, "OK");
    }
  }
}

TEST(Anchor, AStopBetweenSigningAndTheDurableIntentIsClean) {
  for (const bool reboot : {false, true}) {
    Rig rig;
    Fill(rig);
    ASSERT_TRUE(rig.Sign(true).has_value());  // the intent never reaches the log
    if (reboot) rig.tpm.Reboot();
    const auto verdict = rig.Start();
    EXPECT_TRUE(verdict.may_anchor) << verdict.detail;
    EXPECT_TRUE(rig.Checkpoint(true).has_value()) << Describe(rig.last_refusal);
    EXPECT_EQ(rig.Start().word, "OK");
  }
}

TEST(Anchor, ALateReceiptSaysSo) {
  Rig rig;
  Fill(rig);
  const auto intent = rig.Sign(true);
  rig.tpm.SetGone(true);
  ASSERT_TRUE(rig.Confirm(*intent).has_value());
  rig.tpm.SetGone(false);
  rig.tpm.Reboot();
  const auto verdict = rig.Start();
  EXPECT_EQ(verdict.word, "RECOVERED_CRASH");
  ASSERT_TRUE(verdict.late_receipt.has_value());
  const auto receipt = DecodeReceipt(*verdict.late_receipt);
  EXPECT_TRUE(receipt->late);
  EXPECT_EQ(receipt->pcr, Hash{}) << "a new boot never extends an old checkpoint into the PCR";
  EXPECT_EQ(rig.tpm.state().pcr, Hash{});
}

TEST(Anchor, WithoutATpmItSaysSinceWhenAndSignsNothing) {
  Rig rig;
  Fill(rig);
  rig.tpm.SetGone(true);
  EXPECT_FALSE(rig.Checkpoint().has_value());
  EXPECT_EQ(rig.last_refusal.code, Code::kIo);
  const auto status = json::parse(rig.anchor->StatusJson());
  EXPECT_EQ(status["state"], "unanchored");
  EXPECT_TRUE(status["unanchored_since_ns"].is_number());
  const auto calls = rig.tpm.calls();
  EXPECT_FALSE(rig.Checkpoint().has_value());
  EXPECT_EQ(rig.tpm.calls(), calls) << "it backs off";
  EXPECT_EQ(rig.Start().word, "CANNOT_TELL");
  EXPECT_TRUE(rig.anchor->verdict()->may_anchor);
  rig.tpm.SetGone(false);
  rig.clock.Advance(60'000);
  EXPECT_TRUE(rig.Checkpoint().has_value());
  EXPECT_EQ(rig.anchor->verdict()->word, "OK");
  EXPECT_EQ(json::parse(rig.anchor->StatusJson())["state"], "anchored");
}

TEST(Anchor, ATpmThatComesBackRolledBackIsJudgedThen) {
  Rig rig;
  Fill(rig);
  const auto old = rig.tpm.Snapshot();
  ASSERT_TRUE(rig.Checkpoint(true).has_value());
  rig.tpm.Restore(old);
  rig.anchor->UseTpm(rig.tpm);
  EXPECT_FALSE(rig.Checkpoint().has_value());
  EXPECT_EQ(rig.last_refusal.code, Code::kDenied);
  EXPECT_EQ(rig.anchor->verdict()->word, "ROLLED_BACK");
}

TEST(Anchor, WhileOnlyNvIsBusyCheckpointsGoOnInThePcr) {
  Rig rig;
  Fill(rig);
  rig.tpm.SetNvBusy(true);
  const auto anchored = rig.Checkpoint(true);
  ASSERT_TRUE(anchored.has_value());
  EXPECT_FALSE(anchored->receipt.has_value());
  EXPECT_EQ(json::parse(anchored->status_json)["state"], "unanchored");
  for (int i = 0; i < 3; ++i) {
    const auto more = rig.Checkpoint();
    ASSERT_TRUE(more.has_value()) << Describe(rig.last_refusal);
    EXPECT_FALSE(more->receipt.has_value());
  }
  rig.tpm.SetNvBusy(false);
  rig.clock.Advance(60'000);
  const auto late = rig.Checkpoint();
  ASSERT_TRUE(late.has_value());
  ASSERT_TRUE(late->receipt.has_value());
  EXPECT_TRUE(DecodeReceipt(*late->receipt)->late);
  EXPECT_EQ(json::parse(late->status_json)["state"], "anchored");
  EXPECT_EQ(rig.Start().word, "OK");
}

// A receipt that came late must not make the window look small, nor the next anchor that is under way make it unknown.
TEST(Anchor, TheWindowIsCountedFromWhenTheLogHadTheSize) {
  Rig rig;
  Fill(rig);
  rig.tpm.SetNvBusy(true);
  ASSERT_TRUE(rig.Checkpoint(true).has_value());
  const std::int64_t asked = rig.clock.WallNs();
  const auto anchored_wall = [&] { return json::parse(rig.anchor->StatusJson())["anchored_wall_ns"].get<std::int64_t>(); };
  EXPECT_LT(anchored_wall(), asked);
  rig.clock.Advance(600'000);
  rig.tpm.SetNvBusy(false);
  ASSERT_TRUE(rig.Checkpoint()->receipt.has_value());
  EXPECT_EQ(anchored_wall(), asked);
  EXPECT_EQ(json::parse(rig.anchor->StatusJson())["extended_wall_ns"], rig.clock.WallNs());
  rig.tpm.SetNvBusy(true);
  ASSERT_TRUE(rig.Checkpoint(true).has_value());
  EXPECT_EQ(anchored_wall(), asked);
}

TEST(Anchor, AStopWhileNvIsBusyIsFinishedAtTheNextStart) {
  for (const bool reboot : {false, true}) {
    Rig rig;
    Fill(rig);
    rig.tpm.SetNvBusy(true);
    (void)rig.Checkpoint(true);
    (void)rig.Checkpoint();
    rig.tpm.SetNvBusy(false);
    if (reboot) rig.tpm.Reboot();
    const auto verdict = rig.Start();
    EXPECT_EQ(verdict.word, "RECOVERED_CRASH");
    EXPECT_TRUE(verdict.late_receipt.has_value());
  }
}

TEST(Anchor, AReceiptLostBeforeItWasDurableIsMadeAgain) {
  for (const bool reboot : {false, true}) {
    Rig rig;
    Fill(rig);
    const auto intent = rig.Sign(true);
    rig.log.AppendIntent(intent->payload);
    ASSERT_TRUE(rig.anchor->Confirm(intent->number)->receipt.has_value());  // never appended
    if (reboot) rig.tpm.Reboot();
    const auto verdict = rig.Start();
    EXPECT_EQ(verdict.word, "RECOVERED_CRASH");
    ASSERT_TRUE(verdict.late_receipt.has_value());
    EXPECT_EQ(DecodeReceipt(*verdict.late_receipt)->late, reboot);
    EXPECT_EQ(rig.tpm.state().counter, sim::SimTpm::kCounterStart + 3) << "counted once";
  }
}

TEST(Anchor, ATpmResetBeneathItStartsANewChain) {
  Rig rig;
  Fill(rig);
  rig.tpm.Reboot();
  const auto extended = rig.Checkpoint();
  ASSERT_TRUE(extended.has_value()) << Describe(rig.last_refusal);
  const auto intent = DecodeIntent(rig.log.intents.back(), rig.anchor->verify_key());
  EXPECT_EQ(intent->number, 1U);
  EXPECT_EQ(intent->reset_count, 2U);
  EXPECT_TRUE(extended->receipt.has_value());
  // Between signing and confirming: the intent belongs to a boot that is over and is not extended.
  const auto orphan = rig.Sign();
  rig.tpm.Reboot();
  ASSERT_TRUE(rig.Confirm(*orphan).has_value());
  EXPECT_EQ(rig.tpm.state().pcr, Hash{});
  EXPECT_TRUE(rig.Checkpoint().has_value()) << Describe(rig.last_refusal);
  EXPECT_EQ(rig.Start().word, "OK");
}

// --- what an attacker may have done meanwhile ---

TEST(Attack, ALogRolledBackAcrossAnAnchorIsRolledBack) {
  for (const bool reboot : {false, true}) {
    for (const bool slots_too : {false, true}) {
      Rig rig;
      Fill(rig);
      const TestLog old = rig.log;
      const auto slot_0 = rig.slots[0].bytes();
      const auto slot_1 = rig.slots[1].bytes();
      ASSERT_TRUE(rig.Checkpoint(true).has_value());
      rig.log = old;
      if (slots_too) {
        rig.slots[0].Set(slot_0);
        rig.slots[1].Set(slot_1);
      }
      if (reboot) rig.tpm.Reboot();
      const auto verdict = rig.Start();
      EXPECT_EQ(verdict.word, "ROLLED_BACK") << verdict.detail;
      EXPECT_FALSE(verdict.may_anchor);
      EXPECT_FALSE(rig.Checkpoint().has_value());
      EXPECT_EQ(rig.last_refusal.code, Code::kDenied);
    }
  }
}

TEST(Attack, ALogRolledBackBetweenAnchorsIsSeenByTheSlotOrInTheSameBoot) {
  Rig rig;
  Fill(rig);
  const TestLog old = rig.log;
  const auto slot_0 = rig.slots[0].bytes();
  const auto slot_1 = rig.slots[1].bytes();
  ASSERT_TRUE(rig.Checkpoint().has_value());
  rig.log = old;
  EXPECT_EQ(rig.Start().word, "ROLLED_BACK");
  rig.slots[0].Set(slot_0);
  rig.slots[1].Set(slot_1);
  EXPECT_EQ(rig.Start().word, "FOREIGN_EXTEND") << "slots rolled back too: the PCR still knows";
  // Known limit, in every status as mvw_across_boot: log and slots rolled back together, and a reboot.
  rig.tpm.Reboot();
  EXPECT_EQ(rig.Start().word, "OK_UNANCHORED_TAIL");
}

TEST(Attack, ARewrittenLogOfTheSameSizeIsTampered) {
  Rig rig;
  Fill(rig);
  rig.log.leaves[0] = Sha256Of(AsBytes("another record"));
  const auto verdict = rig.Start();
  EXPECT_EQ(verdict.word, "TAMPERED") << verdict.detail;
}

TEST(Attack, AnotherLogIsTampered) {
  Rig rig;
  Fill(rig);
  rig.log.log_id = Sha256Of(AsBytes("another provisioning record"));
  EXPECT_EQ(rig.Start().word, "TAMPERED");
}

TEST(Attack, AForgedIntentIsNeverExtended) {
  Rig rig;
  Fill(rig);
  const Hash pcr = rig.tpm.state().pcr;
  auto forged = json::parse(rig.log.intents.back());
  forged["number"] = forged["number"].get<int>() + 1;
  forged["anchor"] = 3;
  forged["pcr_before"] = HexOf(pcr);
  rig.log.AppendIntent(forged.dump());  // a true old note in a new coat
  const auto verdict = rig.Start();
  EXPECT_EQ(verdict.word, "TAMPERED") << verdict.detail;
  EXPECT_EQ(rig.tpm.state().pcr, pcr);
  EXPECT_EQ(rig.tpm.state().counter, sim::SimTpm::kCounterStart + 2);
}

TEST(Attack, AForgedReceiptIsTampered) {
  Rig rig;
  Fill(rig);
  auto forged = json::parse(rig.log.receipts.back());
  forged["index"] = HexOf(Sha256Of(AsBytes("elsewhere")));
  rig.log.receipts.back() = forged.dump();
  EXPECT_EQ(rig.Start().word, "TAMPERED");
}

TEST(Attack, AReceiptWhoseSignaturesDoNotBindItIsTampered) {
  const auto word_after = [](const char* member, const json& value) {
    Rig rig;
    Fill(rig);
    auto forged = json::parse(rig.log.receipts.back());
    forged[member] = value;
    rig.log.receipts.back() = forged.dump();
    return rig.Start().word;
  };
  const Hash other = Sha256Of(AsBytes("other"));
  EXPECT_EQ(word_after("pcr", HexOf(other)), "TAMPERED");
  EXPECT_EQ(word_after("reset_count", 0), "TAMPERED");
  EXPECT_EQ(word_after("counter", sim::SimTpm::kCounterStart + 3), "TAMPERED");
  EXPECT_EQ(word_after("digest", HexOf(other)), "TAMPERED");
}

TEST(Attack, ACounterThatRunsAheadOfTheIndexStopsTheAnchor) {
  Rig rig;
  Fill(rig);
  const Hash index = rig.tpm.state().index;
  const auto intent = rig.Sign(true);
  rig.tpm.CounterAhead(1);  // counted before its content is bound
  ASSERT_TRUE(rig.Confirm(*intent).has_value());
  EXPECT_EQ(rig.anchor->verdict()->word, "TAMPERED");
  EXPECT_EQ(rig.tpm.state().index, index);
  EXPECT_EQ(rig.log.receipts.size(), 2U);
}

TEST(Attack, ForeignExtendsAreNamed) {
  const Hash junk = Sha256Of(AsBytes("junk"));
  {
    Rig rig;
    Fill(rig);
    rig.tpm.ForeignExtendPcr(junk);
    EXPECT_EQ(rig.Start().word, "FOREIGN_EXTEND");
    rig.tpm.Reboot();
    EXPECT_TRUE(rig.Start().may_anchor) << "the next boot is sound again";
  }
  {
    Rig rig;
    Fill(rig);
    rig.tpm.ForeignExtendPcr(junk);
    (void)rig.Checkpoint();
    EXPECT_EQ(rig.anchor->verdict()->word, "FOREIGN_EXTEND") << "found by read-back while running";
    EXPECT_FALSE(rig.Checkpoint().has_value());
  }
  {
    Rig rig;
    Fill(rig);
    rig.tpm.ForeignExtendIndex(junk);
    EXPECT_EQ(rig.Start().word, "TAMPERED");
  }
  {
    Rig rig;
    Fill(rig);
    rig.tpm.ForeignExtendIndex(junk);
    (void)rig.Checkpoint(true);
    EXPECT_EQ(rig.anchor->verdict()->word, "TAMPERED") << "found before the anchor is finished";
    EXPECT_EQ(rig.tpm.state().counter, sim::SimTpm::kCounterStart + 2);
  }
  {
    Rig rig;
    Fill(rig);
    rig.tpm.Reboot();
    rig.tpm.ForeignExtendPcr(junk);
    EXPECT_EQ(rig.Start().word, "FOREIGN_EXTEND");
  }
  {
    Rig rig;
    Fill(rig);
    rig.tpm.CounterAhead(1);
    EXPECT_EQ(rig.Start().word, "ROLLED_BACK");
  }
}

TEST(Attack, TpmChangesAreNamed) {
  const auto word_after = [](void (*change)(sim::SimTpm&)) {
    Rig rig;
    Fill(rig);
    change(rig.tpm);
    const auto verdict = rig.Start();
    EXPECT_FALSE(verdict.may_anchor);
    return verdict.word;
  };
  EXPECT_EQ(word_after([](sim::SimTpm& tpm) { tpm.Replace(); }), "TPM_REPLACED");
  EXPECT_EQ(word_after([](sim::SimTpm& tpm) { tpm.Clear(); }), "TPM_CLEARED");
  EXPECT_EQ(word_after([](sim::SimTpm& tpm) { tpm.RedefineCounter(); }), "ANCHOR_REDEFINED");
  EXPECT_EQ(word_after([](sim::SimTpm& tpm) { tpm.RedefineIndex(); }), "ANCHOR_REDEFINED");
}

TEST(Attack, ATpmRolledBackIsNamed) {
  Rig rig;
  Fill(rig);
  const auto old = rig.tpm.Snapshot();
  ASSERT_TRUE(rig.Checkpoint(true).has_value());
  rig.tpm.Restore(old);
  EXPECT_EQ(rig.Start().word, "ROLLED_BACK");
}

TEST(Attack, MissingAndStaleSlotsAreAlarmsOnly) {
  Rig rig;
  Fill(rig);
  const auto slot_0 = rig.slots[0].bytes();
  const auto slot_1 = rig.slots[1].bytes();
  ASSERT_TRUE(rig.Checkpoint().has_value());
  rig.slots[0].Set(slot_0);
  rig.slots[1].Set(slot_1);
  EXPECT_EQ(rig.Start().word, "OK");
  EXPECT_FALSE(rig.anchor->TakeAlarms().empty());
  EXPECT_TRUE(rig.Checkpoint().has_value()) << Describe(rig.last_refusal);
  rig.slots[0].Set(std::nullopt);
  rig.slots[1].Set(std::nullopt);
  EXPECT_EQ(rig.Start().word, "OK");
  EXPECT_EQ(rig.anchor->signed_size(), 0U);
  EXPECT_FALSE(rig.anchor->TakeAlarms().empty());
  EXPECT_TRUE(rig.Checkpoint().has_value()) << Describe(rig.last_refusal);
}

TEST(Attack, AFrontierThatDoesNotGiveTheRootIsNotJudged) {
  Rig rig;
  Fill(rig);
  auto state = rig.log.State();
  state.root = Sha256Of(AsBytes("another root"));
  const auto verdict = rig.anchor->Recover(state);
  EXPECT_EQ(verdict.word, "CANNOT_TELL");
  EXPECT_FALSE(verdict.may_anchor);
}

TEST(Slots, AFailedStoreSignsNothing) {
  for (const sim::SlotFault fault : {sim::SlotFault::kLost, sim::SlotFault::kTorn, sim::SlotFault::kWrittenReported}) {
    Rig rig;
    Fill(rig);
    const std::uint64_t signed_size = rig.anchor->signed_size();
    rig.slots[0].FailNext(fault);
    rig.slots[1].FailNext(fault);
    EXPECT_FALSE(rig.Sign().has_value());
    EXPECT_EQ(rig.last_refusal.code, Code::kIo);
    EXPECT_EQ(rig.anchor->signed_size(), signed_size);
    rig.slots[0].FailNext(sim::SlotFault::kNone);
    rig.slots[1].FailNext(sim::SlotFault::kNone);
    EXPECT_TRUE(rig.Checkpoint().has_value());
    EXPECT_EQ(rig.Start().word, "OK");
  }
}

TEST(Service, SpeaksTheChannelsLanguage) {
  Rig rig;
  Fill(rig);
  rig.anchor->Reset();
  const auto ask = [&rig](const channel::AnchorRequest& request) {
    const auto frames = Serve(*rig.anchor, channel::EncodeAnchorRequest(request));
    EXPECT_TRUE(frames.has_value());
    return frames && !frames->empty() ? *channel::DecodeAnchorAnswer(frames->front()) : channel::AnchorAnswer{};
  };
  channel::AnchorRequest request;
  request.op = "keys";
  request.keys.new_session = Sha256Of(AsBytes("session"));
  EXPECT_EQ(ask(request).op, "keys");
  request.op = "recovered";
  request.state = rig.log.State();
  const auto verdict = ask(request);
  EXPECT_EQ(verdict.op, "verdict");
  EXPECT_EQ(verdict.verdict.word, "OK");
  EXPECT_EQ(verdict.signed_size, rig.anchor->signed_size());
  request.op = "keys";
  EXPECT_EQ(ask(request).op, "refused");
  rig.log.Append(2);
  request.op = "checkpoint";
  request.checkpoint = rig.log.Request(verdict.signed_size, true);
  const auto intent = ask(request);
  EXPECT_EQ(intent.op, "intent");
  request.op = "confirmed";
  request.number = intent.intent.number;
  const auto extended = ask(request);
  EXPECT_EQ(extended.op, "extended");
  EXPECT_TRUE(extended.extended.receipt.has_value());
  request.op = "receipt";
  EXPECT_EQ(ask(request).op, "") << "no answer";
  EXPECT_FALSE(Serve(*rig.anchor, AsBytes("{\"op\":\"receipt\",\"number\":3}")).has_value()) << "nothing is waiting";
  EXPECT_FALSE(Serve(*rig.anchor, AsBytes("nonsense")).has_value());
}

}  // namespace
}  // namespace stele::anchor
