// The zones' own network namespaces (netfilter/zone_network.h), as the supervisor makes and tends them: with
// `stele up --netns` or processes.network_namespace = "zones".
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "appliance/daemons/config.h"
#include "netfilter/zone_network.h"

namespace stele::daemons {

class ZoneNetworks {
 public:
  // One for each zone of the configuration, in their order; none when it asks for none. kInvalid: a zone without an
  // interface, or with an address that no interface can have. kDenied: not permitted here.
  [[nodiscard]] static Result<ZoneNetworks> Make(const Config& config);

  [[nodiscard]] bool active() const { return !networks_.empty(); }
  [[nodiscard]] int fd(std::size_t zone) const { return active() ? networks_[zone].fd() : -1; }

  // Once a second. What has changed, one line each ("zone office: eth2 is gone").
  [[nodiscard]] std::vector<std::string> Tend();
  // {"office":{"interface","present","up","returns","outside","outside_addresses":[...]}}; null: there are none.
  [[nodiscard]] nlohmann::json ToJson() const;

 private:
  std::vector<std::string> zones_;
  std::vector<netfilter::ZoneNetwork> networks_;
  std::vector<netfilter::ZoneNetwork::Standing> standings_;
  std::vector<std::string> troubles_;  // the last one of each, said once
};

}  // namespace stele::daemons
