#include "firmware/guard/seal_mark.h"

#include <algorithm>
#include <cstring>

namespace stele::guard {
namespace {

constexpr char kMagic[] = {'S', 'T', 'L', 'S', 'E', 'A', 'L', '1'};
constexpr std::size_t kUsedAt = 16;
constexpr std::size_t kCheckAt = 24;
constexpr std::uint32_t kVersion = 1;

void Put(std::byte* to, std::uint64_t value, std::size_t size_bytes) {
  for (std::size_t i = 0; i < size_bytes; ++i) to[i] = static_cast<std::byte>(value >> (8 * i) & 0xff);
}

std::uint64_t Get(const std::byte* from) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i) value |= std::uint64_t{static_cast<std::uint8_t>(from[i])} << (8 * i);
  return value;
}

std::uint64_t Fnv1a(std::span<const std::byte> bytes) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const std::byte byte : bytes) hash = (hash ^ static_cast<std::uint8_t>(byte)) * 0x100000001b3;
  return hash;
}

}  // namespace

std::array<std::byte, kSealMarkBytes> EncodeSealMark(std::uint64_t used_bytes) {
  std::array<std::byte, kSealMarkBytes> mark{};
  std::memcpy(mark.data(), kMagic, sizeof kMagic);
  Put(mark.data() + sizeof kMagic, kVersion, 4);
  Put(mark.data() + kUsedAt, used_bytes, 8);
  Put(mark.data() + kCheckAt, Fnv1a(std::span(mark).first(kCheckAt)), 8);
  return mark;
}

std::optional<std::uint64_t> DecodeSealMark(std::span<const std::byte, kSealMarkBytes> mark) {
  const std::uint64_t used_bytes = Get(mark.data() + kUsedAt);
  const auto expected = EncodeSealMark(used_bytes);
  if (!std::equal(mark.begin(), mark.end(), expected.begin())) return std::nullopt;
  return used_bytes;
}

}  // namespace stele::guard
