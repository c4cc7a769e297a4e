// Landlock by its raw system calls: Debian 12's C library has no wrappers and its headers know less than newer kernels.
// Private to this room.
#pragma once

#include <vector>

#include "appliance/sandbox/sandbox.h"

namespace stele::sandbox {

// The kernel's Landlock ABI, 0 when it has none (or it is switched off).
[[nodiscard]] int LandlockAbi();

// Restricts this thread and its later children to `paths`; needs no_new_privs. Whatever the ABI cannot express is added to
// `missing`. With ABI 0 it does nothing but say so.
[[nodiscard]] Result<void> EnterLandlock(int abi, const std::vector<PathRule>& paths,
                                         const std::vector<std::uint16_t>& connect_ports,
                                         std::vector<std::string>& missing);

}  // namespace stele::sandbox
