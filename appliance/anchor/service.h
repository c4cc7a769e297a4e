// The ledger's requests as frames: decode, ask the Anchor, encode. No descriptor, no clock: the daemon's loop around it
// is all that a test cannot reach.
#pragma once

#include <vector>

#include "appliance/anchor/anchor.h"

namespace stele::anchor {

// The answers to one kAnchorRequest body, in order: the operation's own answer, after a verdict a
// status, then one status for each new alarm.
// kInvalid: not a request; the channel is to be closed.
[[nodiscard]] Result<std::vector<Bytes>> Serve(Anchor& anchor, ByteView body);
// Alarms that are waiting, as status answers.
[[nodiscard]] std::vector<Bytes> AlarmFrames(Anchor& anchor);

// Stands in for a TPM that is not there: everything is kUnavailable.
class AbsentTpm final : public Tpm {
 public:
  [[nodiscard]] Result<TpmIdentity> Identity() override { return Absent(); }
  [[nodiscard]] Result<TpmClock> ReadClock() override { return Absent(); }
  [[nodiscard]] Result<Hash> ReadPcr() override { return Absent(); }
  [[nodiscard]] Result<void> ExtendPcr(const Hash& /*digest*/) override { return Absent(); }
  [[nodiscard]] Result<std::uint64_t> ReadCounter() override { return Absent(); }
  [[nodiscard]] Result<void> IncrementCounter() override { return Absent(); }
  [[nodiscard]] Result<Hash> ReadIndex() override { return Absent(); }
  [[nodiscard]] Result<void> ExtendIndex(const Hash& /*digest*/) override { return Absent(); }
  [[nodiscard]] Result<TpmAttestation> Quote(const Hash& /*qualifying_data*/) override { return Absent(); }
  [[nodiscard]] Result<TpmAttestation> CertifyCounter(const Hash& /*qualifying_data*/) override { return Absent(); }
  [[nodiscard]] Result<TpmAttestation> CertifyIndex(const Hash& /*qualifying_data*/) override { return Absent(); }

 private:
  static tl::unexpected<Error> Absent() { return Fail(Code::kUnavailable, "there is no connection to a TPM"); }
};

}  // namespace stele::anchor
