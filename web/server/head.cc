#include "web/server/head.h"

#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>

#include "appliance/base/limits.h"

namespace stele::web {
namespace {

namespace http = boost::beast::http;

bool IsNameCharacter(char c) {  // RFC 9110 section 5.6.2, token
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
  return std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

Result<void> CheckField(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0) return Fail(Code::kInvalid, "a field without a name");
  for (const char c : line.substr(0, colon)) {
    if (!IsNameCharacter(c)) return Fail(Code::kInvalid, "a field name that is not a token");  // folded lines as well
  }
  for (const char c : line.substr(colon + 1)) {
    if (c != '\t' && (c < ' ' || c > '~')) return Fail(Code::kInvalid, "a byte no field may have");
  }
  return {};
}

Result<void> CheckRequestLine(std::string_view line) {
  for (const char c : line) {
    if (c < ' ' || c > '~') return Fail(Code::kInvalid, "a byte no request line may have");
  }
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == 0 || line.find(' ', first + 1) != last || last <= first + 1) {
    return Fail(Code::kInvalid, "the request line does not have three parts");
  }
  if (line.substr(last + 1) != "HTTP/1.1") return Fail(Code::kInvalid, "the version is not HTTP/1.1");
  return {};
}

// The gate in front of the parser.
Result<void> CheckLines(std::string_view head) {
  if (!head.ends_with("\r\n\r\n")) return Fail(Code::kInvalid, "the head has no end");
  head.remove_suffix(2);
  bool first = true;
  std::size_t fields = 0;
  while (!head.empty()) {
    const std::size_t end = head.find("\r\n");
    if (end == std::string_view::npos) return Fail(Code::kInvalid, "a line has no end");
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(end + 2);
    if (first) {
      STELE_TRY_VOID(CheckRequestLine(line));
      first = false;
      continue;
    }
    if (++fields > limits::kWebFields) return Fail(Code::kInvalid, "too many fields");
    STELE_TRY_VOID(CheckField(line));
  }
  return {};
}

std::string LowerCase(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

}  // namespace

std::size_t FindHeadEnd(std::string_view received) {
  const std::size_t at = received.find("\r\n\r\n");
  return at == std::string_view::npos ? at : at + 4;
}

Result<RequestHead> ParseHead(std::string_view head) {
  if (head.size() > limits::kHttpHeaderBytes) return Fail(Code::kInvalid, "the head is too long");
  STELE_TRY_VOID(CheckLines(head));
  http::request_parser<http::empty_body> parser;
  parser.header_limit(static_cast<std::uint32_t>(limits::kHttpHeaderBytes));
  parser.body_limit(boost::none);  // the length is judged later, with an answer of its own
  boost::beast::error_code error;
  const std::size_t used = parser.put(boost::asio::const_buffer(head.data(), head.size()), error);
  if (error && error != http::error::need_more) return Fail(Code::kInvalid, error.message());
  if (!parser.is_header_done() || used != head.size()) return Fail(Code::kInvalid, "the head is not one head");
  const auto& message = parser.get();
  RequestHead out;
  out.method = std::string(message.method_string());
  out.target = std::string(message.target());
  for (const auto& field : message) {
    out.fields.emplace_back(LowerCase(std::string_view(field.name_string().data(), field.name_string().size())),
                            std::string(field.value()));
  }
  return out;
}

}  // namespace stele::web
