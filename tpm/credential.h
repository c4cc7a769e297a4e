// TPM2_MakeCredential in software: wraps a secret so that only the TPM which holds both the endorsement key and the
// object of the given Name can unwrap it (TPM 2.0 Library, Part 1, section 24). The enroller needs no TPM of its own.
// Pure: OpenSSL only.
#pragma once

#include "appliance/base/bytes.h"
#include "appliance/base/seams.h"

namespace stele::tpm {

struct Credential {
  Bytes blob;    // the contents of TPM2B_ID_OBJECT: integrityHMAC:2B || encIdentity
  Bytes secret;  // the contents of TPM2B_ENCRYPTED_SECRET: RSAES-OAEP of the seed, label "IDENTITY"
};
// `ek_public`: TPM2B_PUBLIC of an RSA 2048 endorsement key, nameAlg SHA-256, AES-128-CFB (TCG template L-1); kInvalid
// otherwise.
[[nodiscard]] Result<Credential> MakeCredential(ByteView ek_public, ByteView object_name, const Hash& secret,
                                                Entropy& entropy);

// KDFa with SHA-256 (Part 1, section 11.4.10.2): `bits` a multiple of 8, at most 256.
[[nodiscard]] Bytes KdfA(ByteView key, std::string_view label, ByteView context_u, ByteView context_v,
                         std::uint32_t bits);

}  // namespace stele::tpm
