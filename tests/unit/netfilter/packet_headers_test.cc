// Goal: who a packet is from, whom it is for and by which port, of both families, with every header that may stand
// before; and never a wrong answer from a part of it. Method: packets made field by field, every truncation of each.
#include "netfilter/packet_headers.h"

#include <gtest/gtest.h>

#include <array>

#include "tests/unit/netfilter/packets.h"
#include "tests/unit/netfilter/policies.h"

namespace stele::netfilter {
namespace {

void ExpectHeaders(const PacketSpec& spec, bool port_is_there = true) {
  const auto headers = ParsePacketHeaders(PacketOf(spec));
  ASSERT_TRUE(headers);
  EXPECT_EQ(headers->source, AddressOf(spec.source));
  EXPECT_EQ(headers->destination, AddressOf(spec.destination));
  EXPECT_EQ(headers->protocol, spec.protocol);
  EXPECT_EQ(headers->port, port_is_there ? std::optional(spec.port) : std::nullopt);
}

PacketSpec Six(std::vector<std::uint8_t> extensions, std::uint8_t protocol = 17) {
  return {.source = "2001:db8:2::77",
          .destination = "2001:db8:2::10",
          .protocol = protocol,
          .port = 514,
          .extensions = std::move(extensions)};
}

TEST(PacketHeaders, EveryTransportWithPortsNamesItsDestinationPort) {
  for (const std::uint8_t protocol : std::array<std::uint8_t, 5>{6, 17, 33, 132, 136})
    ExpectHeaders({.protocol = protocol, .port = 6514});
  ExpectHeaders({.protocol = 1, .port = 8});
  ExpectHeaders({.protocol = 47}, /*port_is_there=*/false);
}

TEST(PacketHeaders, OptionsOfIPv4AreStridden) {
  for (const std::size_t words : {1U, 5U, 10U}) ExpectHeaders({.port = 1514, .option_words = words});
}

TEST(PacketHeaders, ALaterFragmentHasNoPorts) {
  ExpectHeaders({.fragment_offset = 3}, /*port_is_there=*/false);
  PacketSpec six = Six({44});
  six.fragment_offset = 3;
  ExpectHeaders(six, /*port_is_there=*/false);
}

TEST(PacketHeaders, ExtensionHeadersOfIPv6AreStridden) {
  ExpectHeaders(Six({}));
  ExpectHeaders(Six({0, 60, 43, 44, 51, 60, 135, 139, 140}));
  ExpectHeaders(Six({0, 44}, 6));
  PacketSpec ping = Six({60}, 58);
  ping.port = 128;
  ExpectHeaders(ping);
  ExpectHeaders(Six({}, 50), /*port_is_there=*/false);  // encrypted
  ExpectHeaders(Six({}, 59), /*port_is_there=*/false);  // nothing follows
}

TEST(PacketHeaders, APartOfAPacketSaysLessAndNothingElse) {
  PacketSpec options{.option_words = 10};
  for (const PacketSpec& spec : {PacketSpec{}, options, Six({}), Six({0, 60, 43, 44, 51}), Six({51, 44, 0}, 58)}) {
    const Bytes packet = PacketOf(spec);
    const auto whole = ParsePacketHeaders(packet);
    ASSERT_TRUE(whole);
    const std::size_t addresses_end = spec.source.find(':') == std::string::npos ? 20 : 40;
    for (std::size_t size = 0; size < packet.size(); ++size) {
      const auto part = ParsePacketHeaders(ByteView(packet).first(size));
      ASSERT_EQ(part.has_value(), size >= addresses_end) << size;
      if (!part) continue;
      EXPECT_EQ(part->source, whole->source);
      EXPECT_EQ(part->destination, whole->destination);
      EXPECT_TRUE(!part->port || *part == *whole) << size;
    }
  }
}

TEST(PacketHeaders, WhatIsNoPacketIsNone) {
  EXPECT_FALSE(ParsePacketHeaders({}));
  Bytes packet = PacketOf({});
  packet[0] = std::byte{0x55};
  EXPECT_FALSE(ParsePacketHeaders(packet)) << "version 5";
  packet[0] = std::byte{0x44};
  EXPECT_FALSE(ParsePacketHeaders(packet)) << "a header of sixteen octets";
}

}  // namespace
}  // namespace stele::netfilter
