// A loop device on a file of its own, for tests that need a real block device; it goes away with its last user.
#pragma once

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "appliance/base/fd.h"

namespace stele::store {

class LoopDevice {
 public:
  LoopDevice(std::uint64_t size_bytes, std::uint32_t block_bytes) {
    std::string backing = (std::filesystem::temp_directory_path() / "stele-loop-XXXXXX").string();
    const UniqueFd file(::mkostemp(backing.data(), O_CLOEXEC));
    if (!file.valid()) return;
    (void)::unlink(backing.c_str());
    if (::ftruncate(file.get(), static_cast<off_t>(size_bytes)) != 0) return;
    const UniqueFd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
    for (int attempt = 0; control.valid() && attempt < 20; ++attempt) {  // somebody may be quicker
      const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
      if (number < 0) return;
      const std::string node = "/dev/loop" + std::to_string(number);
      UniqueFd device(::open(node.c_str(), O_RDWR | O_CLOEXEC));
      if (!device.valid()) return;
      loop_config config{};
      config.fd = static_cast<__u32>(file.get());
      config.block_size = block_bytes;
      config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
      if (::ioctl(device.get(), LOOP_CONFIGURE, &config) != 0) continue;
      node_ = node;
      held_ = std::move(device);
      MakeWritable();
      return;
    }
  }
  ~LoopDevice() { MakeWritable(); }
  LoopDevice(const LoopDevice&) = delete;
  LoopDevice& operator=(const LoopDevice&) = delete;

  [[nodiscard]] bool valid() const { return held_.valid(); }
  [[nodiscard]] const std::string& node() const { return node_; }
  [[nodiscard]] int fd() const { return held_.get(); }

 private:
  // The flag outlives what was on the device: the next user of this number would find it.
  void MakeWritable() const {
    const int read_only = 0;
    if (held_.valid()) (void)::ioctl(held_.get(), BLKROSET, &read_only);
  }
  std::string node_;
  UniqueFd held_;
};

}  // namespace stele::store
