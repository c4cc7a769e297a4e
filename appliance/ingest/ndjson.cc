#include "appliance/ingest/ndjson.h"

#include <simdjson.h>

#include <algorithm>
#include <cstring>

#include "appliance/ingest/json_grammar.h"
#include "appliance/ingest/jws.h"

namespace stele::ingest {
namespace {

constexpr std::size_t kKeptCapacityBytes = 64 * limits::kKiB;  // a larger parser is given back after use

}  // namespace

struct JsonChecker::Parser {
  simdjson::dom::parser dom;
};

JsonChecker::JsonChecker() : parser_(std::make_unique<Parser>()), keys_(std::make_shared<SourceKeys>()) {}
JsonChecker::~JsonChecker() = default;

bool JsonChecker::IsJson(ByteView text) {
  if (text.empty() || text.size() > kJsonCheckedBytesMax) return false;
  auto& dom = parser_->dom;
  if (dom.capacity() < text.size() || dom.max_depth() != kJsonDepthMax + 1) {
    const std::size_t capacity = std::max(text.size(), kKeptCapacityBytes);
    if (dom.allocate(capacity, kJsonDepthMax + 1) != simdjson::SUCCESS) return false;
  }
  const auto parsed = dom.parse(reinterpret_cast<const char*>(text.data()), text.size(), true);
  const auto error = parsed.error();
  if (dom.capacity() > kKeptCapacityBytes) parser_ = std::make_unique<Parser>();
  if (error == simdjson::NUMBER_ERROR) return IsJsonText(AsText(text), kJsonDepthMax);
  return error == simdjson::SUCCESS;
}

ByteView EventOfLine(ByteView line) {
  if (!line.empty() && line.back() == std::byte{'\r'}) line = line.first(line.size() - 1);
  const bool blank = std::all_of(line.begin(), line.end(), [](std::byte b) { return b == std::byte{' '} || b == std::byte{'\t'}; });
  return blank ? ByteView() : line;
}

bool NdjsonSplitter::Next(JsonEvent& event) {
  while (!rest_.empty()) {
    const void* found = std::memchr(rest_.data(), '\n', rest_.size());
    const std::size_t end =
        found == nullptr ? rest_.size() : static_cast<std::size_t>(static_cast<const std::byte*>(found) - rest_.data());
    const ByteView text = EventOfLine(rest_.first(end));
    rest_ = rest_.subspan(std::min(end + 1, rest_.size()));
    ++line_;
    if (text.empty()) continue;
    event = JsonEvent{text, line_, checker_.IsJson(text)};
    return true;
  }
  return false;
}

}  // namespace stele::ingest
