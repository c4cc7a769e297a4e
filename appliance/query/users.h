// Who may sign in: users with passwords and client certificates, as the security officer wrote them down.
//
//   state/users.json         {"version":1,"users":[{"name":"anna","role":"auditor","password_hash":"$argon2id$...","sources":[]}]}
//   state/certificates.json  {"<SHA-256 of the certificate, hex>":{"user":"anna","role":"auditor","sources":[]}}
//
// `sources` (optional): globs of the sources in scope, empty = all. Unknown members are errors: a misspelt "sources" would
// show more than meant. A file that is absent names nobody.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "appliance/base/seams.h"
#include "appliance/query/identity.h"

namespace stele::query {

inline constexpr std::size_t kUserNameBytesMax = 64;
inline constexpr std::size_t kPasswordBytesMax = 256;

struct User {
  std::string name;
  Role role = Role::kViewer;
  std::vector<std::string> sources;
  std::string password_hash;
};

class UserBook {
 public:
  // Empty until Refresh().
  explicit UserBook(const std::filesystem::path& state_dir);

  // Reads the files where they are new or have changed. On an error the old content of that file stays in force.
  [[nodiscard]] Result<void> Refresh();

  [[nodiscard]] const User* FindUser(std::string_view name) const;
  // The person of a certificate, by the hex SHA-256 of its DER form.
  [[nodiscard]] std::optional<Identity> FindCertificate(std::string_view sha256_hex) const;
  [[nodiscard]] std::size_t user_count() const { return users_.size(); }

 private:
  struct Stamp {
    std::int64_t modified_ns = 0;
    std::int64_t size_bytes = -1;
    std::uint64_t inode = 0;
    friend bool operator==(const Stamp&, const Stamp&) = default;
  };
  static Stamp StampOf(const std::filesystem::path& path);
  [[nodiscard]] Result<void> ReadUsers();
  [[nodiscard]] Result<void> ReadCertificates();

  std::filesystem::path users_path_;
  std::filesystem::path certificates_path_;
  Stamp users_stamp_;
  Stamp certificates_stamp_;
  std::map<std::string, User, std::less<>> users_;
  std::map<std::string, Identity, std::less<>> certificates_;
};

// Argon2id by libsodium, 64 MiB, 3 passes. kUnavailable when there is no memory for it.
[[nodiscard]] Result<std::string> HashPassword(std::string_view password);
[[nodiscard]] bool VerifyPassword(const std::string& hash, std::string_view password);
// A hash of a password nobody knows: what an unknown user's attempt is checked against, so that it takes as long.
[[nodiscard]] Result<std::string> UnknownUserHash(Entropy& entropy);

// Delays after failures, per name (known or not): five are free, then 1 s, 2 s, ... 15 min. Never a lock for good: an
// attacker must not be able to keep the auditor out. Thread safety: none.
class SignInDelays {
 public:
  static constexpr int kFreeFailures = 5;
  static constexpr std::int64_t kDelayMaxNs = 900'000'000'000;
  // Nanoseconds to wait before this name may try (again), 0 = now.
  [[nodiscard]] std::int64_t WaitNs(const std::string& name, std::int64_t boottime_ns) const;
  void Failed(const std::string& name, std::int64_t boottime_ns);
  void Succeeded(const std::string& name) { entries_.erase(name); }

 private:
  struct Entry {
    int failures = 0;
    std::int64_t next_boottime_ns = 0;
  };
  static constexpr std::size_t kEntriesMax = 4'096;
  std::map<std::string, Entry> entries_;
};

// The first run: writes users.json with these people and fresh passwords, which exist nowhere but in the answer.
// kDenied when the file exists already.
struct FirstUser {
  std::string name;
  Role role = Role::kViewer;
  std::string password;
};
[[nodiscard]] Result<std::vector<FirstUser>> CreateFirstUsers(const std::filesystem::path& state_dir,
                                                              const std::vector<std::pair<std::string, Role>>& people,
                                                              Entropy& entropy);
// Adds or replaces one certificate's entry of certificates.json.
[[nodiscard]] Result<void> AddCertificate(const std::filesystem::path& state_dir, std::string_view sha256_hex,
                                          const std::string& user, Role role);

}  // namespace stele::query
