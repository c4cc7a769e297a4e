// Passes whole TPM commands and answers between two connected streams, as a Meddling says.
#pragma once

#include <functional>

#include "appliance/base/bytes.h"
#include "tests/relay/meddling.h"

namespace stele::tpm::test {

// One command as it went, for the record.
struct Exchange {
  std::uint32_t code = 0;
  Act act = Act::kPass;
  std::int64_t duration_us = 0;
  const Bytes* command = nullptr;
  const Bytes* answer = nullptr;  // what the caller got; empty: nothing
};

enum class PumpEnd { kCallerLeft, kTpmLeft, kCut };

// Serves until one side ends or a rule cuts. Closes nothing. `record` may be empty; it is called once a command.
PumpEnd Pump(int caller_fd, int tpm_fd, Meddling& meddling, const std::function<void(const Exchange&)>& record);

// A response that is nothing but a return code.
[[nodiscard]] Bytes ErrorAnswer(std::uint32_t rc);

}  // namespace stele::tpm::test
