#include "appliance/query/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

namespace stele::query {
namespace {

constexpr std::array<std::uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr std::size_t kIpv6TextMax = INET6_ADDRSTRLEN - 1;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsHexDigit(char c) { return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool IsWordChar(char c) { return IsDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

// Decimal numbers with dots between them; up to five numbers, the fifth a port. Nothing else.
std::optional<Address> ParseDotted(std::string_view text, bool allow_port) {
  std::array<unsigned, 5> numbers{};
  std::size_t count = 0;
  std::size_t at = 0;
  for (;;) {
    const std::size_t digits_max = count == 4 ? 5 : 3;
    std::size_t digits = 0;
    unsigned value = 0;
    while (at < text.size() && IsDigit(text[at])) {
      if (++digits > digits_max) return std::nullopt;
      value = value * 10 + static_cast<unsigned>(text[at++] - '0');
    }
    if (digits == 0 || count == numbers.size() || value > (count == 4 ? 65535U : 255U)) return std::nullopt;
    numbers[count++] = value;
    if (at == text.size()) break;
    if (text[at] != '.' || count == numbers.size()) return std::nullopt;
    ++at;
  }
  if (count != 4 && !(allow_port && count == 5)) return std::nullopt;
  Address address;
  std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), address.bytes.begin());
  for (std::size_t i = 0; i < 4; ++i) address.bytes[12 + i] = static_cast<std::uint8_t>(numbers[i]);
  return address;
}

std::optional<Address> ParseColons(std::string_view text) {
  if (text.size() > kIpv6TextMax) return std::nullopt;
  std::array<char, kIpv6TextMax + 1> terminated{};
  std::memcpy(terminated.data(), text.data(), text.size());
  Address address;
  if (::inet_pton(AF_INET6, terminated.data(), address.bytes.data()) != 1) return std::nullopt;
  return address;
}

std::string_view WithoutSentenceEnd(std::string_view run) {
  while (!run.empty() && (run.back() == '.' || (run.back() == ':' && !run.ends_with("::")))) run.remove_suffix(1);
  return run;
}

bool ColonRunIsIn(std::string_view run, bool begins_inside_word, const Network& network) {
  run = WithoutSentenceEnd(run);
  if (!run.empty() && run.front() == ':' && !run.starts_with("::")) run.remove_prefix(1);  // "ip:2001:db8::1"
  const auto try_one = [&network](std::string_view text) {
    auto address = ParseColons(text);
    if (!address && text.rfind('.') != std::string_view::npos) {
      address = ParseColons(text.substr(0, text.rfind('.')));  // a port behind a dot
    }
    return address && network.Contains(*address);
  };
  if (try_one(run)) return true;
  if (!begins_inside_word) return false;
  const std::size_t colon = run.find(':');  // "src:2001:db8::1": the c of src looks hexadecimal
  return colon != std::string_view::npos && try_one(run.substr(colon + 1));
}

}  // namespace

bool Address::IsIpv4() const { return std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes.begin()); }

bool Network::Contains(const Address& candidate) const {
  const std::size_t whole = prefix_bits / 8U;
  if (std::memcmp(address.bytes.data(), candidate.bytes.data(), whole) != 0) return false;
  const unsigned rest = prefix_bits % 8U;
  if (rest == 0) return true;
  const unsigned mask = 0xffU << (8U - rest) & 0xffU;
  return ((address.bytes[whole] ^ candidate.bytes[whole]) & mask) == 0;
}

std::optional<Address> ParseAddress(std::string_view text) {
  if (text.find(':') == std::string_view::npos) return ParseDotted(text, /*allow_port=*/false);
  return ParseColons(text);
}

std::optional<Network> ParseNetwork(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto address = ParseAddress(text.substr(0, slash));
  if (!address) return std::nullopt;
  Network network{*address, 128};
  if (slash == std::string_view::npos) return network;
  const std::string_view digits = text.substr(slash + 1);
  if (digits.empty() || digits.size() > 3 || !std::all_of(digits.begin(), digits.end(), IsDigit)) return std::nullopt;
  unsigned bits = 0;
  for (const char c : digits) bits = bits * 10 + static_cast<unsigned>(c - '0');
  const bool dotted = text.substr(0, slash).find(':') == std::string_view::npos;
  if (bits > (dotted ? 32U : 128U)) return std::nullopt;
  if (dotted) bits += 96;
  network.prefix_bits = static_cast<std::uint8_t>(bits);
  for (std::size_t i = 0; i < 16; ++i) {
    const unsigned kept = bits >= 8 * (i + 1) ? 8 : bits > 8 * i ? bits - static_cast<unsigned>(8 * i) : 0;
    network.address.bytes[i] = static_cast<std::uint8_t>(network.address.bytes[i] & (0xff00U >> kept));
  }
  return network;
}

std::string NetworkText(const Network& network) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const bool four = network.prefix_bits >= 96 && network.address.IsIpv4();
  const void* from = four ? &network.address.bytes[12] : network.address.bytes.data();
  (void)::inet_ntop(four ? AF_INET : AF_INET6, from, text.data(), text.size());  // cannot fail: the buffer fits any
  std::string out = text.data();
  if (network.prefix_bits != 128) out += "/" + std::to_string(network.prefix_bits - (four ? 96 : 0));
  return out;
}

std::optional<Address> AddressOfPeer(const record::Peer& peer) {
  Address address;
  std::memcpy(address.bytes.data(), peer.data(), address.bytes.size());
  if (address == Address{}) return std::nullopt;
  return address;
}

bool TextHoldsAddressIn(std::string_view text, const Network& network) {
  // IPv4 can hide in either form of run; a network wholly outside ::ffff:0:0/96 needs no dotted runs.
  const bool want_dotted = network.prefix_bits < 96 || network.address.IsIpv4();
  for (std::size_t at = 0; at < text.size();) {
    if (!IsHexDigit(text[at]) && text[at] != ':') {
      ++at;
      continue;
    }
    const std::size_t begin = at;
    std::size_t colons = 0;
    while (at < text.size() && (IsHexDigit(text[at]) || text[at] == ':' || text[at] == '.')) colons += text[at++] == ':';
    const std::string_view run = text.substr(begin, at - begin);
    if (colons >= 2 && ColonRunIsIn(run, begin > 0 && IsWordChar(text[begin - 1]), network)) return true;
    if (!want_dotted) continue;
    for (std::size_t i = 0; i < run.size();) {  // dotted runs inside: "10.1.2.3:514", "addr:10.1.2.3"
      if (!IsDigit(run[i])) {
        ++i;
        continue;
      }
      const std::size_t first = i;
      while (i < run.size() && (IsDigit(run[i]) || run[i] == '.')) ++i;
      const auto address = ParseDotted(WithoutSentenceEnd(run.substr(first, i - first)), /*allow_port=*/true);
      if (address && network.Contains(*address)) return true;
    }
  }
  return false;
}

}  // namespace stele::query
