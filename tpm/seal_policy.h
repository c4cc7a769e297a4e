// Under what state of the machine a sealed secret comes out. Pure: the policy's digest is computed from bytes, so the
// Name of a sealed object proves its policy to whoever holds its public area.
//
//   registers   PolicyPCR over the sha256 bank: each register named must hold exactly this value
//
// The anchor's own PCR at its baseline is always among them: the first checkpoint extends it, so the secret comes out
// once in a boot, before anything is logged, and not again until the next reset. KNOWN HOLE: values alone. The state partition of the
// image has the policy for updates (PolicyAuthorize over PCR 11 and a version, firmware/state/approval.h); here PCR 7 and
// 12 can be pinned by value.
#pragma once

#include <map>
#include <string>

#include "appliance/base/bytes.h"
#include "tpm/handles.h"

namespace stele::tpm {

struct SealPolicy {
  std::map<std::uint32_t, Hash> registers;  // by number, 0 to 23; not empty

  friend bool operator==(const SealPolicy&, const SealPolicy&) = default;
};
[[nodiscard]] Hash PolicyDigestOf(const SealPolicy& policy);
[[nodiscard]] PcrSelection SelectionOf(const SealPolicy& policy);
[[nodiscard]] Hash RegistersDigestOf(const SealPolicy& policy);  // SHA-256 over the values, ascending
[[nodiscard]] std::string TextOf(const SealPolicy& policy);      // "PCR 7, 14"

// A sealed secret as it is kept outside the TPM; nothing in it is secret.
struct SealedSecret {
  SealPolicy policy;
  Bytes public_area;   // TPM2B_PUBLIC
  Bytes private_area;  // TPM2B_PRIVATE, encrypted by the TPM

  friend bool operator==(const SealedSecret&, const SealedSecret&) = default;
};
// The object's Name. kInvalid unless the public area is exactly what tpm/seal.cc makes (a keyed hash object of this
// TPM, no password, never duplicated) and its policy is the one named.
[[nodiscard]] Result<Bytes> CheckSealed(const SealedSecret& sealed);

}  // namespace stele::tpm
