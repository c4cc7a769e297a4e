#include "firmware/state/luks.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "appliance/base/fd.h"

namespace stele::state {
namespace {

constexpr const char* kLabelNew = "stele-state-new";
constexpr const char* kLabel = "stele-state";
constexpr int kSecretSlot = 0;
constexpr int kRecoverySlot = 1;
constexpr int kToken = 0;
constexpr const char* kCipher = "aes";
constexpr const char* kMode = "xts-plain64";
constexpr std::size_t kVolumeKeyBytes = 64;  // XTS: two keys of 256 bits
constexpr std::uint32_t kSectorBytes = 4096;
constexpr std::uint32_t kDerivationRounds = 1000;            // the least LUKS2 allows
constexpr std::size_t kBlankBytes = std::size_t{32} << 20U;  // both headers, all key slots, the first superblocks

Result<void> Check(int answer, const char* what) {
  if (answer >= 0) return {};
  if (answer == -EPERM) return Fail(Code::kDenied, std::string(what) + ": no key slot opens with this");
  errno = -answer;
  return FailErrno(std::string(what) + " (state partition)");
}

const char* Chars(const Hash& hash) { return reinterpret_cast<const char*>(hash.data()); }

crypt_pbkdf_type Derivation() {
  crypt_pbkdf_type derivation{};
  derivation.type = CRYPT_KDF_PBKDF2;
  derivation.hash = "sha256";
  derivation.iterations = kDerivationRounds;
  derivation.flags = CRYPT_PBKDF_NO_BENCHMARK;
  return derivation;
}

Result<bool> IsBlank(const std::string& device) {
  const UniqueFd file(::open(device.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return FailErrno("open " + device);
  std::vector<char> piece(std::size_t{1} << 20U);
  for (std::size_t at = 0; at < kBlankBytes; at += piece.size()) {
    const ssize_t got = ::pread(file.get(), piece.data(), piece.size(), static_cast<off_t>(at));
    if (got < 0) return FailErrno("read " + device);
    if (std::any_of(piece.begin(), piece.begin() + got, [](char c) { return c != 0; })) return false;
  }
  return true;
}

}  // namespace

Result<Container> Container::At(const std::string& device) {
  // One process, once in a start: there is nobody to lock out, and libcryptsetup's messages are not ours.
  (void)crypt_metadata_locking(nullptr, 0);
  crypt_token_external_disable();
  crypt_set_log_callback(
      nullptr, [](int, const char*, void*) {}, nullptr);
  crypt_device* raw = nullptr;
  STELE_TRY_VOID(Check(crypt_init(&raw, device.c_str()), "look at the device"));
  return Container(std::unique_ptr<crypt_device, Free>(raw));
}

Result<Container> Container::Load(const std::string& device) {
  STELE_TRY(Container container, At(device));
  STELE_TRY_VOID(Check(crypt_load(container.device_.get(), CRYPT_LUKS2, nullptr), "read the LUKS2 header"));
  STELE_TRY_VOID(container.CheckCiphers());
  return container;
}

Result<void> Container::CheckCiphers() const {
  const auto is = [](const char* text, std::string_view wanted) { return text != nullptr && wanted == text; };
  crypt_device* raw = device_.get();
  bool good = is(crypt_get_cipher(raw), kCipher) && is(crypt_get_cipher_mode(raw), kMode) &&
              crypt_get_volume_key_size(raw) == static_cast<int>(kVolumeKeyBytes);
  for (const int slot : {kSecretSlot, kRecoverySlot}) {
    if (crypt_keyslot_status(raw, slot) == CRYPT_SLOT_INACTIVE) continue;
    std::size_t key_bytes = 0;
    good = good && is(crypt_keyslot_get_encryption(raw, slot, &key_bytes), std::string(kCipher) + "-" + kMode) &&
           key_bytes == kVolumeKeyBytes;
  }
  return good ? Result<void>() : Fail(Code::kCorrupt, "the state partition is not encrypted as we do it");
}

Result<Content> ContentOf(const std::string& device) {
  STELE_TRY(const bool blank, IsBlank(device));
  if (blank) return Content::kBlank;
  const auto container = Container::Load(device);
  if (!container) return Content::kForeign;
  return container->Label();
}

Result<void> Container::AddSecret(const Hash& secret, const SealedKey& sealed) {
  const crypt_pbkdf_type derivation = Derivation();
  STELE_TRY_VOID(Check(crypt_set_pbkdf_type(device_.get(), &derivation), "choose the key derivation"));
  STELE_TRY_VOID(
      Check(crypt_keyslot_add_by_volume_key(device_.get(), kSecretSlot, nullptr, 0, Chars(secret), secret.size()),
            "add the TPM's key slot"));
  return Check(crypt_token_json_set(device_.get(), kToken, EncodeToken(sealed, kSecretSlot).c_str()),
               "write the token");
}

Result<Container> Container::Format(const std::string& device, const Hash& secret, const SealedKey& sealed,
                                    std::string_view recovery_key) {
  STELE_TRY(Container container, At(device));
  const crypt_pbkdf_type derivation = Derivation();
  crypt_params_luks2 parameters{};
  parameters.pbkdf = &derivation;
  parameters.sector_size = kSectorBytes;
  parameters.label = kLabelNew;
  crypt_device* raw = container.device_.get();
  STELE_TRY_VOID(Check(crypt_format(raw, CRYPT_LUKS2, kCipher, kMode, nullptr, nullptr, kVolumeKeyBytes, &parameters),
                       "make the LUKS2 container"));
  STELE_TRY_VOID(container.AddSecret(secret, sealed));
  STELE_TRY_VOID(
      Check(crypt_keyslot_add_by_volume_key(raw, kRecoverySlot, nullptr, 0, recovery_key.data(), recovery_key.size()),
            "add the recovery key slot"));
  return container;
}

Content Container::Label() const {
  const char* label = crypt_get_label(device_.get());
  const std::string_view text = label == nullptr ? "" : label;
  if (text == kLabelNew) return Content::kUnfinished;
  return text == kLabel ? Content::kOurs : Content::kForeign;
}

Result<SealedKey> Container::Token() const {
  const char* json = nullptr;
  if (crypt_token_json_get(device_.get(), kToken, &json) < 0)
    return Fail(Code::kCorrupt, "the state partition has no token of a TPM");
  return ParseToken(json);
}

// The new slot takes the old one's place only when the recovery key was right.
Result<void> Container::Recovers(std::string_view recovery_key) const {
  return Check(
      crypt_activate_by_passphrase(device_.get(), nullptr, kRecoverySlot, recovery_key.data(), recovery_key.size(), 0),
      "try the recovery key");
}

Result<void> Container::Reseal(std::string_view recovery_key, const Hash& secret, const SealedKey& sealed) {
  STELE_TRY_VOID(Recovers(recovery_key));
  if (crypt_keyslot_status(device_.get(), kSecretSlot) != CRYPT_SLOT_INACTIVE)
    STELE_TRY_VOID(Check(crypt_keyslot_destroy(device_.get(), kSecretSlot), "remove the old TPM's key slot"));
  const crypt_pbkdf_type derivation = Derivation();
  STELE_TRY_VOID(Check(crypt_set_pbkdf_type(device_.get(), &derivation), "choose the key derivation"));
  STELE_TRY_VOID(Check(crypt_keyslot_add_by_passphrase(device_.get(), kSecretSlot, recovery_key.data(),
                                                       recovery_key.size(), Chars(secret), secret.size()),
                       "add the new TPM's key slot"));
  return Check(crypt_token_json_set(device_.get(), kToken, EncodeToken(sealed, kSecretSlot).c_str()),
               "write the token");
}

Result<void> Container::Open(const Hash& secret) {
  return Check(crypt_activate_by_passphrase(device_.get(), kMapped, kSecretSlot, Chars(secret), secret.size(), 0),
               "open the state partition");
}

Result<void> Container::Finish() {
  return Check(crypt_set_label(device_.get(), kLabel, nullptr), "name the state partition");
}

}  // namespace stele::state
