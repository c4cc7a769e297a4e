#include "tests/unit/netfilter/packets.h"

#include "tests/unit/netfilter/policies.h"

namespace stele::netfilter {
namespace {

constexpr std::uint8_t kFragment = 44;
constexpr std::uint8_t kAuthentication = 51;

void Put(Bytes& out, std::initializer_list<unsigned> octets) {
  for (const unsigned octet : octets) out.push_back(static_cast<std::byte>(octet));
}

void PutTransport(Bytes& out, const PacketSpec& spec) {
  if (spec.protocol == 1 || spec.protocol == 58) {
    Put(out, {spec.port, 0, 0, 0});
  } else {
    Put(out, {0x9c, 0x40, static_cast<unsigned>(spec.port >> 8U), spec.port & 0xffU});
  }
  out.resize(out.size() + spec.content_bytes, std::byte{0x78});
}

// The header of type `type`, which says that `next` follows.
void PutExtension(Bytes& out, std::uint8_t type, std::uint8_t next, std::uint16_t fragment_offset) {
  if (type == kFragment) {
    const auto offset = static_cast<unsigned>(fragment_offset << 3U);
    Put(out, {next, 0, offset >> 8U, offset & 0xffU, 0, 0, 0, 7});
  } else if (type == kAuthentication) {
    Put(out, {next, 4, 0, 0});  // (4 + 2) * 4 octets
    out.resize(out.size() + 20, std::byte{1});
  } else {
    Put(out, {next, 1});  // (1 + 1) * 8 octets
    out.resize(out.size() + 14, std::byte{1});
  }
}

}  // namespace

Bytes PacketOf(const PacketSpec& spec) {
  const IpAddress source = AddressOf(spec.source);
  const IpAddress destination = AddressOf(spec.destination);
  Bytes out;
  if (spec.source.find(':') == std::string::npos) {
    const auto words = static_cast<unsigned>(5 + spec.option_words);
    Put(out, {0x40U | words, 0, 0, 60, 0, 1, static_cast<unsigned>(spec.fragment_offset >> 8U),
              spec.fragment_offset & 0xffU, 64, spec.protocol, 0, 0});
    Append(out, ByteView(source).subspan(12));
    Append(out, ByteView(destination).subspan(12));
    out.resize(out.size() + 4 * spec.option_words, std::byte{1});
  } else {
    const unsigned first = spec.extensions.empty() ? spec.protocol : spec.extensions.front();
    Put(out, {0x60, 0, 0, 0, 0, 60, first, 64});
    Append(out, source);
    Append(out, destination);
    for (std::size_t i = 0; i < spec.extensions.size(); ++i) {
      const std::uint8_t next = i + 1 < spec.extensions.size() ? spec.extensions[i + 1] : spec.protocol;
      PutExtension(out, spec.extensions[i], next, spec.fragment_offset);
    }
  }
  PutTransport(out, spec);
  return out;
}

}  // namespace stele::netfilter
