// A zone's own network namespace with the zone's interface in it: what the zone's receiver lives in, so that whoever
// breaks into it sees this one network and no other. An interface of that name is moved in with its addresses and
// routes; where there is none, a veth pair is made: one end inside under that name, the other one outside. Nothing is
// forwarded, the loopback stays down. Linux: network_namespaces(7), rtnetlink(7); needs CAP_NET_ADMIN and
// CAP_SYS_ADMIN.
//
// Errors: kDenied without the privilege, kIo for what the kernel refuses (the context says what), kNotFound.
// Thread safety: one thread. Work inside the namespace is done by threads of its own that end with the call: the
// caller's thread never leaves its namespace.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "appliance/base/fd.h"
#include "appliance/base/ip_prefix.h"
#include "appliance/base/result.h"

namespace stele::netfilter {

struct ZoneNetworkPlan {
  std::string zone;
  std::string interface;
  std::vector<IpAddress> addresses;  // that the zone's listeners are on; the interface gets those it has not
  std::vector<IpPrefix> sources;     // who sends from there: routed to a made interface
  bool router_advertisements = false;
};

// An address on an interface, and a way by it.
struct InterfaceAddress {
  IpAddress address{};
  unsigned bits = 128;  // of the 16 bytes, as in IpPrefix
};
struct InterfaceRoute {
  IpPrefix destination;
  std::string gateway;  // empty: on the link
  std::uint32_t metric = 0;
};

class ZoneNetwork {
 public:
  [[nodiscard]] static Result<ZoneNetwork> Make(ZoneNetworkPlan plan);
  ZoneNetwork(ZoneNetwork&&) noexcept = default;
  ZoneNetwork& operator=(ZoneNetwork&&) = delete;
  ~ZoneNetwork();  // a moved interface goes back with what it had; a made pair is removed

  [[nodiscard]] int fd() const { return inside_.get(); }  // the namespace, for setns(2)
  [[nodiscard]] const std::string& interface() const { return plan_.interface; }

  struct Standing {
    bool present = false;  // the interface is in the namespace
    bool up = false;
    std::uint64_t returns = 0;  // times it went away and was put back
    bool operator==(const Standing&) const = default;
  };
  // Looks, and puts an interface that has come back (a card that was plugged in again, a pair that was deleted) in its
  // place.
  [[nodiscard]] Result<Standing> Tend();

  // Of a made pair: the outer end, and this machine's own address there, from which it may try the zone; else empty.
  [[nodiscard]] const std::string& outside() const { return outside_; }
  [[nodiscard]] std::vector<std::string> OutsideAddresses() const;

 private:
  explicit ZoneNetwork(ZoneNetworkPlan plan) : plan_(std::move(plan)) {}
  [[nodiscard]] Result<void> TakeIn();  // the interface, whichever way
  [[nodiscard]] Result<void> MakePair();
  [[nodiscard]] Result<void> Equip() const;  // inside: up, addresses, routes
  [[nodiscard]] Result<void> GiveBack();

  ZoneNetworkPlan plan_;
  UniqueFd home_;  // the namespace of whoever made this
  UniqueFd inside_;
  std::string outside_;
  std::vector<IpAddress> outside_addresses_;
  std::vector<InterfaceAddress> addresses_;  // what the interface had, and has inside
  std::vector<InterfaceRoute> routes_;
  std::uint64_t returns_ = 0;
};

// Runs `work` on a thread inside the namespace and waits for it.
[[nodiscard]] Result<void> InNamespace(int namespace_fd, const std::function<Result<void>()>& work);

// Name of the outer end of a made pair: at most 15 octets (IFNAMSIZ), different for different zones.
[[nodiscard]] std::string OuterEndName(std::string_view zone);
// This machine's address at the outer end: the first of `sources` beside `inner`, of its family. Nothing: there is
// none.
[[nodiscard]] std::optional<IpAddress> OuterAddress(const IpAddress& inner, const std::vector<IpPrefix>& sources);

}  // namespace stele::netfilter
