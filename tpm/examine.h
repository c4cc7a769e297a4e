// What a TPM is and in what state, before anything is changed: the first stage of provisioning, and all of a dry run.
#pragma once

#include <string>
#include <vector>

#include "tpm/esys.h"
#include "tpm/handles.h"

namespace stele::tpm {

struct TpmFacts {
  std::string manufacturer;  // TPM_PT_MANUFACTURER, four characters, trimmed
  std::string vendor;        // TPM_PT_VENDOR_STRING_1..4, trimmed
  std::uint64_t firmware_version = 0;
  bool software_tpm = false;          // a simulator (swtpm): protects against nobody who owns its directory
  std::uint32_t nv_counters_max = 0;  // 0: no limit but memory
  std::uint32_t sessions_loaded_min = 0;
  std::uint32_t transients_min = 0;
  bool nv_certify = false;  // TPM2_NV_Certify is optional on some chips: without it, audited reads (tpm/attest.h)

  // TPMA_PERMANENT and TPMA_STARTUP_CLEAR (TPM 2.0 Library, Part 2, sections 8.6 and 8.7).
  bool owner_auth_set = false;
  bool endorsement_auth_set = false;
  bool lockout_auth_set = false;
  bool clear_disabled = false;
  bool in_lockout = false;
  bool platform_enabled = true;

  std::vector<std::string> missing_commands;  // that Stele cannot do without; empty: fit
  std::vector<std::string> present;           // of Stele's own handles: "the attestation key 0x81015354"
  bool ek_persisted = false;
  bool ek_certificate = false;  // in NV

  [[nodiscard]] bool locked_down() const {
    return owner_auth_set && endorsement_auth_set && lockout_auth_set && clear_disabled;
  }
};
// kDenied when the sha256 bank does not hold the registers a quote covers: extending a disabled bank succeeds and does
// nothing. kTpm, kUnavailable, kIo.
[[nodiscard]] Result<TpmFacts> Examine(Connection& connection, const Handles& handles, std::uint32_t pcr);
[[nodiscard]] Result<bool> HasCommand(Connection& connection, std::uint32_t code);  // TPM_CC
[[nodiscard]] Result<void> CheckBank(Connection& connection, std::uint32_t anchor_pcr);

}  // namespace stele::tpm
