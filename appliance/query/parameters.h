// The query parameters of a request, read strictly: what is present must be right.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "appliance/query/reads.h"

namespace stele::query {

class Parameters {
 public:
  explicit Parameters(const std::map<std::string, std::string>& values) : values_(values) {}
  [[nodiscard]] std::string Text(const char* name) const;
  [[nodiscard]] std::optional<std::uint64_t> Number(const char* name, std::uint64_t number_max);
  [[nodiscard]] std::optional<std::int64_t> Time(const char* name);  // RFC 3339 or nanoseconds
  // Set when any parameter so far was wrong.
  [[nodiscard]] const std::optional<Answer>& problem() const { return problem_; }

 private:
  void Wrong(const char* name, const char* want);
  const std::map<std::string, std::string>& values_;
  std::optional<Answer> problem_;
};

[[nodiscard]] std::optional<std::uint64_t> ParseUnsigned(std::string_view text, std::uint64_t number_max);

}  // namespace stele::query
