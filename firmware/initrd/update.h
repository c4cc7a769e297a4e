// Slots and updates, as far as the init is concerned: which slot runs, whether this start is a trial, and stele-update
// from the verified root file system (firmware/update).
#pragma once

#include <cstdint>
#include <string>

#include "firmware/initrd/partitions.h"
#include "firmware/update/boot_variables.h"

namespace stele::initrd {

// Mounts the firmware's variables. True if this start is the trial of an update, which it then notes: true once for
// each update. Whatever goes wrong is no trial.
[[nodiscard]] bool BeginTrial();

// The slot by whose boot entry the machine was started; a when the firmware started something else.
[[nodiscard]] update::Slot LikelySlot();

struct UpdateOutcome {
  bool restart = false;    // an update is in its slot and its trial is ordered
  bool confirmed = false;  // the running image is the one that updates have confirmed
  std::string facts;       // lines for the console
};
// After the root file system is entered, before the state partition is opened and the guard is armed. Nothing that goes
// wrong here stops a start.
[[nodiscard]] UpdateOutcome RunUpdate(update::Slot slot, bool trial);

// Says to the running system that this is a trial and gives the user stele the one variable that it may write to
// confirm itself: BootOrder. Its inode number on efivarfs, for the guard; 0: no variable is to be written.
[[nodiscard]] std::uint64_t HandOutBootOrder(bool trial);

// At once. Everything that matters was synced.
[[noreturn]] void RestartMachine();

}  // namespace stele::initrd
