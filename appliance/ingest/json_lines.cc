#include "appliance/ingest/json_lines.h"

#include <fmt/format.h>

#include <iterator>
#include <nlohmann/json.hpp>

namespace stele::ingest {

using nlohmann::json;

std::optional<std::string> ParseLogin(ByteView line) {
  if (line.size() > kLoginLineBytes) return std::nullopt;
  const json object = json::parse(AsText(line), nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || object.size() != 1 || !object.contains("auth") || !object["auth"].is_string())
    return std::nullopt;
  return object["auth"].get<std::string>();
}

void LinesStored::AddRange(std::uint64_t first_sequence, std::uint64_t count) {
  if (!ranges.empty() && ranges.back().second + 1 == first_sequence) {
    ranges.back().second += count;
  } else {
    ranges.emplace_back(first_sequence, first_sequence + count - 1);
  }
}

void LinesStored::AddUnparsed(std::uint64_t line) {
  ++unparsed_count;
  if (unparsed.size() < limits::kHttpUnparsedListed) unparsed.push_back(line);
}

std::string LoginText() { return "{\"auth\":\"ok\"}\n"; }

std::string AckText(const LinesStored& stored) {
  std::string text = fmt::format("{{\"ack\":{},\"ranges\":[", stored.last_line);
  for (std::size_t i = 0; i < stored.ranges.size(); ++i) {
    fmt::format_to(std::back_inserter(text), "{}[{},{}]", i == 0 ? "" : ",", stored.ranges[i].first,
                   stored.ranges[i].second);
  }
  text += "],\"unparsed\":[";
  for (std::size_t i = 0; i < stored.unparsed.size(); ++i) {
    fmt::format_to(std::back_inserter(text), "{}{}", i == 0 ? "" : ",", stored.unparsed[i]);
  }
  fmt::format_to(std::back_inserter(text), "],\"unparsed_count\":{}}}\n", stored.unparsed_count);
  return text;
}

std::string NackText(std::uint64_t first_line, std::uint64_t last_line) {
  return fmt::format("{{\"nack\":[{},{}],\"retry_after_s\":{}}}\n", first_line, last_line, kRetryAfterS);
}

std::string LineErrorText(std::string_view code, std::string_view message) {
  return json{{"error", {{"code", code}, {"message", message}}}}.dump(-1, ' ', false, json::error_handler_t::replace) +
         "\n";
}

}  // namespace stele::ingest
