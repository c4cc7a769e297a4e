// Rows of violations as payloads of `alarm` entries (docs/entries.md), and what the watching process is told of the
// policy. JSON both.
#pragma once

#include <string>

#include "netfilter/violations.h"

namespace stele::netfilter {

// {"alarm":"policy_violation"|"policy_scan"|"policy_crossing"|"policy_violations_uncounted","text",...}
[[nodiscard]] std::string ViolationEntry(const ViolationRow& row);
// Every name of an alarm above begins so.
inline constexpr std::string_view kViolationAlarms = "policy_";

[[nodiscard]] std::string CrossingsJson(const Crossings& crossings);
[[nodiscard]] Result<Crossings> ParseCrossings(std::string_view text);

}  // namespace stele::netfilter
