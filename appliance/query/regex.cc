#include "appliance/query/regex.h"

#include <re2/re2.h>

#include "appliance/base/bytes.h"
#include "appliance/base/text.h"

namespace stele::query {
namespace {

constexpr std::int64_t kMemoryBytesMax = 2 << 20;  // per pattern: program and lazily built automata

RE2::Options OptionsOf(bool ignore_case, bool bytes) {
  RE2::Options options(bytes ? RE2::Latin1 : RE2::DefaultOptions);
  options.set_log_errors(false);
  options.set_case_sensitive(!ignore_case);
  options.set_max_mem(kMemoryBytesMax);
  return options;
}

bool IsAscii(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  }
  return true;
}

bool IsUtf8(std::string_view text) {
  if (IsAscii(text)) return true;
  bool lossy = false;
  (void)ToUtf8(AsBytes(text), &lossy);
  return !lossy;
}

}  // namespace

struct Regex::Engines {
  RE2 utf8;
  RE2 bytes;
  Engines(std::string_view pattern, bool ignore_case)
      : utf8(re2::StringPiece(pattern.data(), pattern.size()), OptionsOf(ignore_case, false)),
        bytes(re2::StringPiece(pattern.data(), pattern.size()), OptionsOf(ignore_case, true)) {}
};

std::optional<std::string> RegexProblem(std::string_view pattern, bool ignore_case) {
  const RE2 regex(re2::StringPiece(pattern.data(), pattern.size()), OptionsOf(ignore_case, false));
  if (!regex.ok()) return regex.error();
  return std::nullopt;
}

Regex::Regex(std::string_view pattern, bool ignore_case) : engines_(std::make_unique<Engines>(pattern, ignore_case)) {}
Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

bool Regex::FoundIn(std::string_view text) const {
  const re2::StringPiece piece(text.data(), text.size());
  if (RE2::PartialMatch(piece, engines_->utf8)) return true;
  return !IsUtf8(text) && RE2::PartialMatch(piece, engines_->bytes);
}

bool Regex::MatchesAll(std::string_view text) const {
  const re2::StringPiece piece(text.data(), text.size());
  if (RE2::FullMatch(piece, engines_->utf8)) return true;
  return !IsUtf8(text) && RE2::FullMatch(piece, engines_->bytes);
}

}  // namespace stele::query
