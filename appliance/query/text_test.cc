#include "appliance/query/text_test.h"

#include <re2/re2.h>

#include <algorithm>
#include <array>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "appliance/base/result.h"

namespace stele::query {
namespace {

bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }
bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || IsUpper(c); }
char Fold(char c) { return IsUpper(c) ? static_cast<char>(c + ('a' - 'A')) : c; }

// How common a byte is in logs, roughly; it decides speed only.
int Commonness(char folded) {
  constexpr std::string_view kCommonest = " e01tai2nos3r.54-:6d9l87c/m=pu[]\"fgb,h_wyk()vx;jzq<>";
  const std::size_t rank = kCommonest.find(folded);
  return rank == std::string_view::npos ? 0 : static_cast<int>(kCommonest.size() - rank);
}

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

std::string Literally(std::string_view text) { return RE2::QuoteMeta(re2::StringPiece(text.data(), text.size())); }

std::string GlobAsRegex(std::string_view glob, std::string_view one, bool whole) {
  std::string out = whole ? "(?s)" : "";
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= glob.size(); ++i) {
    if (i < glob.size() && glob[i] != '*' && glob[i] != '?') continue;
    out += Literally(glob.substr(begin, i - begin));
    begin = i + 1;
    if (i == glob.size()) break;
    out += one;
    if (glob[i] == '*') out += '*';
  }
  return out;
}

}  // namespace

TextFinder::TextFinder(std::string_view needle) : folded_(needle) {
  STELE_CHECK(!needle.empty());
  for (char& c : folded_) c = Fold(c);
  const auto rarer = [this](std::size_t a, std::size_t b) { return Commonness(folded_[a]) < Commonness(folded_[b]); };
  for (std::size_t i = 1; i < folded_.size(); ++i) {
    if (rarer(i, rare_)) rare_ = i;
  }
  second_ = rare_ == 0 ? folded_.size() - 1 : 0;
  for (std::size_t i = 0; i < folded_.size(); ++i) {
    if (i != rare_ && rarer(i, second_)) second_ = i;
  }
}

bool TextFinder::StandsAt(const char* at) const {
  for (std::size_t i = 0; i < folded_.size(); ++i) {
    if (Fold(at[i]) != folded_[i]) return false;
  }
  return true;
}

bool TextFinder::FoundIn(std::string_view text) const {
  if (text.size() < folded_.size()) return false;
  const std::size_t places = text.size() - folded_.size() + 1;  // where the needle could begin
  std::size_t at = 0;
#if defined(__SSE2__)
  const auto fold_bit = [](char c) { return _mm_set1_epi8(static_cast<char>(IsLetter(c) ? 0x20 : 0)); };
  const __m128i bit_1 = fold_bit(folded_[rare_]);
  const __m128i bit_2 = fold_bit(folded_[second_]);
  const __m128i want_1 = _mm_set1_epi8(folded_[rare_]);
  const __m128i want_2 = _mm_set1_epi8(folded_[second_]);
  for (; at + 16 <= places; at += 16) {
    const auto load = [&text, at](std::size_t offset) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + at + offset));
    };
    const __m128i hit_1 = _mm_cmpeq_epi8(_mm_or_si128(load(rare_), bit_1), want_1);
    const __m128i hit_2 = _mm_cmpeq_epi8(_mm_or_si128(load(second_), bit_2), want_2);
    auto hits = static_cast<unsigned>(_mm_movemask_epi8(_mm_and_si128(hit_1, hit_2)));
    for (; hits != 0; hits &= hits - 1) {
      if (StandsAt(text.data() + at + static_cast<std::size_t>(__builtin_ctz(hits)))) return true;
    }
  }
#endif
  for (; at < places; ++at) {
    if (Fold(text[at + rare_]) == folded_[rare_] && StandsAt(text.data() + at)) return true;
  }
  return false;
}

bool EqualFolded(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return Fold(x) == Fold(y); });
}

TextTest TextTest::Floating(const Value& value) {
  TextTest test;
  if (value.kind == Value::Kind::kText && IsAscii(value.text)) {
    test.mode_ = Mode::kFind;
    test.finder_.emplace(value.text);
    return test;
  }
  test.mode_ = Mode::kFindRegex;
  switch (value.kind) {
    case Value::Kind::kRegex: test.regex_.emplace(value.text, value.ignore_case); break;
    case Value::Kind::kGlob: test.regex_.emplace(GlobAsRegex(value.text, "\\S", false), true); break;
    default: test.regex_.emplace(Literally(value.text), true); break;  // RE2 folds the case of every alphabet
  }
  return test;
}

TextTest TextTest::Whole(const Value& value, bool exact) {
  TextTest test;
  test.text_ = value.text;
  if (value.kind == Value::Kind::kRegex) {
    test.mode_ = Mode::kFindRegex;
    test.regex_.emplace(value.text, value.ignore_case);
  } else if (value.kind == Value::Kind::kGlob) {
    test.mode_ = Mode::kWholeRegex;
    test.regex_.emplace(GlobAsRegex(value.text, ".", true), true);
  } else if (exact) {
    test.mode_ = Mode::kEqual;
  } else if (IsAscii(value.text)) {
    test.mode_ = Mode::kEqualFolded;
  } else {
    test.mode_ = Mode::kWholeRegex;
    test.regex_.emplace(Literally(value.text), true);
  }
  return test;
}

bool TextTest::operator()(std::string_view text) const {
  switch (mode_) {
    case Mode::kFind: return finder_->FoundIn(text);
    case Mode::kFindRegex: return regex_->FoundIn(text);
    case Mode::kEqual: return text == text_;
    case Mode::kEqualFolded: return EqualFolded(text, text_);
    case Mode::kWholeRegex: return regex_->MatchesAll(text);
  }
  return false;
}

}  // namespace stele::query
