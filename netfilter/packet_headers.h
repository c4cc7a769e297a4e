// The headers at the beginning of an IP packet that somebody else sent: who to whom, and to which port.
#pragma once

#include <cstdint>
#include <optional>

#include "appliance/base/ip_prefix.h"

namespace stele::netfilter {

inline constexpr std::uint8_t kIcmp = 1;  // IANA protocol numbers
inline constexpr std::uint8_t kIcmp6 = 58;

struct PacketHeaders {
  IpAddress source{};
  IpAddress destination{};
  std::uint8_t protocol = 0;          // IANA: behind the extension headers that were there to be read
  std::optional<std::uint16_t> port;  // destination's, of TCP, UDP, DCCP, SCTP and UDP-Lite; of ICMP: its type
  auto operator<=>(const PacketHeaders&) const = default;
};

// Total: any bytes. Empty when they are no IP packet or end before the addresses do. What is cut off, or stands in a
// later fragment, is left out: fewer bytes never give another answer, only less of it.
//= RFC 791 section 3.1, RFC 8200 section 4
[[nodiscard]] std::optional<PacketHeaders> ParsePacketHeaders(ByteView packet);

}  // namespace stele::netfilter
