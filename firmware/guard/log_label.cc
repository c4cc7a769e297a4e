#include "firmware/guard/log_label.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstring>

namespace stele::guard {
namespace {

constexpr char kMagic[] = {'S', 'T', 'E', 'L', 'E', 'S', 'E', 'G'};
constexpr std::size_t kVersionAt = sizeof kMagic;  // u16, and 16 bits that are zero
constexpr std::size_t kUnitAt = 12;
constexpr std::size_t kLogIdAt = 24;
constexpr std::size_t kChecksumAt = kLogLabelBytes - 4;
constexpr std::uint32_t kVersion = 1;

std::uint32_t Get32(const std::byte* from) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value |= std::uint32_t{static_cast<std::uint8_t>(from[i])} << (8 * i);
  return value;
}

}  // namespace

std::optional<LogLabel> DecodeLogLabel(std::span<const std::byte, kLogLabelBytes> superblock) {
  const std::byte* const bytes = superblock.data();
  if (std::memcmp(bytes, kMagic, sizeof kMagic) != 0 || Get32(bytes + kVersionAt) != kVersion) return std::nullopt;
  const std::uint64_t sum = XXH3_64bits(bytes, kChecksumAt);
  if (Get32(bytes + kChecksumAt) != static_cast<std::uint32_t>(sum ^ sum >> 32)) return std::nullopt;
  LogLabel label;
  label.unit = Get32(bytes + kUnitAt);
  std::copy_n(bytes + kLogIdAt, label.log_id.size(), label.log_id.begin());
  return label;
}

std::vector<bool> WhichAreSealed(std::span<const LogContent> partitions) {
  std::vector<bool> sealed;
  for (const LogContent& one : partitions) {
    const bool left_behind =
        one.label && std::any_of(partitions.begin(), partitions.end(), [&one](const LogContent& other) {
          return other.label && other.label->log_id == one.label->log_id && other.label->unit > one.label->unit &&
                 other.label->unit - one.label->unit > 1;
        });
    sealed.push_back(one.bears_mark || left_behind);
  }
  return sealed;
}

}  // namespace stele::guard
