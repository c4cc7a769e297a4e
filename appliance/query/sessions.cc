#include "appliance/query/sessions.h"

#include <algorithm>
#include <array>

#include "appliance/base/hash.h"

namespace stele::query {
namespace {

constexpr std::size_t kTokenBytes = 32;
constexpr std::size_t kTokenTextBytes = 2 * kTokenBytes;

}  // namespace

bool SessionTable::Over(const Session& session, std::int64_t boottime_ns) {
  return boottime_ns - session.used_ns >= kIdleNs || boottime_ns - session.opened_ns >= kAbsoluteNs;
}

std::string SessionTable::Open(const Identity& identity, std::int64_t boottime_ns) {
  MakeRoom(identity.user, boottime_ns);
  std::array<std::byte, kTokenBytes> random{};
  entropy_.Fill(random);
  std::string token = HexOf(random);
  sessions_[Sha256Of(AsBytes(token))] = Session{identity, boottime_ns, boottime_ns};
  return token;
}

std::optional<Identity> SessionTable::Find(std::string_view token, std::int64_t boottime_ns) {
  if (token.size() != kTokenTextBytes) return std::nullopt;
  // The lookup is by a hash of the secret: its time says nothing about the secret.
  return FindByHash(Sha256Of(AsBytes(token)), boottime_ns);
}

std::optional<Identity> SessionTable::FindByHash(const Hash& token_hash, std::int64_t boottime_ns) {
  const auto at = sessions_.find(token_hash);
  if (at == sessions_.end()) return std::nullopt;
  if (Over(at->second, boottime_ns)) {
    sessions_.erase(at);
    return std::nullopt;
  }
  at->second.used_ns = boottime_ns;
  return at->second.identity;
}

bool SessionTable::Close(std::string_view token) { return sessions_.erase(Sha256Of(AsBytes(token))) > 0; }

void SessionTable::CloseUser(std::string_view user) {
  std::erase_if(sessions_, [user](const auto& entry) { return entry.second.identity.user == user; });
}

void SessionTable::MakeRoom(const std::string& user, std::int64_t boottime_ns) {
  std::erase_if(sessions_, [boottime_ns](const auto& entry) { return Over(entry.second, boottime_ns); });
  const auto drop_oldest = [this](auto&& counts, std::size_t count_max) {
    for (;;) {
      std::size_t count = 0;
      auto oldest = sessions_.end();
      for (auto at = sessions_.begin(); at != sessions_.end(); ++at) {
        if (!counts(at->second)) continue;
        ++count;
        if (oldest == sessions_.end() || at->second.used_ns < oldest->second.used_ns) oldest = at;
      }
      if (count < count_max) return;
      sessions_.erase(oldest);
    }
  };
  drop_oldest([&user](const Session& session) { return session.identity.user == user; }, kSessionsPerUserMax);
  drop_oldest([](const Session&) { return true; }, kSessionsMax);
}

}  // namespace stele::query
