// Where a log lies: files of one directory, or raw partitions. Opened before a process locks itself down.
#pragma once

#include <filesystem>

#include "appliance/store/partition_shelf.h"

namespace stele::store {

struct MediumPlace {
  std::filesystem::path directory;      // of the segments, where there are no partitions; of the spines in any case
  std::vector<std::string> partitions;  // paths or patterns of device nodes: OpenPartitions()
};

struct OpenedShelf {
  std::unique_ptr<DeviceShelf> shelf;
  PartitionShelf* partitions = nullptr;  // the same, where it is one
};

class Medium {
 public:
  // Partitions are opened here, a directory by each shelf. The error of OpenPartitions().
  static Result<Medium> Open(MediumPlace place, MediumUse use);
  // May be asked for more than once, from any thread. `log_id`: PartitionShelf::Open().
  [[nodiscard]] Result<OpenedShelf> Shelf(const std::optional<Hash>& log_id) const;
  [[nodiscard]] bool on_partitions() const { return !place_.partitions.empty(); }

 private:
  Medium(MediumPlace place, MediumUse use) : place_(std::move(place)), use_(use) {}
  MediumPlace place_;
  MediumUse use_;
  std::vector<Partition> partitions_;
  std::shared_ptr<SpineFolder> spines_;
};

// Has the kernel refuse writes to every partition that bears a seal mark, again after each start of the machine: takes CAP_SYS_ADMIN,
// which a locked-down ledger has not. In the image the initial RAM disk did it. Returns how many bear a mark.
[[nodiscard]] Result<std::uint32_t> SealAgain(const std::vector<std::string>& partitions);

}  // namespace stele::store
