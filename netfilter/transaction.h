// From one table to another in one transaction, with as little as makes the difference: what is the same in both stays
// as it is, with its counters and with what its dynamic sets have counted, and no packet meets half a ruleset.
#pragma once

#include <string>

#include "netfilter/ruleset.h"

namespace stele::netfilter {

// Commands for nft, in their order; empty when nothing differs. A table whose base chains hook elsewhere is made anew.
[[nodiscard]] std::string TransactionText(const Ruleset& current, const Ruleset& meant);

// The same without a look at what is there.
[[nodiscard]] std::string ReplacementText(const Ruleset& meant);

}  // namespace stele::netfilter
