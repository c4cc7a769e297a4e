#include "appliance/daemons/config_zones.h"

#include <algorithm>
#include <vector>

#include "appliance/base/ip_prefix.h"
#include "appliance/daemons/listeners.h"

namespace stele::daemons {
namespace {

struct Taken {
  IpAddress address{};
  bool datagrams = false;
  std::uint16_t port = 0;
  std::string owner;
};

bool IsAnyV4(const IpAddress& address) { return ParseIpPrefix("0.0.0.0")->address == address; }
bool IsAny(const IpAddress& address) { return address == IpAddress{}; }  // "::" listens on both families
bool IsV4(const IpAddress& address) { return Masked(address, 96) == Masked(ParseIpPrefix("0.0.0.0")->address, 96); }

bool Overlap(const IpAddress& a, const IpAddress& b) {
  if (a == b || IsAny(a) || IsAny(b)) return true;
  return (IsAnyV4(a) && IsV4(b)) || (IsAnyV4(b) && IsV4(a));
}

}  // namespace

std::optional<std::string> ProblemOfZoneName(std::string_view name) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
  const bool good =
      !name.empty() && name.size() <= limits::kZoneNameBytes && plain(name.front()) &&
      std::all_of(name.begin(), name.end(), [&](char c) { return plain(c) || c == '-' || c == '_' || c == '.'; });
  if (!good) {
    return "must have 1 to " + std::to_string(limits::kZoneNameBytes) +
           " letters, digits, points, hyphens and underscores, a letter or digit first";
  }
  return std::nullopt;
}

std::optional<DoorClash> FindDoorClash(const Config& config) {
  std::vector<Taken> taken;
  if (const auto viewer = ParseIpPrefix(config.viewer_address); viewer && config.viewer_port != 0) {
    taken.push_back({viewer->address, false, config.viewer_port, "the viewer"});
  }
  for (std::size_t i = 0; i < config.zones.size(); ++i) {
    const IngestZone& zone = config.zones[i];
    for (const IngestDoor& door : kIngestDoors) {
      const std::optional<std::uint16_t> port = zone.*door.port;
      if (!port || *port == 0) continue;
      for (const std::string& text : zone.addresses) {
        const auto address = ParseIpPrefix(text);
        if (!address) continue;  // the reader has refused it
        const bool datagrams = std::string_view(door.transport) == "udp";
        const auto at = std::find_if(taken.begin(), taken.end(), [&](const Taken& one) {
          return one.datagrams == datagrams && one.port == *port && Overlap(one.address, address->address);
        });
        if (at != taken.end())
          return DoorClash{i, &door, "wants " + EndpointText(text, *port) + ", which is " + at->owner};
        taken.push_back({address->address, datagrams, *port, std::string(door.name) + " of zone " + zone.name});
      }
    }
  }
  return std::nullopt;
}

}  // namespace stele::daemons
