#include "appliance/daemons/listeners.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <nlohmann/json.hpp>

#include "appliance/base/limits.h"

namespace stele::daemons {
namespace {

constexpr int kBacklog = 1'024;
constexpr int kKeepAliveIdleS = 300;  // a sender that vanished without a word gives its place back after ten minutes
constexpr int kKeepAliveIntervalS = 60;
constexpr int kKeepAliveProbes = 5;
constexpr int kDatagramBufferBytes = 32 * 1'024 * 1'024;  // a burst of 100,000 messages; capped by rmem_max for ordinary users

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size_bytes = 0;
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

Result<SocketAddress> ParseAddress(const std::string& text, std::uint16_t port) {
  SocketAddress address;
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  if (::inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&address.storage, &v4, sizeof v4);
    address.size_bytes = sizeof v4;
    return address;
  }
  if (::inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&address.storage, &v6, sizeof v6);
    address.size_bytes = sizeof v6;
    return address;
  }
  return Fail(Code::kInvalid, "not an IPv4 or IPv6 address: " + text);
}

Result<std::uint16_t> BoundPort(int fd) {
  SocketAddress address;
  address.size_bytes = sizeof address.storage;
  if (::getsockname(fd, address.get(), &address.size_bytes) != 0) return FailErrno("ask a listener for its port");
  // The port lies at the same place in both families.
  sockaddr_in as_v4{};
  std::memcpy(&as_v4, &address.storage, sizeof as_v4);
  return ntohs(as_v4.sin_port);
}

std::string AddressText(const sockaddr* address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address->sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, address, sizeof v4);
    if (::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text) == nullptr) return {};
  } else if (address->sa_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, address, sizeof v6);
    if (IN6_IS_ADDR_LINKLOCAL(&v6.sin6_addr)) return {};  // means something only together with an interface
    if (::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text) == nullptr) return {};
  }
  return text;
}

// sun_path holds 107 characters; a directory may be deeper. /proc/self/fd shortens any path to its last part.
struct ShortUnixPath {
  UniqueFd folder;
  sockaddr_un address{};
};
Result<ShortUnixPath> ShortPathOf(const std::filesystem::path& path) {
  ShortUnixPath shortened;
  shortened.folder = UniqueFd(::open(path.parent_path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!shortened.folder.valid()) return FailErrno("open " + path.parent_path().string());
  const std::string text = "/proc/self/fd/" + std::to_string(shortened.folder.get()) + "/" + path.filename().string();
  if (text.size() >= sizeof shortened.address.sun_path) return Fail(Code::kInvalid, "socket name too long: " + text);
  shortened.address.sun_family = AF_UNIX;
  std::memcpy(shortened.address.sun_path, text.c_str(), text.size() + 1);
  return shortened;
}

// Accepted connections inherit it. Best effort: without it they stay until something is written.
void KeepAlive(int fd) {
  const int on = 1;
  (void)::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &kKeepAliveIdleS, sizeof kKeepAliveIdleS);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &kKeepAliveIntervalS, sizeof kKeepAliveIntervalS);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &kKeepAliveProbes, sizeof kKeepAliveProbes);
}

}  // namespace

std::string EndpointText(const std::string& address, std::uint16_t port) {
  const bool v6 = address.find(':') != std::string::npos;
  return (v6 ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

std::string BoundListener::DetailJson() const {
  return nlohmann::json{{"transport", transport}, {"address", address}}.dump();
}

Result<BoundListener> BindListener(const std::string& name, const std::string& transport, const std::string& address,
                                   std::uint16_t port) {
  STELE_TRY(const SocketAddress wanted, ParseAddress(address, port));
  const bool datagrams = transport == "udp";
  const int type = (datagrams ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK;
  BoundListener bound{UniqueFd(::socket(wanted.storage.ss_family, type, 0)), name, transport, {}, 0};
  const int fd = bound.descriptor.get();
  if (fd < 0) return FailErrno("make a socket for " + name);
  const int on = 1;
  if (!datagrams) (void)::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);  // a restart need not wait for TIME_WAIT
  // "::" is every address of both families; any other address is one.
  const int v6_only = address == "::" ? 0 : 1;
  if (wanted.storage.ss_family == AF_INET6) (void)::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof v6_only);
  if (!datagrams) KeepAlive(fd);
  if (datagrams && ::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kDatagramBufferBytes, sizeof kDatagramBufferBytes) != 0) {
    (void)::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kDatagramBufferBytes, sizeof kDatagramBufferBytes);
  }
  if (::bind(fd, wanted.get(), wanted.size_bytes) != 0)
    return FailErrno("listen on " + EndpointText(address, port) + " (" + name + ")");
  if (!datagrams && ::listen(fd, kBacklog) != 0)
    return FailErrno("listen on " + EndpointText(address, port) + " (" + name + ")");
  STELE_TRY(bound.port, BoundPort(fd));
  bound.address = EndpointText(address, bound.port);
  return bound;
}

std::vector<std::string> NamesOf(const std::string& address) {
  if (address != "0.0.0.0" && address != "::") return {address};
  std::vector<std::string> names;
  char host[HOST_NAME_MAX + 1] = {};
  if (::gethostname(host, sizeof host - 1) == 0 && host[0] != '\0') names.emplace_back(host);
  ifaddrs* interfaces = nullptr;
  if (::getifaddrs(&interfaces) != 0) return names;
  for (const ifaddrs* at = interfaces; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || (at->ifa_flags & IFF_LOOPBACK) != 0) continue;
    if (std::string text = AddressText(at->ifa_addr); !text.empty()) names.push_back(std::move(text));
  }
  ::freeifaddrs(interfaces);
  return names;
}

Result<UniqueFd> BindUnixListener(const std::filesystem::path& path) {
  STELE_TRY(const ShortUnixPath at, ShortPathOf(path));
  UniqueFd listener(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener.valid()) return FailErrno("make a socket for " + path.string());
  (void)::unlink(path.c_str());  // a leftover; whether one is in use was decided by the lock
  if (::fchmod(listener.get(), 0600) != 0) return FailErrno("chmod the socket of " + path.string());
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&at.address), sizeof at.address) != 0 ||
      ::chmod(path.c_str(), 0600) != 0 || ::listen(listener.get(), kBacklog) != 0) {
    return FailErrno("listen on " + path.string());
  }
  return listener;
}

Result<UniqueFd> ConnectUnix(const std::filesystem::path& path) {
  auto at = ShortPathOf(path);
  if (!at) return Fail(Code::kUnavailable, "nothing runs there: no " + path.string());
  UniqueFd connection(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!connection.valid()) return FailErrno("make a socket");
  if (::connect(connection.get(), reinterpret_cast<const sockaddr*>(&at->address), sizeof at->address) == 0) return connection;
  if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR) {
    return Fail(Code::kUnavailable, "nothing answers at " + path.string());
  }
  return FailErrno("connect to " + path.string());
}

}  // namespace stele::daemons
