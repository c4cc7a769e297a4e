// The provisioning key: ECDSA over P-256 with SHA-256, kept by the caller as PEM. It signs the provisioning record and
// authorises the first writes of C and X (TPM2_PolicySigned).
// Errors: kInvalid for a PEM that is not a P-256 key, kDenied for a signature that does not verify.
#pragma once

#include <string>
#include <string_view>

#include "appliance/base/bytes.h"

namespace stele::tpm {

[[nodiscard]] Result<std::string> MakeSigningKey();                                 // private key, PKCS#8 PEM
[[nodiscard]] Result<std::string> PublicPemOf(std::string_view private_key_pem);    // SubjectPublicKeyInfo PEM
[[nodiscard]] Result<Bytes> Sign(std::string_view private_key_pem, ByteView data);  // DER ECDSA-Sig-Value (RFC 3279)
[[nodiscard]] Result<void> VerifySignature(std::string_view public_key_pem, ByteView data, ByteView signature_der);

// HMAC-SHA-256(private scalar, 32 bytes big-endian, label || context): a secret that only the key's owner can make again.
[[nodiscard]] Result<Hash> DeriveFrom(std::string_view private_key_pem, std::string_view label, ByteView context);

// Coordinates and signatures as a TPM carries them: 32-byte big-endian integers.
struct EcPoint {
  Hash x{};
  Hash y{};
};
struct EcSignature {
  Hash r{};
  Hash s{};
};
[[nodiscard]] Result<EcPoint> PointOf(std::string_view public_key_pem);
[[nodiscard]] Result<std::string> PemOf(const EcPoint& point);  // kInvalid when not on the curve
[[nodiscard]] Result<EcSignature> SignRaw(std::string_view private_key_pem, ByteView data);
[[nodiscard]] Result<void> VerifyRaw(std::string_view public_key_pem, ByteView data, const EcSignature& signature);
[[nodiscard]] Bytes DerOf(const EcSignature& signature);

}  // namespace stele::tpm
