// Goal: of a bulk body no byte of an event is changed, lost or taken twice, and each action is answered once, in order.
// Method: bytes in parts whose size the input chooses. Oracle: a naive reading line by line gives the same pairs; the
// answer is JSON with as many items as actions, and the numbers in it are those of the commit.
#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "appliance/ingest/bulk_body.h"
#include "appliance/ingest/json_grammar.h"

namespace {

using namespace stele;
using namespace stele::ingest;

std::string_view Line(std::string_view& rest) {
  const std::size_t end = std::min(rest.find('\n'), rest.size());
  std::string_view line = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

bool IsBlank(std::string_view line) { return line.find_first_not_of(" \t") == std::string_view::npos; }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteView input(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  JsonChecker checker;
  BulkBody body("path", checker);
  const std::size_t part = 1U + data[0];
  for (std::size_t at = 0; at < input.size(); at += part) {
    if (!body.Append(input.subspan(at, std::min(part, input.size() - at)))) return 0;
  }
  if (!body.Finish()) return 0;
  const auto events = body.TakeEvents();
  const Bytes kept = body.TakeBody();
  STELE_CHECK(SameBytes(kept, input));

  std::string_view rest = AsText(input);
  std::size_t event = 0;
  std::size_t actions = 0;
  std::size_t refused = 0;
  while (!rest.empty()) {
    const std::string_view action = Line(rest);
    if (IsBlank(action)) continue;
    ++actions;
    const auto parsed = nlohmann::json::parse(action, nullptr, false);
    if (parsed.is_discarded())
      return 0;  // a number beyond every machine type, which the grammar takes and this parser does not
    STELE_CHECK(parsed.is_object());
    // The last member that stands twice hides the first here; the reader refuses two.
    STELE_CHECK(parsed.size() == 1);
    const std::string name = parsed.begin().key();
    if (name == "delete") {
      ++refused;
      continue;
    }
    const std::string_view document = Line(rest);
    if (name == "update") {
      ++refused;
      continue;
    }
    STELE_CHECK(event < events.size());
    const auto& slice = events[event++];
    const std::string_view text = AsText(ByteView(kept).subspan(slice.offset_bytes, slice.length_bytes));
    STELE_CHECK(text.data() == reinterpret_cast<const char*>(kept.data()) +
                                   (action.data() - reinterpret_cast<const char*>(input.data())));
    STELE_CHECK(text.starts_with(action));
    STELE_CHECK(text.ends_with(document));
    STELE_CHECK(slice.parsed == IsJsonText(document, kJsonDepthMax));
    if (name == "create" || name == "index")
      STELE_CHECK(BulkDocumentOf(text) == document || action.find('\\') != std::string_view::npos ||
                  !action.starts_with('{'));
  }
  STELE_CHECK(event == events.size());
  STELE_CHECK(refused == body.actions_refused());

  JsonOutcome outcome;
  outcome.committed = true;
  if (!events.empty()) outcome.ranges = {{7, 6 + events.size()}};
  const auto answer = nlohmann::json::parse(body.Answer(outcome, 1));
  STELE_CHECK(answer["items"].size() == actions);
  STELE_CHECK(answer["errors"].get<bool>() == (refused > 0));
  std::uint64_t next = 7;
  for (const auto& item : answer["items"]) {
    const auto& one = item.begin().value();
    if (one["status"] == 201) STELE_CHECK(one["_seq_no"] == next++);
  }
  STELE_CHECK(next == 7 + events.size());
  return 0;
}
