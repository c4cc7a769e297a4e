#include "web/server/policy.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "appliance/base/limits.h"
#include "web/server/target.h"

namespace stele::web {
namespace {

constexpr std::string_view kCookieName = "__Host-stele";
constexpr std::size_t kTokenBytesMax = 256;
constexpr std::string_view kApiPrefix = "/api/v1/";
constexpr std::string_view kMetricsPath = "/metrics";
constexpr std::string_view kTreePrefix = "/log/";  // the log as static resources (c2sp.org/tlog-tiles)

tl::unexpected<Refusal> Refuse(int status, std::string_view code, std::string_view message, bool close = true) {
  Refusal refusal;
  refusal.status = status;
  refusal.code = code;
  refusal.message = message;
  refusal.close = close;
  return tl::unexpected(std::move(refusal));
}
tl::unexpected<Refusal> RefuseFraming(std::string_view message) { return Refuse(400, "bad_request", message); }

bool SameLetters(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [&](char x, char y) { return lower(x) == lower(y); });
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// A field that means something here may occur once: two are two readings.
constexpr std::array<std::string_view, 13> kSingletons = {
    "host",          "content-length", "content-type",   "origin",         "cookie",
    "last-event-id", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "transfer-encoding",
    "expect",        "if-none-match",  "connection"};

using Fields = std::map<std::string_view, std::string_view>;

tl::expected<Fields, Refusal> SingleFields(const RequestHead& head) {
  Fields fields;
  for (const auto& field : head.fields) {
    if (std::find(kSingletons.begin(), kSingletons.end(), field.first) == kSingletons.end()) {
      if (field.first == "upgrade") fields.emplace(field.first, field.second);
      continue;
    }
    if (!fields.emplace(field.first, field.second).second) {
      return RefuseFraming("the field " + field.first + " occurs twice");
    }
  }
  return fields;
}

std::string_view Get(const Fields& fields, std::string_view name) {
  const auto found = fields.find(name);
  return found == fields.end() ? std::string_view() : found->second;
}

// RFC 9112 section 6.3: a length, or no body. Chunked requests are not accepted at all, so no length can contradict
// one.
tl::expected<void, Refusal> ReadFraming(const Fields& fields, Request& request) {
  if (fields.contains("transfer-encoding")) return RefuseFraming("Transfer-Encoding is not accepted");
  if (fields.contains("expect")) return RefuseFraming("Expect is not accepted");
  if (fields.contains("upgrade")) return RefuseFraming("Upgrade is not accepted");
  if (fields.contains("content-length")) {
    const std::string_view text = Get(fields, "content-length");
    const bool digits =
        !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!digits || (text.size() > 1 && text.front() == '0')) return RefuseFraming("Content-Length is not a number");
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), request.content_length);
    if (parsed.ec != std::errc()) return Refuse(413, "bad_request", "the body is too large");
  }
  if (fields.contains("connection")) {
    const std::string_view option = Get(fields, "connection");
    if (SameLetters(option, "close")) {
      request.keep_alive = false;
    } else if (!SameLetters(option, "keep-alive")) {
      return RefuseFraming("a Connection option that is not accepted");
    }
  }
  return {};
}

// name[:port] in lower case, or nothing. RFC 3986 section 3.2 without user information.
struct Authority {
  std::string name;
  std::string_view port;
};
std::optional<Authority> ParseAuthority(std::string_view text) {
  Authority out;
  std::size_t end = 0;
  if (text.starts_with('[')) {
    const std::size_t bracket = text.find(']');
    if (bracket == std::string_view::npos) return std::nullopt;
    end = bracket + 1;
    out.name = std::string(text.substr(1, bracket - 1));
    if (out.name.find_first_not_of("0123456789abcdefABCDEF:.") != std::string::npos) return std::nullopt;
  } else {
    end = std::min(text.find(':'), text.size());
    out.name = std::string(text.substr(0, end));
  }
  if (out.name.empty()) return std::nullopt;
  std::transform(out.name.begin(), out.name.end(), out.name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (end == text.size()) return out;
  if (text[end] != ':') return std::nullopt;
  out.port = text.substr(end + 1);
  unsigned port = 0;
  const auto parsed = std::from_chars(out.port.data(), out.port.data() + out.port.size(), port);
  if (parsed.ec != std::errc() || parsed.ptr != out.port.data() + out.port.size() || port == 0 || port > 65'535) {
    return std::nullopt;
  }
  return out;
}

tl::expected<void, Refusal> CheckHost(const Fields& fields, const Hosts& hosts, Request& request) {
  if (!fields.contains("host")) return RefuseFraming("Host is missing");
  const auto authority = ParseAuthority(Get(fields, "host"));
  if (!authority) return RefuseFraming("Host is malformed");
  if (!hosts.Knows(Get(fields, "host"))) return Refuse(421, "bad_request", "this server does not answer to that name");
  request.localhost = authority->name == "localhost";
  return {};
}

bool IsSignPath(std::string_view path) { return path == "/api/v1/sign-in" || path == "/api/v1/sign-out"; }

tl::expected<void, Refusal> CheckMethod(const RequestHead& head, Request& request) {
  const bool post = head.method == "POST";
  const bool get = head.method == "GET" || head.method == "HEAD";
  const bool sign = IsSignPath(request.path);
  if (sign ? !post : !get) {
    Refusal refusal;
    refusal.status = 405;
    refusal.code = "method_not_allowed";
    refusal.message = "that method does not exist here";
    refusal.allow = sign ? "POST" : "GET, HEAD";
    refusal.close = request.content_length != 0 || !(get || post);
    return tl::unexpected(std::move(refusal));
  }
  if (get && request.content_length != 0) return RefuseFraming("a body where none belongs");
  if (request.content_length > limits::kWebBodyBytes) return Refuse(413, "bad_request", "the body is too large");
  request.head_only = head.method == "HEAD";
  request.sign_in = request.path == "/api/v1/sign-in";
  return {};
}

// A page of another site must not make this browser ask (CSRF, cross-site leaks). docs/api.md, "Identity".
tl::expected<void, Refusal> CheckOrigin(const Fields& fields, const Request& request) {
  const bool close = request.content_length != 0;
  const std::string_view site = Get(fields, "sec-fetch-site");
  const std::string_view origin = Get(fields, "origin");
  if (!origin.empty() || fields.contains("origin")) {
    if (!SameLetters(origin, "https://" + std::string(Get(fields, "host")))) {
      return Refuse(403, "forbidden", "the request comes from another origin", close);
    }
  }
  if (IsSignPath(request.path)) {
    if (site != "same-origin") return Refuse(403, "forbidden", "Sec-Fetch-Site: same-origin is required", close);
    if (origin.empty()) return Refuse(403, "forbidden", "Origin is required", close);
    const bool typed = SameLetters(Trim(Get(fields, "content-type").substr(0, Get(fields, "content-type").find(';'))),
                                   "application/json");
    if (!typed && (request.sign_in || request.content_length != 0)) {
      return Refuse(400, "bad_request", "Content-Type: application/json is required", close);
    }
    return {};
  }
  if (!fields.contains("sec-fetch-site") || site == "same-origin" || site == "none") return {};
  // A link on another page may lead to the front page, as a whole page and nothing else.
  const bool link =
      request.path == "/" && Get(fields, "sec-fetch-mode") == "navigate" && Get(fields, "sec-fetch-dest") == "document";
  if (link) return {};
  return Refuse(403, "forbidden", "the request comes from another site", close);
}

bool IsTokenCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
         c == '.' || c == '~' || c == '+' || c == '/' || c == '=';
}

// RFC 6265 section 5.4. A value that is not a token is no session; two of the name are two readings.
tl::expected<void, Refusal> ReadCookie(std::string_view cookies, Request& request) {
  bool seen = false;
  while (!cookies.empty()) {
    const std::size_t end = std::min(cookies.find(';'), cookies.size());
    const std::string_view pair = Trim(cookies.substr(0, end));
    cookies.remove_prefix(std::min(end + 1, cookies.size()));
    const std::size_t equals = pair.find('=');
    if (equals == std::string_view::npos || Trim(pair.substr(0, equals)) != kCookieName) continue;
    if (seen) return RefuseFraming("the session cookie occurs twice");
    seen = true;
    const std::string_view token = Trim(pair.substr(equals + 1));
    if (token.size() <= kTokenBytesMax && std::all_of(token.begin(), token.end(), IsTokenCharacter)) {
      request.session_token = token;
    }
  }
  return {};
}

}  // namespace

Hosts::Hosts(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const bool bare_v6 = name.find(':') != std::string::npos && !name.starts_with('[');
    if (const auto authority = ParseAuthority(bare_v6 ? "[" + name + "]" : name)) names_.push_back(authority->name);
  }
}

bool Hosts::Knows(std::string_view authority) const {
  const auto parsed = ParseAuthority(authority);
  return parsed && std::find(names_.begin(), names_.end(), parsed->name) != names_.end();
}

namespace {

tl::expected<void, Refusal> JudgeInto(const RequestHead& head, const Hosts& hosts, Request& request) {
  const auto fields = SingleFields(head);
  if (!fields) return tl::unexpected(fields.error());
  if (auto ok = ReadFraming(*fields, request); !ok) return ok;
  if (auto ok = CheckHost(*fields, hosts, request); !ok) return ok;
  auto target = ParseTarget(head.target);
  if (!target) return RefuseFraming(target.error().context);
  request.method = head.method;
  request.path = std::move(target->path);
  request.query = std::move(target->query);
  request.api = request.path.starts_with(kApiPrefix) || request.path.starts_with(kTreePrefix) || request.path == kMetricsPath;
  if (auto ok = CheckMethod(head, request); !ok) return ok;
  if (auto ok = CheckOrigin(*fields, request); !ok) return ok;
  if (auto ok = ReadCookie(Get(*fields, "cookie"), request); !ok) return ok;
  for (const std::string_view name : {"last-event-id", "content-type", "origin"}) {
    if (fields->contains(name)) request.headers.emplace(name, Get(*fields, name));
  }
  request.if_none_match = Get(*fields, "if-none-match");
  return {};
}

}  // namespace

tl::expected<Request, Refusal> Judge(const RequestHead& head, const Hosts& hosts) {
  Request request;
  if (auto ok = JudgeInto(head, hosts, request); !ok) {
    ok.error().localhost = request.localhost;
    return tl::unexpected(std::move(ok.error()));
  }
  return request;
}

}  // namespace stele::web
