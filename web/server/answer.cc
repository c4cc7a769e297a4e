#include "web/server/answer.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <nlohmann/json.hpp>

namespace stele::web {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kSecurityFields = {{
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Embedder-Policy", "require-corp"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Permissions-Policy",
     "accelerometer=(), autoplay=(), camera=(), clipboard-read=(), display-capture=(), "
     "encrypted-media=(), geolocation=(), gyroscope=(), hid=(), idle-detection=(), magnetometer=(), microphone=(), "
     "midi=(), payment=(), publickey-credentials-get=(), screen-wake-lock=(), serial=(), usb=(), xr-spatial-tracking=()"},
}};

// RFC 6797. By the name `localhost` the promise is taken back (max-age=0): it would bind every other server of the
// operator's own machine, whatever its port. Addresses are never HSTS hosts (section 8.1.1).
std::string_view StrictTransport(bool localhost) { return localhost ? "max-age=0" : "max-age=31536000"; }

std::string_view Reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 413:
      return "Content Too Large";
    case 421:
      return "Misdirected Request";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    default:
      return "";
  }
}

}  // namespace

std::string FormatHttpDate(std::int64_t wall_ns) {
  using std::chrono::days;
  using std::chrono::seconds;
  static constexpr std::array<std::string_view, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                               "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::chrono::sys_seconds at{seconds(wall_ns / 1'000'000'000)};
  const auto day = std::chrono::floor<days>(at);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(at - day);
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", kDays[std::chrono::weekday(day).c_encoding()],
                     static_cast<unsigned>(date.day()), kMonths[static_cast<unsigned>(date.month()) - 1],
                     static_cast<int>(date.year()), time.hours().count(), time.minutes().count(),
                     time.seconds().count());
}

std::string FormatHead(const AnswerHead& head, std::int64_t wall_ns) {
  std::string out =
      fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\n", head.status, Reason(head.status), FormatHttpDate(wall_ns));
  const auto add = [&out](std::string_view name, std::string_view value) {
    out.append(name).append(": ").append(value).append("\r\n");
  };
  add("Content-Security-Policy", std::string(kContentSecurityPolicy) + (head.download ? "; sandbox" : ""));
  for (const auto& field : kSecurityFields) add(field.first, field.second);
  add("Strict-Transport-Security", StrictTransport(head.localhost));
  add("Cache-Control", head.cache_control);
  if (!head.content_type.empty()) add("Content-Type", head.content_type);
  for (const auto& field : head.fields) add(field.first, field.second);
  if (head.status != 304) {  // RFC 9110 section 8.6: a 304 without its 200's length
    if (head.length) {
      add("Content-Length", fmt::format("{}", *head.length));
    } else {
      add("Transfer-Encoding", "chunked");
    }
  }
  if (head.close) add("Connection", "close");
  return out + "\r\n";
}

std::string FormatChunk(ByteView bytes) {
  std::string out = fmt::format("{:x}\r\n", bytes.size());
  return out.append(AsText(bytes)).append("\r\n");
}

std::string ErrorBody(std::string_view code, std::string_view message) {
  const nlohmann::json body = {{"error", {{"code", code}, {"message", message}}}};
  return body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace stele::web
