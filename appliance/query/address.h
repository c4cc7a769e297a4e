// Internet addresses as the query language sees them: 16 bytes, IPv4 as ::ffff:a.b.c.d, compared numerically.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "appliance/base/bytes.h"
#include "appliance/record/entry.h"

namespace stele::query {

struct Address {
  std::array<std::uint8_t, 16> bytes{};
  friend bool operator==(const Address&, const Address&) = default;
  [[nodiscard]] bool IsIpv4() const;
};

// An address with a prefix length (0-128, counted in the 16 bytes; host bits are zero).
struct Network {
  Address address;
  std::uint8_t prefix_bits = 128;
  friend bool operator==(const Network&, const Network&) = default;
  [[nodiscard]] bool Contains(const Address& candidate) const;
};

[[nodiscard]] std::optional<Address> ParseAddress(std::string_view text);
// "10.1.2.3", "10.0.0.0/8", "2001:db8::1", "2001:db8::/32". Host bits are cleared.
[[nodiscard]] std::optional<Network> ParseNetwork(std::string_view text);
[[nodiscard]] std::string NetworkText(const Network& network);

[[nodiscard]] std::optional<Address> AddressOfPeer(const record::Peer& peer);  // nothing when all zero

// Whether any address in the text lies in the network. What counts as an address in free text:
//   IPv4  a maximal run of digits and dots of four numbers up to 255, with or without leading zeros, a fifth number being a
//         port (tcpdump's and pf's 10.1.2.3.514); a full stop after it is not part of it
//   IPv6  a maximal run of hexadecimal digits, colons and dots with two colons or more, without a colon or full stop that
//         ends a sentence; a run that begins inside a word (src:2001:db8::1) is also tried without that word
// 10.1.2.3 is not in "10.1.2.30" and not in "110.1.2.3". Work is linear in the text.
[[nodiscard]] bool TextHoldsAddressIn(std::string_view text, const Network& network);

}  // namespace stele::query
