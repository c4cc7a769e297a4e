// The frame of every process of the family around its work: the name in the log, no death by a peer that left, no
// exception out of main.
#pragma once
#include <csignal>
#include <cstdlib>
#include <exception>
#include <type_traits>

#include "appliance/base/system.h"

namespace stele::daemons {

/// What main returns. `work` gives Result<void>, or Result<int> where the exit status says more than success; an error
/// or an exception is a line of the log and status 1. From the main thread, before any other.
template <typename Work>
int RunProgram(const char* name, Work work) {
  SetLogName(name);
  (void)std::signal(SIGPIPE, SIG_IGN);  // a peer that left is an error of the send
  try {
    const auto ended = work();
    if (!ended) {
      LogError(Describe(ended.error()));
    } else if constexpr (std::is_same_v<typename decltype(work())::value_type, int>) {
      return *ended;
    } else {
      return EXIT_SUCCESS;
    }
  } catch (const std::exception& error) {
    LogError(error.what());
  }
  return EXIT_FAILURE;
}

}  // namespace stele::daemons
