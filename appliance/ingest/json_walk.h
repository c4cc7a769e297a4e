// Walks the members and elements of JSON text that is known to be valid (IsJsonText), giving each value's own bytes:
// for doors that take a request apart without re-serialising anything. Not a parser: what it does with text that is not
// JSON is bounded, and nothing more. Pure.
#pragma once

#include <functional>
#include <string_view>

namespace stele::ingest {

// The value's bytes without white space around it. `name` is as written between its quotes, escapes and all.
using OnMember = std::function<bool(std::string_view name, std::string_view value)>;
using OnElement = std::function<bool(std::string_view value)>;

// False: `value` is not an object (array), or the callback said false, which ends the walk.
[[nodiscard]] bool WalkObject(std::string_view value, const OnMember& on_member);
[[nodiscard]] bool WalkArray(std::string_view value, const OnElement& on_element);

[[nodiscard]] std::string_view TrimJson(std::string_view text);

}  // namespace stele::ingest
