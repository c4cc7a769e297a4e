// Who can reach what, by protocol and port: computed from the policy alone, without a look at the ruleset, so that
// either can be held against the other. And what changes between two of them, in plain words.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "netfilter/address_set.h"
#include "netfilter/policy.h"

namespace stele::netfilter {

enum class Traffic : std::uint8_t {
  kDoor,  // from a host to a listener here
  kEcho,  // from a host: ICMP or ICMPv6 echo requests, within limits
  kFlow,  // from here to a host
};

// One field of the matrix. What no row names is dropped.
struct Reach {
  Traffic traffic = Traffic::kDoor;
  std::string zone;
  std::string interface;
  std::string process;  // that serves or speaks; empty for an echo
  std::string service;  // of the door; the name of the flow; "echo"
  AddressSet peers;     // one family
  IpAddress address{};  // ours; of a flow: none in particular
  Port port;            // of an echo: none
};

struct Matrix {
  std::vector<Reach> rows;  // in the order of the policy
};

[[nodiscard]] Matrix MatrixOf(const Policy& policy);

// The first packet of a connection, a datagram or an echo request.
struct Probe {
  Traffic traffic = Traffic::kDoor;
  std::string interface;
  IpAddress peer{};
  IpAddress own{};
  Port port;
};
[[nodiscard]] const Reach* Permits(const Matrix& matrix, const Probe& probe);  // nullptr: dropped

// "10.1.0.0/16 on eth1 (zone plant) -> 10.1.0.1 tcp/6514 (syslog-tls, stele-receive@plant)"
[[nodiscard]] std::string ReachText(const Reach& reach);

struct Change {
  bool opens = false;
  Reach reach;  // with only those peers for whom something changes
};
struct PolicyDiff {
  std::vector<Change> changes;      // closed first
  std::vector<std::string> limits;  // "zone plant: connections of a source from 256 to 16"
  [[nodiscard]] bool empty() const { return changes.empty() && limits.empty(); }
};
// A zone that only changes its name opens and closes nothing.
[[nodiscard]] PolicyDiff DiffOf(const Policy& older, const Policy& newer);
// One clause for each change: "opens ...", "closes ...", "limit ...".
[[nodiscard]] std::vector<std::string> DiffTexts(const PolicyDiff& diff);

}  // namespace stele::netfilter
