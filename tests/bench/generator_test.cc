// Goal: benchmark data is what the reports say it is: exact in size, varied, the same for the same seed, needles where planted.
// Method: properties over some thousand lines.
#include "tests/bench/generator.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace stele::bench {
namespace {

TEST(Generator, LinesHaveTheExactSizeAskedForAndNoLineFeed) {
  for (const std::uint32_t size : {160U, 256U, 1024U}) {
    Generator generator({.seed = 3, .size_bytes = size, .needle_every = 0, .tag = {}});
    for (int i = 0; i < 2'000; ++i) {
      const std::string_view line = generator.Next();
      ASSERT_EQ(line.size(), size);
      ASSERT_EQ(line.find('\n'), std::string_view::npos);
      ASSERT_EQ(line.front(), '<');
    }
  }
}

TEST(Generator, TheSameOptionsGiveTheSameLinesAndAnotherSeedGivesOthers) {
  const GeneratorOptions options{.seed = 11, .size_bytes = 256, .needle_every = 7, .tag = "t"};
  Generator first(options);
  Generator second(options);
  GeneratorOptions other_options = options;
  other_options.seed = 12;
  Generator other(other_options);
  std::size_t equal = 0;
  for (int i = 0; i < 1'000; ++i) {
    const std::string line(first.Next());
    EXPECT_EQ(line, second.Next());
    if (line == other.Next()) ++equal;
  }
  EXPECT_EQ(equal, 0U);
}

TEST(Generator, NoTwoOfTenThousandLinesAreEqual) {
  Generator generator({.seed = 5, .size_bytes = 0, .needle_every = 0, .tag = {}});
  std::set<std::string> lines;
  for (int i = 0; i < 10'000; ++i) lines.emplace(generator.Next());
  EXPECT_EQ(lines.size(), 10'000U);
}

TEST(Generator, NeedlesStandInEveryNthLineAndNowhereElse) {
  constexpr std::uint64_t kEvery = 50;
  Generator generator({.seed = 9, .size_bytes = 256, .needle_every = kEvery, .tag = {}});
  std::set<std::string> needles;
  for (std::uint64_t i = 1; i <= 5'000; ++i) {
    const std::string line(generator.Next());
    const bool planted = line.find("needle-") != std::string::npos;
    ASSERT_EQ(planted, i % kEvery == 0);
    if (!planted) continue;
    const std::string needle = Needle(9, i / kEvery);
    EXPECT_NE(line.find(needle), std::string::npos);
    needles.insert(needle);
  }
  EXPECT_EQ(needles.size(), 100U);
}

TEST(Generator, TagsNumberTheLinesFromZero) {
  Generator generator({.seed = 1, .size_bytes = 256, .needle_every = 0, .tag = "run7"});
  for (int i = 0; i < 100; ++i) {
    EXPECT_NE(generator.Next().find("[run@32473 id=\"run7\" n=\"" + std::to_string(i) + "\"]"), std::string_view::npos);
  }
}

}  // namespace
}  // namespace stele::bench
