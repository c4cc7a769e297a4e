#include "netfilter/nflog.h"

#include <arpa/inet.h>
#include <linux/capability.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

namespace stele::netfilter {
namespace {

constexpr std::size_t kMessageBytes = 1'024;  // headers of netlink, a prefix, addresses and kLogBytes: less than 600
constexpr std::size_t kBatch = 64;
constexpr std::uint32_t kKernelBufferBytes = 512;  // a packet's message is as large as it needs to be
constexpr int kSocketBytes = 4 * 1'024 * 1'024;    // some 3,000 packets of a burst; taken only when they come

// As NLMSG_ALIGN and NLA_ALIGN, which are of type int.
constexpr std::size_t Aligned(std::size_t size_bytes) { return (size_bytes + 3) & ~std::size_t{3}; }
constexpr std::size_t kMessageHeader = Aligned(sizeof(nlmsghdr));
constexpr std::size_t kAttributeHeader = Aligned(sizeof(nlattr));
constexpr std::size_t kBodyHeader = Aligned(sizeof(nfgenmsg));

template <typename T>
T Load(ByteView bytes) {
  T value{};
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

// A configuration of one group: NFULNL_MSG_CONFIG with its attributes, and the kernel's answer.
class Request {
 public:
  explicit Request(std::uint16_t group) : bytes_(kMessageHeader + kBodyHeader) {
    nfgenmsg body{};
    body.nfgen_family = AF_UNSPEC;
    body.version = NFNETLINK_V0;
    body.res_id = htons(group);
    std::memcpy(bytes_.data() + kMessageHeader, &body, sizeof body);
  }

  template <typename T>
  Request& With(std::uint16_t type, const T& value) {
    nlattr attribute{};
    attribute.nla_type = type;
    attribute.nla_len = static_cast<std::uint16_t>(kAttributeHeader + sizeof value);
    const std::size_t at = bytes_.size();
    bytes_.resize(at + kAttributeHeader + Aligned(sizeof value));
    std::memcpy(bytes_.data() + at, &attribute, sizeof attribute);
    std::memcpy(bytes_.data() + at + kAttributeHeader, &value, sizeof value);
    return *this;
  }

  // 0, or the errno of the refusal.
  Result<int> Ask(int fd) {
    nlmsghdr header{};
    header.nlmsg_len = static_cast<std::uint32_t>(bytes_.size());
    header.nlmsg_type = NFNL_SUBSYS_ULOG << 8U | NFULNL_MSG_CONFIG;
    header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    std::memcpy(bytes_.data(), &header, sizeof header);
    if (::send(fd, bytes_.data(), bytes_.size(), 0) < 0) return FailErrno("ask for a netlink log group");
    std::array<std::byte, 4'096> answer{};
    while (true) {  // a packet may already be on its way
      const ssize_t got = ::recv(fd, answer.data(), answer.size(), 0);
      if (got < 0 && (errno == EINTR || errno == ENOBUFS)) continue;
      if (got < static_cast<ssize_t>(kMessageHeader)) return FailErrno("ask for a netlink log group");
      const ByteView said = ByteView(answer).first(static_cast<std::size_t>(got));
      if (Load<nlmsghdr>(said).nlmsg_type != NLMSG_ERROR || said.size() < kMessageHeader + sizeof(int)) continue;
      return -Load<int>(said.subspan(kMessageHeader));
    }
  }

 private:
  std::vector<std::byte> bytes_;
};

bool HasNetAdmin() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
  return ::syscall(SYS_capget, &header, sets.data()) == 0 && (sets[0].effective & (1U << CAP_NET_ADMIN)) != 0;
}

// The kernel has one word for a group that another socket has and for a caller who may not ask.
Result<void> Refused(std::uint16_t group, int error) {
  const std::string name = "netlink log group " + std::to_string(group);
  if (error == EPERM && !HasNetAdmin())
    return Fail(Code::kDenied, name + ": hearing of dropped packets needs CAP_NET_ADMIN", EPERM);
  if (error == EPERM || error == EBUSY)
    return Fail(Code::kUnavailable, name + " belongs to another program already", static_cast<std::uint32_t>(error));
  return Fail(Code::kUnavailable, name + ": " + std::strerror(error), static_cast<std::uint32_t>(error));
}

}  // namespace

std::optional<LoggedPacket> ParseLoggedPacket(ByteView message) {
  if (message.size() < kMessageHeader + kBodyHeader) return std::nullopt;
  const auto header = Load<nlmsghdr>(message);
  if (header.nlmsg_type != (NFNL_SUBSYS_ULOG << 8U | NFULNL_MSG_PACKET)) return std::nullopt;
  if (header.nlmsg_len < kMessageHeader + kBodyHeader || header.nlmsg_len > message.size()) return std::nullopt;
  ByteView rest = message.first(header.nlmsg_len).subspan(kMessageHeader + kBodyHeader);
  LoggedPacket out;
  while (rest.size() >= kAttributeHeader) {
    const auto attribute = Load<nlattr>(rest);
    if (attribute.nla_len < kAttributeHeader || attribute.nla_len > rest.size()) break;
    const ByteView value = rest.first(attribute.nla_len).subspan(kAttributeHeader);
    switch (attribute.nla_type & NLA_TYPE_MASK) {
      case NFULA_PREFIX:
        out.prefix = AsText(value);
        out.prefix = out.prefix.substr(0, out.prefix.find('\0'));
        break;
      case NFULA_PAYLOAD:
        out.packet = value;
        break;
      case NFULA_SEQ:
        if (value.size() == 4) out.number = ntohl(Load<std::uint32_t>(value));
        break;
      default:
        break;
    }
    rest = rest.subspan(std::min(Aligned(attribute.nla_len), rest.size()));
  }
  return out;
}

Result<UniqueFd> OpenLogGroup(std::uint16_t group) {
  UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!socket.valid()) return Fail(Code::kUnavailable, std::string("netlink socket: ") + std::strerror(errno));
  const int fd = socket.get();
  sockaddr_nl any{};
  any.nl_family = AF_NETLINK;
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0) return FailErrno("bind netlink socket");
  // Without this option an overrun would stop the delivery until the queue is empty; the count of drops says it better.
  const int on = 1;
  if (::setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on) != 0) return FailErrno("set up netlink socket");
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kSocketBytes, sizeof kSocketBytes) != 0) {
    (void)::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kSocketBytes, sizeof kSocketBytes);  // less room: more is counted
  }
  nfulnl_msg_config_cmd bind{};
  bind.command = NFULNL_CFG_CMD_BIND;
  nfulnl_msg_config_mode mode{};
  mode.copy_mode = NFULNL_COPY_PACKET;
  mode.copy_range = htonl(kLogBytes);
  STELE_TRY(const int refused, Request(group)
                                   .With(NFULA_CFG_CMD, bind)
                                   .With(NFULA_CFG_MODE, mode)
                                   .With(NFULA_CFG_NLBUFSIZ, htonl(kKernelBufferBytes))
                                   .With(NFULA_CFG_QTHRESH, htonl(1))
                                   .With(NFULA_CFG_FLAGS, htons(NFULNL_CFG_F_SEQ))
                                   .Ask(fd));
  if (refused != 0) STELE_TRY_VOID(Refused(group, refused));
  return socket;
}

Result<std::vector<UniqueFd>> OpenLogGroups() {
  std::vector<UniqueFd> out;
  for (unsigned i = 0; i < kLogGroups; ++i) {
    STELE_TRY(UniqueFd one, OpenLogGroup(static_cast<std::uint16_t>(kLogGroup + i)));
    out.push_back(std::move(one));
  }
  return out;
}

// From a thread of its own, which never comes back: nobody else changes the network that it sees.
Result<std::vector<UniqueFd>> OpenLogGroupsIn(int network_namespace) {
  Result<std::vector<UniqueFd>> out = Fail(Code::kUnavailable, "no thread for another network namespace");
  std::thread([&out, network_namespace] {
    if (::setns(network_namespace, CLONE_NEWNET) != 0) {
      out = FailErrno("enter a network namespace");
    } else {
      out = OpenLogGroups();
    }
  }).join();
  return out;
}

Result<std::size_t> LogReader::Read(std::size_t most, const Take& take) {
  static thread_local std::array<std::array<std::byte, kMessageBytes>, kBatch> buffers;
  std::array<iovec, kBatch> parts{};
  std::array<mmsghdr, kBatch> messages{};
  for (std::size_t i = 0; i < kBatch; ++i) {
    parts[i] = {buffers[i].data(), kMessageBytes};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  std::size_t packets = 0;
  while (packets < most) {
    const int got = ::recvmmsg(fd_, messages.data(), kBatch, MSG_DONTWAIT, nullptr);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (got < 0) return FailErrno("read a netlink log group");
    for (std::size_t i = 0; i < static_cast<std::size_t>(got); ++i) {
      const auto packet =
          ParseLoggedPacket(ByteView(buffers[i]).first(std::min<std::size_t>(messages[i].msg_len, kMessageBytes)));
      if (!packet) continue;
      if (packet->number) {
        passed_over_ += *packet->number - next_;  // modulo 2^32
        next_ = *packet->number + 1;
      }
      take(*packet);
      ++packets;
    }
    if (static_cast<std::size_t>(got) < kBatch) break;
  }
  return packets;
}

Result<LogReader::Missed> LogReader::Count() {
  std::array<std::uint32_t, SK_MEMINFO_VARS> memory{};
  socklen_t size_bytes = sizeof memory;
  if (::getsockopt(fd_, SOL_SOCKET, SO_MEMINFO, memory.data(), &size_bytes) != 0)
    return FailErrno("ask for netlink drops");
  return Missed{passed_over_, memory[SK_MEMINFO_DROPS]};
}

}  // namespace stele::netfilter
