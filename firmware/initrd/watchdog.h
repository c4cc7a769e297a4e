// The hardware's watchdog, in the trial of an update: a kernel that hangs there is restarted, and the firmware takes
// what ran before. From systemd's start on it is systemd's, in every start (RuntimeWatchdogSec).
#pragma once

namespace stele::initrd {

// From now on the machine restarts after ten minutes, unless this is called again or systemd goes on with it; one that
// does not take so long a time is left off. What was done is said. False: there is no watchdog, or not yet.
[[nodiscard]] bool ArmWatchdog();

}  // namespace stele::initrd
