// Goal: the kernel's messages of dropped packets are read whole, from any bytes nothing else; and in real network
// namespaces every packet that a rule logs is delivered or counted, to a reader that has no privilege any more.
// Method: messages made by hand, every truncation; for the kernel, namespaces of threads of this test (root, nft).
#include "netfilter/nflog.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netlink.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "netfilter/packet_headers.h"
#include "tests/unit/netfilter/packets.h"

namespace stele::netfilter {
namespace {

template <typename T>
void Put(Bytes& out, const T& value) {
  Append(out, ByteView(reinterpret_cast<const std::byte*>(&value), sizeof value));
}

void PutAttribute(Bytes& out, std::uint16_t type, ByteView value) {
  nlattr header{};
  header.nla_type = type;
  header.nla_len = static_cast<std::uint16_t>(sizeof header + value.size());
  Put(out, header);
  Append(out, value);
  out.resize((out.size() + 3) & ~std::size_t{3});
}

Bytes MessageOf(std::string_view prefix, ByteView packet, std::uint32_t number) {
  Bytes out;
  nlmsghdr header{};
  header.nlmsg_type = NFNL_SUBSYS_ULOG << 8U | NFULNL_MSG_PACKET;
  Put(out, header);
  Put(out, nfgenmsg{});
  PutAttribute(out, NFULA_MARK, AsBytes("abcd"));
  Bytes with_end = ToBytes(AsBytes(prefix));
  with_end.push_back(std::byte{0});
  PutAttribute(out, NFULA_PREFIX, with_end);
  const std::uint32_t big = htonl(number);
  PutAttribute(out, NFULA_SEQ, ByteView(reinterpret_cast<const std::byte*>(&big), sizeof big));
  PutAttribute(out, NFULA_PAYLOAD, packet);
  header.nlmsg_len = static_cast<std::uint32_t>(out.size());
  std::memcpy(out.data(), &header, sizeof header);
  return out;
}

TEST(Nflog, AMessageIsReadWhole) {
  const Bytes packet = PacketOf({});
  const Bytes message = MessageOf("stele:machines:port", packet, 0x80000001U);
  const auto read = ParseLoggedPacket(message);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->prefix, "stele:machines:port");
  EXPECT_TRUE(SameBytes(read->packet, packet));
  EXPECT_EQ(read->number, 0x80000001U);
}

TEST(Nflog, ATruncatedMessageIsNone) {
  const Bytes message = MessageOf("stele:machines:port", PacketOf({}), 7);
  for (std::size_t size = 0; size < message.size(); ++size)
    EXPECT_FALSE(ParseLoggedPacket(ByteView(message).first(size))) << size;
}

TEST(Nflog, AnyBytesInAMessageAreSurvived) {
  const Bytes message = MessageOf("stele:machines:port", PacketOf({}), 7);
  for (std::size_t at = sizeof(nlmsghdr); at < message.size(); ++at) {
    for (const unsigned value : {0x00U, 0x01U, 0x7fU, 0x80U, 0xffU}) {
      Bytes changed = message;
      changed[at] = static_cast<std::byte>(value);
      const auto read = ParseLoggedPacket(changed);
      ASSERT_TRUE(read);
      EXPECT_LE(read->packet.size() + read->prefix.size(), changed.size());
    }
  }
}

// A network of its own in which datagrams to port N of the loopback are logged to group kLogGroup + N and dropped.
// Everything in it happens on one thread, which is in it for good.
class Network {
 public:
  static bool Permitted() {
    return ::geteuid() == 0 && std::system("unshare --net nft add table inet probe >/dev/null 2>&1") == 0;
  }
  Network() {
    Inside([this] {
      ready_ = ::unshare(CLONE_NEWNET) == 0 &&
               std::system(
                   "ip link set lo up && nft 'table inet t { chain c { type filter hook output priority 0; "
                   "udp dport 1 counter log prefix \"stele:one:port\" group 6 snaplen 128 drop; "
                   "udp dport 2 counter log prefix \"stele:two:rate\" group 7 snaplen 128 drop; }; }'") == 0;
      descriptor_.reset(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    });
  }
  [[nodiscard]] bool ready() const { return ready_ && descriptor_.valid(); }
  [[nodiscard]] int descriptor() const { return descriptor_.get(); }

  void Send(std::uint16_t port, int packets) {
    std::thread([&] {
      ASSERT_EQ(::setns(descriptor_.get(), CLONE_NEWNET), 0);
      const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port = htons(port);
      to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      for (int i = 0; i < packets; ++i) {
        (void)::sendto(socket.get(), "x", 1, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);  // EPERM: dropped
      }
    }).join();
  }

 private:
  template <typename Do>
  static void Inside(Do what) {
    std::thread(what).join();
  }
  bool ready_ = false;
  UniqueFd descriptor_;
};

TEST(Nflog, SeveralNetworksAreHeardEachByItsOwnGroups) {
  if (!Network::Permitted()) GTEST_SKIP() << "needs root, nft and network namespaces";
  Network first;
  Network second;
  ASSERT_TRUE(first.ready() && second.ready());
  auto of_first = OpenLogGroupsIn(first.descriptor());
  auto of_second = OpenLogGroupsIn(second.descriptor());
  ASSERT_TRUE(of_first) << Describe(of_first.error());
  ASSERT_TRUE(of_second) << Describe(of_second.error());
  ASSERT_EQ(of_first->size(), kLogGroups);
  const auto again = OpenLogGroupsIn(first.descriptor());
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::kUnavailable) << "each group has one owner";
  first.Send(1, 3);
  second.Send(1, 5);
  second.Send(2, 2);
  const auto heard = [](const UniqueFd& socket, std::string_view prefix) {
    LogReader reader(socket.get());
    const auto read = reader.Read(1'000, [&](const LoggedPacket& one) {
      EXPECT_EQ(one.prefix, prefix);
      const auto headers = ParsePacketHeaders(one.packet);
      ASSERT_TRUE(headers);
      EXPECT_EQ(headers->protocol, 17);
    });
    return read.value_or(999'999);
  };
  EXPECT_EQ(heard((*of_first)[1], "stele:one:port"), 3U);
  EXPECT_EQ(heard((*of_first)[2], "stele:two:rate"), 0U);
  EXPECT_EQ(heard((*of_second)[1], "stele:one:port"), 5U);
  EXPECT_EQ(heard((*of_second)[2], "stele:two:rate"), 2U);
}

TEST(Nflog, WhatIsNotDeliveredIsCountedAlsoBehindTheLastPacketAndByTheNextReader) {
  if (!Network::Permitted()) GTEST_SKIP() << "needs root, nft and network namespaces";
  Network network;
  ASSERT_TRUE(network.ready());
  auto sockets = OpenLogGroupsIn(network.descriptor());
  ASSERT_TRUE(sockets);
  constexpr int kFlood = 30'000;  // more than the socket has room for
  network.Send(1, kFlood);
  const int fd = (*sockets)[1].get();
  std::uint64_t delivered = 0;
  const auto take = [&delivered](const LoggedPacket&) { ++delivered; };
  LogReader reader(fd);
  ASSERT_TRUE(reader.Read(1'000'000, take));
  const auto missed = reader.Count();
  ASSERT_TRUE(missed);
  EXPECT_GT(missed->by_kernel, 0U);
  EXPECT_EQ(missed->by_number, 0U) << "no packet has come since";
  EXPECT_EQ(delivered + missed->by_kernel, kFlood);
  LogReader next(fd, reader.next());
  network.Send(1, 1);
  ASSERT_TRUE(next.Read(10, take));
  EXPECT_EQ(next.Count()->by_number, missed->by_kernel) << "the numbers say the same";
}

TEST(Nflog, WithoutPrivilegeItIsReadAndNotChanged) {
  if (!Network::Permitted()) GTEST_SKIP() << "needs root, nft and network namespaces";
  Network network;
  ASSERT_TRUE(network.ready());
  auto sockets = OpenLogGroupsIn(network.descriptor());
  ASSERT_TRUE(sockets);
  network.Send(1, 4);
  const pid_t child = ::fork();
  if (child == 0) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    const std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> none{};
    if (::syscall(SYS_capset, &header, none.data()) != 0) ::_exit(2);
    const auto opened = OpenLogGroup(kLogGroup + 1);
    if (opened || opened.error().code != Code::kDenied) ::_exit(3);
    LogReader reader((*sockets)[1].get());
    const auto read = reader.Read(100, [](const LoggedPacket&) {});
    ::_exit(read && *read == 4 && reader.Count() ? 0 : 4);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace stele::netfilter
