#include "appliance/query/users.h"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "appliance/base/system.h"

namespace stele::query {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kFileBytesMax = std::size_t{1} << 20U;
constexpr unsigned long long kHashPasses = 3;
constexpr std::size_t kHashMemoryBytes = std::size_t{64} << 20U;
constexpr unsigned kPrivateMode = 0600;

Error Wrong(const std::filesystem::path& path, const std::string& what) {
  return Error{Code::kInvalid, path.filename().string() + ": " + what, 0};
}

bool IsName(const std::string& name) {
  return !name.empty() && name.size() <= kUserNameBytesMax && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.' || c == '@';
  });
}

struct Person {
  std::string name;
  Role role = Role::kViewer;
  std::vector<std::string> sources;
  std::string password_hash;
};

// One person; `name_member` says what the name is called. Strict about every member.
tl::expected<Person, std::string> ReadPerson(const Json& object, const char* name_member, bool with_password) {
  if (!object.is_object()) return tl::unexpected(std::string("an entry is not an object"));
  Person person;
  for (const auto& [member, value] : object.items()) {
    if (member == "sources") {
      if (!value.is_array()) return tl::unexpected(std::string("sources is not a list"));
      for (const Json& glob : value) {
        if (!glob.is_string() || glob.get_ref<const std::string&>().empty()) return tl::unexpected(std::string("sources holds something else than names"));
        person.sources.push_back(glob.get<std::string>());
      }
      continue;
    }
    if (!value.is_string()) return tl::unexpected(member + " is not text");
    const auto& text = value.get_ref<const std::string&>();
    if (member == name_member) {
      person.name = text;
    } else if (member == "role") {
      const auto role = ParseRole(text);
      if (!role) return tl::unexpected("there is no role " + text);
      person.role = *role;
    } else if (with_password && member == "password_hash") {
      person.password_hash = text;
    } else {
      return tl::unexpected("unknown member " + member);
    }
  }
  if (!IsName(person.name)) return tl::unexpected(std::string("a name is missing or not made of letters, digits and . _ - @"));
  if (!object.contains("role")) return tl::unexpected(person.name + " has no role");
  if (with_password && !person.password_hash.starts_with("$argon2id$")) return tl::unexpected(person.name + " has no Argon2id hash");
  return person;
}

Result<Json> ReadJson(const std::filesystem::path& path) {
  STELE_TRY(const Bytes bytes, ReadFile(path, kFileBytesMax));
  Json value = Json::parse(AsText(bytes), nullptr, /*allow_exceptions=*/false);
  if (!value.is_object()) return tl::unexpected(Wrong(path, "not a JSON object"));
  return value;
}

bool IsMissing(const std::filesystem::path& path) {
  std::error_code ignored;
  return !std::filesystem::exists(path, ignored);
}

bool IsSha256Hex(std::string_view text) { return ParseHash(text).has_value() && std::none_of(text.begin(), text.end(), [](char c) { return c >= 'A' && c <= 'F'; }); }

// Twenty letters and digits that cannot be mistaken for each other, in groups: 100 bits.
std::string FreshPassword(Entropy& entropy) {
  constexpr std::string_view kAlphabet = "abcdefghijkmnpqrstuvwxyz23456789";
  static_assert(kAlphabet.size() == 32);
  std::array<std::byte, 20> raw{};
  entropy.Fill(raw);
  std::string password;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (i > 0 && i % 5 == 0) password += '-';
    password += kAlphabet[static_cast<std::size_t>(raw[i]) & 31U];
  }
  sodium_memzero(raw.data(), raw.size());
  return password;
}

}  // namespace

UserBook::Stamp UserBook::StampOf(const std::filesystem::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return {};
  return {static_cast<std::int64_t>(info.st_mtim.tv_sec) * 1'000'000'000 + info.st_mtim.tv_nsec, info.st_size, info.st_ino};
}

UserBook::UserBook(const std::filesystem::path& state_dir)
    : users_path_(state_dir / "users.json"), certificates_path_(state_dir / "certificates.json") {}

Result<void> UserBook::Refresh() {
  Result<void> result;
  if (const Stamp now = StampOf(users_path_); now != users_stamp_) {
    if (auto read = ReadUsers(); !read) result = std::move(read);
    users_stamp_ = now;  // an error is told once, not at every request
  }
  if (const Stamp now = StampOf(certificates_path_); now != certificates_stamp_) {
    if (auto read = ReadCertificates(); !read) result = std::move(read);
    certificates_stamp_ = now;
  }
  return result;
}

Result<void> UserBook::ReadUsers() {
  std::map<std::string, User, std::less<>> users;
  if (!IsMissing(users_path_)) {
    STELE_TRY(const Json file, ReadJson(users_path_));
    const auto list = file.find("users");
    if (file.value("version", 0) != 1 || list == file.end() || !list->is_array()) {
      return tl::unexpected(Wrong(users_path_, "needs \"version\":1 and a list \"users\""));
    }
    for (const Json& entry : *list) {
      auto person = ReadPerson(entry, "name", /*with_password=*/true);
      if (!person) return tl::unexpected(Wrong(users_path_, person.error()));
      const std::string name = person->name;
      User user{name, person->role, std::move(person->sources), std::move(person->password_hash)};
      if (!users.emplace(name, std::move(user)).second) return tl::unexpected(Wrong(users_path_, name + " stands there twice"));
    }
  }
  users_ = std::move(users);
  return {};
}

Result<void> UserBook::ReadCertificates() {
  std::map<std::string, Identity, std::less<>> certificates;
  if (!IsMissing(certificates_path_)) {
    STELE_TRY(const Json file, ReadJson(certificates_path_));
    for (const auto& [fingerprint, entry] : file.items()) {
      if (!IsSha256Hex(fingerprint)) return tl::unexpected(Wrong(certificates_path_, "not a SHA-256 in lower-case hexadecimal: " + fingerprint.substr(0, 80)));
      auto person = ReadPerson(entry, "user", /*with_password=*/false);
      if (!person) return tl::unexpected(Wrong(certificates_path_, person.error()));
      certificates[fingerprint] = Identity{person->name, person->role, "certificate", std::move(person->sources)};
    }
  }
  certificates_ = std::move(certificates);
  return {};
}

const User* UserBook::FindUser(std::string_view name) const {
  const auto at = users_.find(name);
  return at == users_.end() ? nullptr : &at->second;
}

std::optional<Identity> UserBook::FindCertificate(std::string_view sha256_hex) const {
  const auto at = certificates_.find(sha256_hex);
  return at == certificates_.end() ? std::nullopt : std::optional<Identity>(at->second);
}

Result<std::string> HashPassword(std::string_view password) {
  if (sodium_init() < 0) return Fail(Code::kUnavailable, "start libsodium");
  std::array<char, crypto_pwhash_STRBYTES> hash{};
  if (crypto_pwhash_str(hash.data(), password.data(), password.size(), kHashPasses, kHashMemoryBytes) != 0) {
    return Fail(Code::kUnavailable, "hash a password: not enough memory");
  }
  return std::string(hash.data());
}

bool VerifyPassword(const std::string& hash, std::string_view password) {
  if (sodium_init() < 0 || hash.size() >= crypto_pwhash_STRBYTES) return false;
  return crypto_pwhash_str_verify(hash.c_str(), password.data(), password.size()) == 0;
}

Result<std::string> UnknownUserHash(Entropy& entropy) {
  const std::string password = FreshPassword(entropy);
  return HashPassword(password);
}

std::int64_t SignInDelays::WaitNs(const std::string& name, std::int64_t boottime_ns) const {
  const auto at = entries_.find(name);
  if (at == entries_.end() || at->second.failures < kFreeFailures) return 0;
  return std::max<std::int64_t>(0, at->second.next_boottime_ns - boottime_ns);
}

void SignInDelays::Failed(const std::string& name, std::int64_t boottime_ns) {
  constexpr int kDoublingsMax = 10;
  if (entries_.size() >= kEntriesMax && !entries_.contains(name)) {
    // Many names at once: forget the one whose delay ends first. Its next failures count anew.
    const auto soonest = std::min_element(entries_.begin(), entries_.end(), [](const auto& a, const auto& b) {
      return a.second.next_boottime_ns < b.second.next_boottime_ns;
    });
    entries_.erase(soonest);
  }
  Entry& entry = entries_[name];
  ++entry.failures;
  const int doublings = std::clamp(entry.failures - kFreeFailures, 0, kDoublingsMax);
  entry.next_boottime_ns = boottime_ns + std::min(kDelayMaxNs, std::int64_t{1'000'000'000} << doublings);
}

Result<std::vector<FirstUser>> CreateFirstUsers(const std::filesystem::path& state_dir,
                                                const std::vector<std::pair<std::string, Role>>& people, Entropy& entropy) {
  const std::filesystem::path path = state_dir / "users.json";
  if (!IsMissing(path)) return Fail(Code::kDenied, path.string() + " exists already");
  std::vector<FirstUser> made;
  Json users = Json::array();
  for (const auto& [name, role] : people) {
    FirstUser user{name, role, FreshPassword(entropy)};
    STELE_TRY(const std::string hash, HashPassword(user.password));
    users.push_back({{"name", name}, {"role", RoleName(role)}, {"password_hash", hash}});
    made.push_back(std::move(user));
  }
  const Json file = {{"version", 1}, {"users", std::move(users)}};
  STELE_TRY_VOID(WriteFileDurably(path, AsBytes(file.dump(2) + "\n"), kPrivateMode));
  return made;
}

Result<void> AddCertificate(const std::filesystem::path& state_dir, std::string_view sha256_hex, const std::string& user, Role role) {
  if (!IsSha256Hex(sha256_hex)) return Fail(Code::kInvalid, "a certificate's SHA-256 is 64 lower-case hexadecimal digits");
  if (!IsName(user)) return Fail(Code::kInvalid, "not a user's name: " + user);
  const std::filesystem::path path = state_dir / "certificates.json";
  Json file = Json::object();
  if (!IsMissing(path)) {
    STELE_TRY(file, ReadJson(path));
  }
  file[std::string(sha256_hex)] = {{"user", user}, {"role", RoleName(role)}};
  return WriteFileDurably(path, AsBytes(file.dump(2) + "\n"), kPrivateMode);
}

}  // namespace stele::query
