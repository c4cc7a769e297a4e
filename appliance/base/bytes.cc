#include "appliance/base/bytes.h"

#include <algorithm>

namespace stele {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

constexpr std::string_view kBase64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int Base64Digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  if (c == '/') return 63;
  return -1;
}

}  // namespace

bool SameBytes(ByteView a, ByteView b) { return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin()); }

std::string HexOf(ByteView bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::byte b : bytes) {
    text.push_back(kDigits[std::to_integer<unsigned>(b) >> 4U]);
    text.push_back(kDigits[std::to_integer<unsigned>(b) & 15U]);
  }
  return text;
}

std::optional<Bytes> ParseHex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  Bytes bytes;
  bytes.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = HexDigit(text[i]);
    const int low = HexDigit(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<std::byte>(high * 16 + low));
  }
  return bytes;
}

std::optional<Hash> ParseHash(std::string_view text) {
  const auto bytes = ParseHex(text);
  if (!bytes || bytes->size() != kHashBytes) return std::nullopt;
  Hash hash;
  std::copy(bytes->begin(), bytes->end(), hash.begin());
  return hash;
}

std::string Base64Of(ByteView bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t have = std::min<std::size_t>(3, bytes.size() - i);
    unsigned group = std::to_integer<unsigned>(bytes[i]) << 16U;
    if (have > 1) group |= std::to_integer<unsigned>(bytes[i + 1]) << 8U;
    if (have > 2) group |= std::to_integer<unsigned>(bytes[i + 2]);
    text.push_back(kBase64Alphabet[group >> 18U & 63U]);
    text.push_back(kBase64Alphabet[group >> 12U & 63U]);
    text.push_back(have > 1 ? kBase64Alphabet[group >> 6U & 63U] : '=');
    text.push_back(have > 2 ? kBase64Alphabet[group & 63U] : '=');
  }
  return text;
}

std::optional<Bytes> ParseBase64(std::string_view text, std::size_t size_bytes_max) {
  if (text.size() % 4 != 0 || text.size() / 4 * 3 > size_bytes_max + 2) return std::nullopt;
  Bytes bytes;
  bytes.reserve(text.size() / 4 * 3);
  for (std::size_t i = 0; i < text.size(); i += 4) {
    const bool last = i + 4 == text.size();
    const std::size_t padding = last ? (text[i + 3] == '=' ? (text[i + 2] == '=' ? 2U : 1U) : 0U) : 0U;
    unsigned group = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      const int digit = k >= 4 - padding ? 0 : Base64Digit(text[i + k]);
      if (digit < 0) return std::nullopt;
      group = group << 6U | static_cast<unsigned>(digit);
    }
    if ((padding == 1 && (group & 0xffU) != 0) || (padding == 2 && (group & 0xffffU) != 0)) return std::nullopt;
    bytes.push_back(static_cast<std::byte>(group >> 16U & 0xffU));
    if (padding < 2) bytes.push_back(static_cast<std::byte>(group >> 8U & 0xffU));
    if (padding < 1) bytes.push_back(static_cast<std::byte>(group & 0xffU));
  }
  if (bytes.size() > size_bytes_max) return std::nullopt;
  return bytes;
}

}  // namespace stele
