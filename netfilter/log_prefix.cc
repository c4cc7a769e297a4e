#include "netfilter/log_prefix.h"

#include <algorithm>

namespace stele::netfilter {
namespace {

constexpr std::string_view kMark = "stele:";

}  // namespace

std::uint16_t LogGroupOf(std::size_t interface) {
  return static_cast<std::uint16_t>(kLogGroup + 1 + interface % (kLogGroups - 1));
}

std::string LogPrefixText(std::string_view zones, DropReason reason) {
  return std::string(kMark) + std::string(zones) + ":" + std::string(kDropReasons[static_cast<std::size_t>(reason)]);
}

std::optional<LogPrefix> ParseLogPrefix(std::string_view text) {
  if (text.size() > kLogPrefixBytes || !text.starts_with(kMark)) return std::nullopt;
  text.remove_prefix(kMark.size());
  const std::size_t colon = text.find(':');
  if (colon == 0 || colon == std::string_view::npos) return std::nullopt;
  const auto at = std::find(kDropReasons.begin(), kDropReasons.end(), text.substr(colon + 1));
  if (at == kDropReasons.end()) return std::nullopt;
  return LogPrefix{std::string(text.substr(0, colon)), static_cast<DropReason>(at - kDropReasons.begin())};
}

}  // namespace stele::netfilter
