// IP packets for tests, as their first octets.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "appliance/base/bytes.h"

namespace stele::netfilter {

struct PacketSpec {
  std::string source = "10.20.3.4";
  std::string destination = "10.20.0.1";
  std::uint8_t protocol = 6;
  std::uint16_t port = 22;                    // of ICMP: its type
  std::size_t option_words = 0;               // IPv4
  std::uint16_t fragment_offset = 0;          // in units of 8 octets
  std::vector<std::uint8_t> extensions = {};  // IPv6, in their order
  std::size_t content_bytes = 8;
};
[[nodiscard]] Bytes PacketOf(const PacketSpec& spec);

}  // namespace stele::netfilter
