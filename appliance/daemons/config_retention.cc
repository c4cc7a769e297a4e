#include "appliance/daemons/config_retention.h"

#include <array>
#include <cstdio>
#include <limits>
#include <set>

#include "appliance/base/text.h"

namespace stele::daemons {
namespace {

constexpr std::size_t kNameMax = 64;
constexpr std::size_t kReasonMax = 1'024;

// An offset date-time, or a text of the same form.
std::optional<std::int64_t> TimeOf(const toml::node& node) {
  if (const auto text = node.value<std::string>()) return ParseTime(*text);
  const auto* value = node.as_date_time();
  if (value == nullptr || !value->get().offset) return std::nullopt;
  const toml::date_time& at = value->get();
  const int minutes = at.offset->minutes;
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02d-%02dT%02d:%02d:%02d%c%02d:%02d", at.date.year, at.date.month,
                at.date.day, at.time.hour, at.time.minute, at.time.second, minutes < 0 ? '-' : '+',
                (minutes < 0 ? -minutes : minutes) / 60, (minutes < 0 ? -minutes : minutes) % 60);
  const auto seconds = ParseTime(text.data());
  return seconds ? std::optional(*seconds + at.time.nanosecond) : std::nullopt;
}

std::optional<std::string> TakeHold(const toml::table& table, store::Hold& hold) {
  hold.to_ns = std::numeric_limits<std::int64_t>::max();
  for (const auto& [key, node] : table) {
    if (key == "name" || key == "reason") {
      const auto text = node.value<std::string>();
      const std::size_t longest = key == "name" ? kNameMax : kReasonMax;
      if (!text || text->empty() || text->size() > longest)
        return std::string(key.str()) + " must be a text of 1 to " + std::to_string(longest) + " bytes";
      (key == "name" ? hold.name : hold.reason) = *text;
    } else if (key == "from" || key == "to") {
      const auto time = TimeOf(node);
      if (!time) return std::string(key.str()) + " must be a time with its offset, as 2026-01-31T00:00:00Z";
      (key == "from" ? hold.from_ns : hold.to_ns) = *time;
    } else {
      return "unknown key " + EscapeForTerminal(AsBytes(key.str()));
    }
  }
  if (hold.name.empty() || hold.reason.empty()) return std::string("needs a name and a reason");
  if (hold.from_ns >= hold.to_ns) return std::string("ends before it begins");
  return std::nullopt;
}

}  // namespace

std::optional<std::string> TakeHolds(const toml::node& node, std::vector<store::Hold>& out) {
  const toml::array* list = node.as_array();
  if (list == nullptr || list->size() > kHoldsMax)
    return "must be tables, [[retention.holds]], at most " + std::to_string(kHoldsMax);
  std::vector<store::Hold> holds;
  std::set<std::string> names;
  for (const toml::node& member : *list) {
    const std::string which = "number " + std::to_string(holds.size() + 1) + ": ";
    const toml::table* table = member.as_table();
    if (table == nullptr) return which + "must be a table: [[retention.holds]]";
    store::Hold hold;
    if (const auto problem = TakeHold(*table, hold)) return which + *problem;
    if (!names.insert(hold.name).second) return which + "the name \"" + hold.name + "\" is given twice";
    holds.push_back(std::move(hold));
  }
  out = std::move(holds);
  return std::nullopt;
}

}  // namespace stele::daemons
