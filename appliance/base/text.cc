#include "appliance/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <ctime>

namespace stele {
namespace {

constexpr std::int64_t kNsPerSecond = 1'000'000'000;
constexpr std::int64_t kNsPerMs = 1'000'000;

// Decodes one UTF-8 sequence (RFC 3629: no surrogates, no overlong forms). Returns its length, 0 when invalid.
std::size_t DecodeUtf8(ByteView in, char32_t& out) {
  const auto at = [&](std::size_t i) { return std::to_integer<std::uint32_t>(in[i]); };
  const std::uint32_t first = at(0);
  if (first < 0x80) {
    out = first;
    return 1;
  }
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || in.size() < length) return 0;
  char32_t value = first & (0x7fU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xc0U) != 0x80) return 0;
    value = value << 6U | (at(i) & 0x3fU);
  }
  if ((length == 3 && value < 0x800) || (length == 4 && value < 0x10000) || value > 0x10ffff) return 0;
  if (value >= 0xd800 && value <= 0xdfff) return 0;
  out = value;
  return length;
}

// Code points that change how other text looks or cannot be seen at all.
bool IsInvisible(char32_t c) {
  return c == 0xad || c == 0x61c || c == 0x180e || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
         (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xfe00 && c <= 0xfe0f) ||
         (c >= 0xe0000 && c <= 0xe0fff);
}

std::optional<int> Digits(std::string_view text, std::size_t at, std::size_t count) {
  if (at + count > text.size()) return std::nullopt;
  int value = 0;
  for (std::size_t i = at; i < at + count; ++i) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

// Fraction of a second at `at` (after the dot): advances `at`, returns nanoseconds; digits beyond nine are dropped.
std::optional<std::int64_t> Fraction(std::string_view text, std::size_t& at) {
  std::int64_t ns = 0;
  std::size_t digits = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++digits) {
    if (digits < 9) ns = ns * 10 + (text[at] - '0');
  }
  if (digits == 0) return std::nullopt;
  for (; digits < 9; ++digits) ns *= 10;
  return ns;
}

std::optional<std::int64_t> ZoneOffsetSeconds(std::string_view zone) {
  if (zone == "Z" || zone == "z") return 0;
  if (zone.size() != 6 || (zone[0] != '+' && zone[0] != '-') || zone[3] != ':') return std::nullopt;
  const auto hours = Digits(zone, 1, 2);
  const auto minutes = Digits(zone, 4, 2);
  if (!hours || !minutes || *hours > 23 || *minutes > 59) return std::nullopt;
  const std::int64_t seconds = *hours * 3600 + *minutes * 60;
  return zone[0] == '-' ? -seconds : seconds;
}

}  // namespace

std::string FormatTime(std::int64_t wall_ns) {
  std::int64_t seconds = wall_ns / kNsPerSecond;
  std::int64_t rest_ns = wall_ns % kNsPerSecond;
  if (rest_ns < 0) {
    rest_ns += kNsPerSecond;
    seconds -= 1;
  }
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  if (gmtime_r(&time, &parts) == nullptr) return "invalid-time";
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                     parts.tm_hour, parts.tm_min, parts.tm_sec, rest_ns / kNsPerMs);
}

std::optional<std::int64_t> ParseTime(std::string_view text) {
  const auto year = Digits(text, 0, 4);
  const auto month = Digits(text, 5, 2);
  const auto day = Digits(text, 8, 2);
  if (!year || !month || !day || text[4] != '-' || text[7] != '-') return std::nullopt;
  if (*year < 1970 || *year > 2261 || *month < 1 || *month > 12 || *day < 1 || *day > 31) return std::nullopt;
  std::tm parts{};
  parts.tm_year = *year - 1900;
  parts.tm_mon = *month - 1;
  parts.tm_mday = *day;
  std::int64_t fraction_ns = 0;
  std::int64_t offset_seconds = 0;
  std::int64_t leap_seconds = 0;  // 23:59:60 belongs to the day it ends, so it is added after the date is checked
  if (text.size() > 10) {
    if (text[10] != 'T' && text[10] != 't' && text[10] != ' ') return std::nullopt;
    const auto hour = Digits(text, 11, 2);
    const auto minute = Digits(text, 14, 2);
    if (!hour || !minute || text[13] != ':' || *hour > 23 || *minute > 59) return std::nullopt;
    parts.tm_hour = *hour;
    parts.tm_min = *minute;
    std::size_t at = 16;
    if (at < text.size() && text[at] == ':') {
      const auto second = Digits(text, 17, 2);
      if (!second || *second > 60) return std::nullopt;
      parts.tm_sec = std::min(*second, 59);
      leap_seconds = *second - parts.tm_sec;
      at = 19;
      if (at < text.size() && text[at] == '.') {
        ++at;
        const auto fraction = Fraction(text, at);
        if (!fraction) return std::nullopt;
        fraction_ns = *fraction;
      }
    }
    const auto offset = ZoneOffsetSeconds(text.substr(at));
    if (!offset) return std::nullopt;
    offset_seconds = *offset;
  }
  const std::time_t seconds = timegm(&parts);
  if (parts.tm_mday != *day) return std::nullopt;  // 30 February
  return (std::int64_t{seconds} + leap_seconds - offset_seconds) * kNsPerSecond + fraction_ns;
}

std::string EscapeForTerminal(ByteView hostile) {
  std::string out;
  out.reserve(hostile.size());
  while (!hostile.empty()) {
    char32_t c = 0;
    const std::size_t length = DecodeUtf8(hostile, c);
    if (length == 0) {
      out += fmt::format("\\x{:02x}", std::to_integer<unsigned>(hostile[0]));
      hostile = hostile.subspan(1);
      continue;
    }
    if (c == U'\n') {
      out += "\\n";
    } else if (c == U'\r') {
      out += "\\r";
    } else if (c == U'\t') {
      out += "\\t";
    } else if (c < 0x20 || (c >= 0x7f && c < 0xa0)) {
      out += fmt::format("\\x{:02x}", static_cast<std::uint32_t>(c));
    } else if (IsInvisible(c)) {
      out += c > 0xffff ? fmt::format("\\U{:08x}", static_cast<std::uint32_t>(c))
                        : fmt::format("\\u{:04x}", static_cast<std::uint32_t>(c));
    } else {
      out += AsText(hostile.first(length));
    }
    hostile = hostile.subspan(length);
  }
  return out;
}

std::string ToUtf8(ByteView hostile, bool* lossy) {
  std::string out;
  out.reserve(hostile.size());
  if (lossy != nullptr) *lossy = false;
  while (!hostile.empty()) {
    char32_t c = 0;
    std::size_t length = DecodeUtf8(hostile, c);
    if (length == 0) {
      out += "\xef\xbf\xbd";
      if (lossy != nullptr) *lossy = true;
      length = 1;
    } else {
      out += AsText(hostile.first(length));
    }
    hostile = hostile.subspan(length);
  }
  return out;
}

}  // namespace stele
