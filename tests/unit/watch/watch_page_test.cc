// Goal: what one watcher wrote into the page the next one reads, each group's state as a whole. Method: two mappings.
#include "appliance/daemons/watch_page.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

namespace stele::watch {
namespace {

TEST(WatchPage, TheNextWatcherReadsWhatTheLastOneWrote) {
  const auto made = MakeWatchPage();
  ASSERT_TRUE(made) << Describe(made.error());
  {
    const auto page = MapWatchPage(made->get());
    ASSERT_TRUE(page);
    EXPECT_EQ((*page)->Seen(), 0U);
    for (std::uint32_t i = 1; i <= 5; ++i) (*page)->SetState(3, {.seen = i, .missed = 1, .next = i});
    (*page)->SetState(WatchPage::kGroups - 1, {.seen = 7});
    (*page)->reported = 4;
  }
  const auto page = MapWatchPage(made->get());
  ASSERT_TRUE(page);
  EXPECT_EQ((*page)->StateOf(3).seen, 5U);
  EXPECT_EQ((*page)->StateOf(3).next, 5U);
  EXPECT_EQ((*page)->Seen() - (*page)->reported, 8U);
}

TEST(WatchPage, AStateThatWasNotFinishedDoesNotCount) {
  const auto made = MakeWatchPage();
  const auto page = MapWatchPage(made->get());
  ASSERT_TRUE(page);
  (*page)->SetState(0, {.seen = 1});
  WatchPage::Group& group = (*page)->groups[0];
  group.states[(group.turn + 1) % 2] = {.seen = 99};  // killed before it was made valid
  EXPECT_EQ((*page)->Seen(), 1U);
}

TEST(WatchPage, AnotherFileIsNone) {
  const UniqueFd other(::memfd_create("other", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(other.get(), sizeof(WatchPage)), 0);
  EXPECT_FALSE(MapWatchPage(other.get()));
}

}  // namespace
}  // namespace stele::watch
