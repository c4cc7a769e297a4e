// TPM Names and policies computed from bytes alone, so that a record can be checked offline: the Name of an NV index binds
// its attributes and its write policy, and so proves that the index was guarded (TPM 2.0 Library, Part 1, section 16).
//
//   Name(object)   = 000b || SHA-256(TPMT_PUBLIC)          Name(NV index) = 000b || SHA-256(TPMS_NV_PUBLIC)
//   QName(primary) = 000b || SHA-256(hierarchy handle || Name)   QName(child) = 000b || SHA-256(QName(parent) || Name)
//
// Write policy of C and X: OR( NvWritten(YES) ; NvWritten(NO), PolicySigned(provisioning key, empty policyRef) ).
// Deleting and redefining an index gives the same Name; without the second branch's signature it cannot be written again.
#pragma once

#include <string>
#include <string_view>

#include "appliance/base/bytes.h"
#include "tpm/handles.h"

namespace stele::tpm {

inline constexpr std::size_t kNameBytes = 2 + kHashBytes;
inline constexpr std::uint16_t kAlgSha256 = 0x000b;

// nvPublic.attributes. DO NOT CHANGE: they are part of the pinned Names.
// policywrite(1<<3) | authread(1<<18) | no_da(1<<25) | type counter(1<<4) or extend(4<<4); written = 1<<29
inline constexpr std::uint32_t kCounterAttributes = (1U << 3) | (1U << 18) | (1U << 25) | (1U << 4);
inline constexpr std::uint32_t kIndexAttributes = (1U << 3) | (1U << 18) | (1U << 25) | (4U << 4);
inline constexpr std::uint32_t kNvWritten = 1U << 29;

[[nodiscard]] Bytes NameOfPublicArea(ByteView public_area);  // of a marshalled TPMT_PUBLIC or TPMS_NV_PUBLIC
[[nodiscard]] Bytes QualifiedNameOf(ByteView ek_name, ByteView ak_name);  // of the AK, child of a primary EK

// The provisioning key as TPM2_LoadExternal takes it: TPMT_PUBLIC, ECC P-256, userWithAuth | sign, null scheme.
[[nodiscard]] Result<Bytes> ExternalPublicArea(std::string_view public_key_pem);

struct WritePolicy {
  Hash written{};  // branch 1: every later write
  Hash first{};    // branch 2: the first write, before PolicyOR
  Hash policy{};   // authPolicy of the index
};
[[nodiscard]] Result<WritePolicy> WritePolicyOf(std::string_view provisioning_public_pem);

// Policy of the endorsement hierarchy on a TPM without NV_Certify: PolicyCommandCode(GetSessionAuditDigest). It lets
// the daemon, which has no authorisation of a hierarchy, ask for this digest and for nothing else.
[[nodiscard]] Hash AuditPolicy();

// The Names C and X have once written; nothing else can carry them (offline check of a provisioning record).
[[nodiscard]] Bytes NvName(std::uint32_t handle, std::uint32_t attributes, const Hash& policy, std::uint16_t size_bytes);
[[nodiscard]] Result<Bytes> WrittenCounterName(const Handles& handles, std::string_view provisioning_public_pem);
[[nodiscard]] Result<Bytes> WrittenIndexName(const Handles& handles, std::string_view provisioning_public_pem);

// An attestation key as the provisioning record carries it. Accepts exactly what tpm/provision.cc makes: TPM2B_PUBLIC, ECC
// P-256, nameAlg SHA-256, fixedTPM | fixedParent | sensitiveDataOrigin | userWithAuth | noDA | restricted | sign, ECDSA
// SHA-256, empty policy, nothing left over. kInvalid otherwise.
struct AttestationKey {
  Bytes name;
  std::string public_pem;
};
[[nodiscard]] Result<AttestationKey> ParseAttestationKey(ByteView tpm2b_public);

}  // namespace stele::tpm
