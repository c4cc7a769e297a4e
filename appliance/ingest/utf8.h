// UTF-8 validity (RFC 3629): no surrogates, no over-long forms, nothing above U+10FFFF.
#pragma once

#include <string_view>

namespace stele::ingest {

[[nodiscard]] bool IsUtf8(std::string_view text);

}  // namespace stele::ingest
