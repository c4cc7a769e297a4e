// A log on raw partitions of fixed number and size, behind the DeviceShelf seam: docs/format.md, "Raw partitions".
//
//   partition := unit seal_mark[4096]        the unit as in a file; the mark (firmware/guard/seal_mark.h) in the last whole 4,096 bytes
//
// A partition is known by what it holds, never by its name or place: by log id and unit number of its superblock. Only one that is
// empty becomes a new unit; empty means zeros in the first MiB, in the last 64 KiB, and in 256 places in between. Everything else
// is left alone and said: another log's, a copy, one too small, one whose superblock was never finished, anything that is not Stele's.
// A partition is written forwards, once, and sealed; only reclaiming makes it empty again, before a log is opened and before it is sealed again. One that is full and bears no mark is sealed again
// and said: a crash came before the mark, or somebody took it away. Its unit is not written again in either case.
#pragma once

#include <mutex>
#include <set>

#include "appliance/base/limits.h"
#include "appliance/store/block_device.h"
#include "appliance/store/segment.h"
#include "appliance/store/spine_folder.h"

namespace stele::store {

// What the partitions hold.
struct PartitionsUse {
  std::uint64_t taken_bytes = 0;     // of partitions with a unit of this log
  std::uint64_t empty_bytes = 0;     // of those that may still become one
  std::uint64_t unit_bytes_min = 0;  // the smallest unit, begun or not
  std::uint32_t taken = 0;
  std::uint32_t read_only = 0;       // of the taken ones
  std::uint32_t empty = 0;
  std::vector<std::string> refused;   // one sentence for each partition that is left alone
  std::vector<std::string> unmarked;  // for each that bore no seal mark when it was looked at, though the log had gone on behind it
};

// Outlives the devices it hands out. Thread safety: any thread.
class PartitionShelf final : public DeviceShelf {
 public:
  // Looks at every partition; writes to none. `log_id`: whose units count; none: those of the log with the lowest unit number.
  // `partition_bytes_min`: smaller ones are refused. kDenied: the same unit is there twice, or there are only units of other logs.
  // kIo: a partition cannot be read.
  static Result<std::unique_ptr<PartitionShelf>> Open(std::vector<Partition> partitions, std::optional<Hash> log_id,
                                                      std::uint64_t partition_bytes_min = limits::kSegmentBytesMin);
  // Where the spines of its expired units are; without it there are none.
  void KeepSpinesIn(std::shared_ptr<SpineFolder> spines) { spines_ = std::move(spines); }

  // Begun units, those given to Create(), and numbers that were given up before anything of them reached a medium.
  Result<std::vector<std::uint32_t>> List() override;
  // Finds what another process began meanwhile. Writable: this unit is gone on with, so those below are sealed where a crash or an
  // error came before their seal did.
  Result<std::unique_ptr<Device>> Open(std::uint32_t unit, bool writable) override;
  // The first empty partition; it has the size it has. The units below are sealed once something of this one is durable. kIo with
  // ENOSPC: there is none.
  Result<std::unique_ptr<Device>> Create(std::uint32_t unit, std::uint64_t size_bytes) override;
  std::vector<std::uint32_t> Expired() override;
  Result<Bytes> Spine(std::uint32_t unit) override;
  Result<void> KeepSpine(std::uint32_t unit, ByteView spine) override;
  Result<void> MayClear(std::uint32_t unit) override;
  // The first block says that the partition is being emptied, then everything behind it becomes zero, then the first block does.
  Result<void> Clear(std::uint32_t unit) override;
  Result<void> FinishClearing() override;
  [[nodiscard]] PartitionsUse Use();

 private:
  enum class Holds : std::uint8_t { kNothing, kUnit, kOther, kRemains };
  struct Slot;
  class Unit;
  class GivenUp;

  PartitionShelf(std::vector<Partition> partitions, std::optional<Hash> log_id, std::uint64_t partition_bytes_min);
  Result<void> Look(Slot& slot);
  Result<void> LookWhereNothingWas();
  Result<void> Judge();
  Result<void> LookForMarks();
  void SealBelow(std::uint32_t unit);
  void Refuse(Slot& slot, std::string why);
  static Result<void> Empty(Slot& slot);
  [[nodiscard]] std::shared_ptr<Slot> SlotOf(std::uint32_t unit) const;

  std::mutex mutex_;
  std::vector<std::shared_ptr<Slot>> slots_;  // shared with the units handed out: they tell it of their failures
  std::optional<Hash> log_id_;
  std::uint64_t partition_bytes_min_;
  std::set<std::uint32_t> given_up_;
  std::shared_ptr<SpineFolder> spines_;
};

}  // namespace stele::store
