// The version of the family, from the build.
#pragma once

namespace stele::daemons {
inline constexpr const char* kVersion = STELE_VERSION;
}  // namespace stele::daemons
