// Goal: a request goes on to its body only when its header has one reading. Method: any bytes through Beast's parser,
// as the server configures it, and then through the rules. Oracle: a naive reading of the same header must agree on
// host, lengths and path.
#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <cstdint>
#include <string>

#include "appliance/base/hash.h"
#include "appliance/base/limits.h"
#include "appliance/ingest/http_request.h"

namespace {

namespace http = boost::beast::http;
using namespace stele;
using namespace stele::ingest;

std::size_t CountLines(std::string_view head, std::string_view name) {
  std::size_t count = 0;
  while (!head.empty()) {
    const std::size_t end = std::min(head.find("\r\n"), head.size());
    const std::string_view line = head.substr(0, end);
    const bool same = line.size() > name.size() && line[name.size()] == ':' &&
                      std::equal(name.begin(), name.end(), line.begin(), [](char wanted, char found) {
                        return wanted == (found >= 'A' && found <= 'Z' ? static_cast<char>(found - 'A' + 'a') : found);
                      });
    count += same ? 1U : 0U;
    head.remove_prefix(std::min(end + 2, head.size()));
  }
  return count;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const SenderSet nobody({}, {});
  static const SenderSet somebody({"a-token-of-nobody"}, {{"named", Sha256Of(AsBytes("named-token")), Hash{}}});
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t end = text.find("\r\n\r\n");
  if (end == std::string_view::npos) return 0;
  http::request_parser<http::buffer_body> parser;
  parser.header_limit(static_cast<std::uint32_t>(limits::kHttpHeaderBytes));
  parser.body_limit(limits::kHttpBodyBytes);
  boost::system::error_code error;
  (void)parser.put(boost::asio::buffer(data, end + 4), error);
  if ((error && error != http::error::need_buffer && error != http::error::need_more) || !parser.is_header_done())
    return 0;

  Request request;
  const auto refusal = CheckRequest(parser.get(), nobody, std::nullopt, request);
  Request strict;
  const auto strict_refusal = CheckRequest(parser.get(), somebody, std::nullopt, strict);
  // Fewer are let in when senders are registered, and nobody without a name or a known token.
  if (!strict_refusal) {
    STELE_CHECK(!refusal);
    STELE_CHECK(text.find("oken") != std::string_view::npos || text.find("asic") != std::string_view::npos);
  }
  if (refusal) {
    const auto status = static_cast<unsigned>(refusal->status);
    STELE_CHECK(status >= 400 && status < 500);
    STELE_CHECK(!DoorErrorText(request.door, status, refusal->code, refusal->message).empty());
    return 0;
  }
  const std::string_view head = text.substr(0, end + 2);
  const std::size_t lengths = CountLines(head, "content-length");
  const std::size_t encodings = CountLines(head, "transfer-encoding");
  STELE_CHECK(CountLines(head, "host") <= 1);
  STELE_CHECK(lengths + encodings <= 1);
  STELE_CHECK(!TakesBody(request.door) || lengths + encodings == 1);
  const std::string_view line = head.substr(0, head.find("\r\n"));
  const std::size_t first = line.find(' ');
  STELE_CHECK(first != std::string_view::npos);
  const std::string_view target = line.substr(first + 1, line.rfind(' ') - first - 1);
  STELE_CHECK(target.starts_with('/'));
  STELE_CHECK(target.substr(0, target.find('?')).find("..") == std::string_view::npos ||
              request.target.find('/') == std::string::npos);
  STELE_CHECK(request.target.find_first_of("/\\%\"' \t") == std::string::npos);
  STELE_CHECK(request.target.size() <= 300);
  if (TakesBody(request.door)) {
    JsonChecker checker;
    STELE_CHECK(MakeBody(request, checker) != nullptr);
  }
  return 0;
}
