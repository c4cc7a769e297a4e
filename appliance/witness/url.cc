#include "appliance/witness/url.h"

#include <algorithm>
#include <charconv>

namespace stele::witness {
namespace {

constexpr std::size_t kUrlBytesMax = 2'048;

bool AllOf(std::string_view text, std::string_view extra) {
  return std::all_of(text.begin(), text.end(), [extra](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           extra.find(c) != std::string_view::npos;
  });
}

}  // namespace

std::string Url::Authority() const {
  const std::string bare = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return port == (tls ? 443 : 80) ? bare : bare + ":" + std::to_string(port);
}

Result<Url> ParseUrl(std::string_view text) {
  const auto wrong = [] { return Fail(Code::kInvalid, "not the address of a witness: http[s]://host[:port][/path]"); };
  if (text.size() > kUrlBytesMax) return wrong();
  Url url;
  if (text.substr(0, 8) == "https://") {
    url.tls = true;
    text.remove_prefix(8);
  } else if (text.substr(0, 7) == "http://") {
    text.remove_prefix(7);
  } else {
    return wrong();
  }
  const std::size_t slash = std::min(text.find('/'), text.size());
  std::string_view authority = text.substr(0, slash);
  url.path = std::string(text.substr(slash));
  while (!url.path.empty() && url.path.back() == '/') url.path.pop_back();
  if (!AllOf(url.path, "/-._~")) return wrong();
  if (!authority.empty() && authority.front() == '[') {
    const std::size_t end = authority.find(']');
    if (end == std::string_view::npos) return wrong();
    url.host = std::string(authority.substr(1, end - 1));
    authority.remove_prefix(end + 1);
    if (url.host.find_first_not_of("0123456789abcdefABCDEF:.") != std::string::npos) return wrong();
  } else {
    const std::size_t end = std::min(authority.find(':'), authority.size());
    url.host = std::string(authority.substr(0, end));
    authority.remove_prefix(end);
    if (!AllOf(url.host, "-.")) return wrong();
  }
  if (url.host.empty()) return wrong();
  url.port = url.tls ? 443 : 80;
  if (!authority.empty()) {
    const std::string_view digits = authority.substr(1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), url.port);
    if (authority.front() != ':' || error != std::errc{} || end != digits.data() + digits.size() || url.port == 0)
      return wrong();
  }
  return url;
}

}  // namespace stele::witness
