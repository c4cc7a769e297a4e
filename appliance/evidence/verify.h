// The verifier of evidence bundles: bytes in, verdict out. No I/O, no clock, no threads, no TPM. Checks, their order and
// the words they give: docs/format.md, "Evidence bundle".
//
// Bytes are fed in pieces of any size and read once; memory is that of one member (bundle_format.h: BoundOf), whatever the
// size of the archive. Total: any input gives a report, and never a good one for evidence that is not whole and right.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "appliance/evidence/report.h"
#include "appliance/ledger/witness_policy.h"

namespace stele::evidence {

inline constexpr std::uint64_t kWitnessMaxAgeS = std::uint64_t{24} * 3'600;

// What the auditor brings. Nothing of it has to be there; what is absent is listed as unchecked or qualifies the verdict.
struct Policy {
  std::optional<Hash> nonce;
  std::string pin_pem;                          // the provisioning public key
  std::string ek_roots_pem;                     // authorities for the EK certificate
  std::map<std::uint32_t, Hash> expected_pcrs;
  std::optional<std::string> since_note;        // an earlier checkpoint of this log
  std::optional<ledger::WitnessPolicy> witnesses;  // whose cosignatures count (c2sp.org/tlog-policy)
  // How far a cosignature may lie from the quote's time, either way; 0: as far as it likes.
  std::uint64_t witness_max_age_s = kWitnessMaxAgeS;
};

class Verifier {
 public:
  explicit Verifier(Policy policy);
  ~Verifier();
  Verifier(const Verifier&) = delete;
  Verifier& operator=(const Verifier&) = delete;

  // False: the archive is malformed, and nothing more will change the verdict.
  bool Feed(ByteView bytes);
  [[nodiscard]] Report Finish();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// The whole at once.
[[nodiscard]] Report VerifyBundle(ByteView archive, const Policy& policy);

}  // namespace stele::evidence
