#include "appliance/ingest/json_walk.h"

#include <cstddef>

namespace stele::ingest {
namespace {

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

class Walk {
 public:
  explicit Walk(std::string_view text) : text_(text) {}

  [[nodiscard]] bool Take(char c) {
    SkipSpace();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  // At an opening quote: the text between the quotes.
  bool String(std::string_view& out) {
    if (!Take('"')) return false;
    const std::size_t begin = at_;
    SkipString();
    if (at_ == text_.size()) return false;
    out = text_.substr(begin, at_ - begin);
    ++at_;
    return true;
  }

  std::string_view Value() {
    SkipSpace();
    const std::size_t begin = at_;
    std::size_t depth = 0;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        SkipString();
        if (at_ == text_.size()) break;
      } else if (c == '{' || c == '[') {
        ++depth;
      } else if (c == '}' || c == ']') {
        if (depth == 0) break;
        --depth;
      } else if (c == ',' && depth == 0) {
        break;
      }
    }
    return TrimJson(text_.substr(begin, at_ - begin));
  }

 private:
  void SkipSpace() {
    while (at_ < text_.size() && IsSpace(text_[at_])) ++at_;
  }
  // Inside a string: to its closing quote, or the end.
  void SkipString() {
    while (at_ < text_.size() && text_[at_] != '"') at_ += text_[at_] == '\\' && at_ + 1 < text_.size() ? 2U : 1U;
    if (at_ > text_.size()) at_ = text_.size();
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

std::string_view TrimJson(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

bool WalkObject(std::string_view value, const OnMember& on_member) {
  Walk walk(value);
  if (!walk.Take('{')) return false;
  if (walk.Take('}')) return true;
  do {
    std::string_view name;
    if (!walk.String(name) || !walk.Take(':')) return false;
    if (!on_member(name, walk.Value())) return false;
  } while (walk.Take(','));
  return walk.Take('}');
}

bool WalkArray(std::string_view value, const OnElement& on_element) {
  Walk walk(value);
  if (!walk.Take('[')) return false;
  if (walk.Take(']')) return true;
  do {
    if (!on_element(walk.Value())) return false;
  } while (walk.Take(','));
  return walk.Take(']');
}

}  // namespace stele::ingest
