#include "netfilter/zone_network.h"

#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/errno.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <netlink/socket.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>

#include "appliance/base/hash.h"
#include "appliance/base/system.h"
#include "appliance/base/text.h"

namespace stele::netfilter {
namespace {

constexpr unsigned kMappedBits = 96;  // of ::ffff:0:0/96
constexpr std::size_t kInterfaceNameMax = IFNAMSIZ - 1;
constexpr unsigned kLowerUp = 1U << 16U;  // IFF_LOWER_UP of linux/if.h, which cannot stand beside net/if.h

template <auto Free>
struct FreeWith {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using Socket = std::unique_ptr<nl_sock, FreeWith<nl_socket_free>>;
using Link = std::unique_ptr<rtnl_link, FreeWith<rtnl_link_put>>;
using Cache = std::unique_ptr<nl_cache, FreeWith<nl_cache_free>>;
using Address = std::unique_ptr<rtnl_addr, FreeWith<rtnl_addr_put>>;
using Route = std::unique_ptr<rtnl_route, FreeWith<rtnl_route_put>>;
using NlAddress = std::unique_ptr<nl_addr, FreeWith<nl_addr_put>>;

Result<void> Check(int status, const std::string& what) {
  if (status >= 0) return {};
  const int error = -status;
  const Code code = error == NLE_PERM || error == NLE_NOACCESS        ? Code::kDenied
                    : error == NLE_OBJ_NOTFOUND || error == NLE_NODEV ? Code::kNotFound
                                                                      : Code::kIo;
  return Fail(code, what + ": " + nl_geterror(error));
}

// In the namespace of the calling thread.
Result<Socket> OpenSocket() {
  Socket socket(nl_socket_alloc());
  if (!socket) return Fail(Code::kIo, "make a netlink socket: no memory");
  STELE_TRY_VOID(Check(nl_connect(socket.get(), NETLINK_ROUTE), "open rtnetlink"));
  return socket;
}

Result<Link> FindLink(nl_sock* socket, const std::string& name) {
  rtnl_link* found = nullptr;
  STELE_TRY_VOID(Check(rtnl_link_get_kernel(socket, 0, name.c_str(), &found), "look for the interface " + name));
  return Link(found);
}

bool IsV4(const IpAddress& address) {
  constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return std::memcmp(address.data(), kMapped.data(), kMapped.size()) == 0;
}

NlAddress NlOf(const IpAddress& address, unsigned bits) {
  const bool v4 = IsV4(address);
  NlAddress out(nl_addr_build(v4 ? AF_INET : AF_INET6, address.data() + (v4 ? 12 : 0), v4 ? 4 : 16));
  if (out) nl_addr_set_prefixlen(out.get(), static_cast<int>(v4 ? bits - kMappedBits : bits));
  return out;
}

// Of IPv4 and IPv6 alone. An address without octets is the default route's: all of its family.
std::optional<InterfaceAddress> AddressOf(nl_addr* from, int family) {
  const bool v4 = family == AF_INET;
  if (!v4 && family != AF_INET6) return std::nullopt;
  InterfaceAddress out;
  if (v4) out.address[10] = out.address[11] = std::byte{0xff};
  const auto size = from == nullptr ? 0U : nl_addr_get_len(from);
  if (size > (v4 ? 4U : 16U)) return std::nullopt;
  if (size != 0) std::memcpy(out.address.data() + (v4 ? 12 : 0), nl_addr_get_binary_addr(from), size);
  out.bits = (v4 ? kMappedBits : 0) + (from == nullptr ? 0 : static_cast<unsigned>(nl_addr_get_prefixlen(from)));
  return out;
}

// Calls `see` for each object of a cache, as T.
template <typename T, typename F>
void Each(nl_cache* cache, F see) {
  for (nl_object* at = nl_cache_get_first(cache); at != nullptr; at = nl_cache_get_next(at)) {
    see(reinterpret_cast<T*>(at));  // NOLINT: libnl's own way down from an object
  }
}

// What somebody gave the interface; what the kernel makes of itself (link-local, prefix routes) it makes again.
Result<std::vector<InterfaceAddress>> AddressesOf(nl_sock* socket, int interface) {
  nl_cache* raw = nullptr;
  STELE_TRY_VOID(Check(rtnl_addr_alloc_cache(socket, &raw), "list addresses"));
  const Cache cache(raw);
  std::vector<InterfaceAddress> out;
  Each<rtnl_addr>(raw, [&](rtnl_addr* one) {
    if (rtnl_addr_get_ifindex(one) != interface || rtnl_addr_get_scope(one) != RT_SCOPE_UNIVERSE) return;
    if (const auto address = AddressOf(rtnl_addr_get_local(one), rtnl_addr_get_family(one))) out.push_back(*address);
  });
  return out;
}

Result<std::vector<InterfaceRoute>> RoutesOf(nl_sock* socket, int interface) {
  nl_cache* raw = nullptr;
  STELE_TRY_VOID(Check(rtnl_route_alloc_cache(socket, AF_UNSPEC, 0, &raw), "list routes"));
  const Cache cache(raw);
  std::vector<InterfaceRoute> out;
  Each<rtnl_route>(raw, [&](rtnl_route* one) {
    if (rtnl_route_get_table(one) != RT_TABLE_MAIN || rtnl_route_get_type(one) != RTN_UNICAST ||
        rtnl_route_get_protocol(one) == RTPROT_KERNEL || rtnl_route_get_protocol(one) == RTPROT_RA ||
        rtnl_route_get_nnexthops(one) != 1) {
      return;
    }
    rtnl_nexthop* hop = rtnl_route_nexthop_n(one, 0);
    if (rtnl_route_nh_get_ifindex(hop) != interface) return;
    const auto to = AddressOf(rtnl_route_get_dst(one), rtnl_route_get_family(one));
    if (!to) return;
    InterfaceRoute route{{to->address, to->bits}, {}, rtnl_route_get_priority(one)};
    if (nl_addr* gateway = rtnl_route_nh_get_gateway(hop)) {
      std::array<char, 64> text{};
      route.gateway = nl_addr2str(gateway, text.data(), text.size());
    }
    out.push_back(std::move(route));
  });
  return out;
}

Result<void> SetUp(nl_sock* socket, rtnl_link* link) {
  const Link change(rtnl_link_alloc());
  rtnl_link_set_flags(change.get(), IFF_UP);
  return Check(rtnl_link_change(socket, link, change.get(), 0), "set an interface up");
}

Result<void> MoveTo(nl_sock* socket, rtnl_link* link, int namespace_fd, const std::string& name) {
  const Link change(rtnl_link_alloc());
  rtnl_link_set_ns_fd(change.get(), namespace_fd);
  return Check(rtnl_link_change(socket, link, change.get(), 0), "move the interface " + name);
}

// No duplicate address detection: a listener is bound to it in a moment.
Result<void> AddAddress(nl_sock* socket, int interface, const InterfaceAddress& what) {
  const Address address(rtnl_addr_alloc());
  const NlAddress local = NlOf(what.address, what.bits);
  rtnl_addr_set_ifindex(address.get(), interface);
  STELE_TRY_VOID(Check(rtnl_addr_set_local(address.get(), local.get()), "make an address"));
  if (!IsV4(what.address)) rtnl_addr_set_flags(address.get(), IFA_F_NODAD);
  return Check(rtnl_addr_add(socket, address.get(), NLM_F_REPLACE),
               "give the interface the address " + IpPrefixText({what.address, 128}));
}

Result<void> AddRoute(nl_sock* socket, int interface, const InterfaceRoute& what) {
  const Route route(rtnl_route_alloc());
  const bool v4 = IsV4(what.destination.address);
  const NlAddress to = NlOf(what.destination.address, what.destination.bits);
  rtnl_route_set_family(route.get(), static_cast<std::uint8_t>(v4 ? AF_INET : AF_INET6));
  STELE_TRY_VOID(Check(rtnl_route_set_dst(route.get(), to.get()), "make a route"));
  rtnl_route_set_scope(route.get(),
                       static_cast<std::uint8_t>(what.gateway.empty() && v4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE));
  rtnl_route_set_table(route.get(), RT_TABLE_MAIN);
  rtnl_route_set_protocol(route.get(), RTPROT_STATIC);
  if (what.metric != 0) rtnl_route_set_priority(route.get(), what.metric);
  rtnl_nexthop* hop = rtnl_route_nh_alloc();  // the route's own from the next line but one on
  rtnl_route_nh_set_ifindex(hop, interface);
  rtnl_route_add_nexthop(route.get(), hop);
  if (!what.gateway.empty()) {
    nl_addr* raw = nullptr;
    STELE_TRY_VOID(Check(nl_addr_parse(what.gateway.c_str(), AF_UNSPEC, &raw), "make a route"));
    const NlAddress gateway(raw);
    rtnl_route_nh_set_gateway(hop, gateway.get());
  }
  return Check(rtnl_route_add(socket, route.get(), NLM_F_REPLACE),
               "add the route to " + IpPrefixText(what.destination));
}

Result<void> WriteSetting(const char* path, const char* value) {
  const UniqueFd file(::open(path, O_WRONLY | O_CLOEXEC));
  if (!file.valid()) {
    if (errno == ENOENT) return {};  // a kernel without IPv6
    return FailErrno(std::string("open ") + path);
  }
  if (::write(file.get(), value, 1) != 1) return FailErrno(std::string("write ") + path);
  return {};
}

Result<UniqueFd> NewNamespace(bool router_advertisements) {
  Result<UniqueFd> made = Fail(Code::kIo, "no thread");
  std::thread([&] {
    made = [&]() -> Result<UniqueFd> {
      if (::unshare(CLONE_NEWNET) != 0) return FailErrno("make a network namespace");
      STELE_TRY_VOID(WriteSetting("/proc/sys/net/ipv4/ip_forward", "0"));
      STELE_TRY_VOID(WriteSetting("/proc/sys/net/ipv6/conf/all/forwarding", "0"));
      STELE_TRY_VOID(WriteSetting("/proc/sys/net/ipv6/conf/default/forwarding", "0"));
      STELE_TRY_VOID(WriteSetting("/proc/sys/net/ipv6/conf/default/accept_ra", router_advertisements ? "1" : "0"));
      UniqueFd fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
      if (!fd.valid()) return FailErrno("open a network namespace");
      return fd;
    }();
  }).join();
  if (!made && made.error().detail == EPERM) return Fail(Code::kDenied, made.error().context, EPERM);
  return made;
}

}  // namespace

Result<void> InNamespace(int namespace_fd, const std::function<Result<void>()>& work) {
  Result<void> done;
  std::thread([&] {
    if (::setns(namespace_fd, CLONE_NEWNET) != 0) {
      done = FailErrno("enter a network namespace");
      return;
    }
    done = work();
  }).join();
  return done;
}

std::string OuterEndName(std::string_view zone) {
  const std::string name = "st-" + std::string(zone);
  if (name.size() <= kInterfaceNameMax) return name;
  return "st-" + HexOf(Sha256Of(AsBytes(zone))).substr(0, kInterfaceNameMax - 3);
}

std::optional<IpAddress> OuterAddress(const IpAddress& inner, const std::vector<IpPrefix>& sources) {
  const auto first_of = [&inner](const IpPrefix& prefix) -> std::optional<IpAddress> {
    IpAddress candidate = prefix.address;
    if (prefix.bits == 128) return candidate == inner ? std::nullopt : std::optional(candidate);
    for (int step = 0; step < 2; ++step) {  // .1, and .2 where the zone has .1
      for (std::size_t at = candidate.size(); at-- > 0;) {
        candidate[at] = static_cast<std::byte>(std::to_integer<unsigned>(candidate[at]) + 1);
        if (candidate[at] != std::byte{0}) break;
      }
      if (candidate != inner && prefix.Contains(candidate)) return candidate;
    }
    return std::nullopt;
  };
  const auto usable = [&](bool holds_inner) -> std::optional<IpAddress> {
    for (const IpPrefix& prefix : sources) {
      if (IsV4(prefix.address) != IsV4(inner) || prefix.Contains(inner) != holds_inner) continue;
      if (auto address = first_of(prefix)) return address;
    }
    return std::nullopt;
  };
  if (auto address = usable(true)) return address;
  return usable(false);
}

Result<ZoneNetwork> ZoneNetwork::Make(ZoneNetworkPlan plan) {
  if (plan.interface.empty() || plan.interface.size() > kInterfaceNameMax) {
    return Fail(Code::kInvalid, "zone " + plan.zone + ": not the name of an interface: \"" + plan.interface + "\"");
  }
  ZoneNetwork made(std::move(plan));
  made.home_ = UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!made.home_.valid()) return FailErrno("open a network namespace");
  STELE_TRY(made.inside_, NewNamespace(made.plan_.router_advertisements));
  STELE_TRY_VOID(made.TakeIn());
  return made;
}

ZoneNetwork::~ZoneNetwork() {
  if (!inside_.valid()) return;  // moved from
  if (const auto given = GiveBack(); !given) LogWarning("zone " + plan_.zone + ": " + Describe(given.error()));
}

Result<void> ZoneNetwork::TakeIn() {
  STELE_TRY(const Socket socket, OpenSocket());
  const auto link = FindLink(socket.get(), plan_.interface);
  if (!link && link.error().code != Code::kNotFound) return tl::unexpected(link.error());
  if (link) {
    const int index = rtnl_link_get_ifindex(link->get());
    STELE_TRY(auto addresses, AddressesOf(socket.get(), index));
    STELE_TRY(auto routes, RoutesOf(socket.get(), index));
    if (!addresses.empty()) {  // one that was plugged in again comes without
      addresses_ = std::move(addresses);
      routes_ = std::move(routes);
    }
    STELE_TRY_VOID(MoveTo(socket.get(), link->get(), inside_.get(), plan_.interface));
  } else {
    STELE_TRY_VOID(MakePair());
  }
  for (const IpAddress& wanted : plan_.addresses) {
    const bool has =
        std::any_of(addresses_.begin(), addresses_.end(), [&](const auto& one) { return one.address == wanted; });
    if (!has) addresses_.push_back({wanted, 128});
  }
  return InNamespace(inside_.get(), [this] { return Equip(); });
}

Result<void> ZoneNetwork::MakePair() {
  STELE_TRY(const Socket socket, OpenSocket());
  outside_ = OuterEndName(plan_.zone);
  {
    const Link pair(rtnl_link_veth_alloc());
    const Link peer(pair ? rtnl_link_veth_get_peer(pair.get()) : nullptr);
    if (!pair || !peer) return Fail(Code::kIo, "make a veth pair: no memory");
    rtnl_link_set_name(pair.get(), outside_.c_str());
    rtnl_link_set_name(peer.get(), plan_.interface.c_str());
    rtnl_link_set_ns_fd(peer.get(), inside_.get());
    STELE_TRY_VOID(
        Check(rtnl_link_add(socket.get(), pair.get(), NLM_F_CREATE | NLM_F_EXCL), "make the veth pair " + outside_));
  }
  STELE_TRY(const Link outer, FindLink(socket.get(), outside_));
  STELE_TRY_VOID(SetUp(socket.get(), outer.get()));
  outside_addresses_.clear();
  routes_.clear();
  for (const IpAddress& inner : plan_.addresses) {
    const auto address = OuterAddress(inner, plan_.sources);
    if (!address) continue;
    STELE_TRY_VOID(AddAddress(socket.get(), rtnl_link_get_ifindex(outer.get()), {*address, 128}));
    STELE_TRY_VOID(AddRoute(socket.get(), rtnl_link_get_ifindex(outer.get()), {{inner, 128}, {}, 0}));
    outside_addresses_.push_back(*address);
    routes_.push_back({{*address, 128}, {}, 0});
  }
  for (const IpPrefix& source : plan_.sources) routes_.push_back({source, {}, 0});
  return {};
}

Result<void> ZoneNetwork::Equip() const {
  STELE_TRY(const Socket socket, OpenSocket());
  STELE_TRY(const Link link, FindLink(socket.get(), plan_.interface));
  const int index = rtnl_link_get_ifindex(link.get());
  STELE_TRY_VOID(SetUp(socket.get(), link.get()));
  for (const InterfaceAddress& address : addresses_) STELE_TRY_VOID(AddAddress(socket.get(), index, address));
  for (const InterfaceRoute& route : routes_) STELE_TRY_VOID(AddRoute(socket.get(), index, route));
  return {};
}

Result<ZoneNetwork::Standing> ZoneNetwork::Tend() {
  Standing standing;
  const auto look = [&]() -> Result<void> {
    STELE_TRY(const Socket socket, OpenSocket());
    const auto link = FindLink(socket.get(), plan_.interface);
    if (!link && link.error().code != Code::kNotFound) return tl::unexpected(link.error());
    standing.present = link.has_value();
    standing.up = link && (rtnl_link_get_flags(link->get()) & kLowerUp) != 0;
    return {};
  };
  STELE_TRY_VOID(InNamespace(inside_.get(), look));
  if (!standing.present) {
    const bool made_here = !outside_.empty();
    STELE_TRY(const Socket socket, OpenSocket());
    if (made_here || FindLink(socket.get(), plan_.interface)) {
      STELE_TRY_VOID(TakeIn());
      ++returns_;
      STELE_TRY_VOID(InNamespace(inside_.get(), look));
    }
  }
  standing.returns = returns_;
  return standing;
}

std::vector<std::string> ZoneNetwork::OutsideAddresses() const {
  std::vector<std::string> out;
  for (const IpAddress& address : outside_addresses_) out.push_back(IpPrefixText({address, 128}));
  return out;
}

Result<void> ZoneNetwork::GiveBack() {
  STELE_TRY(const Socket socket, OpenSocket());
  if (!outside_.empty()) {
    const auto outer = FindLink(socket.get(), outside_);
    return outer ? Check(rtnl_link_delete(socket.get(), outer->get()), "remove the veth pair " + outside_)
                 : Result<void>{};
  }
  STELE_TRY_VOID(InNamespace(inside_.get(), [this]() -> Result<void> {
    STELE_TRY(const Socket inner, OpenSocket());
    STELE_TRY(const Link link, FindLink(inner.get(), plan_.interface));
    return MoveTo(inner.get(), link.get(), home_.get(), plan_.interface);
  }));
  return Equip();
}

}  // namespace stele::netfilter
