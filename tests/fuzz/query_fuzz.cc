// Any bytes as a query: a tree or an error with a place inside the text; a tree prints to text that reads back as the same
// tree; and the matcher agrees with itself under double negation on the query's own bytes as a record.
#include <cstdlib>

#include "appliance/base/limits.h"
#include "appliance/query/language.h"
#include "appliance/query/matcher.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace stele::query;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto parsed = ParseQuery(text);
  if (!parsed) {
    Require(parsed.error().column >= 1 && parsed.error().column <= size + 1);
    Require(!parsed.error().message.empty());
    return 0;
  }
  const std::string printed = Print(*parsed);
  if (printed.size() <= stele::limits::kQueryBytes) {
    const auto again = ParseQuery(printed);
    Require(again.has_value() && *again == *parsed);
  }
  RecordView view;
  view.payload = stele::AsBytes(text);
  JsonScratch scratch;
  const SourceLookup none;
  RecordFields fields(view, none, scratch);
  const bool holds = Matcher(*parsed).Matches(fields);
  Require(Matcher(Not(*parsed)).Matches(fields) != holds);
  return 0;
}
