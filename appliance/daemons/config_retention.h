// [retention] of stele.toml: how long records are kept, and what is held longer. docs/retention.md.
//
//   [retention]   keep_s = 0                     seconds; 0: nothing ever expires
//                 [[retention.holds]]            name = "case-7", reason = "...", from = 2026-01-01T00:00:00Z,
//                                                to = 2026-02-01T00:00:00Z; without from or to: from the beginning, for
//                                                ever
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "appliance/store/expiry.h"

#ifndef TOML_EXCEPTIONS
#define TOML_EXCEPTIONS 0
#endif
#include <toml++/toml.h>

namespace stele::daemons {

inline constexpr std::int64_t kRetentionSecondsMax = std::int64_t{100} * 366 * 86'400;
inline constexpr std::size_t kHoldsMax = 256;

// nullopt: taken. Else what is wrong, as a sentence without its subject.
[[nodiscard]] std::optional<std::string> TakeHolds(const toml::node& node, std::vector<store::Hold>& out);

}  // namespace stele::daemons
