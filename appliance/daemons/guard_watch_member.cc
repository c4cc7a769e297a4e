#include "appliance/daemons/guard_watch_member.h"

#include <iterator>
#include <nlohmann/json.hpp>

#include "appliance/daemons/config_policy.h"
#include "appliance/daemons/watch_page.h"
#include "appliance/daemons/zones.h"
#include "netfilter/nflog.h"
#include "netfilter/violation_entries.h"

namespace stele::daemons {

Result<std::optional<GuardWatchGear>> OpenGuardWatch(const Config& config, std::span<const int> networks) {
  if (!config.policy_watch.on) return std::optional<GuardWatchGear>();
  GuardWatchGear gear;
  auto here = netfilter::OpenLogGroups();
  if (!here) return Fail(here.error().code, "policy.watch: " + here.error().context, here.error().detail);
  gear.sockets = std::move(*here);
  for (const int network : networks) {
    STELE_TRY(auto there, netfilter::OpenLogGroupsIn(network));
    std::move(there.begin(), there.end(), std::back_inserter(gear.sockets));
  }
  if (gear.sockets.size() > watch::WatchPage::kGroups) {
    return Fail(Code::kInvalid, "policy.watch: more networks than there may be zones");
  }
  STELE_TRY(gear.page, watch::MakeWatchPage());
  return std::optional<GuardWatchGear>(std::move(gear));
}

Result<std::string> GuardWatchConfiguration(const Config& config) {
  const auto policy = PolicyOf(config);
  if (!policy) return Fail(Code::kInvalid, "policy.watch: " + policy.error().text);
  const std::string crossings = netfilter::CrossingsJson(netfilter::CrossingsOf(*policy));
  return nlohmann::json{{"interval_ms", config.policy_watch.interval_s * 1'000},
                        {"entries_per_interval", config.policy_watch.entries_per_interval},
                        {"entries_per_hour", config.policy_watch.entries_per_hour},
                        {"crossings", nlohmann::json::parse(crossings, nullptr, false)}}
      .dump();
}

std::vector<OwnChannel> GuardWatchChannels(const GuardWatchGear& gear) {
  std::vector<OwnChannel> channels{DuplicateOf({"page", "page", ""}, gear.page.get())};
  for (std::size_t i = 0; i < gear.sockets.size(); ++i) {
    channels.push_back(DuplicateOf({"dropped", "dropped-" + std::to_string(i), ""}, gear.sockets[i].get()));
  }
  return channels;
}

}  // namespace stele::daemons
