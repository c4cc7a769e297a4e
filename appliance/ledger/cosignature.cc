#include "appliance/ledger/cosignature.h"

#include <sodium.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <optional>
#include <utility>

namespace stele::ledger {
namespace {

constexpr std::uint64_t kTimeMax = std::numeric_limits<std::int64_t>::max();

std::string SignedMessage(std::string_view checkpoint_text, std::uint64_t time_s) {
  return "cosignature/v1\ntime " + std::to_string(time_s) + "\n" + std::string(checkpoint_text);
}

std::uint64_t LoadBig(const std::byte* at) { return __builtin_bswap64(LoadLittle<std::uint64_t>(at)); }

// The time of one cosignature that verifies.
std::optional<std::uint64_t> TimeOf(std::string_view text, const NoteSignature& signature, const CosignerKey& key) {
  const auto time_s = TimeOfCosignature(signature);
  if (!time_s) return std::nullopt;
  const std::string message = SignedMessage(text, *time_s);
  const auto* raw = reinterpret_cast<const unsigned char*>(signature.signature.data() + 8);
  if (crypto_sign_verify_detached(raw, reinterpret_cast<const unsigned char*>(message.data()), message.size(),
                                  reinterpret_cast<const unsigned char*>(key.public_key.data())) != 0) {
    return std::nullopt;
  }
  return time_s;
}

}  // namespace

Result<Cosigner> Cosigner::FromSeed(std::string name, ByteView seed) {
  STELE_TRY(SigningKey signer, SigningKey::FromSeed(std::move(name), seed));
  return Cosigner(std::move(signer));
}

std::string Cosigner::Cosign(std::string_view checkpoint_text, std::uint64_t time_s) const {
  STELE_CHECK(time_s <= kTimeMax);
  STELE_CHECK(!checkpoint_text.empty() && checkpoint_text.back() == '\n');
  Bytes signature(8);
  StoreLittle(signature.data(), __builtin_bswap64(time_s));
  Append(signature, signer_.SignMessage(AsBytes(SignedMessage(checkpoint_text, time_s))));
  return FormatSignatureLine({key_.name, key_.Id(), std::move(signature)});
}

std::optional<std::uint64_t> TimeOfCosignature(const NoteSignature& signature) {
  if (signature.signature.size() != kCosignatureBytes) return std::nullopt;
  const std::uint64_t time_s = LoadBig(signature.signature.data());
  return time_s <= kTimeMax ? std::optional(time_s) : std::nullopt;
}

Result<std::uint64_t> VerifyCosignature(const Note& note, const CosignerKey& key) {
  std::optional<std::uint64_t> newest_s;
  const KeyId id = key.Id();
  for (const NoteSignature& signature : note.signatures) {
    if (signature.name != key.name || signature.key_id != id) continue;
    const auto time_s = TimeOf(note.text, signature, key);
    if (!time_s) return Fail(Code::kDenied, "note: the cosignature of " + key.name + " does not verify");
    newest_s = std::max(newest_s.value_or(0), *time_s);
  }
  if (!newest_s) return Fail(Code::kNotFound, "note: not cosigned by " + key.name);
  return *newest_s;
}

}  // namespace stele::ledger
