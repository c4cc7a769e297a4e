#include "tests/bench/wire.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <thread>

namespace stele::bench {
namespace {

// An IPv4 source address for a socket that is not connected yet; "" leaves the choice to the kernel.
Result<void> BindSource(int fd, const std::string& from) {
  if (from.empty()) return {};
  sockaddr_in local{};
  local.sin_family = AF_INET;
  if (::inet_pton(AF_INET, from.c_str(), &local.sin_addr) != 1)
    return Fail(Code::kInvalid, "not an IPv4 address: " + from);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&local), sizeof local) != 0) return FailErrno("bind to " + from);
  return {};
}

}  // namespace

Result<UniqueFd> Connect(const std::string& address, int type, const std::string& from) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos) return Fail(Code::kInvalid, "an address is HOST:PORT, not " + address);
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = type;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), address.substr(colon + 1).c_str(), &hints, &found); error != 0) {
    return Fail(Code::kIo, "resolve " + address + ": " + ::gai_strerror(error));
  }
  UniqueFd fd(::socket(found->ai_family, type | SOCK_CLOEXEC, 0));
  auto bound = fd.valid() ? BindSource(fd.get(), from) : FailErrno("make a socket");
  const int connected = bound ? ::connect(fd.get(), found->ai_addr, found->ai_addrlen) : -1;
  const int error = errno;
  ::freeaddrinfo(found);
  STELE_TRY_VOID(bound);
  errno = error;
  if (connected != 0) return FailErrno("connect to " + address);
  return fd;
}

Result<void> WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::send(fd, bytes.data(), std::min(bytes.size(), kWriteBytes), MSG_NOSIGNAL);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return FailErrno("send");
    bytes.remove_prefix(static_cast<std::size_t>(wrote));
  }
  return {};
}

double CpuSeconds() {
  rusage usage{};
  (void)::getrusage(RUSAGE_SELF, &usage);  // cannot fail for RUSAGE_SELF
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void Stopwatch::Start() {
  started = SteadyClock::now();
  cpu_seconds = CpuSeconds();
  wall_ns = std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count();
}

void Pace(SteadyClock::time_point start, std::uint64_t sent, std::uint64_t rate) {
  if (rate == 0) return;
  std::this_thread::sleep_until(start + std::chrono::nanoseconds(sent * 1'000'000'000ULL / rate));
}

Messages Part(const Messages& messages, std::uint64_t from, std::uint64_t to) {
  Messages out;
  out.ends.reserve(to - from);
  for (std::uint64_t i = from; i < to; ++i) out.Add(messages.at(i));
  return out;
}

Messages Framed(const Messages& messages, bool lines) {
  Messages out;
  out.ends.reserve(messages.size());
  for (std::uint64_t i = 0; i < messages.size(); ++i) {
    const std::string_view message = messages.at(i);
    if (!lines) out.bytes.append(std::to_string(message.size())).push_back(' ');
    out.bytes.append(message);
    if (lines) out.bytes.push_back('\n');
    out.ends.push_back(out.bytes.size());
  }
  return out;
}

}  // namespace stele::bench
