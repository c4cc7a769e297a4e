// The root file system behind dm-verity, set up by the kernel's own interface: no program, no superblock. All that
// decides what is accepted comes from the initial RAM disk, which is part of the signed image.
#pragma once

#include <cstdint>
#include <string>

#include "appliance/base/result.h"

namespace stele::initrd {

struct RootDescription {
  std::string hash;          // of the root of the hash tree: 64 hexadecimal digits
  std::string salt;          // hexadecimal
  std::uint64_t blocks = 0;  // of 4,096 bytes of data
};

// Lines "root_hash=", "root_salt=", "root_blocks=", each once, nothing else. kInvalid names what is wrong.
[[nodiscard]] Result<RootDescription> ParseRootDescription(const std::string& text);

// A wrong block never becomes data. kFail: reading it fails, for the question whether this is our root at all; kPanic:
// a system that reads one does not go on.
enum class OnCorruption { kFail, kPanic };

// The argument of the "verity" target: version 1 tables, sha256, blocks of 4,096.
[[nodiscard]] std::string VerityTable(const RootDescription& root, const std::string& data_node,
                                      const std::string& hash_node, OnCorruption on_corruption);

// Whether the partitions hold this root file system, as far as its first block and the way to it through the hash tree
// say. What they hold else is somebody's, or damaged.
[[nodiscard]] bool HoldsRoot(const RootDescription& root, const std::string& data_node, const std::string& hash_node);

// Makes the device, which panics on corruption; its node is the result ("/dev/dm-0").
[[nodiscard]] Result<std::string> OpenVerity(const RootDescription& root, const std::string& data_node,
                                             const std::string& hash_node);

}  // namespace stele::initrd
