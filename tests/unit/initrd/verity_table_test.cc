// Goal: only one description of the root file system is understood, and it always ends in a table that stops the
// machine on a wrong block.
#include <gtest/gtest.h>

#include "firmware/initrd/verity.h"

namespace stele::initrd {
namespace {

const std::string kHash(64, 'a');
const std::string kGood = "root_hash=" + kHash + "\nroot_salt=00ff\nroot_blocks=6608\n";

TEST(RootDescription, IsReadAndBecomesATable) {
  const auto root = ParseRootDescription(kGood);
  ASSERT_TRUE(root);
  const std::string table = "1 /dev/nvme0n1p2 /dev/nvme0n1p3 4096 4096 6608 0 sha256 " + kHash + " 00ff";
  EXPECT_EQ(VerityTable(*root, "/dev/nvme0n1p2", "/dev/nvme0n1p3", OnCorruption::kPanic),
            table + " 1 panic_on_corruption");
  EXPECT_EQ(VerityTable(*root, "/dev/nvme0n1p2", "/dev/nvme0n1p3", OnCorruption::kFail), table);
}

TEST(RootDescription, EveryTruncationIsRefusedExceptOfTheLastNumber) {
  const std::size_t last_number = kGood.find("6608");
  for (std::size_t length = 0; length <= last_number; ++length)
    EXPECT_FALSE(ParseRootDescription(kGood.substr(0, length))) << length;
}

TEST(RootDescription, WhatIsNotKnownOrThereTwiceIsRefused) {
  EXPECT_FALSE(ParseRootDescription(kGood + "init=/bin/sh\n"));
  EXPECT_FALSE(ParseRootDescription(kGood + "root_hash=" + kHash + "\n"));
  EXPECT_FALSE(ParseRootDescription(kGood + "\n"));
}

TEST(RootDescription, ValuesThatWouldAddWordsToTheTableAreRefused) {
  EXPECT_FALSE(ParseRootDescription("root_hash=" + kHash + "\nroot_salt=00 1 ignore_corruption\nroot_blocks=1\n"));
  EXPECT_FALSE(ParseRootDescription("root_hash=" + std::string(63, 'a') + " \nroot_salt=00\nroot_blocks=1\n"));
  EXPECT_FALSE(ParseRootDescription("root_hash=" + kHash + "\nroot_salt=00\nroot_blocks=1 0\n"));
  EXPECT_FALSE(ParseRootDescription("root_hash=" + kHash + "\nroot_salt=00\nroot_blocks=0\n"));
  EXPECT_FALSE(ParseRootDescription("root_hash=" + kHash + "\nroot_salt=00\nroot_blocks=268435457\n"));
}

}  // namespace
}  // namespace stele::initrd
