// What the kernel says of a packet it dropped: the netlink log group the drops go to and the prefix that each carries.
// The prefix is written by the compiler of the ruleset and read by whoever watches the group.
//
//   prefix := "stele:" zones ":" reason           at most 127 octets (NF_LOG_PREFIXLEN, with its NUL)
//   zones  := "-" | name ("+" name)*              the zones of the interface, where the packet fits none of them in
//                                                 particular
//
// An interface has a group of its own, so that a flood of drops on one neither hides nor delays what is dropped on
// another: kLogGroup + 1 and so on in the order of the policy, from the beginning again when there are more. What
// belongs to no interface of the policy goes to kLogGroup.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace stele::netfilter {

inline constexpr std::uint16_t kLogGroup = 5;
inline constexpr unsigned kLogGroups = 16;
inline constexpr unsigned kLogBytes = 128;           // of each packet: every header, little of its content
inline constexpr std::size_t kLogPrefixBytes = 127;  // DO NOT CHANGE: the kernel's

enum class DropReason : std::uint8_t {
  kSpoofed,      // its source is not reached by the interface it came from
  kSource,       // an address that no zone of this interface allows
  kPort,         // an allowed source, and nothing it may reach
  kIcmp,         // ICMP that nobody needs, or too much of it
  kInvalid,      // belongs to no connection and begins none
  kRate,         // more new connections a second than one source may have
  kConnections,  // more connections than one source may have
  kDatagrams,    // more datagrams a second than one source may send
  kEgress,       // the appliance itself: no flow says so
  kForward,      // on its way through the appliance
  kInterface,    // came by an interface of no zone
};
inline constexpr std::array<std::string_view, 11> kDropReasons{"spoofed", "source",  "port",        "icmp",
                                                               "invalid", "rate",    "connections", "datagrams",
                                                               "egress",  "forward", "interface"};

struct LogPrefix {
  std::string zones;
  DropReason reason = DropReason::kPort;
};

[[nodiscard]] std::uint16_t LogGroupOf(std::size_t interface);  // by its place in the policy
[[nodiscard]] std::string LogPrefixText(std::string_view zones, DropReason reason);
[[nodiscard]] std::optional<LogPrefix> ParseLogPrefix(std::string_view text);

}  // namespace stele::netfilter
