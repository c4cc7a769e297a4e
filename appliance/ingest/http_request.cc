#include "appliance/ingest/http_request.h"

#include <algorithm>
#include <array>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/field.hpp>
#include <boost/beast/http/verb.hpp>
#include <nlohmann/json.hpp>

#include "appliance/base/text.h"
#include "appliance/ingest/bulk_body.h"
#include "appliance/ingest/http_answer.h"
#include "appliance/ingest/otlp_body.h"

namespace stele::ingest {
namespace {

namespace http = boost::beast::http;
using nlohmann::json;

constexpr std::size_t kTargetBytesMax = 128;      // of an index or a webhook's name
constexpr const char* kElasticVersion = "8.0.0";  // the bulk interface that is understood, for clients that ask

std::string_view View(boost::beast::string_view text) { return {text.data(), text.size()}; }

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return lower;
}

// The media type without its parameters, lower case.
std::string MediaType(std::string_view value) {
  auto type = value.substr(0, value.find(';'));
  while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) type.remove_suffix(1);
  return Lower(type);
}

Refusal Refuse(http::status status, const char* code, std::string message) {
  return {status, code, std::move(message)};
}
Refusal BadRequest(std::string message) { return Refuse(http::status::bad_request, "bad_request", std::move(message)); }
Refusal WrongType(std::string message) {
  return Refuse(http::status::unsupported_media_type, "bad_request", std::move(message));
}

bool IsName(std::string_view text) {
  return !text.empty() && text.size() <= kTargetBytesMax && text.front() != '_' &&
         text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~") ==
             std::string_view::npos;
}

// The door a path leads to; `path` has no query.
bool FindDoor(std::string_view path, http::verb method, Request& request) {
  constexpr std::string_view kWebhook = "/webhook/";
  constexpr std::string_view kBulk = "/_bulk";
  const bool reads = method == http::verb::get || method == http::verb::head;
  if (path == "/v1/events" || path == "/api/v1/events") {
    request.door = Door::kEvents;
  } else if (path == "/v1/logs") {
    request.door = Door::kOtlpLogs;
  } else if (path == kBulk) {
    request.door = Door::kBulk;
  } else if (path == "/") {
    request.door = reads ? Door::kElasticRoot : Door::kWebhook;
  } else if (path == "/_cluster/health") {
    request.door = Door::kElasticHealth;
  } else if (path == "/_license") {
    request.door = Door::kElasticLicense;
  } else if (path.starts_with(kWebhook) && IsName(path.substr(kWebhook.size()))) {
    request.door = Door::kWebhook;
    request.target = path.substr(kWebhook.size());
  } else if (path.size() > kBulk.size() && path.front() == '/' && path.ends_with(kBulk) &&
             IsName(path.substr(1, path.size() - kBulk.size() - 1))) {
    request.door = Door::kBulk;
    request.target = path.substr(1, path.size() - kBulk.size() - 1);
  } else {
    return false;
  }
  return true;
}

// What follows the "?". Elastic's clients send many parameters that change nothing here, except the pipeline, which is
// kept.
std::optional<Refusal> ReadQuery(std::string_view query, Request& request) {
  while (!query.empty()) {
    const auto one = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(one.size() + 1, query.size()));
    if (request.door == Door::kBulk && one.starts_with("pipeline=") && IsName(one.substr(9))) {
      request.target += "?" + std::string(one);
    }
    if (IsElastic(request.door)) continue;
    const bool receipt = request.door == Door::kEvents || request.door == Door::kWebhook;
    if (!receipt || one != "receipt=leaves") return BadRequest("an unknown parameter; there is ?receipt=leaves");
    request.wants_leaves = true;
  }
  return std::nullopt;
}

std::optional<Refusal> CheckMethod(const RequestHeader& header, Request& request) {
  const auto method = header.method();
  request.is_head = method == http::verb::head;
  if (!TakesBody(request.door)) {
    if (method == http::verb::get || request.is_head) return std::nullopt;
    return Refuse(http::status::method_not_allowed, "method_not_allowed", "GET only");
  }
  if (method == http::verb::post || (request.door == Door::kBulk && method == http::verb::put)) return std::nullopt;
  return Refuse(http::status::method_not_allowed, "method_not_allowed", "POST only");
}

//= RFC 9112 section 6.1
//# A server MAY reject a request that contains both Content-Length and Transfer-Encoding
// Two parties that read a length differently is how requests are smuggled; such a request is refused before its body.
std::optional<Refusal> CheckLength(const RequestHeader& header, bool takes_body) {
  const auto lengths = header.count(http::field::content_length);
  const auto encodings = header.count(http::field::transfer_encoding);
  if (lengths + encodings > 1) return BadRequest("more than one body length");
  if (!takes_body) {
    const bool empty = encodings == 0 && (lengths == 0 || header[http::field::content_length] == "0");
    return empty ? std::nullopt : std::optional(BadRequest("no body is read here"));
  }
  if (lengths + encodings == 0) return Refuse(http::status::length_required, "bad_request", "a body needs a length");
  if (encodings == 1) {
    if (header.version() != 11 || !boost::beast::iequals(header[http::field::transfer_encoding], "chunked")) {
      return BadRequest("only the chunked transfer encoding is read");
    }
  }
  return std::nullopt;
}

std::optional<Refusal> CheckType(const std::string& type, Request& request) {
  const bool lines = type == "application/x-ndjson" || type == "application/ndjson" || type == "application/jsonl";
  const bool object = type == "application/json";
  switch (request.door) {
    case Door::kEvents:
      request.kind = lines ? JsonBody::Kind::kLines : JsonBody::Kind::kObjectOrLines;
      if (lines || object) return std::nullopt;
      return WrongType("application/x-ndjson or application/json");
    case Door::kOtlpLogs:
      if (object) return std::nullopt;
      if (type == "application/x-protobuf")
        return WrongType("protobuf is not read: configure the exporter's encoding as JSON (http/json)");
      return WrongType("application/json");
    case Door::kBulk:
      if (lines || object || type == "application/vnd.elasticsearch+x-ndjson" ||
          type == "application/vnd.elasticsearch+json")
        return std::nullopt;
      return WrongType("application/x-ndjson");
    case Door::kWebhook:
      request.kind = JsonBody::Kind::kWhole;
      if (object || (type.starts_with("application/") && type.ends_with("+json"))) return std::nullopt;
      return WrongType("application/json");
    default:
      return std::nullopt;
  }
}

std::optional<Refusal> CheckEncoding(const RequestHeader& header, Request& request) {
  const std::string encoding = Lower(View(header[http::field::content_encoding]));
  request.gzip = encoding == "gzip" || encoding == "x-gzip";
  if (request.gzip || encoding.empty() || encoding == "identity") return std::nullopt;
  return WrongType("of the content encodings gzip is read");
}

}  // namespace

std::optional<Refusal> CheckRequest(const RequestHeader& header, const SenderSet& senders,
                                    const std::optional<Hash>& certificate, Request& request) {
  request = {};
  if (header.version() != 11 && header.version() != 10) return BadRequest("HTTP/1.1 only");
  const auto target = View(header.target());
  const auto path = target.substr(0, target.find('?'));
  const bool known = FindDoor(path, header.method(), request);
  const auto hosts = header.count(http::field::host);
  if (hosts > 1 || (hosts == 0 && header.version() == 11)) return BadRequest("one Host, please");
  for (const auto field :
       {http::field::content_type, http::field::authorization, http::field::content_encoding, http::field::expect}) {
    if (header.count(field) > 1) return BadRequest("a header field twice");
  }
  auto admitted = senders.Admit(View(header[http::field::authorization]), certificate);
  if (!admitted) return Refuse(http::status::unauthorized, "unauthorized", admitted.error().context);
  request.identity = std::move(*admitted);
  if (!known) return Refuse(http::status::not_found, "not_found", "POST /v1/events, /v1/logs, /_bulk or /webhook/NAME");
  if (auto refusal = CheckMethod(header, request)) return refusal;
  if (auto refusal = CheckLength(header, TakesBody(request.door))) return refusal;
  if (path.size() < target.size()) {
    if (auto refusal = ReadQuery(target.substr(path.size() + 1), request)) return refusal;
  }
  if (!TakesBody(request.door)) return std::nullopt;
  if (auto refusal = CheckEncoding(header, request)) return refusal;
  if (auto refusal = CheckType(MediaType(View(header[http::field::content_type])), request)) return refusal;
  if (request.door == Door::kEvents || request.door == Door::kWebhook) {
    request.wants_leaves = request.wants_leaves || boost::beast::iequals(header["Prefer"], "receipt");
  }
  const auto expect = header[http::field::expect];
  if (!expect.empty() && !boost::beast::iequals(expect, "100-continue")) {
    return Refuse(http::status::expectation_failed, "bad_request", "only 100-continue can be expected");
  }
  return std::nullopt;
}

std::unique_ptr<EventBody> MakeBody(const Request& request, JsonChecker& checker) {
  if (request.door == Door::kOtlpLogs) return std::make_unique<OtlpBody>();
  if (request.door == Door::kBulk) {
    const std::string_view target = request.target;
    return std::make_unique<BulkBody>(target.substr(0, target.find('?')), checker);
  }
  return std::make_unique<JsonBody>(request.kind, checker,
                                    request.wants_leaves ? limits::kHttpReceiptEvents : limits::kHttpEvents);
}

std::string HandshakeText(Door door, bool ready) {
  if (door == Door::kElasticHealth) {
    return json{{"cluster_name", "stele"}, {"status", ready ? "green" : "red"}, {"timed_out", false}}.dump();
  }
  if (door == Door::kElasticLicense) return json{{"license", {{"status", "active"}, {"type", "basic"}}}}.dump();
  return json{{"name", "stele"},
              {"cluster_name", "stele"},
              {"cluster_uuid", "stele"},
              {"version", {{"number", kElasticVersion}, {"build_flavor", "default"}, {"build_type", "stele"}}},
              {"tagline", "Stele keeps what it is given: it takes _bulk, and answers no searches here"}}
      .dump();
}

std::string DoorErrorText(Door door, unsigned status, std::string_view code, std::string_view message) {
  const std::string text = ToUtf8(AsBytes(message));
  if (door == Door::kOtlpLogs) {
    // google.rpc.Status: 3 invalid argument, 8 resource exhausted, 14 unavailable, 16 unauthenticated.
    const int number = status == 401 ? 16 : status == 413 ? 8 : status == 503 ? 14 : 3;
    return json{{"code", number}, {"message", text}}.dump();
  }
  if (IsElastic(door)) return json{{"error", {{"type", code}, {"reason", text}}}, {"status", status}}.dump();
  return ErrorText(code, text);
}

bool IsElastic(Door door) { return door == Door::kBulk || !TakesBody(door); }

bool TakesBody(Door door) {
  return door != Door::kElasticRoot && door != Door::kElasticHealth && door != Door::kElasticLicense;
}

}  // namespace stele::ingest
