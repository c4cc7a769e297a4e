// The partitions of an appliance, found by their GPT names:
//
//   stele-root-a stele-verity-a      root file system and its hash tree (and -b)
//   stele-state                      the one writable file system, encrypted
//   stele-seed                       what the first start makes it from; zeros afterwards
//   stele-site                       the same on a disk that somebody brings along
//   stele-log-0, stele-log-1, ...    raw, write-once
//
//   stele-update                     an update, on a disk that somebody brings along
//
// A name that is there twice is nobody's: a second disk cannot put itself in the place of the first. What is on USB is
// an update or a site and nothing else: who can plug in a stick cannot be the log, or stand in the way of the disk.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/base/result.h"

namespace stele::initrd {

struct Partition {
  std::string name;          // GPT name
  std::string node;          // "/dev/nvme0n1p2"
  std::uint32_t device = 0;  // the kernel's dev_t: major << 20 | minor
  std::uint64_t size_bytes = 0;
};

// Text of a /sys/class/block/X/uevent -> the partition; kNotFound: not a partition of ours.
[[nodiscard]] Result<Partition> ParseUevent(const std::string& text);

[[nodiscard]] bool MayComeByUsb(std::string_view name);

class Partitions {
 public:
  explicit Partitions(std::vector<Partition> all) : all_(std::move(all)) {}
  [[nodiscard]] static Partitions OfThisMachine();

  // kNotFound: there is none; kDenied: there are two.
  [[nodiscard]] Result<Partition> Only(const std::string& name) const;
  // All log partitions that are there once, in the order of their numbers; `refused` gets the names that are there
  // twice.
  [[nodiscard]] std::vector<Partition> Logs(std::vector<std::string>& refused) const;

 private:
  std::vector<Partition> all_;
};

}  // namespace stele::initrd
