// HTTP/1.1 as far as tlog-witness needs it: one POST and its answer, from either side. RFC 9112 by Boost.Beast's
// parsers, with every size bounded.
#pragma once

#include <optional>
#include <string>

#include "appliance/witness/wire.h"

namespace stele::witness {

inline constexpr std::size_t kHttpHeadBytesMax = std::size_t{16} * 1024;

inline constexpr std::string_view kPlainTextFields = "Content-Type: text/plain; charset=utf-8\r\n";

struct HttpAnswer {
  int status = 0;
  std::string content_type;
  std::string body;
};
// `fields`: further header fields, each with its CRLF. kInvalid: not an answer, or larger than `body_bytes_max`; kIo,
// kUnavailable as the wire says.
[[nodiscard]] Result<HttpAnswer> Post(Wire& wire, const std::string& authority, const std::string& path,
                                      std::string_view body, std::size_t body_bytes_max, Deadline deadline,
                                      std::string_view fields = kPlainTextFields);

struct HttpRequest {
  std::string method;
  std::string target;
  std::string body;
  bool keep_alive = true;
};
// What was read beyond one request, for the next one on the same connection.
using HttpInbox = std::string;
// kNotFound: the peer closed between two requests. kInvalid: not a request. kDenied: its body is too large.
[[nodiscard]] Result<HttpRequest> ReadRequest(Wire& wire, HttpInbox& inbox, std::size_t body_bytes_max,
                                              Deadline deadline);
[[nodiscard]] std::string FormatAnswer(const HttpAnswer& answer, bool keep_alive);

}  // namespace stele::witness
