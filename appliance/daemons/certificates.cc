#include "appliance/daemons/certificates.h"

#include <sys/stat.h>

#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include "appliance/base/system.h"
#include "appliance/daemons/x509.h"

namespace stele::daemons {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kDayS = 86'400;
constexpr std::int64_t kAuthorityS = 3'650 * kDayS;
constexpr std::int64_t kServerS = 397 * kDayS;
constexpr std::int64_t kPersonS = 730 * kDayS;
constexpr std::int64_t kRenewS = 30 * kDayS;
constexpr std::int64_t kRenewAuthorityS = 400 * kDayS;  // never shorter than what it signs for a server
constexpr std::int64_t kBackdateS = 3'600;              // a browser's clock may be behind ours
constexpr std::size_t kFileBytesMax = std::size_t{64} * 1024;
constexpr unsigned kSecretMode = 0600;
constexpr unsigned kPublicMode = 0644;

static_assert(kRenewAuthorityS > kServerS);

struct Shop {  // what every step below needs
  fs::path dir;
  std::int64_t now_s = 0;
  std::vector<std::string>* made = nullptr;
};

fs::path FileOf(const Shop& shop, const std::string& name, const char* extension) {
  return shop.dir / (name + extension);
}

Result<void> MakeKeysDir(const fs::path& dir) {
  std::error_code error;
  fs::create_directories(dir, error);
  if (error) return Fail(Code::kIo, "create " + dir.string() + ": " + error.message());
  if (::chmod(dir.c_str(), 0700) != 0) return FailErrno("protect " + dir.string());
  return {};
}

// An authority whose key others could read may have signed anything: it must not be trusted further in silence.
Result<void> CheckSecret(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return FailErrno("look at " + path.string());
  if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return Fail(Code::kDenied, path.string() + " can be read by others: remove the keys directory to make new keys");
  }
  return {};
}

// nullopt: not there or not readable as what it should be, so it is made again.
std::optional<Pair> LoadPair(const Shop& shop, const std::string& name) {
  const auto certificate = ReadFile(FileOf(shop, name, ".pem"), kFileBytesMax);
  const auto key = ReadFile(FileOf(shop, name, ".key"), kFileBytesMax);
  if (!certificate || !key) return std::nullopt;
  auto pair = ParsePair(AsText(*certificate), AsText(*key));
  if (!pair) return std::nullopt;
  return std::move(*pair);
}

// The key first: a certificate on disk always has its key beside it.
Result<void> StorePair(const Shop& shop, const std::string& name, const Pair& pair) {
  STELE_TRY(const std::string key, KeyPem(pair));
  STELE_TRY(const std::string certificate, CertificatePem(pair));
  STELE_TRY_VOID(WriteFileDurably(FileOf(shop, name, ".key"), AsBytes(key), kSecretMode));
  STELE_TRY_VOID(WriteFileDurably(FileOf(shop, name, ".pem"), AsBytes(certificate), kPublicMode));
  shop.made->push_back(name);
  return {};
}

Result<Pair> EnsureAuthority(const Shop& shop) {
  std::error_code ignored;  // absent is the first run
  if (fs::exists(FileOf(shop, "ca", ".key"), ignored)) STELE_TRY_VOID(CheckSecret(FileOf(shop, "ca", ".key")));
  if (auto present = LoadPair(shop, "ca");
      present && SignedBy(*present, *present) && SecondsLeft(*present, shop.now_s) > kRenewAuthorityS) {
    return std::move(*present);
  }
  Template authority;
  STELE_TRY(const std::string tag, RandomText(8));
  authority.common_name = "Stele CA " + tag;  // browsers confuse authorities of one name
  authority.purpose = Purpose::kAuthority;
  authority.begin_s = shop.now_s - kBackdateS;
  authority.end_s = shop.now_s + kAuthorityS;
  STELE_TRY(Pair made, Issue(authority, nullptr));
  STELE_TRY_VOID(StorePair(shop, "ca", made));
  return made;
}

bool StillGood(const Pair& pair, const Pair& authority, std::int64_t now_s) {
  return SignedBy(pair, authority) && SecondsLeft(pair, now_s) > kRenewS;
}

Result<ServerCertificate> EnsureServer(const Shop& shop, const std::string& name, const std::vector<std::string>& names,
                                       const Pair& authority) {
  auto present = LoadPair(shop, name);
  if (!present || !StillGood(*present, authority, shop.now_s) || !Names(*present, names)) {
    Template server;
    server.common_name = "Stele " + name;
    server.purpose = Purpose::kServer;
    server.names = names;
    server.begin_s = shop.now_s - kBackdateS;
    server.end_s = shop.now_s + kServerS;
    STELE_TRY(Pair made, Issue(server, &authority));
    STELE_TRY_VOID(StorePair(shop, name, made));
    present = std::move(made);
  }
  ServerCertificate out;
  STELE_TRY(out.certificate_pem, CertificatePem(*present));
  STELE_TRY(out.key_pem, KeyPem(*present));
  STELE_TRY(out.sha256, CertificateFingerprint(out.certificate_pem));
  return out;
}

Result<PersonCertificate> EnsurePerson(const Shop& shop, const std::string& name, const Pair& authority) {
  PersonCertificate out;
  out.name = name;
  out.pkcs12 = FileOf(shop, name, ".p12");
  auto present = LoadPair(shop, name);
  const auto bundle = ReadFile(out.pkcs12, kFileBytesMax);
  const auto password = ReadFile(FileOf(shop, name, ".password"), kFileBytesMax);
  if (password) {
    out.password = AsText(*password);
    while (out.password.ends_with('\n')) out.password.pop_back();
  }
  const bool good = present && StillGood(*present, authority, shop.now_s);
  if (!good) {
    Template person;
    person.common_name = name;
    person.purpose = Purpose::kClient;
    person.begin_s = shop.now_s - kBackdateS;
    person.end_s = shop.now_s + kPersonS;
    STELE_TRY(Pair made, Issue(person, &authority));
    STELE_TRY_VOID(StorePair(shop, name, made));
    present = std::move(made);
  }
  if (!good || !bundle || !OpensPkcs12(*bundle, out.password, *present)) {
    STELE_TRY(out.password, RandomText(24));
    STELE_TRY(const Bytes packed, MakePkcs12(*present, authority, name, out.password));
    STELE_TRY_VOID(WriteFileDurably(FileOf(shop, name, ".password"), AsBytes(out.password + "\n"), kSecretMode));
    STELE_TRY_VOID(WriteFileDurably(out.pkcs12, packed, kSecretMode));
    out.made_now = true;
    if (good) shop.made->push_back(name + ".p12");
  }
  STELE_TRY(const std::string certificate, CertificatePem(*present));
  STELE_TRY(out.sha256, CertificateFingerprint(certificate));
  return out;
}

Result<std::vector<std::string>> ServerNames(const std::vector<std::string>& extra_names) {
  std::vector<std::string> names = {"localhost", "127.0.0.1", "::1"};
  for (const std::string& name : extra_names) {
    STELE_TRY(const std::string canonical, CanonicalName(name));
    if (std::find(names.begin(), names.end(), canonical) == names.end()) names.push_back(canonical);
  }
  return names;
}

}  // namespace

Result<Certificates> EnsureCertificates(const fs::path& keys_dir, const std::vector<std::string>& extra_names,
                                        Clock& clock) {
  STELE_TRY(const std::vector<std::string> names, ServerNames(extra_names));
  STELE_TRY_VOID(MakeKeysDir(keys_dir));
  Certificates out;
  Shop shop;
  shop.dir = keys_dir;
  shop.now_s = clock.WallNs() / 1'000'000'000;
  shop.made = &out.made;
  STELE_TRY(const Pair authority, EnsureAuthority(shop));
  STELE_TRY(out.ca_pem, CertificatePem(authority));
  STELE_TRY(out.ca_sha256, CertificateFingerprint(out.ca_pem));
  STELE_TRY(out.viewer, EnsureServer(shop, "viewer", names, authority));
  STELE_TRY(out.ingest, EnsureServer(shop, "ingest", names, authority));
  for (const char* person : {"auditor", "security-officer", "metrics"}) {
    STELE_TRY(PersonCertificate made, EnsurePerson(shop, person, authority));
    out.people.push_back(std::move(made));
  }
  return out;
}

Result<ServerCertificate> EnsureZoneCertificate(const fs::path& keys_dir, const std::string& zone,
                                                const std::vector<std::string>& extra_names, Clock& clock) {
  STELE_TRY(const std::vector<std::string> names, ServerNames(extra_names));
  std::vector<std::string> made;
  const Shop shop{keys_dir, clock.WallNs() / 1'000'000'000, &made};
  STELE_TRY(const Pair authority, EnsureAuthority(shop));
  return EnsureServer(shop, "ingest-" + zone, names, authority);
}

}  // namespace stele::daemons
