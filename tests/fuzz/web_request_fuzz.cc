// Goal: no bytes can make a request that has two readings. Method: whatever the gate, the parser and the policy let
// through is checked against the promises, and a second, naive reading of the same bytes must agree on the framing.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "appliance/base/limits.h"
#include "web/server/policy.h"

namespace {

void Require(bool promise) {
  if (!promise) std::abort();
}

// Counts lines that begin with `name:` in any case: the slow reference for "occurs once".
std::size_t CountLines(std::string_view head, std::string_view name) {
  std::size_t count = 0;
  while (!head.empty()) {
    const std::size_t end = std::min(head.find("\r\n"), head.size());
    const std::string_view line = head.substr(0, end);
    const bool same = line.size() > name.size() && line[name.size()] == ':' &&
                      std::equal(name.begin(), name.end(), line.begin(), [](char wanted, char found) {
                        return wanted == (found >= 'A' && found <= 'Z' ? static_cast<char>(found - 'A' + 'a') : found);
                      });
    count += same ? 1U : 0U;
    head.remove_prefix(std::min(end + 2, head.size()));
  }
  return count;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const stele::web::Hosts hosts({"localhost", "127.0.0.1", "::1"});
  const std::string_view received(reinterpret_cast<const char*>(data), size);
  const std::size_t end = stele::web::FindHeadEnd(received);
  if (end == std::string_view::npos) return 0;
  const std::string_view text = received.substr(0, end);
  const auto head = stele::web::ParseHead(text);
  if (!head) return 0;
  Require(text.size() <= stele::limits::kHttpHeaderBytes);
  Require(text.find('\0') == std::string_view::npos);
  Require(static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) == head->fields.size() + 2);
  Require(static_cast<std::size_t>(std::count(text.begin(), text.end(), '\r')) == head->fields.size() + 2);
  Require(text.substr(0, text.find("\r\n")) == head->method + " " + head->target + " HTTP/1.1");
  const auto judged = stele::web::Judge(*head, hosts);
  if (!judged) {
    Require(judged.error().status >= 400 && judged.error().status < 500);
    Require((judged.error().status == 405) == !judged.error().allow.empty());
    return 0;
  }
  Require(CountLines(text, "transfer-encoding") == 0);
  Require(CountLines(text, "host") == 1);
  Require(CountLines(text, "content-length") <= 1);
  Require(judged->content_length == 0 || judged->method == "POST");
  Require(judged->content_length <= stele::limits::kWebBodyBytes);
  Require(judged->method == "GET" || judged->method == "HEAD" || judged->path == "/api/v1/sign-in" ||
          judged->path == "/api/v1/sign-out");
  Require(judged->path.starts_with('/') && judged->path.find("/../") == std::string::npos &&
          !judged->path.ends_with("/..") && judged->path.find("//") == std::string::npos &&
          judged->path.find_first_of(std::string_view("\\%\0?#", 5)) == std::string::npos);
  return 0;
}
