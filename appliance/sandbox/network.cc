#include "appliance/sandbox/network.h"

#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

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

// By the kernel's list, which can be read where no socket of the internet's families can be made.
bool OnlyLoopbackExists() {
  std::ifstream list("/proc/self/net/dev");
  std::size_t loopbacks = 0;
  std::size_t others = 0;
  for (std::string line; std::getline(list, line);) {
    const auto colon = line.find(':');
    if (colon == std::string::npos) continue;  // the two lines of the heading
    const auto begin = line.find_first_not_of(' ');
    ++(line.substr(begin, colon - begin) == "lo" ? loopbacks : others);
  }
  return loopbacks == 1 && others == 0;
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
  if (!probe.valid()) return OnlyLoopbackExists() ? Network::kLoopback : Network::kUnknown;
  if (AnyInterfaceIsUp(probe.get(), interface)) return OnlyLoopbackExists() ? Network::kLoopback : Network::kHost;
  if (!interface.empty()) return Network::kZoneNamespace;  // the way to its own loopback may be one by that interface
  return HasRoute(probe.get()) ? Network::kHost : Network::kEmptyNamespace;
}

}  // namespace stele::sandbox
