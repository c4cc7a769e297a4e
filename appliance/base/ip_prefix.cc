#include "appliance/base/ip_prefix.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace stele {
namespace {

constexpr unsigned kMappedBits = 96;
constexpr std::array<unsigned char, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool IsMapped(const IpAddress& address) { return std::memcmp(address.data(), kMapped.data(), kMapped.size()) == 0; }

}  // namespace

IpAddress Masked(const IpAddress& address, unsigned bits) {
  IpAddress out{};
  const unsigned whole = std::min(bits / 8, 16U);
  std::copy_n(address.begin(), whole, out.begin());
  if (whole < 16 && bits % 8 != 0) {
    const auto mask = static_cast<std::byte>(0xffU << (8 - bits % 8) & 0xffU);
    out[whole] = address[whole] & mask;
  }
  return out;
}

bool IpPrefix::Contains(const IpAddress& candidate) const { return Masked(candidate, bits) == address; }

Result<IpPrefix> ParseIpPrefix(std::string_view text) {
  const auto wrong = [&](const char* why) {
    return Fail(Code::kInvalid, "\"" + std::string(text.substr(0, 64)) + "\" " + why);
  };
  const std::size_t slash = text.find('/');
  const std::string address(text.substr(0, slash));
  IpPrefix prefix;
  in_addr v4{};
  in6_addr v6{};
  bool is_v4 = false;
  if (::inet_pton(AF_INET, address.c_str(), &v4) == 1) {
    is_v4 = true;
    std::memcpy(prefix.address.data(), kMapped.data(), kMapped.size());
    std::memcpy(prefix.address.data() + kMapped.size(), &v4, sizeof v4);
  } else if (::inet_pton(AF_INET6, address.c_str(), &v6) == 1) {
    std::memcpy(prefix.address.data(), &v6, sizeof v6);
  } else {
    return wrong("is not an IPv4 or IPv6 address or prefix");
  }
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    const unsigned most = is_v4 ? 32 : 128;
    unsigned bits = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
    if (digits.empty() || error != std::errc() || end != digits.data() + digits.size() || bits > most) {
      return wrong("has no prefix length that fits its address");
    }
    prefix.bits = is_v4 ? kMappedBits + bits : bits;
  }
  if (Masked(prefix.address, prefix.bits) != prefix.address) return wrong("has bits set behind its prefix length");
  return prefix;
}

std::string IpPrefixText(const IpPrefix& prefix) {
  char text[INET6_ADDRSTRLEN] = {};
  const bool v4 = IsMapped(prefix.address) && prefix.bits >= kMappedBits;
  const void* at = v4 ? prefix.address.data() + kMapped.size() : prefix.address.data();
  (void)::inet_ntop(v4 ? AF_INET : AF_INET6, at, text, sizeof text);  // cannot fail: the buffer is large enough
  if (prefix.bits == 128) return text;
  return std::string(text) + "/" + std::to_string(v4 ? prefix.bits - kMappedBits : prefix.bits);
}

}  // namespace stele
