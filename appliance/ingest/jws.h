// Signed events: an event that is a JWS (RFC 7515), compact or flattened, with EdDSA over Ed25519 (RFC 8037) or ES256,
// judged by the registered keys of its sources.
//
//   compact    BASE64URL(header) "." BASE64URL(payload) "." BASE64URL(signature)      bare, or as one JSON string
//   flattened  {"protected":"...","payload":"...","signature":"...","header":{...}}   one of the headers may be missing
//
// The registered key decides the algorithm, never the message: `alg` must be the key's, and must stand in the protected
// header. `crit` may name `b64` (RFC 7797) and nothing else: with `b64` false the payload stands as it is, in the compact
// form printable ASCII without a point, in the flattened form any JSON string, signed as its UTF-8. Refused (invalid): alg
// "none", any other `crit`, `b64` that is not protected, no boolean, or false without `crit`, a header parameter twice or
// in both headers, base64url with padding, blanks or stray bits. Keys inside a message (jwk, jku, x5c) are never used. The general serialisation is no
// signed event. Nothing here decides whether an event is kept.
//
// Pure and total. Thread safety: const functions of one SourceKeys may be called from any thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "appliance/base/bytes.h"
#include "appliance/base/limits.h"

struct evp_pkey_st;

namespace stele::ingest {

enum class JwsAlgorithm : std::uint8_t { kEdDsa, kEs256 };

class SourceKeys {
 public:
  // `alg`: "EdDSA" or "ES256". `public_key`: PEM (SubjectPublicKeyInfo), a JWK as JSON text, or base64url of the raw
  // key (Ed25519: 32 bytes; P-256: the point, 65 bytes, or x and y, 64). `kid` may be empty: the key of events that
  // name none. kInvalid says why; a kid twice is an error.
  [[nodiscard]] Result<void> Add(const std::string& kid, std::string_view alg, const std::string& public_key);
  [[nodiscard]] bool empty() const { return keys_.empty(); }

  struct Key {
    JwsAlgorithm algorithm = JwsAlgorithm::kEdDsa;
    Bytes raw;                          // Ed25519: 32 bytes; P-256: 65 bytes, uncompressed point
    std::shared_ptr<evp_pkey_st> p256;  // made once; shared by copies of the ring
  };
  [[nodiscard]] const Key* Find(const std::string& kid) const;

 private:
  std::map<std::string, Key, std::less<>> keys_;
};

struct JwsVerdict {
  enum class Word : std::uint8_t { kNotSigned, kValid, kInvalid, kUnknownKey };
  Word word = Word::kNotSigned;
  std::string kid;          // as the message names it, at most limits::kJwsKidBytes
  const char* reason = "";  // why it is invalid
};
[[nodiscard]] JwsVerdict JudgeJws(ByteView event, const SourceKeys& keys);

// The verdict as flags of the record (record::kFlagSignature*); 0: not signed. Cheap for events that are not.
[[nodiscard]] std::uint16_t SignatureFlags(ByteView event, const SourceKeys& keys);

// RFC 4648 section 5 without padding, strict: no other character, no stray bits.
[[nodiscard]] std::optional<Bytes> ParseBase64Url(std::string_view text, std::size_t size_bytes_max);

}  // namespace stele::ingest
