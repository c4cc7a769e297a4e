// Sessions of people who signed in with a password. The browser holds a token of 256 random bits; here only its SHA-256 is
// kept, so that reading this memory opens no session. Idle 15 minutes or 8 hours in all, then over.
// Thread safety: one thread.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "appliance/base/seams.h"
#include "appliance/query/identity.h"

namespace stele::query {

class SessionTable {
 public:
  static constexpr std::int64_t kIdleNs = 900'000'000'000;
  static constexpr std::int64_t kAbsoluteNs = 28'800'000'000'000;
  static constexpr std::size_t kSessionsMax = 1'024;
  static constexpr std::size_t kSessionsPerUserMax = 16;

  explicit SessionTable(Entropy& entropy) : entropy_(entropy) {}

  // A fresh session and its token. Too many: the one that was idle longest ends.
  [[nodiscard]] std::string Open(const Identity& identity, std::int64_t boottime_ns);
  // Whose token it is; using it keeps it alive.
  [[nodiscard]] std::optional<Identity> Find(std::string_view token, std::int64_t boottime_ns);
  // The same by the token's hash, for what stays open between requests (a live tail counts as use).
  [[nodiscard]] std::optional<Identity> FindByHash(const Hash& token_hash, std::int64_t boottime_ns);
  bool Close(std::string_view token);
  // Ends what a user still has open (removed, or another role).
  void CloseUser(std::string_view user);
  [[nodiscard]] std::size_t count() const { return sessions_.size(); }

 private:
  struct Session {
    Identity identity;
    std::int64_t opened_ns = 0;
    std::int64_t used_ns = 0;
  };
  [[nodiscard]] static bool Over(const Session& session, std::int64_t boottime_ns);
  void MakeRoom(const std::string& user, std::int64_t boottime_ns);

  Entropy& entropy_;
  std::map<Hash, Session> sessions_;  // by the SHA-256 of the token
};

}  // namespace stele::query
