// The key of the state partition in the TPM: sealed at the first start, given back to approved images (approval.h) at
// later ones, and to nobody after Lock() until the machine restarts.
//
// Every command that carries the key runs in a session salted to the storage key, with parameter encryption. The
// storage key at 0x81015356 is of the owner hierarchy, made at the first start while the owner's authorisation is still
// empty. KNOWN LIMIT: the salt goes to whatever has the Name that the LUKS2 header remembers; whoever changes the disk
// and sits on the TPM's bus can name a key of his own, at the first start too.
//
// Errors: kDenied with one sentence for a person, what is wrong and what to do; else as in tpm/esys.h.
#pragma once

#include <memory>
#include <string>

#include "appliance/base/fd.h"
#include "firmware/state/approval.h"
#include "tpm/esys.h"

namespace stele::state {

inline constexpr std::uint32_t kStorageHandle = 0x81015356;
inline constexpr std::string_view kPhase = "leave-initrd";  // measured into PCR 11 by Lock()

class Vault {
 public:
  // `tpm`: a connected stream to swtpm, or an open /dev/tpmrm0.
  [[nodiscard]] static Result<Vault> Open(UniqueFd tpm, int timeout_ms);
  // What Seal() and Unseal() go by: the image's approval, and the PCR key it names.
  [[nodiscard]] Result<void> Take(Approval approval, std::string_view key_pem);

  // For this machine as it is started now. Makes storage key and version index where they are absent, and opens what it
  // has sealed before it says yes.
  [[nodiscard]] Result<SealedKey> Seal(const Hash& secret);
  [[nodiscard]] Result<void> Unseal(const SealedKey& sealed, Hash& secret);  // the caller wipes `secret`
  // The oldest version that opens what is sealed here. Needs no approval. kNotFound: nothing was sealed yet.
  [[nodiscard]] Result<std::uint64_t> VersionIndex();
  // To the version of the approval, if it is lower. Only between the start of an approved image and Lock().
  [[nodiscard]] Result<void> RaiseVersion();
  // Measures kPhase: PCR 11 is no longer what was approved. Needs no approval.
  [[nodiscard]] Result<void> Lock();

 private:
  explicit Vault(std::unique_ptr<tpm::Connection> connection) : connection_(std::move(connection)) {}
  [[nodiscard]] Result<tpm::Handle> MakeStorageKey();
  [[nodiscard]] Result<void> MakeVersionIndex();
  [[nodiscard]] Result<void> CheckMachine(const SealedKey& sealed);
  [[nodiscard]] Result<void> ShowRegisters(const tpm::Handle& session, std::initializer_list<std::uint32_t> registers);
  [[nodiscard]] Result<void> SatisfyApproval(const tpm::Handle& session);
  [[nodiscard]] Result<void> CompareVersion(const tpm::Handle& session);
  [[nodiscard]] Result<void> Authorize(const tpm::Handle& session);

  std::unique_ptr<tpm::Connection> connection_;
  Approval approval_;
  Bytes key_area_;  // TPMT_PUBLIC of the PCR key
  Bytes key_name_;
};

}  // namespace stele::state
