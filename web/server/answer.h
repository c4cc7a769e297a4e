// Answers as bytes: status line, the security fields that every answer carries, and the framing of the body.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "appliance/base/bytes.h"

namespace stele::web {

// No script but our files, no markup from text (Trusted Types), no frame around us.
inline constexpr std::string_view kContentSecurityPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'";

struct AnswerHead {
  int status = 200;
  std::string content_type;                                 // empty: no body
  std::vector<std::pair<std::string, std::string>> fields;  // values are ours or were checked: no CR, no LF
  std::string cache_control = "no-store";
  std::optional<std::size_t> length;  // absent: chunked
  bool close = false;
  bool download = false;   // the policy gains `sandbox`
  bool localhost = false;  // see StrictTransport in answer.cc
};

[[nodiscard]] std::string FormatHead(const AnswerHead& head, std::int64_t wall_ns);

// RFC 9112 section 7.1.
[[nodiscard]] std::string FormatChunk(ByteView bytes);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

// {"error":{"code","message"}}, docs/api.md.
[[nodiscard]] std::string ErrorBody(std::string_view code, std::string_view message);

// RFC 9110 section 5.6.7, IMF-fixdate. No time zone file is read: this runs where no file can be opened.
[[nodiscard]] std::string FormatHttpDate(std::int64_t wall_ns);

}  // namespace stele::web
