// The fields of the query language and what each accepts: from a value as written to a term of the tree. Used by language.cc.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "appliance/query/ast.h"

namespace stele::query {

struct RawValue {
  enum class Form : std::uint8_t { kWord, kPhrase, kRegex };
  Form form = Form::kWord;
  std::string text;  // without quotes and slashes
  bool ignore_case = false;
  std::size_t begin = 0;
};

struct FieldStart {
  std::string name;  // as written, with its path
  Field field = Field::kAny;
  bool is_ip = false;  // "ip": another way to write a bare address
  std::string path;
  Op op = Op::kIs;
  std::size_t begin = 0;
};

struct FieldError {
  std::string message;
  std::string hint;
};

[[nodiscard]] bool LooksLikeField(std::string_view name);
[[nodiscard]] std::size_t TakeOperator(std::string_view text, Op& op);  // its length
// Fills field and path, or says what was probably meant. `word` is the whole word, for the hint.
[[nodiscard]] tl::expected<FieldStart, FieldError> ResolveField(FieldStart start, std::string_view word);
[[nodiscard]] tl::expected<Node, FieldError> MakeTerm(const FieldStart& field, const RawValue& value);

}  // namespace stele::query
