#include "web/server/login_bucket.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "appliance/base/bytes.h"

namespace stele::web {
namespace {

constexpr std::int64_t kNsPerSecond = 1'000'000'000;
constexpr std::int64_t kMinuteNs = 60 * kNsPerSecond;
constexpr std::int64_t kRefillNs = kMinuteNs / static_cast<std::int64_t>(limits::kWebLoginsPerMinute);

}  // namespace

std::int64_t LoginBucket::Take(const std::string& key, std::int64_t now_ns) {
  const auto found = full_at_ns_.find(key);
  if (found == full_at_ns_.end() && full_at_ns_.size() >= limits::kWebLoginAddresses) {
    Forget(now_ns);
    if (full_at_ns_.size() >= limits::kWebLoginAddresses) return kRefillNs / kNsPerSecond;
  }
  std::int64_t& full_at_ns = full_at_ns_[key];
  const std::int64_t next_ns = std::max(full_at_ns, now_ns) + kRefillNs;
  const std::int64_t over_ns = next_ns - (now_ns + kMinuteNs);
  if (over_ns > 0) return (over_ns + kNsPerSecond - 1) / kNsPerSecond;
  full_at_ns = next_ns;
  return 0;
}

void LoginBucket::Forget(std::int64_t now_ns) {
  for (auto at = full_at_ns_.begin(); at != full_at_ns_.end();) {
    at = at->second <= now_ns ? full_at_ns_.erase(at) : std::next(at);
  }
}

std::string LoginKey(const std::string& address) {
  in6_addr parsed{};
  if (inet_pton(AF_INET6, address.c_str(), &parsed) != 1) return address;
  return HexOf(std::as_bytes(std::span(parsed.s6_addr, 8)));
}

}  // namespace stele::web
