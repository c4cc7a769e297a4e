#include "netfilter/drift.h"

#include <arpa/inet.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace stele::netfilter {
namespace {

constexpr std::size_t kMessagesBytes = 65'536;

// As NLMSG_ALIGN and NLA_ALIGN, which are of type int.
constexpr std::size_t Aligned(std::size_t size_bytes) { return (size_bytes + 3) & ~std::size_t{3}; }
constexpr std::size_t kMessageHeader = Aligned(sizeof(nlmsghdr));
constexpr std::size_t kAttributeHeader = Aligned(sizeof(nlattr));

std::uint32_t Number(const char* at) {  // attributes of nf_tables are big-endian
  std::uint32_t value = 0;
  std::memcpy(&value, at, sizeof value);
  return ntohl(value);
}

// The attributes behind the nfgenmsg of one NFT_MSG_NEWGEN.
RulesChange ChangeOf(const char* data, std::size_t size_bytes) {
  RulesChange change;
  std::size_t at = Aligned(sizeof(nfgenmsg));
  while (at + kAttributeHeader <= size_bytes) {
    nlattr attribute{};
    std::memcpy(&attribute, data + at, sizeof attribute);
    if (attribute.nla_len < kAttributeHeader || at + attribute.nla_len > size_bytes) break;
    const char* value = data + at + kAttributeHeader;
    const std::size_t value_bytes = attribute.nla_len - kAttributeHeader;
    if (attribute.nla_type == NFTA_GEN_ID && value_bytes == 4) change.generation = Number(value);
    if (attribute.nla_type == NFTA_GEN_PROC_PID && value_bytes == 4) change.process = Number(value);
    if (attribute.nla_type == NFTA_GEN_PROC_NAME) change.program.assign(value, ::strnlen(value, value_bytes));
    at += Aligned(attribute.nla_len);
  }
  return change;
}

void TakeMessages(const char* data, std::size_t size_bytes, std::vector<RulesChange>& out) {
  std::size_t at = 0;
  while (at + kMessageHeader <= size_bytes) {
    nlmsghdr header{};
    std::memcpy(&header, data + at, sizeof header);
    if (header.nlmsg_len < kMessageHeader || at + header.nlmsg_len > size_bytes) return;
    if (header.nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8U | NFT_MSG_NEWGEN)) {
      out.push_back(ChangeOf(data + at + kMessageHeader, header.nlmsg_len - kMessageHeader));
    }
    at += Aligned(header.nlmsg_len);
  }
}

}  // namespace

Result<RulesWatch> RulesWatch::Open() {
  UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER));
  if (!socket.valid()) return FailErrno("netlink socket");
  sockaddr_nl any{};
  any.nl_family = AF_NETLINK;
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0)
    return FailErrno("bind netlink socket");
  const int group = NFNLGRP_NFTABLES;
  if (::setsockopt(socket.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0) {
    return FailErrno("listen for changes of nftables");
  }
  return RulesWatch(std::move(socket));
}

Result<std::vector<RulesChange>> RulesWatch::Read() {
  std::vector<RulesChange> out;
  std::vector<char> buffer(kMessagesBytes);
  while (true) {
    const ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (got > 0) {
      TakeMessages(buffer.data(), static_cast<std::size_t>(got), out);
    } else if (got < 0 && errno == ENOBUFS) {
      out.emplace_back();  // some were lost
    } else if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      return out;
    } else if (got == 0 || errno != EINTR) {
      return FailErrno("read changes of nftables");
    }
  }
}

}  // namespace stele::netfilter
