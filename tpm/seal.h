// A secret of 32 bytes that only this TPM gives back, and only in the state its policy names (seal_policy.h).
//
// Both ways it travels in a session salted to the endorsement key with parameter encryption: a recording of the bus, or
// of swtpm's socket, does not show it. The caller has pinned the endorsement key; here its Name is compared before
// anything is salted to it.
//
// Errors: kDenied when the endorsement key is another, or the registers are not in the state the policy names (the
// context says which); kNotFound when EK or storage key are not there; kTpm, kUnavailable, kIo as in esys.h.
#pragma once

#include <map>
#include <set>

#include "appliance/base/fd.h"
#include "tpm/esys.h"
#include "tpm/handles.h"
#include "tpm/seal_policy.h"

namespace stele::tpm {

// Under the storage key `parent` (empty authorisation). The registers need not be in the policy's state now.
[[nodiscard]] Result<SealedSecret> Seal(Connection& connection, const Handle& ek, const Handle& parent,
                                        const Hash& secret, const SealPolicy& policy);

// Over a connection of its own, which ends here. The caller wipes `secret`.
[[nodiscard]] Result<void> Unseal(UniqueFd connection, const Handles& handles, ByteView ek_name,
                                  const SealedSecret& sealed, int timeout_ms, Hash& secret);

// The sha256 registers named, as they are. Unauthenticated: for a policy that is about to be made.
[[nodiscard]] Result<std::map<std::uint32_t, Hash>> ReadRegisterValues(UniqueFd connection,
                                                                       const std::set<std::uint32_t>& registers,
                                                                       int timeout_ms);
[[nodiscard]] Result<std::map<std::uint32_t, Hash>> ReadRegisterValues(Connection& connection,
                                                                       const std::set<std::uint32_t>& registers);

// The three steps of it, for a secret under another policy. `salt_key` is whom the caller trusts with the session's
// salt.
struct SealedObject {
  Bytes public_area;   // TPM2B_PUBLIC
  Bytes private_area;  // TPM2B_PRIVATE
};
[[nodiscard]] Result<SealedObject> CreateSealed(Connection& connection, const Handle& salt_key, const Handle& parent,
                                                const Hash& secret, const Hash& policy);
[[nodiscard]] Result<Handle> LoadSealed(Connection& connection, const Handle& parent, ByteView public_area,
                                        ByteView private_area);
// `session`: a policy session with a cipher whose policy is satisfied.
[[nodiscard]] Result<void> UnsealLoaded(Connection& connection, const Handle& object, const Handle& session,
                                        Hash& secret);

// The storage key's template: restricted ECC P-256 decryption key, AES-128-CFB, noDA, empty authorisation
// (TCG TPM v2.0 Provisioning Guidance, storage root key).
[[nodiscard]] TPM2B_PUBLIC StorageTemplate();

}  // namespace stele::tpm
