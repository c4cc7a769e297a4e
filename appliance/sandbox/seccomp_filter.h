// The allow-list of system calls, from a profile's promises. Private to this room.
#pragma once

#include "appliance/sandbox/sandbox.h"

namespace stele::sandbox {

// Loads the filter on every thread of the process. Irrevocable.
[[nodiscard]] Result<void> EnterSeccomp(const Profile& profile);

[[nodiscard]] bool Promises(const Profile& profile, Promise promise);

}  // namespace stele::sandbox
