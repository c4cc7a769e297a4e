// The anchor's secrets, all derived from one 32-byte seed. The seed is sealed to the TPM (sealed_seed.h; `key:
// tpm-sealed` in the status) or a file (`key: file`: whoever reads it can sign).
//
//   note key seed := HMAC-SHA-256(seed, "stele/note-key/v1")        Ed25519, signs checkpoints
//   MAC root      := HMAC-SHA-256(seed, "stele/mac-root/v1")
//   slot key      := HMAC-SHA-256(seed, "stele/slot-mac/v1")        authenticates the anchor's own two slots
//   session key   := HMAC-SHA-256(MAC root, "stele/block-mac/v1" || log id || session id)   handed to stele-ledger
//
// Distinct labels: a key handed out says nothing about the others. Secrets lie in locked
// memory of their own (sodium_malloc: guard pages, mlock where the limit allows, not in core dumps) and are wiped at
// the end.
#pragma once

#include <filesystem>
#include <memory>

#include "appliance/base/seams.h"
#include "appliance/ledger/note.h"

namespace stele::anchor {

class Secret {
 public:
  Secret() = default;  // none: view() is empty
  explicit Secret(const Hash& value);
  [[nodiscard]] ByteView view() const { return value_ ? ByteView(*value_) : ByteView(); }

 private:
  struct Free {
    void operator()(Hash* value) const noexcept;
  };
  std::unique_ptr<Hash, Free> value_;
};

struct AnchorKeys {
  ledger::SigningKey note_key;
  Secret mac_root;
  Secret slot_key;
};
// kInvalid: the origin is no key name.
[[nodiscard]] Result<AnchorKeys> DeriveKeys(const Secret& seed, std::string_view origin);
// The public half alone, for whoever prepares the provisioning record or the verifiers' configuration.
[[nodiscard]] Result<ledger::VerifyKey> VerifyKeyOf(const Secret& seed, std::string_view origin);
[[nodiscard]] Hash SessionKey(const Secret& mac_root, const Hash& log_id, const Hash& session);

// The seed file: 32 bytes, mode 0600. kNotFound; kCorrupt: another length; kDenied: readable by others; kIo.
[[nodiscard]] Result<Secret> LoadSeed(const std::filesystem::path& path);

}  // namespace stele::anchor
