// For tests: a flood of datagrams from 65,536 addresses, as frames on an interface.
//
//   stele-test-flood INTERFACE DESTINATION_MAC SOURCE_PREFIX DESTINATION PORT COUNT
//
// SOURCE_PREFIX: 10.21.0.0, of which the last two octets change. Prints the number of frames that the interface took.
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "appliance/base/fd.h"

namespace {

constexpr std::size_t kBatch = 64;
constexpr std::size_t kContentBytes = 32;

struct [[gnu::packed]] Frame {
  ether_header ethernet;
  iphdr ip;
  udphdr udp;
  std::array<char, kContentBytes> content;
};

std::uint16_t Checksum(const iphdr& header) {
  std::array<std::uint16_t, sizeof header / 2> words{};
  std::memcpy(words.data(), &header, sizeof header);
  std::uint32_t sum = 0;
  for (const std::uint16_t word : words) sum += word;
  sum = (sum & 0xffffU) + (sum >> 16U);
  return static_cast<std::uint16_t>(~((sum & 0xffffU) + (sum >> 16U)));
}

Frame FrameOf(char** values) {
  Frame frame{};
  std::array<unsigned, ETH_ALEN> mac{};
  (void)std::sscanf(values[2], "%x:%x:%x:%x:%x:%x", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
                    &mac[5]);  // 0: nobody's
  for (std::size_t i = 0; i < mac.size(); ++i) frame.ethernet.ether_dhost[i] = static_cast<std::uint8_t>(mac[i]);
  frame.ethernet.ether_type = htons(ETHERTYPE_IP);
  frame.ip.version = 4;
  frame.ip.ihl = 5;
  frame.ip.tot_len = htons(sizeof frame - sizeof frame.ethernet);
  frame.ip.ttl = 64;
  frame.ip.protocol = IPPROTO_UDP;
  frame.ip.saddr = ::inet_addr(values[3]);
  frame.ip.daddr = ::inet_addr(values[4]);
  frame.udp.source = htons(40'000);
  frame.udp.dest = htons(static_cast<std::uint16_t>(std::strtoul(values[5], nullptr, 10)));
  frame.udp.len = htons(sizeof frame.udp + kContentBytes);  // without a checksum: IPv4 allows it
  return frame;
}

int Main(int count, char** values) {
  if (count != 7) {
    std::fprintf(stderr, "usage: stele-test-flood INTERFACE DESTINATION_MAC SOURCE_PREFIX DESTINATION PORT COUNT\n");
    return 2;
  }
  const stele::UniqueFd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(::if_nametoindex(values[1]));
  to.sll_halen = ETH_ALEN;
  if (!socket.valid() || ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
    std::perror("stele-test-flood");
    return 1;
  }
  std::array<Frame, kBatch> frames;
  frames.fill(FrameOf(values));
  std::array<iovec, kBatch> parts{};
  std::array<mmsghdr, kBatch> messages{};
  for (std::size_t i = 0; i < kBatch; ++i) {
    parts[i] = {&frames[i], sizeof(Frame)};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  const std::uint64_t wanted = std::strtoull(values[6], nullptr, 10);
  const std::uint32_t prefix = ntohl(frames[0].ip.saddr) & 0xffff0000U;
  std::uint64_t sent = 0;
  while (sent < wanted) {
    const std::size_t now = wanted - sent < kBatch ? wanted - sent : kBatch;
    for (std::size_t i = 0; i < now; ++i) {
      iphdr header = frames[i].ip;
      header.saddr = htonl(prefix | ((sent + i) & 0xffffU));
      header.check = 0;
      header.check = Checksum(header);
      frames[i].ip = header;
    }
    const int took = ::sendmmsg(socket.get(), messages.data(), static_cast<unsigned>(now), 0);
    if (took < 0 && errno != ENOBUFS && errno != EAGAIN && errno != EINTR) {
      std::perror("stele-test-flood");
      return 1;
    }
    if (took > 0) sent += static_cast<std::uint64_t>(took);
  }
  std::printf("%llu\n", static_cast<unsigned long long>(sent));
  return 0;
}

}  // namespace

int main(int count, char** values) { return Main(count, values); }
