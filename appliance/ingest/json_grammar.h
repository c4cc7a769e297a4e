// RFC 8259 as a plain grammar: slow, short, and without opinions about how large a number may be. simdjson refuses
// numbers that fit no machine type, which are JSON all the same; this decides those, and is the reference of the tests.
#pragma once

#include <cstddef>
#include <string_view>

namespace stele::ingest {

// One JSON value with white space around it, valid UTF-8, at most `depth_max` arrays and objects inside one
// another; an empty one inside them all is not counted (simdjson does not).
[[nodiscard]] bool IsJsonText(std::string_view text, std::size_t depth_max);

}  // namespace stele::ingest
