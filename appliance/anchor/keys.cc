#include "appliance/anchor/keys.h"

#include <sodium.h>
#include <sys/stat.h>

#include <algorithm>
#include <system_error>

#include "appliance/base/system.h"

namespace stele::anchor {

Secret::Secret(const Hash& value) {
  STELE_CHECK(sodium_init() >= 0);
  value_.reset(static_cast<Hash*>(sodium_malloc(sizeof(Hash))));
  STELE_CHECK(value_ != nullptr);
  *value_ = value;
}

void Secret::Free::operator()(Hash* value) const noexcept { sodium_free(value); }  // wipes it

Result<AnchorKeys> DeriveKeys(const Secret& seed, std::string_view origin) {
  const Secret note_seed(HmacSha256(seed.view(), {AsBytes("stele/note-key/v1")}));
  STELE_TRY(ledger::SigningKey note_key, ledger::SigningKey::FromSeed(std::string(origin), note_seed.view()));
  return AnchorKeys{std::move(note_key), Secret(HmacSha256(seed.view(), {AsBytes("stele/mac-root/v1")})),
                    Secret(HmacSha256(seed.view(), {AsBytes("stele/slot-mac/v1")}))};
}

Result<ledger::VerifyKey> VerifyKeyOf(const Secret& seed, std::string_view origin) {
  STELE_TRY(const AnchorKeys keys, DeriveKeys(seed, origin));
  return keys.note_key.verify_key();
}

Hash SessionKey(const Secret& mac_root, const Hash& log_id, const Hash& session) {
  return HmacSha256(mac_root.view(), {AsBytes("stele/block-mac/v1"), log_id, session});
}

Result<Secret> LoadSeed(const std::filesystem::path& path) {
  struct stat status = {};
  if (::stat(path.c_str(), &status) == 0 && (status.st_mode & 077U) != 0) {
    return Fail(Code::kDenied, path.string() + " is open to others than its owner");
  }
  STELE_TRY(Bytes raw, ReadFile(path, kHashBytes + 1));
  if (raw.size() != kHashBytes) return Fail(Code::kCorrupt, path.string() + " is not a seed of 32 bytes");
  Hash value;
  std::copy(raw.begin(), raw.end(), value.begin());
  Secret seed(value);
  sodium_memzero(value.data(), value.size());
  sodium_memzero(raw.data(), raw.size());
  return seed;
}

}  // namespace stele::anchor
