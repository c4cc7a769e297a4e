// Loads the write-once guard (write_once.bpf.c) into the kernel and pins it where nothing of the running system can
// reach it. Used by the first process of the initial RAM disk only, as root, single-threaded, before anything else
// runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "appliance/base/result.h"

struct bpf_object;

namespace stele::guard {

struct LogPartition {
  std::uint32_t device = 0;  // the kernel's dev_t: major << 20 | minor
  bool sealed = false;
};

// The names in /proc/devices (characters) and /proc/misc whose devices stay open for everybody. What is not listed is
// closed, also what appears later: SCSI generic, bsg, NVMe, device-mapper, loop control, vfio, uio.
[[nodiscard]] std::vector<std::uint32_t> OpenCharacters(const std::string& proc_devices, const std::string& proc_misc);

class Guard {
 public:
  // `object`: write_once.bpf.o; `pins`: an empty folder on a bpffs. Nothing is refused before Arm(). kIo: the kernel
  // refused.
  [[nodiscard]] static Result<Guard> Load(const std::vector<std::byte>& object, const std::string& pins);
  // From here on until the machine restarts. Not to be called twice. `variable`: inode number on efivarfs of the one
  // firmware variable that may be written, 0 for none.
  [[nodiscard]] Result<void> Arm(const std::vector<LogPartition>& logs,
                                 const std::vector<std::uint32_t>& open_characters, std::uint64_t variable);

 private:
  bpf_object* object_ = nullptr;  // never closed: the links live as long as the machine
};

}  // namespace stele::guard
