// Which network a process can see: asked while it still may ask. Private to this room.
#pragma once

#include "appliance/sandbox/sandbox.h"

namespace stele::sandbox {

// Needs a socket: before seccomp. Makes none that outlives the call.
// `interface`: Profile::interface.
[[nodiscard]] Network SeenNetwork(const std::string& interface);

}  // namespace stele::sandbox
