#include "appliance/sandbox/network.h"

#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "appliance/base/fd.h"

namespace stele::sandbox {
namespace {

// But for `allowed`. An interface that cannot be asked counts as one that is up: the answer "empty" must be certain.
bool AnyInterfaceIsUp(int fd, const std::string& allowed) {
  struct if_nameindex* all = ::if_nameindex();
  if (all == nullptr) return true;
  bool up = false;
  for (const struct if_nameindex* at = all; at->if_index != 0; ++at) {  // the last one has index 0
    if (allowed == at->if_name) continue;
    ifreq request{};
    std::strncpy(request.ifr_name, at->if_name, IFNAMSIZ - 1);
    if (::ioctl(fd, SIOCGIFFLAGS, &request) != 0 || (request.ifr_flags & IFF_UP) != 0) up = true;
  }
  ::if_freenameindex(all);
  return up;
}

// Even the way to oneself is closed. Connecting a datagram socket sends nothing: it only asks for a route.
bool HasRoute(int fd) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(9);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 || errno != ENETUNREACH;
}

}  // namespace

Network SeenNetwork(const std::string& interface) {
  const UniqueFd probe(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!probe.valid()) return Network::kUnknown;
  if (AnyInterfaceIsUp(probe.get(), interface)) return Network::kHost;
  if (!interface.empty()) return Network::kZoneNamespace;  // the way to its own loopback may be one by that interface
  return HasRoute(probe.get()) ? Network::kHost : Network::kEmptyNamespace;
}

}  // namespace stele::sandbox
