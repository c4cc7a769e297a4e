// Which images may open the state partition: those the owner's PCR key has approved, and of these none that is older
// than one that has been confirmed. From bytes alone: used by the build of an image, by stele-state and by tests. Pure.
//
//   approved    PolicyPCR(11: what the image measures before any phase) AND PolicyNV(V <= the image's version)
//   sealed      PolicyAuthorize(PCR key, of what is approved) AND PolicyPCR(7 as at the first start, 12 = 0)
//   V           NV index 0x01815303, 8 bytes, big-endian: the oldest version that may still open the partition. Written
//               by the owner once, at the first start; later under PolicyAuthorize(PCR key), so by approved images
//               alone and only while their initial RAM disk runs. KNOWN LIMIT: who has the owner's authorisation can
//               still write it; `stele provision` can lock that away
//
// PolicyAuthorize stands for PCR 11, so that an update, with another PCR 11, opens the partition too. PCR 12 = 0: the
// stub was handed nothing that nobody signed. TPM 2.0 Library, Part 3, sections 23.7, 23.9, 23.16.
#pragma once

#include <string>
#include <string_view>

#include "appliance/base/bytes.h"

namespace stele::state {

inline constexpr std::uint32_t kVersionIndex = 0x01815303;  // V
inline constexpr std::uint16_t kVersionBytes = 8;
// TPMA_NV: ownerwrite | policywrite | authread | no_da. DO NOT CHANGE: part of V's Name, and so of every approval.
inline constexpr std::uint32_t kVersionAttributes = (1U << 1) | (1U << 3) | (1U << 18) | (1U << 25);

// What an image carries beside its kernel (section .pcrsig, which is not measured):
//   {"policy": "<64 hex digits>", "signature": "<hex>", "version": 3}
// `signature` is RSASSA-PKCS1-v1_5 with SHA-256 by the PCR key (section .pcrpkey, RSA 2048, PEM) over the 32 bytes of
// `policy`.
struct Approval {
  Hash policy{};
  Bytes signature;
  std::uint64_t version = 0;
};
[[nodiscard]] Result<Approval> ParseApproval(std::string_view json);  // kInvalid

// The PCR key as TPM2_LoadExternal takes it (TPMT_PUBLIC). kInvalid: not RSA 2048 with exponent 65537.
[[nodiscard]] Result<Bytes> RsaPublicArea(std::string_view public_key_pem);

// `key_name`: the Name of that public area (tpm/names.h).
[[nodiscard]] Hash AuthorizedPolicy(ByteView key_name);  // PolicyAuthorize alone: V's write policy
[[nodiscard]] Bytes VersionIndexName(ByteView key_name);
[[nodiscard]] Hash ApprovedPolicy(const Hash& pcr_11, std::uint64_t version, ByteView key_name);
[[nodiscard]] Hash SealingPolicy(const Hash& pcr_7, ByteView key_name);

[[nodiscard]] Bytes VersionOperand(std::uint64_t version);  // as PolicyNV compares it

// What the LUKS2 header keeps of the sealing, as a token of its JSON area; nothing in it is secret.
//   {"type": "stele-tpm2", "keyslots": ["0"], "parent": NAME, "approver": NAME, "pcr_7": HASH, "public": ...,
//   "private": ...}
// NAME of the storage key in the TPM and of the PCR key; TPM2B_PUBLIC and TPM2B_PRIVATE; all in hexadecimal.
struct SealedKey {
  Bytes parent_name;
  Bytes approver_name;
  Hash pcr_7{};
  Bytes public_area;
  Bytes private_area;

  friend bool operator==(const SealedKey&, const SealedKey&) = default;
};
[[nodiscard]] std::string EncodeToken(const SealedKey& sealed, int keyslot);
[[nodiscard]] Result<SealedKey> ParseToken(std::string_view json);  // kInvalid

}  // namespace stele::state
