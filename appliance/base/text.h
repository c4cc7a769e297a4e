// Text for people: time stamps, sizes, and hostile text made harmless.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "appliance/base/bytes.h"

namespace stele {

[[nodiscard]] std::string FormatTime(std::int64_t wall_ns);  // RFC 3339, milliseconds, Z
// RFC 3339 date-time with zone or Z, or a bare date; ns since the epoch.
[[nodiscard]] std::optional<std::int64_t> ParseTime(std::string_view text);

// For a terminal or a log line: every control character, bidi control, zero-width or invalid UTF-8 byte becomes a visible
// escape (\n, \x1b, \u202e). The result holds no byte below 0x20 and no 0x7f.
[[nodiscard]] std::string EscapeForTerminal(ByteView hostile);

// Valid UTF-8 for JSON: each invalid byte becomes U+FFFD. `lossy` says whether any did.
[[nodiscard]] std::string ToUtf8(ByteView hostile, bool* lossy = nullptr);

}  // namespace stele
