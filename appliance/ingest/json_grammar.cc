#include "appliance/ingest/json_grammar.h"

#include <string>

#include "appliance/ingest/utf8.h"

namespace stele::ingest {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsHex(char c) { return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

class Grammar {
 public:
  Grammar(std::string_view text, std::size_t depth_max) : text_(text), depth_max_(depth_max) {}

  // Not recursive: `open_` is the stack, one character per level.
  bool Run() {
    do {
      if (!Value()) return false;
      while (!opened_ && !open_.empty()) {
        SkipSpace();
        if (Take(',')) {
          if (open_.back() == '{' && !Name()) return false;
          break;
        }
        if (!Take(open_.back() == '{' ? '}' : ']')) return false;
        open_.pop_back();
      }
      opened_ = false;
    } while (!open_.empty());
    SkipSpace();
    return at_ == text_.size();
  }

 private:
  [[nodiscard]] char Here() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool Take(char c) {
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool Word(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }
  void SkipSpace() {
    while (Here() == ' ' || Here() == '\t' || Here() == '\n' || Here() == '\r') ++at_;
  }

  // A scalar, an empty array or object, or the opening of one that is not empty (then opened_).
  bool Value() {
    SkipSpace();
    const char c = Here();
    if (c == '{' || c == '[') {
      ++at_;
      SkipSpace();
      if (Take(c == '{' ? '}' : ']')) return true;
      if (open_.size() == depth_max_) return false;
      open_.push_back(c);
      opened_ = true;
      return c == '[' || Name();
    }
    if (c == '"') return String();
    if (c == 't') return Word("true");
    if (c == 'f') return Word("false");
    if (c == 'n') return Word("null");
    return Number();
  }

  bool Name() {
    SkipSpace();
    if (!String()) return false;
    SkipSpace();
    return Take(':');
  }

  bool String() {
    if (!Take('"')) return false;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') return true;
      if (static_cast<unsigned char>(c) < 0x20) return false;
      if (c == '\\' && !Escape()) return false;
    }
    return false;
  }

  bool Escape() {
    const char c = Here();
    if (c != 'u') {
      ++at_;
      return c != '\0' && std::string_view("\"\\/bfnrt").find(c) != std::string_view::npos;
    }
    const auto unit = CodeUnit();
    if (unit < 0 || (unit >= 0xdc00 && unit <= 0xdfff)) return false;
    if (unit < 0xd800 || unit > 0xdbff) return true;
    // A high surrogate stands for nothing without its low one.
    if (!Take('\\') || Here() != 'u') return false;
    const auto low = CodeUnit();
    return low >= 0xdc00 && low <= 0xdfff;
  }

  int CodeUnit() {  // at the 'u'; -1 when no four hexadecimal digits follow
    int value = 0;
    for (std::size_t i = 1; i <= 4; ++i) {
      const char c = at_ + i < text_.size() ? text_[at_ + i] : '\0';
      if (!IsHex(c)) return -1;
      value = value * 16 + (IsDigit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    at_ += 5;
    return value;
  }

  bool Digits() {
    if (!IsDigit(Here())) return false;
    while (IsDigit(Here())) ++at_;
    return true;
  }

  bool Number() {
    (void)Take('-');
    if (!Take('0') && !Digits()) return false;
    if (Take('.') && !Digits()) return false;
    if (Take('e') || Take('E')) {
      if (!Take('+')) (void)Take('-');
      return Digits();
    }
    return true;
  }

  std::string_view text_;
  std::size_t depth_max_;
  std::size_t at_ = 0;
  std::string open_;
  bool opened_ = false;
};

}  // namespace

bool IsJsonText(std::string_view text, std::size_t depth_max) { return IsUtf8(text) && Grammar(text, depth_max).Run(); }

}  // namespace stele::ingest
