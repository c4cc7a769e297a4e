// Internet addresses and prefixes as 16 bytes, IPv4 as ::ffff:a.b.c.d: what rules about peers are made of.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "appliance/base/bytes.h"

namespace stele {

using IpAddress = std::array<std::byte, 16>;

struct IpPrefix {
  IpAddress address{};  // host bits are zero
  unsigned bits = 128;  // of the 16 bytes: 192.0.2.0/24 has 96 + 24
  bool operator==(const IpPrefix&) const = default;
  [[nodiscard]] bool Contains(const IpAddress& candidate) const;
};

// "192.0.2.7", "192.0.2.0/24", "2001:db8::1", "2001:db8::/32"; nothing else, no zone. kInvalid says what is wrong; host bits
// that are set are an error too: whoever writes 10.1.2.3/8 means one of two things.
[[nodiscard]] Result<IpPrefix> ParseIpPrefix(std::string_view text);
[[nodiscard]] std::string IpPrefixText(const IpPrefix& prefix);  // ParseIpPrefix() gives the same prefix back

[[nodiscard]] IpAddress Masked(const IpAddress& address, unsigned bits);  // all bits behind `bits` cleared

}  // namespace stele
