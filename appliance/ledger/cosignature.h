// Cosignatures: a witness's word that, at a time, the largest consistent tree it had seen of this log was this
// checkpoint.
//
//   c2sp.org/tlog-cosignature, the Ed25519 form (key type 0x04). ML-DSA-44 (0x06) is not supported: no library here has
//   it. line      := "— " name " " base64(key_id[4] || time:u64 big-endian || signature[64]) "\n"     a note signature
//   line signed    := "cosignature/v1\n" "time " time "\n" checkpoint text                             POSIX seconds,
//   decimal
//
// Pure. Thread safety: none needed, value types.
#pragma once

#include <optional>

#include "appliance/ledger/note.h"

namespace stele::ledger {

inline constexpr std::size_t kCosignatureBytes = 8 + kSignatureBytes;

// The key pair of a witness; the secret half is wiped on destruction.
class Cosigner {
 public:
  // kInvalid: the name is no key name or the seed is not 32 bytes. The caller keeps and wipes its seed.
  [[nodiscard]] static Result<Cosigner> FromSeed(std::string name, ByteView seed);

  [[nodiscard]] const CosignerKey& key() const { return key_; }
  // One signature line over the text of a checkpoint. time_s: POSIX seconds, at most 2^63 - 1. Deterministic.
  [[nodiscard]] std::string Cosign(std::string_view checkpoint_text, std::uint64_t time_s) const;

 private:
  explicit Cosigner(SigningKey signer)
      : signer_(std::move(signer)), key_{signer_.verify_key().name, signer_.verify_key().public_key} {}
  SigningKey signer_;
  CosignerKey key_;
};

// The time that a signature line carries if it has the form of a cosignature. Nothing is verified.
[[nodiscard]] std::optional<std::uint64_t> TimeOfCosignature(const NoteSignature& signature);

// The newest time at which this witness cosigned the note's text, in POSIX seconds; whether that is too old or in the
// future is for the caller to judge. kNotFound: no cosignature by this key. kDenied: one claims to be, and does not
// verify.
[[nodiscard]] Result<std::uint64_t> VerifyCosignature(const Note& note, const CosignerKey& key);

}  // namespace stele::ledger
