// The log partitions at a start: which are sealed, and what is left to the ledger.
#pragma once

#include <string>
#include <vector>

#include "firmware/guard/guard.h"
#include "firmware/initrd/partitions.h"

namespace stele::initrd {

struct LogsOutcome {
  std::vector<guard::LogPartition> logs;  // for the guard; one that is missing here nobody writes
  std::string words;                      // for people
};

// Reads what each partition says of itself, tells the kernel which are read-only, and hands them over: a node
// /dev/stele-log/N for each, which the user stele may write if it is not sealed, and the leave for these nodes to the
// units that use them. After what has expired was reclaimed, before the guard is armed. Nothing that goes wrong here
// stops a start.
[[nodiscard]] LogsOutcome HandOverLogs(const Partitions& partitions);

}  // namespace stele::initrd
