// Two bundles of one log, taken at different times: does the later one continue the earlier? Found by an auditor who keeps
// what was handed over, and by nobody inside the box when disk and TPM were rolled back together.
#pragma once

#include "appliance/evidence/report.h"

namespace stele::evidence {

struct Comparison {
  std::string word;  // OK ROLLED_BACK TAMPERED CANNOT_TELL
  std::string detail;
  std::vector<Check> checks;  // same_log keys counter boots clock chain tree
  [[nodiscard]] int exit_status() const { return word == "OK" ? 0 : word == "CANNOT_TELL" ? 3 : 1; }
};

// Which is the earlier one is taken from when they say they were made. kInvalid word never; both should be good by themselves.
[[nodiscard]] Comparison Compare(const Facts& one, const Facts& other);

}  // namespace stele::evidence
