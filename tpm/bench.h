// How fast this TPM is, measured on scratch objects: nothing of the log is touched. PCR 16 (the debug register, which
// no log may use) is extended; the keys are primary objects of the null hierarchy, gone at the next reset; the NV
// indices are defined for the measurement and removed, which takes the owner's authorisation.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "appliance/base/fd.h"
#include "appliance/base/seams.h"
#include "tpm/handles.h"

namespace stele::tpm {

struct Timing {
  std::string what;  // "PCR extend, HMAC session"
  int rounds = 0;
  double mean_ms = 0;
  double max_ms = 0;
};
struct BenchReport {
  std::vector<Timing> timings;
  bool nv_measured = false;  // false: the owner's authorisation was not given
  int nv_writes = 0;         // what the measurement cost in NV writes, of cells of its own
  double checkpoint_ms = 0;  // extend and read-back, as the anchor does them
  double anchor_ms = 0;      // and what an NV anchor adds: extend, increment, read-backs, quote, two certifications
};
struct BenchOptions {
  Handles handles = {};
  std::optional<Hash> owner_auth;  // none: tried empty
  int rounds = 20;                 // NV writes: at most 8
  int timeout_ms = 120'000;
};
// kNotFound when there is no endorsement key to salt sessions to; kTpm, kUnavailable, kIo.
[[nodiscard]] Result<BenchReport> Bench(UniqueFd connection, const BenchOptions& options, Clock& clock);

// Cadences this chip bears: a checkpoint takes at most a quarter of its interval, an anchor at most a tenth of its own
// and no more NV writes than `nv_budget` gives over ten years.
struct Cadence {
  std::int64_t checkpoint_interval_ms = 0;
  std::int64_t anchor_interval_ms = 0;
  double anchors_per_day = 0;
  double years = 0;  // that the budget lasts, with eight boots or demands a day besides
};
[[nodiscard]] Cadence ProposeCadence(const BenchReport& report, std::uint64_t nv_budget);

}  // namespace stele::tpm
