#include "appliance/ingest/http_answer.h"

#include <fmt/format.h>

#include <iterator>
#include <nlohmann/json.hpp>

#include "appliance/base/text.h"

namespace stele::ingest {

std::string ErrorText(std::string_view code, std::string_view message) {
  return nlohmann::json{{"error", {{"code", code}, {"message", message}}}}.dump();
}

std::string CommittedText(const JsonOutcome& outcome, const std::vector<std::uint32_t>& unparsed_lines,
                          std::uint64_t unparsed_count) {
  std::string text = "{\"ranges\":[";
  for (std::size_t i = 0; i < outcome.ranges.size(); ++i) {
    fmt::format_to(std::back_inserter(text), "{}[{},{}]", i == 0 ? "" : ",", outcome.ranges[i].first,
                   outcome.ranges[i].second);
  }
  text += "],\"unparsed\":[";
  for (std::size_t i = 0; i < unparsed_lines.size(); ++i) {
    fmt::format_to(std::back_inserter(text), "{}{}", i == 0 ? "" : ",", unparsed_lines[i]);
  }
  fmt::format_to(std::back_inserter(text), "],\"unparsed_count\":{}", unparsed_count);
  if (!outcome.leaves.empty()) {
    text += ",\"leaves\":[";
    for (std::size_t i = 0; i < outcome.leaves.size(); ++i) {
      text += i == 0 ? "\"" : ",\"";
      text += HexOf(outcome.leaves[i]);
      text += '"';
    }
    text += ']';
  }
  text += ",\"checkpoint\":";
  if (outcome.checkpoint) {
    AppendQuoted(text, *outcome.checkpoint);
  } else {
    text += "null";
  }
  text += '}';
  return text;
}

std::uint64_t SequenceNumbers::Next() {
  while (range_ < ranges_.size()) {
    const auto& [first, last] = ranges_[range_];
    if (first + used_ <= last) return first + used_++;
    ++range_;
    used_ = 0;
  }
  return 0;
}

// ToUtf8() keeps text that is not UTF-8 from throwing.
void AppendQuoted(std::string& out, std::string_view hostile) {
  out += nlohmann::json(ToUtf8(AsBytes(hostile))).dump();
}

}  // namespace stele::ingest
