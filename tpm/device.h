// The anchor's registers on a real TPM (or swtpm), reached through one connected descriptor.
//
// Extend, increment and every read-back run in an HMAC session salted to the pinned endorsement key, so a command dropped
// or an answer changed on the bus is seen. Writes to the two NV indices satisfy the first branch of their policy,
// PolicyNvWritten(YES) + PolicyOR (tpm/policy.h). Two sessions and no transient object are held.
//
// Errors: kUnavailable (detail = TSS2_RC) for NV_RATE, LOCKOUT, RETRY, YIELDED, TESTING, NV_UNAVAILABLE; also when the TPM has
// no slot left for a session or object, and then alive() is false: opening anew flushes what was left behind. kIo (detail =
// errno) when the connection fails or a command times out, kTpm when an answer's HMAC does not verify: then alive() is false,
// nothing is known about the last command, every later call says kUnavailable, and the caller opens a new device and reads
// back. kTpm (detail = TSS2_RC) for every other word of the TPM. kDenied when the TPM's endorsement key or the index is not
// the pinned one: nothing is written to a stranger. kNotFound when an index or key is absent.
// Never repeated here: ExtendPcr, ExtendIndex, IncrementCounter (see esys.h for the one repetition inside tpm2-tss).
// Thread safety: one thread at a time.
#pragma once

#include <memory>
#include <string>

#include "appliance/base/fd.h"
#include "appliance/base/seams.h"
#include "tpm/handles.h"

namespace stele::tpm {

struct AnchorConfig {
  std::uint32_t pcr = kDefaultPcr;
  Handles handles = {};
  TpmIdentity pinned = {};              // an empty member is not pinned
  std::string provisioning_public_pem;  // the key that guards the first write; needed for ExtendIndex, IncrementCounter
  int timeout_ms = 120'000;             // of one command; key generation on a chip takes tens of seconds
};

class AnchorDevice final : public Tpm {
 public:
  // Takes a connected stream to swtpm's data socket, or an open /dev/tpmrm0. Flushes what earlier users left behind,
  // and checks that the sha256 bank holds the configured PCR (extending a disabled bank succeeds and does nothing).
  // An identity other than the pinned one does not fail here: Identity() tells, the caller judges.
  [[nodiscard]] static Result<std::unique_ptr<AnchorDevice>> Open(UniqueFd connection, AnchorConfig config);
  ~AnchorDevice() override;

  [[nodiscard]] Result<TpmIdentity> Identity() override;
  [[nodiscard]] Result<TpmClock> ReadClock() override;
  [[nodiscard]] Result<Hash> ReadPcr() override;
  [[nodiscard]] Result<void> ExtendPcr(const Hash& digest) override;
  [[nodiscard]] Result<std::uint64_t> ReadCounter() override;
  [[nodiscard]] Result<void> IncrementCounter() override;
  [[nodiscard]] Result<Hash> ReadIndex() override;
  [[nodiscard]] Result<void> ExtendIndex(const Hash& digest) override;
  [[nodiscard]] Result<TpmAttestation> Quote(const Hash& qualifying_data) override;
  [[nodiscard]] Result<TpmAttestation> CertifyCounter(const Hash& qualifying_data) override;
  [[nodiscard]] Result<TpmAttestation> CertifyIndex(const Hash& qualifying_data) override;

  [[nodiscard]] bool alive() const;  // false after an I/O error or a timeout: open a new device

 private:
  class Impl;
  explicit AnchorDevice(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace stele::tpm
