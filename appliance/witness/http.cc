#include "appliance/witness/http.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/http/string_body.hpp>

#include <array>

namespace stele::witness {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;

// Feeds the parser until the message is whole. `inbox` holds what was read and not yet taken.
template <typename Parser>
Result<void> ReadMessage(Wire& wire, Parser& parser, std::string& inbox, Deadline deadline) {
  std::array<std::byte, 16 * 1024> chunk;
  parser.header_limit(kHttpHeadBytesMax);
  parser.eager(true);
  bool begun = false;
  for (;;) {
    if (!inbox.empty()) {
      begun = true;
      error_code error;
      const std::size_t taken = parser.put(boost::asio::buffer(inbox), error);
      inbox.erase(0, taken);
      if (error == http::error::body_limit) return Fail(Code::kDenied, "HTTP: the body is too large");
      if (error && error != http::error::need_more) return Fail(Code::kInvalid, "HTTP: " + error.message());
      if (parser.is_done()) return {};
    }
    STELE_TRY(const std::size_t got, wire.Read(chunk, deadline));
    if (got == 0) {
      if (!begun) return Fail(Code::kNotFound, "the peer has closed");
      error_code error;
      parser.put_eof(error);
      if (!error && parser.is_done()) return {};
      return Fail(Code::kInvalid, "HTTP: the message is cut");
    }
    inbox += AsText(ByteView(chunk).first(got));
  }
}

}  // namespace

Result<HttpAnswer> Post(Wire& wire, const std::string& authority, const std::string& path, std::string_view body,
                        std::size_t body_bytes_max, Deadline deadline, std::string_view fields) {
  const std::string head = "POST " + path + " HTTP/1.1\r\nHost: " + authority + "\r\n" + std::string(fields) +
                           "Content-Length: " + std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n";
  STELE_TRY_VOID(wire.Write(AsBytes(head + std::string(body)), deadline));
  http::response_parser<http::string_body> parser;
  parser.body_limit(body_bytes_max);
  std::string inbox;
  if (const auto read = ReadMessage(wire, parser, inbox, deadline); !read) {
    const Code code = read.error().code;
    return Fail(code == Code::kDenied     ? Code::kInvalid
                : code == Code::kNotFound ? Code::kIo
                                          : code,
                read.error().context);
  }
  HttpAnswer answer;
  answer.status = static_cast<int>(parser.get().result_int());
  answer.content_type = std::string(parser.get()[http::field::content_type]);
  answer.body = std::move(parser.get().body());
  return answer;
}

Result<HttpRequest> ReadRequest(Wire& wire, HttpInbox& inbox, std::size_t body_bytes_max, Deadline deadline) {
  http::request_parser<http::string_body> parser;
  parser.body_limit(body_bytes_max);
  STELE_TRY_VOID(ReadMessage(wire, parser, inbox, deadline));
  HttpRequest request;
  request.method = std::string(parser.get().method_string());
  request.target = std::string(parser.get().target());
  request.keep_alive = parser.get().keep_alive();
  request.body = std::move(parser.get().body());
  return request;
}

std::string FormatAnswer(const HttpAnswer& answer, bool keep_alive) {
  const auto reason = http::obsolete_reason(static_cast<http::status>(answer.status));
  return "HTTP/1.1 " + std::to_string(answer.status) + " " + std::string(reason) +
         "\r\nContent-Type: " + answer.content_type + "\r\nContent-Length: " + std::to_string(answer.body.size()) +
         "\r\nX-Content-Type-Options: nosniff\r\nConnection: " + (keep_alive ? "keep-alive" : "close") + "\r\n\r\n" +
         answer.body;
}

}  // namespace stele::witness
