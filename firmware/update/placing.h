// Puts bytes where they stay and looks whether they are there: in a partition, in a file of the ESP. Errors: kIo with
// errno; kInvalid: there is no room; kCorrupt: what is read back is not what was written.
#pragma once

#include <cstdint>
#include <string>

#include "appliance/base/bytes.h"

namespace stele::update {

// Whether they fit, before anything is written.
[[nodiscard]] Result<void> HasRoomOnDevice(const std::string& device, std::uint64_t size_bytes);
// For a new file at `path` of a mounted file system, in whose place another may be, and once more for a copy of it.
[[nodiscard]] Result<void> HasRoomForFileTwice(const std::string& path, std::uint64_t size_bytes);

// From the beginning of the device; what lies behind stays as it is.
[[nodiscard]] Result<void> PlaceOnDevice(const std::string& device, ByteView content);
// As a new file that takes the place of the old one in the end; makes the folder where it is missing.
[[nodiscard]] Result<void> PlaceAsFile(const std::string& path, ByteView content);

// The ESP, mounted while this lives.
class MountedEsp {
 public:
  [[nodiscard]] static Result<MountedEsp> Mount(const std::string& device);
  MountedEsp(MountedEsp&& other) noexcept : mounted_(std::exchange(other.mounted_, false)) {}
  MountedEsp& operator=(MountedEsp&&) = delete;
  MountedEsp(const MountedEsp&) = delete;
  MountedEsp& operator=(const MountedEsp&) = delete;
  ~MountedEsp();

  [[nodiscard]] std::string PathOf(const std::string& name) const;

 private:
  MountedEsp() = default;
  bool mounted_ = true;
};

}  // namespace stele::update
