// How often one address may try to sign in: a token bucket per address (IPv6: per /64), 10 a minute.
// The table is bounded; when it is full of addresses that are still waiting, an unknown address waits as well.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "appliance/base/limits.h"

namespace stele::web {

class LoginBucket {
 public:
  // 0: go on. Otherwise the seconds to wait (Retry-After).
  [[nodiscard]] std::int64_t Take(const std::string& key, std::int64_t now_ns);
  [[nodiscard]] std::size_t size() const { return full_at_ns_.size(); }

 private:
  void Forget(std::int64_t now_ns);

  // A bucket is one number: when it will be full again (the generic cell rate algorithm).
  std::unordered_map<std::string, std::int64_t> full_at_ns_;
};

// The bucket's key of a textual address: an IPv6 host owns its whole /64.
[[nodiscard]] std::string LoginKey(const std::string& address);

}  // namespace stele::web
