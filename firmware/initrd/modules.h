// Kernel modules of the initial RAM disk: those that every start needs, and drivers for the hardware that is there.
#pragma once

#include <chrono>
#include <set>
#include <string>

#include "firmware/initrd/driver_table.h"

namespace stele::initrd {

// All of /modules, in the order of their names. An error: one that this kernel does not take.
[[nodiscard]] Result<void> LoadModules();

// Those of /drivers.
class Drivers {
 public:
  // An image for virtual machines has none.
  Drivers();
  // For each device that has appeared since the last call. What cannot be loaded is said; its device is missed by who
  // needs it.
  void LoadForWhatIsThere();
  // What was loaded has had time to find what is plugged in behind it: a USB disk needs up to two seconds.
  [[nodiscard]] bool Settled() const;
  [[nodiscard]] std::chrono::steady_clock::time_point last() const { return last_; }  // when the last one was loaded

 private:
  DriverTable table_;
  std::set<std::string> seen_;    // modaliases
  std::set<std::string> loaded_;  // files
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}  // namespace stele::initrd
