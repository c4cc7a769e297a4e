// A request head: from bytes to names and values.
//
//   head := request-line CRLF (field CRLF)* CRLF          RFC 9112 sections 2.1, 3 and 5
//
// One parser reads it (Boost.Beast). Before it, a lexical gate refuses what parsers are known to read differently:
// bare CR or LF, folded lines, control and non-ASCII bytes, white space around a field name, any version but HTTP/1.1.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "appliance/base/result.h"

namespace stele::web {

struct RequestHead {
  std::string method;
  std::string target;
  std::vector<std::pair<std::string, std::string>> fields;  // lower-case names, in order of arrival
};

// Where the head ends (just after its empty line) in what has arrived; npos: not yet.
[[nodiscard]] std::size_t FindHeadEnd(std::string_view received);

// `head` is exactly one head, its empty line included. kInvalid names what is wrong.
[[nodiscard]] Result<RequestHead> ParseHead(std::string_view head);

}  // namespace stele::web
