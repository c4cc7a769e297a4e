// RE2 with the bounds of Stele: linear time, bounded memory, any bytes. A pattern is tried on the text as UTF-8 and, where
// the text is not valid UTF-8, also byte by byte, so that a stray Latin-1 letter never hides a hit.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace stele::query {

// What RE2 says is wrong with the pattern, nothing when it is good.
[[nodiscard]] std::optional<std::string> RegexProblem(std::string_view pattern, bool ignore_case);

// Thread safety: const use from several threads.
class Regex {
 public:
  // The pattern must have no RegexProblem().
  Regex(std::string_view pattern, bool ignore_case);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  [[nodiscard]] bool FoundIn(std::string_view text) const;    // anywhere
  [[nodiscard]] bool MatchesAll(std::string_view text) const;  // from begin to end

 private:
  struct Engines;
  std::unique_ptr<Engines> engines_;
};

}  // namespace stele::query
