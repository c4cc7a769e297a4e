// The few words of the operating system that the init needs. Everything here is for one process, PID 1 of the initial
// RAM disk.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/base/result.h"

namespace stele::initrd {

inline constexpr uid_t kStele = 900;  // user and group of Stele in the image (image/root/overlay/etc/passwd)

void Say(std::string_view line);  // one line to the kernel's log, and so to the console

// Plain files alone, and no link as the last step: a pipe would hold the start up for ever.
[[nodiscard]] Result<std::vector<std::byte>> ReadAll(const std::string& path, std::size_t size_bytes_max);
[[nodiscard]] Result<std::string> ReadText(const std::string& path);  // at most 64 KiB
[[nodiscard]] Result<void> WriteText(const std::string& path, std::string_view text);
[[nodiscard]] Result<void> Mount(const std::string& what, const std::string& where, const char* type,
                                 unsigned long flags, const char* options = nullptr);
// Runs a program of the root file system to its end; its standard output becomes the file `words`. Its exit status, or
// 128 + the signal that ended it.
[[nodiscard]] Result<int> Run(const std::vector<std::string>& command, const std::string& words);

[[nodiscard]] std::vector<std::string> Names(const std::string& folder);  // sorted; empty when there is no such folder

}  // namespace stele::initrd
