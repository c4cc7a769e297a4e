// What has expired goes before the log partitions are sealed: stele-reclaim from the verified root file system
// (appliance/daemons/stele_reclaim.cc), which alone decides what may go.
#pragma once

#include <string>

#include "firmware/initrd/partitions.h"

namespace stele::initrd {

// Makes the log partitions of expired units free; words for people, none where nothing was to do. After the state
// partition is mounted, before the partitions are handed over. Nothing that goes wrong here stops a start: what is not
// reclaimed stays as it is.
[[nodiscard]] std::string Reclaim(const Partitions& partitions);

}  // namespace stele::initrd
