#include "appliance/ingest/http_request.h"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/field.hpp>
#include <boost/beast/http/verb.hpp>
#include <iterator>
#include <nlohmann/json.hpp>

#include "appliance/base/hash.h"
#include "appliance/base/text.h"

namespace stele::ingest {
namespace {

namespace http = boost::beast::http;

std::string_view View(boost::beast::string_view text) { return {text.data(), text.size()}; }

// The media type without its parameters, lower case.
std::string MediaType(std::string_view value) {
  auto type = value.substr(0, value.find(';'));
  while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) type.remove_suffix(1);
  std::string lower(type);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return lower;
}

Refusal Refuse(http::status status, const char* code, std::string message) { return {status, code, std::move(message)}; }

bool Authorized(const RequestHeader& header, const TokenSet& tokens) {
  if (tokens.empty()) return true;
  const auto value = View(header[http::field::authorization]);
  constexpr std::string_view kScheme = "bearer ";
  if (value.size() <= kScheme.size()) return false;
  if (!boost::beast::iequals(boost::beast::string_view(value.data(), kScheme.size()),
                             boost::beast::string_view(kScheme.data(), kScheme.size()))) {
    return false;
  }
  return tokens.Knows(value.substr(kScheme.size()));
}

//= RFC 9112 section 6.1
//# A server MAY reject a request that contains both Content-Length and Transfer-Encoding
// Two parties that read a length differently is how requests are smuggled; such a request is refused before its body.
std::optional<Refusal> CheckLength(const RequestHeader& header) {
  const auto lengths = header.count(http::field::content_length);
  const auto encodings = header.count(http::field::transfer_encoding);
  if (lengths + encodings > 1) return Refuse(http::status::bad_request, "bad_request", "more than one body length");
  if (lengths + encodings == 0) return Refuse(http::status::length_required, "bad_request", "a body needs a length");
  if (encodings == 1) {
    if (header.version() != 11 || !boost::beast::iequals(header[http::field::transfer_encoding], "chunked")) {
      return Refuse(http::status::bad_request, "bad_request", "only the chunked transfer encoding is read");
    }
  }
  return std::nullopt;
}

}  // namespace

TokenSet::TokenSet(const std::vector<std::string>& tokens) {
  for (const auto& token : tokens) digests_.push_back(Sha256Of(AsBytes(token)));
}

bool TokenSet::Knows(std::string_view token) const {
  const Hash digest = Sha256Of(AsBytes(token));
  bool known = false;
  for (const auto& candidate : digests_) {
    if (CRYPTO_memcmp(candidate.data(), digest.data(), digest.size()) == 0) known = true;
  }
  return known;
}

std::optional<Refusal> CheckRequest(const RequestHeader& header, const TokenSet& tokens, JsonBody::Kind& kind) {
  if (header.version() != 11 && header.version() != 10) return Refuse(http::status::bad_request, "bad_request", "HTTP/1.1 only");
  const auto hosts = header.count(http::field::host);
  if (hosts > 1 || (hosts == 0 && header.version() == 11)) return Refuse(http::status::bad_request, "bad_request", "one Host, please");
  for (const auto field : {http::field::content_type, http::field::authorization, http::field::content_encoding, http::field::expect}) {
    if (header.count(field) > 1) return Refuse(http::status::bad_request, "bad_request", "a header field twice");
  }
  if (!Authorized(header, tokens)) return Refuse(http::status::unauthorized, "unauthorized", "a bearer token is needed");
  const auto target = View(header.target());
  if (target != "/v1/events" && target != "/api/v1/events") return Refuse(http::status::not_found, "not_found", "POST /v1/events");
  if (header.method() != http::verb::post) return Refuse(http::status::method_not_allowed, "method_not_allowed", "POST only");
  if (auto refusal = CheckLength(header)) return refusal;

  const auto encoding = View(header[http::field::content_encoding]);
  if (!encoding.empty() && encoding != "identity") {
    return Refuse(http::status::unsupported_media_type, "bad_request", "no content encoding is read");
  }
  const std::string type = MediaType(View(header[http::field::content_type]));
  if (type == "application/x-ndjson" || type == "application/ndjson" || type == "application/jsonl") {
    kind = JsonBody::Kind::kLines;
  } else if (type == "application/json") {
    kind = JsonBody::Kind::kObjectOrLines;
  } else {
    return Refuse(http::status::unsupported_media_type, "bad_request", "application/x-ndjson or application/json");
  }
  const auto expect = header[http::field::expect];
  if (!expect.empty() && !boost::beast::iequals(expect, "100-continue")) {
    return Refuse(http::status::expectation_failed, "bad_request", "only 100-continue can be expected");
  }
  return std::nullopt;
}

std::string ErrorText(std::string_view code, std::string_view message) {
  return nlohmann::json{{"error", {{"code", code}, {"message", message}}}}.dump();
}

std::string CommittedText(const JsonOutcome& outcome, const std::vector<std::uint32_t>& unparsed_lines,
                          std::uint64_t unparsed_count) {
  std::string text = "{\"ranges\":[";
  for (std::size_t i = 0; i < outcome.ranges.size(); ++i) {
    fmt::format_to(std::back_inserter(text), "{}[{},{}]", i == 0 ? "" : ",", outcome.ranges[i].first, outcome.ranges[i].second);
  }
  text += "],\"unparsed\":[";
  for (std::size_t i = 0; i < unparsed_lines.size(); ++i) {
    fmt::format_to(std::back_inserter(text), "{}{}", i == 0 ? "" : ",", unparsed_lines[i]);
  }
  fmt::format_to(std::back_inserter(text), "],\"unparsed_count\":{},\"checkpoint\":", unparsed_count);
  // A note is ASCII text of ours; ToUtf8() keeps a damaged one from throwing.
  text += outcome.checkpoint ? nlohmann::json(ToUtf8(AsBytes(*outcome.checkpoint))).dump() : "null";
  text += '}';
  return text;
}

}  // namespace stele::ingest
