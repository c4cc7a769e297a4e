// Goal: reading the static tree floods the log with nothing, and yet nobody reads it unnoticed.
// Method: readers over hours of invented time; every answer is either behind an entry of its own or in a later summary.
#include "appliance/query/tree_access.h"

#include <gtest/gtest.h>

namespace stele::query {
namespace {

using Readers = TreeReaders<int>;

TEST(TreeReaders, FirstAnswerHasItsEntryAndTheOthersAreCounted) {
  Readers readers;
  EXPECT_TRUE(readers.Meets("anna", 1, 0));
  for (int i = 0; i < 1'000; ++i) {
    ASSERT_FALSE(readers.Meets("anna", 1, i));
    ++readers.CountsOf("anna").tiles;
  }
  EXPECT_TRUE(readers.Meets("bert", 2, 0)) << "another reader, another entry";
  EXPECT_TRUE(readers.Due(Readers::kWindowNs - 1).empty());
  const auto due = readers.Due(Readers::kWindowNs);
  ASSERT_EQ(due.size(), 1U) << "bert fetched one thing only, which had its entry";
  EXPECT_EQ(due[0].reader, 1);
  EXPECT_EQ(due[0].counts.tiles, 1'000U);
}

TEST(TreeReaders, WhoPausesIsMetAnewAndWhoGoesOnIsSummedUpEachMinute) {
  Readers readers;
  std::uint64_t own_entries = 0;
  std::uint64_t counted = 0;
  std::uint64_t summaries = 0;
  for (std::int64_t second = 0; second < 600; ++second) {
    if (readers.Meets("anna", 1, second * 1'000'000'000)) {
      ++own_entries;
    } else {
      ++readers.CountsOf("anna").bundles;
    }
    for (const auto& summary : readers.Due(second * 1'000'000'000)) {
      counted += summary.counts.bundles;
      ++summaries;
    }
  }
  for (const auto& summary : readers.Due(std::int64_t{1} << 62U)) counted += summary.counts.bundles;
  EXPECT_EQ(own_entries, 1U);
  EXPECT_EQ(own_entries + counted, 600U) << "nothing is lost";
  EXPECT_LE(summaries, 10U);
  (void)readers.Due((std::int64_t{1} << 62U) + Readers::kWindowNs);  // a whole window without anything
  EXPECT_TRUE(readers.Meets("anna", 1, 0));
}

TEST(TreeReaders, MoreReadersThanFitHaveAnEntryForEachRequest) {
  Readers readers;
  for (std::size_t i = 0; i < Readers::kReadersMax; ++i) ASSERT_TRUE(readers.Meets(std::to_string(i), 1, 0));
  EXPECT_TRUE(readers.Meets("one more", 1, 0));
  EXPECT_TRUE(readers.Meets("one more", 1, 0));
}

TEST(TreeAccess, WordsAreThoseOfTheConfiguration) {
  EXPECT_EQ(ParseTreeServe("off"), TreeServe::kOff);
  EXPECT_EQ(ParseTreeServe("signed-in"), TreeServe::kSignedIn);
  EXPECT_EQ(ParseTreeServe("anyone"), TreeServe::kAnyone);
  EXPECT_FALSE(ParseTreeServe("everyone").has_value());
}

}  // namespace
}  // namespace stele::query
