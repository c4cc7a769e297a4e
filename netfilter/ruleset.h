// A table of nftables as its parts: what the compiler writes, what a listing of the kernel's table is read into, and
// how the two differ. Only what the compiler writes is understood; anything else in a listing is a difference.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "appliance/base/result.h"

namespace stele::netfilter {

struct SetSpec {
  bool map = false;
  std::string type;   // "ifname . ipv4_addr : mark"
  std::string flags;  // "interval", "dynamic,timeout"
  std::uint32_t size = 0;
  std::string timeout;
  std::vector<std::string> elements;  // of a dynamic set: none, the kernel's are its own
  bool operator==(const SetSpec&) const = default;
};

struct Chain {
  std::string hook;  // "type filter hook input priority filter; policy drop;"; empty: only jumped to
  std::vector<std::string> rules;
  bool operator==(const Chain&) const = default;
};

struct Ruleset {
  std::vector<std::pair<std::string, SetSpec>> sets;
  std::vector<std::pair<std::string, Chain>> chains;
};

// `table inet stele { ... }`: sets first, then the chains, each behind those it jumps to.
[[nodiscard]] std::string RulesetText(const Ruleset& ruleset);

// Reads RulesetText() and what `nft -s list table inet stele` prints. kInvalid: not of this shape.
[[nodiscard]] Result<Ruleset> ParseRuleset(std::string_view text);

// What is different in `found`, one clause each, at most `most` of them; order of sets, chains and elements is no
// difference.
[[nodiscard]] std::vector<std::string> DifferencesOf(const Ruleset& meant, const Ruleset& found, std::size_t most);

}  // namespace stele::netfilter
