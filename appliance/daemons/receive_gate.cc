#include "appliance/daemons/receive_gate.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace stele::receive {
namespace {

constexpr std::int64_t kNsPerMs = 1'000'000;

}  // namespace

void SourceGate::Account::Add(std::uint64_t more, std::int64_t now_ns) {
  if (count == 0) from_ns = now_ns;
  count += more;
  to_ns = now_ns;
}

void SourceGate::UseZone(std::string zone, std::vector<IpPrefix> allowed) {
  zone_ = std::move(zone);
  allowed_ = std::move(allowed);
}

bool SourceGate::Allows(const IpAddress& address) const {
  return std::any_of(allowed_.begin(), allowed_.end(),
                     [&](const IpPrefix& prefix) { return prefix.Contains(address); });
}

void SourceGate::Refuse(const std::string& listener, const record::Peer& peer, std::uint64_t count,
                        std::int64_t now_ns) {
  Refused& refused = refused_[listener];
  const IpAddress address = channel::AddressOf(peer);
  const bool own = refused.by_address.contains(address) || refused.by_address.size() < limits::kRefusedPeersListed;
  (own ? refused.by_address[address] : refused.others).Add(count, now_ns);
}

std::vector<std::string> SourceGate::TakeEntries(std::int64_t now_ns, bool last) {
  std::vector<std::string> entries;
  const bool due = last_entries_ns_ == 0 || now_ns < last_entries_ns_ ||  // a clock that was set back must not delay it
                   now_ns - last_entries_ns_ >= limits::kRefusedEntryIntervalMs * kNsPerMs;
  if (refused_.empty() || (!due && !last)) return entries;
  const auto add = [&](const std::string& listener, const nlohmann::json& peer, const Account& account) {
    if (account.count == 0) return;
    entries.push_back(nlohmann::json{
        {"zone", zone_},
        {"listener", listener},
        {"source", nullptr},
        {"cause", "refused_source"},
        {"peer", peer},
        {"count", account.count},
        {"from_ns", account.from_ns},
        {"to_ns",
         account.to_ns}}.dump());
  };
  for (const auto& [listener, refused] : refused_) {
    for (const auto& [address, account] : refused.by_address) {
      record::Peer peer{};
      std::copy(address.begin(), address.end(), peer.begin());
      add(listener, record::PeerAddressText(peer), account);
    }
    add(listener, nullptr, refused.others);
  }
  refused_.clear();
  last_entries_ns_ = now_ns;
  return entries;
}

}  // namespace stele::receive
