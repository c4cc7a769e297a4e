#include "appliance/daemons/zone_networks.h"

namespace stele::daemons {
namespace {

using netfilter::ZoneNetwork;

Result<netfilter::ZoneNetworkPlan> PlanOf(const IngestZone& zone) {
  const auto refuse = [&zone](const std::string& why) {
    return Fail(Code::kInvalid, "zone " + zone.name + ": a network namespace of its own " + why);
  };
  if (zone.interface.empty()) return refuse("needs zones.interface");
  netfilter::ZoneNetworkPlan plan{zone.name, zone.interface, {}, zone.allowed_sources, false};
  for (const std::string& text : zone.addresses) {
    const auto address = ParseIpPrefix(text);
    const IpPrefix none{};
    constexpr unsigned kAddressBits = 128;
    if (!address || address->bits != kAddressBits) return refuse("needs addresses, not " + text);
    if (address->address == none.address || text == "0.0.0.0")
      return refuse("needs addresses, not " + text + " for all");
    if (text.starts_with("127.") || text == "::1") return refuse("has no loopback: " + text);
    plan.addresses.push_back(address->address);
  }
  return plan;
}

}  // namespace

Result<ZoneNetworks> ZoneNetworks::Make(const Config& config) {
  ZoneNetworks out;
  if (config.network_namespace != "zones") return out;
  std::vector<netfilter::ZoneNetworkPlan> plans;
  for (const IngestZone& zone : config.zones) {
    STELE_TRY(auto plan, PlanOf(zone));
    plans.push_back(std::move(plan));
  }
  for (auto& plan : plans) {
    out.zones_.push_back(plan.zone);
    STELE_TRY(auto network, ZoneNetwork::Make(std::move(plan)));
    out.networks_.push_back(std::move(network));
  }
  out.standings_.resize(out.networks_.size());
  out.troubles_.resize(out.networks_.size());
  (void)out.Tend();  // the first look is no change
  return out;
}

std::vector<std::string> ZoneNetworks::Tend() {
  std::vector<std::string> changes;
  for (std::size_t i = 0; i < networks_.size(); ++i) {
    const std::string name = "zone " + zones_[i] + ": " + networks_[i].interface();
    const auto now = networks_[i].Tend();
    std::string trouble = now ? std::string() : Describe(now.error());
    if (!trouble.empty() && trouble != troubles_[i]) changes.push_back(name + " cannot be put back: " + trouble);
    troubles_[i] = std::move(trouble);
    if (!now) continue;
    const ZoneNetwork::Standing before = std::exchange(standings_[i], *now);
    if (before.returns != now->returns) {
      changes.push_back(name + " was away and is back");
    } else if (before.present != now->present) {
      changes.push_back(name + (now->present ? " is there" : " is gone"));
    } else if (before.up != now->up) {
      changes.push_back(name + (now->up ? " has a link" : " has no link"));
    }
  }
  return changes;
}

nlohmann::json ZoneNetworks::ToJson() const {
  if (!active()) return nullptr;
  nlohmann::json out = nlohmann::json::object();
  for (std::size_t i = 0; i < networks_.size(); ++i) {
    out[zones_[i]] = {{"interface", networks_[i].interface()},
                      {"present", standings_[i].present},
                      {"up", standings_[i].up},
                      {"returns", standings_[i].returns},
                      {"outside", networks_[i].outside()},
                      {"outside_addresses", networks_[i].OutsideAddresses()}};
  }
  return out;
}

}  // namespace stele::daemons
