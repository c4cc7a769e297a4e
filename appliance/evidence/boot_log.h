// The firmware's event log, replayed: what PCR 0 to 7 must hold if it is the log of this boot. Pure.
//
//   TCG PC Client Platform Firmware Profile, "Event Logging", the crypto-agile form that Linux shows as
//   /sys/kernel/security/tpm0/binary_bios_measurements; all integers little-endian:
//   log    := first event*
//   first  := pcr:u32 type:u32 digest[20] size:u32 TCG_EfiSpecIdEvent                  EV_NO_ACTION
//   event  := pcr:u32 type:u32 count:u32 (algorithm:u16 digest)[count] size:u32 data   TCG_PCR_EVENT2
//
// Only the sha256 digests count. EV_NO_ACTION extends nothing; its StartupLocality gives the value PCR 0 began at.
#pragma once

#include <array>
#include <cstdint>

#include "appliance/base/bytes.h"

namespace stele::evidence {

inline constexpr std::uint32_t kBootRegisters = 8;

struct BootRegisterReplay {
  Hash value{};
  std::uint64_t events = 0;  // that were extended into it
};
using BootReplay = std::array<BootRegisterReplay, kBootRegisters>;

// kInvalid: not such a log, cut short, or without sha256 digests. Which register values are right, a quote says.
[[nodiscard]] Result<BootReplay> ReplayBootLog(ByteView log);

}  // namespace stele::evidence
