#include "appliance/daemons/cli/output.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <fmt/format.h>

#include "appliance/base/limits.h"
#include "appliance/base/text.h"

namespace stele::daemons::cli {

using nlohmann::json;

void Print(std::string_view text) { (void)!std::fwrite(text.data(), 1, text.size(), stdout); }

void PrintJson(const json& value) { Print(value.dump(2, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace) + "\n"); }
void PrintJsonLine(const json& value) {
  Print(value.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace) + "\n");
}

std::string Safe(std::string_view hostile) { return EscapeForTerminal(AsBytes(hostile)); }

void PrintPairs(const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::size_t width = 0;
  for (const auto& pair : pairs) width = std::max(width, pair.first.size());
  for (const auto& pair : pairs) Print(fmt::format("{:<{}}  {}\n", pair.first, width, pair.second));
}

std::string TextOf(const json& object, const char* name) {
  if (!object.is_object()) return {};
  const auto at = object.find(name);
  if (at == object.end() || at->is_null()) return {};
  if (at->is_string()) return Safe(at->get_ref<const std::string&>());
  if (at->is_boolean()) return at->get<bool>() ? "yes" : "no";
  if (at->is_number()) return at->dump();
  return {};
}

std::int64_t NumberOf(const json& object, const char* name, std::int64_t otherwise) {
  if (!object.is_object()) return otherwise;
  const auto at = object.find(name);
  return at != object.end() && at->is_number() ? at->get<std::int64_t>() : otherwise;
}

const json& ObjectOf(const json& object, const char* name) {
  static const json kEmpty = json::object();
  if (!object.is_object()) return kEmpty;
  const auto at = object.find(name);
  return at != object.end() && at->is_object() ? *at : kEmpty;
}

const char* SeverityWord(std::int64_t severity) {
  constexpr std::array kWords{"EMERG", "ALERT", "CRIT", "ERR", "WARN", "NOTICE", "INFO", "DEBUG"};
  return severity >= 0 && severity < static_cast<std::int64_t>(kWords.size()) ? kWords[static_cast<std::size_t>(severity)] : "-";
}

namespace {

// The message as a slice of the payload, so that what is shown is what was proven.
std::string MessageOf(const json& row) {
  const auto payload = ParseBase64(TextOf(row, "payload_b64"), limits::kPayloadPageBytes);
  if (!payload) return "(the payload is not readable)";
  const json& slice = ObjectOf(row, "message");
  const auto at = std::clamp<std::int64_t>(NumberOf(slice, "offset", 0), 0, static_cast<std::int64_t>(payload->size()));
  const auto rest = static_cast<std::int64_t>(payload->size()) - at;
  const auto length = NumberOf(slice, "length", rest);
  const auto shown = std::clamp<std::int64_t>(length, 0, rest);
  std::string text =
      EscapeForTerminal(ByteView(*payload).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(shown)));
  const auto size = NumberOf(row, "size", static_cast<std::int64_t>(payload->size()));
  if (length > shown || (!slice.contains("length") && size > static_cast<std::int64_t>(payload->size()))) {
    text += fmt::format(" ... ({} bytes in all; stele show {})", size, NumberOf(row, "seq"));
  }
  return text;
}

std::string OrDash(std::string text) { return text.empty() ? "-" : text; }

}  // namespace

std::string RowLine(const json& row) {
  const std::string kind = TextOf(row, "kind");
  const bool outside = kind == "syslog" || kind == "json";
  std::string origin = TextOf(row, "host");
  if (origin.empty()) origin = TextOf(ObjectOf(row, "source"), "peer");
  std::string what = outside ? TextOf(row, "app") : "stele/" + kind;
  std::string line = fmt::format("{:>8}  {}  {:<6} {:<16} {:<14} {}", NumberOf(row, "seq"), TextOf(row, "time"),
                                 SeverityWord(NumberOf(row, "severity", -1)), OrDash(origin), OrDash(what), MessageOf(row));
  if (const std::string flags = FlagsText(row); !flags.empty()) line += " [" + flags + "]";
  return line + "\n";
}

std::string FlagsText(const json& row) {
  std::string text;
  const auto flags = row.find("flags");
  if (flags == row.end() || !flags->is_array()) return text;
  for (const json& flag : *flags) {
    if (flag.is_string()) text += (text.empty() ? "" : " ") + Safe(flag.get_ref<const std::string&>());
  }
  return text;
}

std::string SizeText(std::uint64_t size_bytes) {
  constexpr std::array kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto amount = static_cast<double>(size_bytes);
  std::size_t unit = 0;
  while (amount >= 1024 && unit + 1 < kUnits.size()) {
    amount /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", size_bytes) : fmt::format("{:.1f} {}", amount, kUnits[unit]);
}

std::string DurationText(std::int64_t duration_ms) {
  if (duration_ms < 1'000) return fmt::format("{} ms", duration_ms);
  const std::int64_t seconds = duration_ms / 1'000;
  if (seconds < 60) return fmt::format("{:.1f} s", static_cast<double>(duration_ms) / 1'000);
  if (seconds < 3'600) return fmt::format("{} min {} s", seconds / 60, seconds % 60);
  if (seconds < 86'400) return fmt::format("{} h {} min", seconds / 3'600, seconds / 60 % 60);
  return fmt::format("{} d {} h", seconds / 86'400, seconds / 3'600 % 24);
}

}  // namespace stele::daemons::cli
