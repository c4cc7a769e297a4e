// What a request's header must say before its body is read, and the bodies of the answers. Pure.
#pragma once

#include <boost/beast/http/fields.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/status.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/ingest/http_json.h"
#include "appliance/ingest/json_body.h"

namespace stele::ingest {

struct Refusal {
  boost::beast::http::status status = boost::beast::http::status::bad_request;
  const char* code = "bad_request";
  std::string message;
};

// Digests of the configured tokens: comparing digests in constant time tells nothing about the token or its length.
class TokenSet {
 public:
  explicit TokenSet(const std::vector<std::string>& tokens);
  [[nodiscard]] bool empty() const { return digests_.empty(); }
  [[nodiscard]] bool Knows(std::string_view token) const;

 private:
  std::vector<Hash> digests_;
};

using RequestHeader = boost::beast::http::header<true, boost::beast::http::fields>;

// Absent when the request may go on; `kind` is then how to read its body.
[[nodiscard]] std::optional<Refusal> CheckRequest(const RequestHeader& header, const TokenSet& tokens, JsonBody::Kind& kind);

[[nodiscard]] std::string ErrorText(std::string_view code, std::string_view message);
[[nodiscard]] std::string CommittedText(const JsonOutcome& outcome, const std::vector<std::uint32_t>& unparsed_lines,
                                        std::uint64_t unparsed_count);

}  // namespace stele::ingest
