// The address of a witness: its submission prefix, as a policy gives it.
//
//   url := ("http" | "https") "://" (name | IPv4 | "[" IPv6 "]") (":" port)? ("/" segment)*       no user, query or
//   fragment
#pragma once

#include <string>
#include <string_view>

#include "appliance/base/result.h"

namespace stele::witness {

struct Url {
  bool tls = false;
  std::string host;  // an IPv6 address without brackets
  std::uint16_t port = 0;
  std::string path;  // "" or "/..." without a slash at the end

  [[nodiscard]] std::string Authority() const;  // of the Host field
};
[[nodiscard]] Result<Url> ParseUrl(std::string_view text);

}  // namespace stele::witness
