// What a raw log partition says of itself, as far as a start of the machine has to know it: which unit of which log it
// is (the beginning of the store's superblock, docs/format.md), whether it bears a seal mark; and which of them are
// sealed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace stele::guard {

inline constexpr std::size_t kLogLabelBytes = 4096;  // the superblock, at the beginning of the partition

struct LogLabel {
  std::array<std::byte, 32> log_id{};
  std::uint32_t unit = 0;
};
// Nothing where there is no whole superblock of a version that is known here.
[[nodiscard]] std::optional<LogLabel> DecodeLogLabel(std::span<const std::byte, kLogLabelBytes> superblock);

struct LogContent {
  bool bears_mark = false;
  std::optional<LogLabel> label;
};
// For each partition whether nobody may write it any more: it bears a seal mark, or the log has gone on for two units
// or more behind it, so that somebody has taken the mark away. (One unit: a crash may have come before the mark, and
// the ledger makes up for it.) The units of one log say nothing about those of another.
[[nodiscard]] std::vector<bool> WhichAreSealed(std::span<const LogContent> partitions);

}  // namespace stele::guard
