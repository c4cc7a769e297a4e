// Provisioning: makes the attestation key and the two NV indices, guards their first write with the provisioning key, and
// returns everything the provisioning record needs. Needs the owner and endorsement authorisations to be empty, as they are
// before lock-down; the daemon later needs no hierarchy authorisation at all.
//
//   EK   at handles.ek (made from TCG template L-1 and persisted when absent), certificate from NV 0x1c00002
//   AK   child of the EK, ECC P-256, restricted, ECDSA SHA-256, noda, persisted at handles.ak. A child does not survive
//        TPM2_Clear, so a valid AK proves "no Clear since enrolment".
//   C    NV counter, X  NV extend index (sha256): policywrite | authread | no_da, write policy of tpm/policy.h
//   X0 = H(0^32 || SHA-256("stele/genesis/v1" || genesis_random)), C0 = the counter after its first increment
#pragma once

#include <string>

#include "appliance/base/fd.h"
#include "appliance/base/seams.h"
#include "tpm/device.h"
#include "tpm/handles.h"

namespace stele::tpm {

struct ProvisionOptions {
  std::uint32_t pcr = kDefaultPcr;
  Handles handles = {};
  std::string provisioning_key_pem;  // private, P-256, PKCS#8 (tpm/signing.h: MakeSigningKey); never stored here
  int timeout_ms = 120'000;
};

struct ProvisionResult {
  std::uint32_t pcr = kDefaultPcr;
  Handles handles = {};
  std::string provisioning_public_pem;
  Bytes ek_certificate_der;  // empty when the TPM carries none
  Bytes ek_public;           // TPM2B_PUBLIC
  Bytes ak_public;           // TPM2B_PUBLIC
  std::string ak_public_pem;
  TpmIdentity identity;      // Names: EK, AK, and the *written* Names of C and X
  std::uint64_t counter_start = 0;  // C0
  Hash index_start{};               // X0
  Hash genesis_random{};
  std::uint32_t reset_count = 0;
  std::uint64_t firmware_version = 0;
  std::string manufacturer;   // TPM_PT_MANUFACTURER, four characters, trimmed
  std::string vendor;         // TPM_PT_VENDOR_STRING_1..4, trimmed
  bool software_tpm = false;  // a simulator (swtpm): protects against nobody who owns its directory
};

// Errors: kDenied when C, X or the AK already exist (nothing is overwritten; the context names the handle) or the EK
// certificate does not belong to the EK; kTpm, kUnavailable, kIo as in device.h. On failure whatever was made by this call
// is removed again as far as the TPM lets us.
[[nodiscard]] Result<ProvisionResult> Provision(UniqueFd connection, const ProvisionOptions& options, Entropy& entropy);

// The device configuration a provisioned log needs.
[[nodiscard]] AnchorConfig ConfigOf(const ProvisionResult& result);

// SHA-256("stele/genesis/v1" || random), and the value of X after extending it.
[[nodiscard]] Hash GenesisDigest(const Hash& random);
[[nodiscard]] Hash GenesisIndexValue(const Hash& random);

}  // namespace stele::tpm
