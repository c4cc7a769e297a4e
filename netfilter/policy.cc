#include "netfilter/policy.h"

#include <algorithm>

#include "netfilter/address_set.h"

namespace stele::netfilter {

std::string_view ProcessOf(ZoneKind kind) {
  switch (kind) {
    case ZoneKind::kIngest:
      return "stele-receive";
    case ZoneKind::kOperator:
      return "stele-web";
    case ZoneKind::kManagement:
      return "system";
    case ZoneKind::kArchive:
      return "stele-archive";
    case ZoneKind::kWitness:
    case ZoneKind::kAlert:
      return "stele-courier";
  }
  return "";
}

bool MayHaveFlows(ZoneKind kind) { return kind != ZoneKind::kIngest && kind != ZoneKind::kOperator; }

std::string_view ProtocolText(Protocol protocol) { return protocol == Protocol::kTcp ? "tcp" : "udp"; }

std::string PortText(const Port& port) {
  return std::string(ProtocolText(port.protocol)) + "/" + std::to_string(port.number);
}

bool HasFamily(const Zone& zone, bool v4) {
  return std::any_of(zone.addresses.begin(), zone.addresses.end(),
                     [v4](const IpAddress& address) { return IsV4(address) == v4; });
}

}  // namespace stele::netfilter
