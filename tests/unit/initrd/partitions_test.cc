// Goal: a partition is found by its name, and a name that is there twice is nobody's. Method: texts as the kernel
// writes them, and broken ones.
#include "firmware/initrd/partitions.h"

#include <gtest/gtest.h>

namespace stele::initrd {
namespace {

const std::string kUevent =
    "MAJOR=259\nMINOR=7\nDEVNAME=nvme0n1p7\nDEVTYPE=partition\nDISKSEQ=9\nPARTN=7\nPARTNAME=stele-log-0\n";

TEST(Partitions, AnEventFileOfTheKernelIsUnderstood) {
  const auto partition = ParseUevent(kUevent);
  ASSERT_TRUE(partition);
  EXPECT_EQ(partition->name, "stele-log-0");
  EXPECT_EQ(partition->node, "/dev/nvme0n1p7");
  EXPECT_EQ(partition->device, 259U << 20 | 7U);
}

TEST(Partitions, OthersPartitionsAreNotOurs) {
  EXPECT_EQ(ParseUevent("MAJOR=259\nMINOR=1\nDEVNAME=nvme0n1p1\nPARTNAME=EFI\n").error().code, Code::kNotFound);
  EXPECT_EQ(ParseUevent("MAJOR=259\nMINOR=0\nDEVNAME=nvme0n1\nDEVTYPE=disk\n").error().code, Code::kNotFound);
  EXPECT_EQ(ParseUevent("").error().code, Code::kNotFound);
}

TEST(Partitions, WhatIsIncompleteOrNoNumberIsRefused) {
  EXPECT_EQ(ParseUevent("PARTNAME=stele-log-0\nDEVNAME=x\n").error().code, Code::kInvalid);
  EXPECT_EQ(ParseUevent("PARTNAME=stele-log-0\nMAJOR=259\nMINOR=7\n").error().code, Code::kInvalid);
  EXPECT_EQ(ParseUevent("PARTNAME=stele-log-0\nDEVNAME=x\nMAJOR=4096\nMINOR=7\n").error().code, Code::kInvalid);
  EXPECT_EQ(ParseUevent("PARTNAME=stele-log-0\nDEVNAME=x\nMAJOR=259x\nMINOR=7\n").error().code, Code::kInvalid);
}

Partition Named(const std::string& name, const std::string& node) { return {name, node, 1U << 20, 1 << 20}; }

TEST(Partitions, OneThatIsThereTwiceIsRefusedByName) {
  const Partitions partitions(
      {Named("stele-state", "/dev/a1"), Named("stele-root-a", "/dev/a2"), Named("stele-state", "/dev/b1")});
  EXPECT_TRUE(partitions.Only("stele-root-a"));
  EXPECT_EQ(partitions.Only("stele-state").error().code, Code::kDenied);
  EXPECT_EQ(partitions.Only("stele-verity-a").error().code, Code::kNotFound);
}

TEST(Partitions, LogsComeInTheOrderOfTheirNumbersWithoutDuplicates) {
  const Partitions partitions({Named("stele-log-10", "/dev/a"), Named("stele-log-2", "/dev/b"),
                               Named("stele-log-3", "/dev/c"), Named("stele-log-3", "/dev/d"),
                               Named("stele-log-", "/dev/e"), Named("stele-log-1x", "/dev/f"),
                               Named("stele-log-02", "/dev/g"), Named("stele-log-+4", "/dev/h")});
  std::vector<std::string> refused;
  const auto logs = partitions.Logs(refused);
  ASSERT_EQ(logs.size(), 2U);
  EXPECT_EQ(logs[0].name, "stele-log-2");
  EXPECT_EQ(logs[1].name, "stele-log-10");
  EXPECT_EQ(refused, std::vector<std::string>{"stele-log-3"});
}

TEST(Partitions, OnUsbAnUpdateOrASiteMayComeAndNothingElse) {
  EXPECT_TRUE(MayComeByUsb("stele-update"));
  EXPECT_TRUE(MayComeByUsb("stele-site"));
  for (const char* own : {"stele-log-0", "stele-state", "stele-root-a", "stele-verity-b", "stele-seed", "stele-esp", ""})
    EXPECT_FALSE(MayComeByUsb(own)) << own;
}

}  // namespace
}  // namespace stele::initrd
