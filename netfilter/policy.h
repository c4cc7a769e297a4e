// Who may reach the appliance and whom it may reach, as data. A zone is a network behind one interface: the addresses
// the appliance has there, who may send from there, what they may reach, and the flows that may begin here and end
// there. Everything that is not named is dropped. Read from stele.toml (docs/segmentation.md, docs/configuration.md).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/base/ip_prefix.h"
#include "appliance/base/limits.h"

namespace stele::limits {

// Of each source address of a zone, all configurable.
inline constexpr std::uint32_t kPolicyConnections = 256;  // a receiver takes as many of one address
inline constexpr std::uint32_t kPolicyConnectionsPerSecond = 50;
inline constexpr std::uint32_t kPolicySources = 1'024;  // told apart at a time; about 16 octets each even when unused
inline constexpr std::uint32_t kPolicySourcesMax = 65'536;
inline constexpr std::size_t kFlowsPerZone = 32;
inline constexpr std::size_t kFlowPorts = 32;

}  // namespace stele::limits

namespace stele::netfilter {

enum class ZoneKind : std::uint8_t { kIngest, kOperator, kManagement, kArchive, kWitness, kAlert };
inline constexpr std::array<std::string_view, 6> kZoneKinds{"ingest",  "operator", "management",
                                                            "archive", "witness",  "alert"};

// Whose process serves or speaks in a zone of this kind (docs/processes.md); "system": what is not Stele's own.
[[nodiscard]] std::string_view ProcessOf(ZoneKind kind);
[[nodiscard]] bool MayHaveFlows(ZoneKind kind);  // from an ingest or operator zone nothing begins here

enum class Protocol : std::uint8_t { kTcp = 6, kUdp = 17 };  // IANA protocol numbers
[[nodiscard]] std::string_view ProtocolText(Protocol protocol);

struct Port {
  Protocol protocol = Protocol::kTcp;
  std::uint16_t number = 0;
  auto operator<=>(const Port&) const = default;
};
[[nodiscard]] std::string PortText(const Port& port);  // "tcp/6514"

// A listener in a zone, on each of its addresses.
struct Door {
  std::string service;  // "syslog-tls", "viewer"
  Port port;
};

// Connections that may begin at the appliance, and their answers.
struct Flow {
  std::string name;
  std::vector<IpPrefix> destinations;
  std::vector<Port> ports;
  std::uint32_t line = 0;
};

// Of each source address in a zone.
struct SourceLimits {
  std::uint32_t connections = limits::kPolicyConnections;                 // open at a time, TCP
  std::uint32_t connections_per_s = limits::kPolicyConnectionsPerSecond;  // new ones; twice as many at once
  std::uint32_t datagrams_per_s = 0;                                      // UDP; 0: no limit, twice as many at once
  std::uint32_t sources = limits::kPolicySources;                         // told apart at a time; a further one waits
  bool operator==(const SourceLimits&) const = default;
};

struct Zone {
  std::string name;
  ZoneKind kind = ZoneKind::kIngest;
  std::string interface;
  std::vector<IpAddress> addresses;
  std::vector<IpPrefix> sources;
  std::vector<Door> doors;
  std::vector<Flow> flows;
  SourceLimits limits;
  bool router_advertisements = false;  // a router may give this interface addresses and routes (IPv6)
  std::uint32_t line = 0;              // in the file; 0: none
};

struct Policy {
  std::vector<Zone> zones;
};

[[nodiscard]] bool HasFamily(const Zone& zone, bool v4);  // by its addresses

}  // namespace stele::netfilter
