#include "netfilter/drop_counts.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "netfilter/log_prefix.h"

namespace stele::netfilter {
namespace {

// What stands between `before` and `after` in the line.
std::optional<std::string_view> Between(std::string_view line, std::string_view before, std::string_view after) {
  const std::size_t at = line.find(before);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view rest = line.substr(at + before.size());
  const std::size_t end = rest.find(after);
  if (end == std::string_view::npos) return std::nullopt;
  return rest.substr(0, end);
}

}  // namespace

DropCounts DropCountsOf(std::string_view listing) {
  DropCounts counts;
  while (!listing.empty()) {
    const std::size_t end = std::min(listing.find('\n'), listing.size());
    const std::string_view line = listing.substr(0, end);
    listing.remove_prefix(std::min(end + 1, listing.size()));
    const auto packets = Between(line, "counter packets ", " ");
    const auto prefix = Between(line, "log prefix \"", "\"");
    const auto parsed = packets && prefix ? ParseLogPrefix(*prefix) : std::nullopt;
    std::uint64_t number = 0;
    if (!parsed || std::from_chars(packets->data(), packets->data() + packets->size(), number).ec != std::errc())
      continue;
    counts[{parsed->zones, std::string(kDropReasons.at(static_cast<std::size_t>(parsed->reason)))}] += number;
  }
  return counts;
}

}  // namespace stele::netfilter
