// The state partition: opened by stele-state from the verified root file system (firmware/state), mounted by the init.
#pragma once

#include <string>

#include "firmware/initrd/partitions.h"

namespace stele::initrd {

// Keeps what the stub put beside the initial RAM disk (approval and PCR key of this image) where stele-state finds it.
// Before the root file system is entered. That they are missing is said by stele-state.
void KeepApproval();

struct StateOutcome {
  bool mounted = false;  // on /var/lib/stele
  std::string words;     // for people
};
// After the root file system is entered, before the guard is armed. Nothing that goes wrong here stops a start.
// `confirmed`: the running image is the one that updates have confirmed; older ones may be shut out.
[[nodiscard]] StateOutcome OpenState(const Partitions& partitions, bool confirmed);

}  // namespace stele::initrd
