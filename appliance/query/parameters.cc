#include "appliance/query/parameters.h"

#include <charconv>

#include "appliance/base/text.h"

namespace stele::query {

std::optional<std::uint64_t> ParseUnsigned(std::string_view text, std::uint64_t number_max) {
  std::uint64_t number = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || end.ec != std::errc{} || end.ptr != text.data() + text.size() || number > number_max) return std::nullopt;
  return number;
}

std::string Parameters::Text(const char* name) const {
  const auto at = values_.find(name);
  return at == values_.end() ? std::string{} : at->second;
}

std::optional<std::uint64_t> Parameters::Number(const char* name, std::uint64_t number_max) {
  const std::string text = Text(name);
  if (text.empty()) return std::nullopt;
  const auto number = ParseUnsigned(text, number_max);
  if (!number) Wrong(name, ("needs a whole number up to " + std::to_string(number_max)).c_str());
  return number;
}

std::optional<std::int64_t> Parameters::Time(const char* name) {
  const std::string text = Text(name);
  if (text.empty()) return std::nullopt;
  std::int64_t ns = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), ns);
  if (end.ec == std::errc{} && end.ptr == text.data() + text.size()) return ns;
  const auto time = ParseTime(text);
  if (!time) Wrong(name, "needs an RFC 3339 time or nanoseconds since 1970");
  return time;
}

void Parameters::Wrong(const char* name, const char* want) {
  if (!problem_) problem_ = Refusal(400, "bad_request", std::string(name) + " " + want);
}

}  // namespace stele::query
