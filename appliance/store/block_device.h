// Block devices as the medium of a log: raw partitions, found by the names the configuration gives, each opened once.
//
// Opened before a process locks itself down; from then on nothing is opened any more. Writes, and reads for recovery, go around
// the page cache (O_DIRECT, 4,096-byte blocks); Sync() is fdatasync, which flushes the drive's own cache.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "appliance/base/seams.h"

namespace stele::store {

inline constexpr std::size_t kPartitionsMax = 256;  // as many as the write-once guard knows

// What a process does with a medium.
enum class MediumUse : std::uint8_t {
  kAppend,      // the ledger: one process at a time (O_EXCL), O_DIRECT; what the kernel lets nobody write is opened for reading
  kRead,        // readers of a live log, through the page cache
  kReadDirect,  // recovery and verification: what the medium holds
};

// One opened partition, from its first byte to its last whole block. Several shelves of one process (a reader for each thread)
// stand on the same descriptor, hence shared.
struct Partition {
  std::string name;  // as configured: "/dev/disk/by-partlabel/stele-log-0"
  std::shared_ptr<Device> device;
  bool writable = false;
};

// `patterns`: paths or glob(7) patterns of device nodes. In their order, those of one pattern by name, numbers by value: log-2
// comes before log-10. kNotFound: a pattern that nothing matches. kDenied: not a block device, one device by two names, or one
// that is in use (mounted, or written by another process). kInvalid: sectors larger than 4,096 bytes.
[[nodiscard]] Result<std::vector<Partition>> OpenPartitions(const std::vector<std::string>& patterns, MediumUse use);

}  // namespace stele::store
