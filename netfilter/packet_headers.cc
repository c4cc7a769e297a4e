#include "netfilter/packet_headers.h"

#include <algorithm>

namespace stele::netfilter {
namespace {

constexpr std::size_t kHeaderBytes4 = 20;
constexpr std::size_t kHeaderBytes6 = 40;
constexpr std::size_t kAddressBytes4 = 4;
constexpr std::size_t kAddressBytes6 = 16;
constexpr std::size_t kFragmentHeaderBytes = 8;

// IPv6 extension headers (IANA "IPv6 Extension Header Types") that say how long they are.
constexpr std::uint8_t kHopByHop = 0;
constexpr std::uint8_t kRouting = 43;
constexpr std::uint8_t kFragment = 44;
constexpr std::uint8_t kAuthentication = 51;
constexpr std::uint8_t kDestinationOptions = 60;
constexpr std::uint8_t kMobility = 135;
constexpr std::uint8_t kHostIdentity = 139;
constexpr std::uint8_t kShim6 = 140;

std::uint8_t Octet(ByteView bytes, std::size_t at) { return std::to_integer<std::uint8_t>(bytes[at]); }
std::uint16_t Pair(ByteView bytes, std::size_t at) {
  return static_cast<std::uint16_t>(Octet(bytes, at) << 8U | Octet(bytes, at + 1));
}

IpAddress Address4(ByteView bytes) {
  IpAddress address{};  // ::ffff:a.b.c.d
  address[10] = address[11] = std::byte{0xff};
  std::copy_n(bytes.begin(), kAddressBytes4, address.begin() + 12);
  return address;
}
IpAddress Address6(ByteView bytes) {
  IpAddress address{};
  std::copy_n(bytes.begin(), kAddressBytes6, address.begin());
  return address;
}

// What the transport header says, of which `bytes` may have only the beginning.
std::optional<std::uint16_t> PortOf(std::uint8_t protocol, ByteView bytes) {
  switch (protocol) {
    case kIcmp:
    case kIcmp6:
      if (bytes.empty()) return std::nullopt;
      return Octet(bytes, 0);
    case 6:    // TCP
    case 17:   // UDP
    case 33:   // DCCP
    case 132:  // SCTP
    case 136:  // UDP-Lite
      if (bytes.size() < 4) return std::nullopt;
      return Pair(bytes, 2);
    default:
      return std::nullopt;
  }
}

std::optional<PacketHeaders> Parse4(ByteView packet) {
  if (packet.size() < kHeaderBytes4) return std::nullopt;
  const std::size_t header_bytes = std::size_t{4} * (Octet(packet, 0) & 0x0fU);
  if (header_bytes < kHeaderBytes4) return std::nullopt;
  PacketHeaders headers{Address4(packet.subspan(12)), Address4(packet.subspan(16)), Octet(packet, 9), std::nullopt};
  const bool later_fragment = (Pair(packet, 6) & 0x1fffU) != 0;
  if (later_fragment || packet.size() < header_bytes) return headers;
  headers.port = PortOf(headers.protocol, packet.subspan(header_bytes));
  return headers;
}

std::optional<PacketHeaders> Parse6(ByteView packet) {
  if (packet.size() < kHeaderBytes6) return std::nullopt;
  PacketHeaders headers{Address6(packet.subspan(8)), Address6(packet.subspan(24)), Octet(packet, 6), std::nullopt};
  ByteView rest = packet.subspan(kHeaderBytes6);
  while (true) {  // each turn takes eight octets or more
    std::size_t header_bytes = 0;
    switch (headers.protocol) {
      case kHopByHop:
      case kRouting:
      case kDestinationOptions:
      case kMobility:
      case kHostIdentity:
      case kShim6:
        if (rest.size() < 2) return headers;
        header_bytes = 8 * (std::size_t{Octet(rest, 1)} + 1);
        break;
      case kAuthentication:
        if (rest.size() < 2) return headers;
        header_bytes = 4 * (std::size_t{Octet(rest, 1)} + 2);
        break;
      case kFragment:
        if (rest.size() < kFragmentHeaderBytes) return headers;
        header_bytes = kFragmentHeaderBytes;
        if ((Pair(rest, 2) & 0xfff8U) != 0) {  // a later fragment: what follows is no header
          headers.protocol = Octet(rest, 0);
          return headers;
        }
        break;
      default:
        headers.port = PortOf(headers.protocol, rest);
        return headers;
    }
    if (rest.size() < header_bytes) return headers;
    headers.protocol = Octet(rest, 0);
    rest = rest.subspan(header_bytes);
  }
}

}  // namespace

std::optional<PacketHeaders> ParsePacketHeaders(ByteView packet) {
  if (packet.empty()) return std::nullopt;
  switch (Octet(packet, 0) >> 4U) {
    case 4:
      return Parse4(packet);
    case 6:
      return Parse6(packet);
    default:
      return std::nullopt;
  }
}

}  // namespace stele::netfilter
