#include "appliance/daemons/guard_watch_member.h"

#include <poll.h>

#include <iterator>
#include <nlohmann/json.hpp>

#include "appliance/channel/control.h"
#include "appliance/daemons/config_policy.h"
#include "appliance/daemons/guard_member.h"
#include "appliance/daemons/watch_page.h"
#include "appliance/daemons/zones.h"
#include "netfilter/nflog.h"
#include "netfilter/violation_entries.h"

namespace stele::daemons {
namespace {

constexpr int kOpenLimitMs = 60'000;

// Those of the network that stele-guard's unit is in: it has the privilege, and we have not.
Result<std::vector<UniqueFd>> OpenedByGuard(const std::filesystem::path& unit_socket) {
  STELE_TRY(const Process guard, JoinProcess(unit_socket));
  const int control = guard.control.get();
  STELE_TRY_VOID(
      channel::Send(control, channel::Type::kConfigure, AsBytes(std::string_view(R"({"log_groups":true})"))));
  STELE_TRY_VOID(channel::Send(control, channel::Type::kStart, {}));
  std::vector<UniqueFd> sockets;
  pollfd polled{control, POLLIN, 0};
  while (::poll(&polled, 1, kOpenLimitMs) != 0) {
    auto frame = channel::Receive(control, /*wait=*/false, /*with_descriptors=*/true);
    if (!frame && frame.error().code == Code::kUnavailable) continue;
    if (!frame)
      return Fail(Code::kUnavailable, "stele-guard could not open the netlink log groups; its unit's journal says why");
    if (frame->type == channel::Type::kReady) return sockets;
    if (frame->type != channel::Type::kTakeChannel) continue;
    std::move(frame->descriptors.begin(), frame->descriptors.end(), std::back_inserter(sockets));
    if (sockets.size() > watch::WatchPage::kGroups)
      return Fail(Code::kInvalid, "stele-guard opens more log groups than there may be zones");
  }
  return Fail(Code::kUnavailable, "stele-guard takes too long to open the netlink log groups");
}

}  // namespace

Result<std::optional<GuardWatchGear>> OpenGuardWatch(const Config& config, std::span<const int> networks) {
  if (!config.policy_watch.on) return std::optional<GuardWatchGear>();
  GuardWatchGear gear;
  auto here = config.unit_sockets.empty() ? netfilter::OpenLogGroups() : OpenedByGuard(UnitSocket(config, kGuardName));
  if (!here) return Fail(here.error().code, "policy.watch: " + here.error().context, here.error().detail);
  gear.sockets = std::move(*here);
  if (gear.sockets.empty()) return Fail(Code::kUnavailable, "policy.watch: no netlink log group was opened");
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
