// The few words of the operating system that the init needs. Everything here is for one process, PID 1 of the initial
// RAM disk.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/base/result.h"

namespace stele::initrd {

void Say(std::string_view line);  // one line to the kernel's log, and so to the console

[[nodiscard]] Result<std::vector<std::byte>> ReadAll(const std::string& path, std::size_t size_bytes_max);
[[nodiscard]] Result<std::string> ReadText(const std::string& path);  // at most 64 KiB
[[nodiscard]] Result<void> WriteText(const std::string& path, std::string_view text);
[[nodiscard]] Result<void> Mount(const std::string& what, const std::string& where, const char* type,
                                 unsigned long flags, const char* options = nullptr);
[[nodiscard]] std::vector<std::string> Names(const std::string& folder);  // sorted; empty when there is no such folder

}  // namespace stele::initrd
