// Dropped packets as the kernel tells of them: the netlink log groups of log_prefix.h, a socket for each.
//
// Opening needs CAP_NET_ADMIN in the network namespace; reading needs nothing. A socket keeps the namespace that it was
// made in and may be handed to a process that has neither network nor privilege. The kernel numbers the packets of a
// group (NFULA_SEQ), and as long as anybody holds the socket it goes on counting: what it could not deliver shows as a
// gap in the numbers, and in the socket's count of drops, at once and without privilege. One packet is one message
// (NFULA_CFG_QTHRESH 1), so that this count is one of packets.
//= linux/netfilter/nfnetlink_log.h
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "appliance/base/bytes.h"
#include "appliance/base/fd.h"
#include "netfilter/log_prefix.h"

namespace stele::netfilter {

struct LoggedPacket {
  std::string_view prefix;              // of the rule; as it is in the kernel
  ByteView packet;                      // its beginning, from the IP header on
  std::optional<std::uint32_t> number;  // in its group, modulo 2^32
};

// One netlink message, or none when it is another kind of message. Total; the views are into `message`.
[[nodiscard]] std::optional<LoggedPacket> ParseLoggedPacket(ByteView message);

// The socket of one group. kDenied without the privilege, kUnavailable when another program has the group (it says
// which number) or this kernel has no nfnetlink_log.
[[nodiscard]] Result<UniqueFd> OpenLogGroup(std::uint16_t group);

// Every group of ours, in this network namespace, or in the one that `network_namespace` (of /proc/PID/ns/net) is.
[[nodiscard]] Result<std::vector<UniqueFd>> OpenLogGroups();
[[nodiscard]] Result<std::vector<UniqueFd>> OpenLogGroupsIn(int network_namespace);

// Reads what waits in a group's socket and keeps count of what was not delivered. Not thread-safe.
class LogReader {
 public:
  // `fd` of OpenLogGroup(), the caller's. `next`: where another reader of the same socket has stopped.
  explicit LogReader(int fd, std::uint32_t next = 0) : fd_(fd), next_(next) {}

  using Take = std::function<void(const LoggedPacket&)>;
  // At most about `most` packets; their number. 0: nothing waits. Views end with the call. kIo.
  [[nodiscard]] Result<std::size_t> Read(std::size_t most, const Take& take);

  // What the numbers say was passed over so far, and what the kernel says it dropped since the socket was made
  // (modulo 2^32), also of what comes behind the last packet that was delivered.
  struct Missed {
    std::uint64_t by_number = 0;
    std::uint32_t by_kernel = 0;
  };
  [[nodiscard]] Result<Missed> Count();

  [[nodiscard]] std::uint32_t next() const { return next_; }  // the number behind the last packet

 private:
  int fd_;
  std::uint32_t next_;
  std::uint64_t passed_over_ = 0;
};

}  // namespace stele::netfilter
