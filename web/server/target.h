// The request target (RFC 9112 section 3.2.1, origin-form only): path and query, decoded once, or refused.
//
// The viewer's paths are plain ASCII, so whatever could be read in two ways is refused, never repaired: `.` and `..`
// segments, `//`, backslash, `%2f`, `%5c`, `%00`, an encoded percent sign (double encoding), a fragment.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "appliance/base/result.h"

namespace stele::web {

struct Target {
  std::string path;                          // begins with '/', decoded
  std::map<std::string, std::string> query;  // decoded, valid UTF-8; a name occurs once
};

// kInvalid names what is ambiguous.
[[nodiscard]] Result<Target> ParseTarget(std::string_view target);

}  // namespace stele::web
