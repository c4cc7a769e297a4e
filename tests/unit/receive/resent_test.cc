// Goal: what is sent again after a broken session is recognised, within bounds; what is merely equal is not, where that
// can be known. Method: the memory alone, with sessions that break, end in order, overlap, and a page that outlives it.
#include "appliance/daemons/receive_resent.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "appliance/base/system.h"

namespace stele::receive {
namespace {

std::string Message(int i) { return "<13>message number " + std::to_string(i); }

int SeenOf(ResentMemory::Session& session, int from, int to, std::uint64_t unanswered = 10) {
  int seen = 0;
  for (int i = from; i < to; ++i) seen += session.Seen(AsBytes(Message(i)), unanswered) ? 1 : 0;
  return seen;
}

class Resent : public ::testing::Test {
 protected:
  SystemEntropy entropy;
  ResentMemory memory{entropy};
};

TEST_F(Resent, WhatABrokenSessionSentIsExpectedOnce) {
  {
    ResentMemory::Session session(memory, 1);
    EXPECT_EQ(SeenOf(session, 0, 100), 0);
  }
  ResentMemory::Session again(memory, 1);
  EXPECT_EQ(SeenOf(again, 50, 100), 50);
  EXPECT_EQ(SeenOf(again, 50, 100), 0) << "equal messages of one session are all real";
  EXPECT_EQ(SeenOf(again, 100, 200), 0);
}

TEST_F(Resent, ASessionThatEndedInOrderIsForgotten) {
  {
    ResentMemory::Session session(memory, 1);
    (void)SeenOf(session, 0, 100);
    session.Forget();
  }
  ResentMemory::Session again(memory, 1);
  EXPECT_EQ(SeenOf(again, 0, 100), 0);
}

TEST_F(Resent, OtherSourcesAreOtherSources) {
  {
    ResentMemory::Session session(memory, 1);
    (void)SeenOf(session, 0, 100);
  }
  ResentMemory::Session other(memory, 2);
  EXPECT_EQ(SeenOf(other, 0, 100), 0);
  record::Peer peer{};
  EXPECT_EQ(memory.SourceOf("relp", peer, ""), memory.SourceOf("relp", peer, ""));
  record::Peer other_port = peer;
  other_port[17] = std::byte{1};
  EXPECT_EQ(memory.SourceOf("relp", peer, ""), memory.SourceOf("relp", other_port, ""))
      << "the port changes with the connection";
  record::Peer other_address = peer;
  other_address[0] = std::byte{1};
  EXPECT_NE(memory.SourceOf("relp", peer, ""), memory.SourceOf("relp", other_address, ""));
  EXPECT_NE(memory.SourceOf("relp", peer, ""), memory.SourceOf("relp", peer, "somebody"));
  EXPECT_NE(memory.SourceOf("relp", peer, ""), memory.SourceOf("relp-tls", peer, ""));
}

TEST_F(Resent, AWholeWindowIsRememberedHoweverLarge) {
  {
    ResentMemory::Session session(memory, 1);
    (void)SeenOf(session, 0, 30'000, 10'000);
  }
  ResentMemory::Session again(memory, 1);
  EXPECT_EQ(SeenOf(again, 20'000, 30'000), 10'000);
}

TEST_F(Resent, OnlyTheNewestAreRememberedOfASmallWindow) {
  {
    ResentMemory::Session session(memory, 1);
    (void)SeenOf(session, 0, 100'000, 1);
  }
  ResentMemory::Session again(memory, 1);
  EXPECT_EQ(SeenOf(again, 0, 1'000), 0);
  ResentMemory::Session third(memory, 1);
  EXPECT_EQ(SeenOf(third, 99'900, 100'000), 100);
}

TEST_F(Resent, ASessionThatOnlySeemsToLiveIsExpectedFromToo) {
  ResentMemory::Session stale(memory, 1);
  (void)SeenOf(stale, 0, 100);
  ResentMemory::Session fresh(memory, 1);
  EXPECT_EQ(SeenOf(fresh, 0, 100), 100);
}

TEST_F(Resent, ExpectationsEndWhenTheyAreNotMet) {
  {
    ResentMemory::Session session(memory, 1);
    (void)SeenOf(session, 0, 100);
  }
  ResentMemory::Session again(memory, 1);
  EXPECT_EQ(SeenOf(again, 1'000, 50'000), 0);
  EXPECT_EQ(SeenOf(again, 0, 100), 0) << "an equal message much later is a message of its own";
}

TEST_F(Resent, ThePageTellsTheNextReceiver) {
  UniqueFd page(::memfd_create("test", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(page.get(), static_cast<off_t>(kResentPageBytes)), 0);
  const auto duplicate = [&] { return UniqueFd(::dup(page.get())); };
  const record::Peer peer{};
  std::uint64_t source = 0;
  {
    ResentMemory first(entropy);
    ASSERT_TRUE(first.UsePage(duplicate()));
    source = first.SourceOf("relp", peer, "");
    ResentMemory::Session session(first, source);
    EXPECT_EQ(SeenOf(session, 0, 100), 0);
  }
  ResentMemory second(entropy);
  ASSERT_TRUE(second.UsePage(duplicate()));
  EXPECT_EQ(second.SourceOf("relp", peer, ""), source) << "the seed is the page's";
  ResentMemory::Session again(second, source);
  EXPECT_EQ(SeenOf(again, 0, 150), 100);
}

TEST_F(Resent, ThePageKeepsTheNewestOfMany) {
  UniqueFd page(::memfd_create("test", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(page.get(), static_cast<off_t>(kResentPageBytes)), 0);
  const int many = static_cast<int>(limits::kRememberedAcrossCrash) + 5'000;
  {
    ResentMemory first(entropy);
    ASSERT_TRUE(first.UsePage(UniqueFd(::dup(page.get()))));
    ResentMemory::Session session(first, 7);
    (void)SeenOf(session, 0, many);
  }
  ResentMemory second(entropy);
  ASSERT_TRUE(second.UsePage(UniqueFd(::dup(page.get()))));
  ResentMemory::Session again(second, 7);
  EXPECT_EQ(SeenOf(again, 0, 5'000), 0);
  EXPECT_EQ(SeenOf(again, many - 1'000, many), 1'000);
}

TEST_F(Resent, APageOfAnotherSizeIsRefused) {
  UniqueFd page(::memfd_create("test", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(page.get(), 4'096), 0);
  EXPECT_FALSE(memory.UsePage(std::move(page)));
}

TEST_F(Resent, MemoryIsBoundedHoweverManySessionsBreak) {
  for (std::uint64_t source = 0; source < 20; ++source) {
    ResentMemory::Session session(memory, source);
    (void)SeenOf(session, 0, 70'000, 70'000);
  }
  ResentMemory::Session newest(memory, 19);
  EXPECT_EQ(SeenOf(newest, 69'000, 70'000), 1'000) << "the newest to break is not the one that is given up";
}

}  // namespace
}  // namespace stele::receive
