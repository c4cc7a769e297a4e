// Tests of one text: found in it, equal to it, matching it. Built once per query term, used on millions of records.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "appliance/query/ast.h"
#include "appliance/query/regex.h"

namespace stele::query {

// Finds an ASCII needle without regard to case. Two steps: the two bytes of the needle that are rarest in logs are looked
// for, sixteen places at a time; only where both stand is the whole needle compared.
class TextFinder {
 public:
  explicit TextFinder(std::string_view needle);
  [[nodiscard]] bool FoundIn(std::string_view text) const;

 private:
  [[nodiscard]] bool StandsAt(const char* at) const;

  std::string folded_;        // lower case
  std::size_t rare_ = 0;      // offset of the rarest byte in the needle
  std::size_t second_ = 0;    // of the second, another place where there is one
};

// One value of a query term against one text.
class TextTest {
 public:
  // Anywhere in running text (no field, or msg): words, phrases, globs that do not cross blanks, regular expressions.
  static TextTest Floating(const Value& value);
  // A field's value: whole for text and globs, anywhere for regular expressions. Exact = the very bytes.
  static TextTest Whole(const Value& value, bool exact);

  [[nodiscard]] bool operator()(std::string_view text) const;

 private:
  enum class Mode { kFind, kFindRegex, kEqual, kEqualFolded, kWholeRegex };
  Mode mode_ = Mode::kEqual;
  std::string text_;
  std::optional<TextFinder> finder_;
  std::optional<Regex> regex_;
};

[[nodiscard]] bool EqualFolded(std::string_view a, std::string_view b);  // ASCII letters without regard to case

}  // namespace stele::query
