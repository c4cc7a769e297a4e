// What the counters of a listed table say of the packets that were dropped: by zones and reason, as in the log prefix
// of the same rule (log_prefix.h). Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace stele::netfilter {

using DropCounts = std::map<std::pair<std::string, std::string>, std::uint64_t>;  // (zones, reason) -> packets

// `listing`: of `nft list table inet stele`, with its counters. Rules without a prefix of ours are passed over.
[[nodiscard]] DropCounts DropCountsOf(std::string_view listing);

}  // namespace stele::netfilter
