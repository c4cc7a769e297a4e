#include "web/server/target.h"

#include <optional>

#include "appliance/base/bytes.h"
#include "appliance/base/limits.h"
#include "appliance/base/text.h"

namespace stele::web {
namespace {

constexpr std::size_t kParametersMax = 32;

std::optional<unsigned> HexDigit(char digit) {
  if (digit >= '0' && digit <= '9') return static_cast<unsigned>(digit - '0');
  if (digit >= 'a' && digit <= 'f') return static_cast<unsigned>(digit - 'a' + 10);
  if (digit >= 'A' && digit <= 'F') return static_cast<unsigned>(digit - 'A' + 10);
  return std::nullopt;
}

// RFC 3986 section 2.1; nullopt when a percent sign is not followed by two digits.
std::optional<std::string> DecodePercent(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (plus_is_space && text[i] == '+') {
      out.push_back(' ');
      continue;
    }
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const auto high = HexDigit(text[i + 1]);
    const auto low = HexDigit(text[i + 2]);
    if (!high || !low) return std::nullopt;
    out.push_back(static_cast<char>(*high * 16 + *low));
    i += 2;
  }
  return out;
}

bool IsPathCharacter(char c) {
  const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  const bool digit = c >= '0' && c <= '9';
  return letter || digit || c == '/' || c == '-' || c == '.' || c == '_' || c == '~';
}

Result<std::string> ParsePath(std::string_view encoded) {
  if (encoded.empty() || encoded.front() != '/') return Fail(Code::kInvalid, "the target is not a path");
  for (std::size_t i = 0; i + 2 < encoded.size(); ++i) {
    // An encoded slash would make one path out of two readings.
    if (encoded[i] == '%' && encoded[i + 1] == '2' && (encoded[i + 2] == 'f' || encoded[i + 2] == 'F')) {
      return Fail(Code::kInvalid, "an encoded slash in the path");
    }
  }
  auto path = DecodePercent(encoded, false);
  if (!path) return Fail(Code::kInvalid, "a broken percent encoding in the path");
  for (const char c : *path) {
    if (!IsPathCharacter(c)) return Fail(Code::kInvalid, "a character in the path that no path here has");
  }
  std::size_t begin = 1;
  while (begin <= path->size()) {
    const std::size_t end = std::min(path->find('/', begin), path->size());
    const std::string_view segment = std::string_view(*path).substr(begin, end - begin);
    if (segment == "." || segment == "..") return Fail(Code::kInvalid, "a dot segment in the path");
    if (segment.empty() && end != path->size()) return Fail(Code::kInvalid, "an empty segment in the path");
    begin = end + 1;
  }
  return std::move(*path);
}

Result<void> ParseParameter(std::string_view pair, std::map<std::string, std::string>& out) {
  if (pair.empty()) return {};
  const std::size_t equals = std::min(pair.find('='), pair.size());
  auto name = DecodePercent(pair.substr(0, equals), true);
  auto value = DecodePercent(equals < pair.size() ? pair.substr(equals + 1) : std::string_view(), true);
  if (!name || !value) return Fail(Code::kInvalid, "a broken percent encoding in the query");
  for (const std::string* text : {&*name, &*value}) {
    bool lossy = false;
    (void)ToUtf8(AsBytes(*text), &lossy);  // only the question matters: the text is kept or refused, never repaired
    if (lossy || text->find('\0') != std::string::npos) return Fail(Code::kInvalid, "the query is not UTF-8 text");
  }
  if (!out.emplace(std::move(*name), std::move(*value)).second) {
    return Fail(Code::kInvalid, "a query parameter occurs twice");
  }
  if (out.size() > kParametersMax) return Fail(Code::kInvalid, "too many query parameters");
  return {};
}

}  // namespace

Result<Target> ParseTarget(std::string_view target) {
  if (target.size() > limits::kWebTargetBytes) return Fail(Code::kInvalid, "the target is too long");
  for (const char c : target) {
    if (c <= ' ' || c > '~' || c == '\\' || c == '#') return Fail(Code::kInvalid, "a character no target may have");
  }
  const std::size_t mark = std::min(target.find('?'), target.size());
  Target parsed;
  STELE_TRY(parsed.path, ParsePath(target.substr(0, mark)));
  std::string_view rest = mark < target.size() ? target.substr(mark + 1) : std::string_view();
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('&'), rest.size());
    STELE_TRY_VOID(ParseParameter(rest.substr(0, end), parsed.query));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return parsed;
}

}  // namespace stele::web
