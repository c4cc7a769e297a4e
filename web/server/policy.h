// What may be asked at all: pure decisions about one request head, before anything is forwarded.
//
// The order is fixed: framing (400, close), Host (400, 421), target (400), method (405), body (400, 413), where the
// request comes from (403), cookie. A refusal that leaves the framing in doubt closes the connection.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "web/server/head.h"

namespace stele::web {

// The names this server answers to. Anything else is a rebound name (DNS rebinding) or a mistake.
class Hosts {
 public:
  explicit Hosts(const std::vector<std::string>& names);       // addresses of IPv6 with or without brackets
  [[nodiscard]] bool Knows(std::string_view authority) const;  // "name", "name:port", "[::1]:port"

 private:
  std::vector<std::string> names_;
};

struct Request {
  bool api = false;        // else a static file
  bool head_only = false;  // HEAD
  bool sign_in = false;
  bool keep_alive = true;
  bool localhost = false;  // asked by the name localhost
  std::size_t content_length = 0;
  std::string method;
  std::string path;
  std::map<std::string, std::string> query;
  std::map<std::string, std::string> headers;  // what stele-query gets: last-event-id, content-type, origin
  std::string session_token;                   // of the cookie __Host-stele; empty when none
  std::string if_none_match;
};

struct Refusal {
  int status = 400;
  std::string code = "bad_request";  // docs/api.md
  std::string message;
  std::string allow;  // 405: the Allow field
  bool close = true;
  bool localhost = false;
};

[[nodiscard]] tl::expected<Request, Refusal> Judge(const RequestHead& head, const Hosts& hosts);

}  // namespace stele::web
