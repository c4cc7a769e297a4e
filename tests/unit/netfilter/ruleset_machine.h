// A second opinion: runs a packet through the text of a ruleset, as the kernel would, without any code of the compiler.
// It knows the expressions that Stele's rulesets are made of, and ends the test at any other.
#pragma once

#include <string>
#include <string_view>

#include "appliance/base/ip_prefix.h"

namespace stele::netfilter {

struct MachinePacket {
  std::string iifname;
  std::string oifname;
  IpAddress saddr{};
  IpAddress daddr{};
  std::string l4proto = "tcp";  // "tcp", "udp", "icmp", "ipv6-icmp"
  std::string icmp_type;        // "echo-request"
  std::uint16_t sport = 40'000;
  std::uint16_t dport = 0;
  unsigned hoplimit = 64;
  std::string state = "new";  // "new", "established", "related", "invalid", "untracked"
  std::string direction = "original";
  bool only_syn = true;     // the flags of a TCP packet
  bool spoofed = false;     // what fib would say
  bool over_limit = false;  // of every limit there is
};

struct MachineVerdict {
  bool accepted = false;
  std::string log_prefix;  // of the rule that dropped it
  bool tracked = true;
};

// `hook`: "prerouting", "input", "forward", "output".
[[nodiscard]] MachineVerdict RunRuleset(std::string_view ruleset, std::string_view hook, const MachinePacket& packet);

}  // namespace stele::netfilter
