// The endorsement key's X.509 certificate (TCG EK Credential Profile): does it belong to the key, and to a trusted maker?
#pragma once

#include <string>
#include <string_view>

#include "appliance/base/bytes.h"

namespace stele::tpm {

// The RSA key in a TPM2B_PUBLIC (TPM 2.0 Library, Part 2, section 12.2.4); views point into it. kInvalid: not an RSA key.
struct RsaPublic {
  ByteView modulus;
  std::uint64_t exponent = 65'537;
};
[[nodiscard]] Result<RsaPublic> ParseRsaPublic(ByteView tpm2b_public);

// The certificate without the padding some TPMs keep behind it in NV. kInvalid when there is no certificate.
[[nodiscard]] Result<Bytes> TrimCertificate(ByteView nv_contents);

[[nodiscard]] Result<std::string> PemOfCertificate(ByteView certificate_der);  // kInvalid: not a certificate

// kDenied unless the certificate's public key is the RSA key of `ek_public` (TPM2B_PUBLIC); kInvalid for bytes that are neither.
[[nodiscard]] Result<void> CheckEkCertificate(ByteView certificate_der, ByteView ek_public);

// kDenied unless the certificate chains to one of the roots in `authorities_pem` (roots and intermediates together, PEM) at
// the time `wall_ns`. For an offline auditor: the maker's published CA; for the embedded TPM: SwtpmCaPem().
[[nodiscard]] Result<void> VerifyEkChain(ByteView certificate_der, std::string_view authorities_pem, std::int64_t wall_ns);
// The same, and gives the certificates between it and that root (PEM, in order from the certificate up; often empty): what an
// auditor who has the root alone is missing.
[[nodiscard]] Result<std::string> EkIntermediates(ByteView certificate_der, std::string_view authorities_pem, std::int64_t wall_ns);

}  // namespace stele::tpm
