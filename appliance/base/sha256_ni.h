// SHA-256 with the SHA extensions of x86-64 (SHA-NI), one or two independent messages at a time. Private to base: call
// through hash.h, which checks the processor and cross-checks the result.
#pragma once

#include "appliance/base/hash.h"

namespace stele::sha_ni {

[[nodiscard]] bool Supported();
void One(const HashJob& job, Hash& out);  // prefix.size() <= 64
void Two(const HashJob& first, const HashJob& second, Hash& first_out, Hash& second_out);

}  // namespace stele::sha_ni
