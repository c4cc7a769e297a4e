// The sockets Stele listens on, bound by the supervisor and handed to the processes that serve them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "appliance/base/fd.h"
#include "appliance/base/result.h"

namespace stele::daemons {

struct BoundListener {
  UniqueFd descriptor;
  std::string name;       // syslog-udp, syslog-tcp, https-json, viewer
  std::string transport;  // udp, tcp, https-json, https
  std::string address;    // as bound: "127.0.0.1:10514", "[::1]:10514"
  std::uint16_t port = 0;  // as bound, never 0

  [[nodiscard]] std::string DetailJson() const;  // {"transport","address"}: what kTakeChannel says of it
};

// "127.0.0.1:514", "[::1]:514".
[[nodiscard]] std::string EndpointText(const std::string& address, std::uint16_t port);

// Port 0 takes any free one. kIo with errno: in use, not ours to bind (ports below 1024), no such address.
[[nodiscard]] Result<BoundListener> BindListener(const std::string& name, const std::string& transport,
                                                 const std::string& address, std::uint16_t port);

// The names and addresses people and programs reach a listener by: `address` itself, or for a wildcard address the host's
// name and the addresses of its interfaces. Without localhost and the loopback addresses.
[[nodiscard]] std::vector<std::string> NamesOf(const std::string& address);

// A listening SOCK_SEQPACKET Unix socket (0600) in place of what may lie there from an earlier run. Any path length.
[[nodiscard]] Result<UniqueFd> BindUnixListener(const std::filesystem::path& path);
// Connects to one. kUnavailable when nobody listens.
[[nodiscard]] Result<UniqueFd> ConnectUnix(const std::filesystem::path& path);

}  // namespace stele::daemons
