// Shell-like patterns: * is any run of characters, ? any one. Nothing else is special.
#pragma once

#include <string_view>

namespace stele::query {

// Whole text, bytes as they are; fold the case of both before. Work is at most |pattern| * |text|.
[[nodiscard]] bool GlobMatches(std::string_view pattern, std::string_view text);

}  // namespace stele::query
