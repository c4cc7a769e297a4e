// Provisioning, stage by stage: keys, registers, guarded first writes, seal, lock-down. Needs the owner and endorsement
// authorisations to be empty, as they are before lock-down; the daemon later needs no hierarchy authorisation at all.
//
//   EK   at handles.ek (made from TCG template L-1 and persisted when absent), certificate from NV 0x1c00002
//   SRK  at handles.storage: a storage key of the owner hierarchy, parent of the sealed seed
//   AK   child of the EK, ECC P-256, restricted, ECDSA SHA-256, noda, persisted at handles.ak. A child does not survive
//        TPM2_Clear, so a valid AK proves "no Clear since enrolment".
//   Without NV_Certify: the endorsement hierarchy's policy is AuditPolicy() (tpm/names.h), for audited reads.
//   C    NV counter, X  NV extend index (sha256): policywrite | authread | no_da, write policy of tpm/names.h
//   X0 = H(0^32 || SHA-256("stele/genesis/v1" || genesis_random)), C0 = the counter after its first increment
//
// The provisioning key itself is never needed here: its owner (the enroller) gets the nonces of DefineRegisters() and
// answers with signatures, wrapped so that only a TPM with this EK and this AK can use them.
//
// Errors: kDenied when something of ours exists already (nothing is overwritten; the context names the handle), the
// sha256 bank is disabled, or the EK certificate does not belong to the EK; kTpm, kUnavailable, kIo as in device.h.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "appliance/base/fd.h"
#include "appliance/base/seams.h"
#include "tpm/credential.h"
#include "tpm/device.h"
#include "tpm/esys.h"
#include "tpm/examine.h"
#include "tpm/handles.h"
#include "tpm/names.h"
#include "tpm/seal_policy.h"
#include "tpm/signing.h"

namespace stele::tpm {

struct ProvisionResult {
  std::uint32_t pcr = kDefaultPcr;
  Handles handles = {};
  std::string provisioning_public_pem;
  Bytes ek_certificate_der;  // empty when the TPM carries none
  Bytes ek_public;           // TPM2B_PUBLIC
  Bytes ak_public;           // TPM2B_PUBLIC
  std::string ak_public_pem;
  TpmIdentity identity;             // Names: EK, AK, and the *written* Names of C and X
  std::uint64_t counter_start = 0;  // C0
  Hash index_start{};               // X0
  Hash genesis_random{};
  std::uint32_t reset_count = 0;
  std::uint64_t firmware_version = 0;
  std::string manufacturer;   // TPM_PT_MANUFACTURER, four characters, trimmed
  std::string vendor;         // TPM_PT_VENDOR_STRING_1..4, trimmed
  bool software_tpm = false;  // a simulator (swtpm): protects against nobody who owns its directory
  bool locked_down = false;
  bool platform_disabled = false;  // until the next reset: firmware or supervisor does it again
  std::optional<SealedSecret> sealed;
};

// What a first write must be signed over, besides the session's nonce: H(command code || Name || Name || parameters),
// with the Name of the unwritten index. Pure: the enroller computes it itself and signs nothing it has not computed.
enum class FirstWrite { kCounter, kIndex };
[[nodiscard]] Result<Hash> FirstWriteCommandHash(FirstWrite which, const Handles& handles,
                                                 std::string_view provisioning_public_pem, const Hash& genesis_random);
// aHash's preimage: nonceTPM || expiration(0) || cpHash (Part 3, section 23.3); what PolicySigned wants signed.
[[nodiscard]] Bytes FirstWriteMessage(ByteView nonce, const Hash& command_hash);

struct HierarchyAuths {
  Hash owner{};
  Hash endorsement{};
  Hash lockout{};
};

struct ProvisionPlan {
  std::uint32_t pcr = kDefaultPcr;
  Handles handles = {};
  std::string provisioning_public_pem;
  int timeout_ms = 120'000;
};

// One TPM while it is provisioned. Call the stages in order. Until Finish() has succeeded the destructor removes what
// was made, as far as the TPM lets us (after LockDown() it does not).
class Provisioning {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Provisioning>> Open(UniqueFd connection, ProvisionPlan plan,
                                                                  Entropy& entropy);
  ~Provisioning();
  Provisioning(const Provisioning&) = delete;
  Provisioning& operator=(const Provisioning&) = delete;

  [[nodiscard]] Result<TpmFacts> Examine();  // changes nothing
  // Regards what an interrupted attempt left at our handles as made by this one, to be removed at the end. kDenied: the
  // TPM is locked down, so it is no left-over.
  [[nodiscard]] Result<void> TakeOver();
  [[nodiscard]] Result<void> MakeKeys();  // EK, storage key, AK
  // C and X, unwritten, and a policy session for each, held open: the TPM's nonces for the first writes.
  struct Nonces {
    Bytes counter;
    Bytes index;
  };
  [[nodiscard]] Result<Nonces> DefineRegisters();
  // Unwraps what was wrapped for this EK and this AK. kDenied: it was not.
  [[nodiscard]] Result<Hash> Activate(const Credential& credential);
  [[nodiscard]] Result<void> WriteFirst(const EcSignature& counter, const EcSignature& index);
  [[nodiscard]] Result<void> SealSecret(const Hash& secret, const SealPolicy& policy);
  // New authorisations, encrypted on their way; TPM2_Clear disabled; platform hierarchy disabled where its
  // authorisation is still empty (a PC's firmware keeps it for itself).
  [[nodiscard]] Result<void> LockDown(const HierarchyAuths& auths);
  // Reads everything back and has the AK attest it over `challenge`; the result is complete then.
  struct Evidence {
    TpmAttestation quote;
    TpmAttestation counter;
    TpmAttestation index;
  };
  [[nodiscard]] Result<Evidence> Finish(const Hash& challenge);

  void Keep() { finished_ = true; }  // leaves what was made in the TPM although it is not all
  [[nodiscard]] const ProvisionResult& result() const { return out_; }
  [[nodiscard]] ProvisionResult TakeResult() { return std::move(out_); }

 private:
  Provisioning(std::unique_ptr<Connection> connection, ProvisionPlan plan);
  [[nodiscard]] ESYS_CONTEXT* esys() const { return connection_->esys(); }
  [[nodiscard]] Result<void> FindEk();
  [[nodiscard]] Result<Bytes> ReadEkCertificate();
  [[nodiscard]] Result<void> MakeStorageKey();
  [[nodiscard]] Result<void> MakeAk();
  [[nodiscard]] Result<Handle> EkAuthorisation();
  [[nodiscard]] Result<Handle> Persist(const Handle& transient, std::uint32_t handle, const char* what);
  [[nodiscard]] Result<void> SetAuditPolicy(const std::optional<Hash>& policy);
  [[nodiscard]] Result<Handle> DefineIndex(FirstWrite which);
  [[nodiscard]] Result<Handle> StartFirstWrite(Bytes& nonce);
  [[nodiscard]] Result<void> SatisfyFirstWrite(const Handle& session, FirstWrite which, ByteView nonce,
                                               const EcSignature& signature);
  [[nodiscard]] Result<void> ChangeAuth(ESYS_TR hierarchy, const Hash& auth, const char* what);
  void Undo();

  std::unique_ptr<Connection> connection_;  // outlives the handles below
  ProvisionPlan plan_;
  WritePolicy policy_;
  ProvisionResult out_;
  Handle ek_;
  Handle storage_;
  Handle ak_;
  Handle counter_;
  Handle index_;
  Handle counter_session_;
  Handle index_session_;
  Nonces nonces_;
  std::vector<std::uint32_t> made_;  // handles, in the order made
  bool audit_policy_set_ = false;
  bool finished_ = false;
};

// All of it at once for whoever holds the provisioning key himself; no lock-down, nothing sealed.
struct ProvisionOptions {
  std::uint32_t pcr = kDefaultPcr;
  Handles handles = {};
  std::string provisioning_key_pem;  // private, P-256, PKCS#8 (tpm/signing.h: MakeSigningKey); never stored here
  int timeout_ms = 120'000;
};
[[nodiscard]] Result<ProvisionResult> Provision(UniqueFd connection, const ProvisionOptions& options, Entropy& entropy);

// The device configuration a provisioned log needs.
[[nodiscard]] AnchorConfig ConfigOf(const ProvisionResult& result);

// Disables the platform hierarchy until the next reset, which enables it again: for who starts the TPM himself (the
// embedded one). False: its authorisation is not empty, so it is somebody else's.
[[nodiscard]] Result<bool> DisablePlatform(UniqueFd connection, int timeout_ms);

// SHA-256("stele/genesis/v1" || random), and the value of X after extending it.
[[nodiscard]] Hash GenesisDigest(const Hash& random);
[[nodiscard]] Hash GenesisIndexValue(const Hash& random);

}  // namespace stele::tpm
