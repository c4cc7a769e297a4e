// Goal: a receiver may die at any point and the next one still knows, per listener, what was taken, stored and lost.
// Method: the real page, mapped by one receiver after another; the ledger's side is the real tally of stele-ledger.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include "appliance/daemons/ledger_tally.h"
#include "appliance/daemons/receive_accounts.h"

namespace stele::receive {
namespace {

using ledger_daemon::Tallies;
constexpr std::uint64_t kEpoch = 77;
const std::string kUdp = "syslog-udp";

// One receiver after another on one page.
struct Life {
  UniqueFd page = MakeAccountsPage(0).value();
  std::unique_ptr<Accounts> accounts;
  Account* udp = nullptr;

  void Begin(std::int64_t now_ns) {
    accounts = std::make_unique<Accounts>();
    ASSERT_TRUE(accounts->Map(page));
    accounts->Inherit(now_ns);
    udp = accounts->RowOf(kUdp, now_ns).value();
  }
  void Take(std::uint64_t count) {
    udp->BeginBatch();
    for (std::size_t i = 0; i < count; ++i) udp->batch[i].msg_len = 100;
    udp->EndBatch(count);
  }
  void Settle(std::uint64_t committed, std::uint64_t epoch = kEpoch, bool loss_frame = false) {
    accounts->Settle(epoch, loss_frame, {{kUdp, committed}}, 9'000);
  }
  [[nodiscard]] std::uint64_t Counted(Cause cause) const { return udp->Of(cause).counted; }
  [[nodiscard]] std::uint64_t Unbalanced() const { return udp->taken - udp->stored - udp->LostOfTaken(); }
};

TEST(Accounts, WhatWasTakenAndNotCommittedIsLostWithTheReceiver) {
  Life life;
  ASSERT_NO_FATAL_FAILURE(life.Begin(1));
  life.Settle(0);
  (void)life.accounts->NextFrame();
  life.Take(50);
  life.Take(30);
  life.udp->stored = 40;  // acknowledged; 60 were committed in truth
  ASSERT_NO_FATAL_FAILURE(life.Begin(5'000));
  life.Settle(60);
  EXPECT_EQ(life.udp->taken, 80U);
  EXPECT_EQ(life.udp->stored, 60U);
  EXPECT_EQ(life.Counted(Cause::kReceiverDied), 20U);
  EXPECT_EQ(life.Counted(Cause::kReceiverDiedUnknown), 0U);
  EXPECT_EQ(life.Unbalanced(), 0U);
}

TEST(Accounts, ADeathInsideTheSystemCallLosesNoCount) {
  for (const std::size_t marked : {0U, 1U, 17U, 64U}) {
    Life life;
    ASSERT_NO_FATAL_FAILURE(life.Begin(1));
    life.Settle(0);
    (void)life.accounts->NextFrame();
    life.Take(7);
    life.udp->BeginBatch();
    for (std::size_t i = 0; i < marked; ++i) life.udp->batch[i].msg_len = 0;  // an empty datagram is one, too
    ASSERT_NO_FATAL_FAILURE(life.Begin(5'000));
    life.Settle(7);
    EXPECT_EQ(life.udp->taken, 7U + marked);
    EXPECT_EQ(life.Counted(Cause::kReceiverDied), marked);
  }
}

TEST(Accounts, ADeathAfterTheCommitPointOfABatchCountsItOnce) {
  Life life;
  ASSERT_NO_FATAL_FAILURE(life.Begin(1));
  life.Settle(0);
  (void)life.accounts->NextFrame();
  life.Take(64);  // the marks are still there, the batch is entered
  ASSERT_NO_FATAL_FAILURE(life.Begin(2));
  ASSERT_NO_FATAL_FAILURE(life.Begin(3));  // and dies again before the ledger answered
  life.Settle(10);
  EXPECT_EQ(life.udp->taken, 64U);
  EXPECT_EQ(life.Counted(Cause::kReceiverDied), 54U);
  EXPECT_EQ(life.Unbalanced(), 0U);
}

TEST(Accounts, WhatTheNextReceiverTakesBeforeTheAnswerIsNotLost) {
  Life life;
  ASSERT_NO_FATAL_FAILURE(life.Begin(1));
  life.Settle(0);
  (void)life.accounts->NextFrame();
  life.Take(30);
  ASSERT_NO_FATAL_FAILURE(life.Begin(2));
  life.Take(64);  // its own, under way
  life.udp->Lose(Cause::kOverload, 4, 3);
  life.Settle(20);
  EXPECT_EQ(life.Counted(Cause::kReceiverDied), 10U);
  EXPECT_EQ(life.Unbalanced(), 60U);
  ASSERT_NO_FATAL_FAILURE(life.Begin(3));
  life.Settle(20);
  EXPECT_EQ(life.Counted(Cause::kReceiverDied), 70U);
  EXPECT_EQ(life.Unbalanced(), 0U);
}

TEST(Accounts, ManyDeathsAddUp) {
  Life life;
  ledger_daemon::Tallies tallies(kEpoch);
  const std::uint32_t listener = tallies.ListenerOf("default", kUdp);
  std::uint64_t sent = 0;
  std::uint64_t committed = 0;
  for (std::uint64_t channel = 1; channel <= 20; ++channel) {
    ASSERT_NO_FATAL_FAILURE(life.Begin(static_cast<std::int64_t>(channel)));
    tallies.Opened(channel, "default");
    tallies.Ask(channel, {life.accounts->loss_frame()});
    const auto answer = tallies.TakeAnswer();
    ASSERT_TRUE(answer);
    life.accounts->Settle(answer->settled.epoch, answer->settled.loss_frame_committed, answer->settled.committed, 5);
    EXPECT_EQ(life.udp->stored, committed) << channel;
    EXPECT_EQ(life.Unbalanced(), 0U) << channel;
    for (std::uint64_t frame = 0; frame < channel % 5; ++frame) {
      const std::uint64_t records = 1 + (channel + frame) % 60;
      const std::uint64_t number = life.accounts->NextFrame();
      life.Take(records);
      sent += records;
      tallies.FrameRead(channel);
      const bool stored = frame % 3 != 2;
      tallies.FrameDone(channel, number, {{listener, static_cast<std::uint32_t>(records)}}, stored);
      if (stored) committed += records;
      if (stored && frame % 2 == 0) life.udp->stored += records;  // the other acknowledgements were never read
    }
    tallies.Ended(channel);
  }
  ASSERT_NO_FATAL_FAILURE(life.Begin(99));
  life.Settle(committed);
  EXPECT_EQ(life.udp->taken, sent);
  EXPECT_EQ(life.udp->stored + life.Counted(Cause::kReceiverDied), sent);
  EXPECT_EQ(life.udp->stored, committed);
}

TEST(Accounts, WithAnotherLedgerTheNumberIsUnknownAndBounded) {
  Life life;
  ASSERT_NO_FATAL_FAILURE(life.Begin(1));
  life.Settle(0);
  (void)life.accounts->NextFrame();
  life.Take(30);
  life.udp->stored = 10;
  ASSERT_NO_FATAL_FAILURE(life.Begin(2));
  life.Settle(0, kEpoch + 2);
  EXPECT_EQ(life.Counted(Cause::kReceiverDied), 0U);
  EXPECT_EQ(life.Counted(Cause::kReceiverDiedUnknown), 20U);
  EXPECT_EQ(life.udp->UnknownLosses(), 1U);
  EXPECT_EQ(life.udp->LostKnown(), 0U);
  // From here on it is exact again.
  life.Take(5);
  ASSERT_NO_FATAL_FAILURE(life.Begin(3));
  life.Settle(3, kEpoch + 2);
  EXPECT_EQ(life.udp->stored, 13U);
  EXPECT_EQ(life.Counted(Cause::kReceiverDied), 2U);
}

TEST(Accounts, ALedgerThatCameBackWhileTheReceiverLivedIsCountedFromThere) {
  Life life;
  ASSERT_NO_FATAL_FAILURE(life.Begin(1));
  life.Settle(0);
  (void)life.accounts->NextFrame();
  life.Take(40);
  life.udp->stored = 25;
  life.Settle(0, kEpoch + 2);  // the new ledger has committed nothing of ours; 15 are sent to it again
  EXPECT_EQ(life.Counted(Cause::kReceiverDiedUnknown), 0U);
  ASSERT_NO_FATAL_FAILURE(life.Begin(2));
  life.Settle(11, kEpoch + 2);
  EXPECT_EQ(life.udp->stored, 36U);
  EXPECT_EQ(life.Counted(Cause::kReceiverDied), 4U);
}

TEST(Accounts, ALossEntryUnderWayIsNeitherForgottenNorWrittenTwice) {
  for (const bool committed : {false, true}) {
    Life life;
    ASSERT_NO_FATAL_FAILURE(life.Begin(1));
    life.Settle(0);
    life.udp->Lose(Cause::kKernelDrop, 12, 3);
    life.udp->Of(Cause::kKernelDrop).snapshot = 12;
    life.accounts->BeginLossFrame(life.accounts->NextFrame());
    life.udp->Lose(Cause::kKernelDrop, 5, 4);
    ASSERT_NO_FATAL_FAILURE(life.Begin(2));
    EXPECT_NE(life.accounts->loss_frame(), 0U);
    life.Settle(0, kEpoch, committed);
    const Account::Loss& loss = life.udp->Of(Cause::kKernelDrop);
    EXPECT_EQ(loss.counted, 17U);
    EXPECT_EQ(loss.recorded, committed ? 12U : 0U);
    EXPECT_EQ(life.accounts->loss_frame(), 0U);
  }
}

TEST(Accounts, TheAnswerDoesNotEndALossEntryThatItWasNotAskedAbout) {
  Life life;
  ASSERT_NO_FATAL_FAILURE(life.Begin(1));
  life.Settle(0);
  (void)life.accounts->NextFrame();
  ASSERT_NO_FATAL_FAILURE(life.Begin(2));
  life.udp->Lose(Cause::kKernelDrop, 5, 3);
  life.udp->Of(Cause::kKernelDrop).snapshot = 5;
  const std::uint64_t own = life.accounts->NextFrame();
  life.accounts->BeginLossFrame(own);
  life.Settle(0);
  EXPECT_EQ(life.accounts->loss_frame(), own);
  life.accounts->EndLossFrame(true);
  EXPECT_EQ(life.udp->Of(Cause::kKernelDrop).recorded, 5U);
}

TEST(Accounts, OpenConnectionsOfADeadReceiverAreNoted) {
  Life life;
  ASSERT_NO_FATAL_FAILURE(life.Begin(1));
  life.udp->connections = 3;
  life.accounts->Alive(4'000);
  ASSERT_NO_FATAL_FAILURE(life.Begin(5'000));
  EXPECT_EQ(life.Counted(Cause::kConnectionsCut), 3U);
  EXPECT_EQ(life.udp->Of(Cause::kConnectionsCut).from_ns, 4'000);
  EXPECT_EQ(life.udp->Of(Cause::kConnectionsCut).to_ns, 5'000);
  EXPECT_EQ(life.udp->connections, 0U);
  EXPECT_EQ(life.udp->LostKnown(), 0U);
}

TEST(Accounts, AfterAnApplianceThatDiedEveryListenerSaysUnknown) {
  const UniqueFd page = MakeAccountsPage(123).value();
  Accounts accounts;
  ASSERT_TRUE(accounts.Map(page));
  const Account* row = accounts.RowOf("syslog-tcp", 900).value();
  EXPECT_EQ(row->Of(Cause::kApplianceDied).counted, 1U);
  EXPECT_EQ(row->Of(Cause::kApplianceDied).from_ns, 123);
  EXPECT_EQ(accounts.RowOf("syslog-tcp", 901).value(), row);
  EXPECT_EQ(row->Of(Cause::kApplianceDied).counted, 1U);
}

TEST(Accounts, ThePageCannotBeCutUnderAMapping) {
  const UniqueFd page = MakeAccountsPage(0).value();
  EXPECT_NE(::ftruncate(page.get(), 0), 0);
  Accounts accounts;
  EXPECT_TRUE(accounts.Map(page));
  const UniqueFd other(::memfd_create("other", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(other.get(), sizeof(AccountsPage)), 0);
  EXPECT_FALSE(Accounts().Map(other));
}

TEST(Accounts, RowsAndNamesAreBounded) {
  Accounts accounts;
  EXPECT_FALSE(accounts.RowOf("", 1));
  EXPECT_FALSE(accounts.RowOf(std::string(Account::kNameBytes, 'n'), 1));
  for (std::size_t i = 0; i < AccountsPage::kRows; ++i)
    EXPECT_TRUE(accounts.RowOf("listener-" + std::to_string(i), 1)) << i;
  EXPECT_FALSE(accounts.RowOf("one more", 1));
  EXPECT_TRUE(accounts.RowOf("listener-3", 1));
}

TEST(Tallies, TheAnswerWaitsForEveryFrameOfTheChannelsBefore) {
  Tallies tallies(kEpoch);
  const std::uint32_t udp = tallies.ListenerOf("default", kUdp);
  tallies.Opened(1, "default");
  tallies.FrameRead(1);
  tallies.FrameRead(1);
  tallies.Opened(2, "default");
  tallies.Opened(3, "another zone");
  tallies.Ask(2, {5});
  tallies.Ask(3, {5});
  const auto other = tallies.TakeAnswer();  // another receiver does not wait for this one
  ASSERT_TRUE(other);
  EXPECT_EQ(other->channel, 3U);
  EXPECT_FALSE(other->settled.loss_frame_committed);
  EXPECT_FALSE(tallies.TakeAnswer());
  tallies.FrameDone(1, 4, {{udp, 10}}, true);
  tallies.Ended(1);
  EXPECT_FALSE(tallies.TakeAnswer());
  tallies.FrameDone(1, 5, {{udp, 7}}, true);
  const auto answer = tallies.TakeAnswer();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->channel, 2U);
  EXPECT_EQ(answer->settled.epoch, kEpoch);
  EXPECT_TRUE(answer->settled.loss_frame_committed);
  EXPECT_EQ(answer->settled.committed, (std::map<std::string, std::uint64_t>{{kUdp, 17}}));
  EXPECT_FALSE(tallies.TakeAnswer());
}

TEST(Tallies, ARefusedFrameCountsNothing) {
  Tallies tallies(kEpoch);
  tallies.Opened(1, "default");
  tallies.FrameRead(1);
  tallies.FrameDone(1, 9, {{tallies.ListenerOf("default", kUdp), 10}}, false);
  tallies.Ended(1);
  tallies.Opened(2, "default");
  tallies.Ask(2, {9});
  const auto answer = tallies.TakeAnswer();
  ASSERT_TRUE(answer);
  EXPECT_FALSE(answer->settled.loss_frame_committed);
  EXPECT_TRUE(answer->settled.committed.empty());
}

TEST(Tallies, ReceiversWithListenersOfOneNameAreCountedApart) {
  Tallies tallies(kEpoch);
  const std::uint32_t plant = tallies.ListenerOf("plant", kUdp);
  const std::uint32_t office = tallies.ListenerOf("office", kUdp);
  EXPECT_NE(plant, office);
  tallies.Opened(1, "plant");
  tallies.Opened(2, "office");
  tallies.FrameRead(1);
  tallies.FrameRead(2);
  tallies.FrameDone(1, 5, {{plant, 10}}, true);
  tallies.FrameDone(2, 5, {{office, 3}}, true);
  tallies.Ended(1);  // the other one lives
  tallies.Opened(3, "plant");
  tallies.Ask(3, {5});
  const auto answer = tallies.TakeAnswer();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->settled.committed, (std::map<std::string, std::uint64_t>{{kUdp, 10}}));
}

// One that invents names fills its own room only: the records of the others are counted on.
TEST(Tallies, ListenersAreBoundedForEachReceiver) {
  Tallies tallies(kEpoch);
  for (std::size_t i = 0; i < limits::kZoneListeners; ++i)
    EXPECT_NE(tallies.ListenerOf("a", "l" + std::to_string(i)), 0U);
  EXPECT_EQ(tallies.ListenerOf("a", "one more"), 0U);
  EXPECT_EQ(tallies.ListenerOf("a", "l7"), 8U);
  EXPECT_EQ(tallies.ListenerOf("b", std::string(129, 'x')), 0U);
  EXPECT_NE(tallies.ListenerOf("b", kUdp), 0U);
  Tallies::Shares shares;
  Tallies::Count(shares, 0, 5);
  EXPECT_TRUE(shares.empty());
}

}  // namespace
}  // namespace stele::receive
