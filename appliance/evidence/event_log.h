// The anchor's log in the forms stock tools read: the P-chain as a TCG crypto-agile event log and as CEL-JSON, the X-chain as
// CEL-JSON. Byte for byte in docs/format.md, "Evidence bundle", Event data.
//
//   tcg  := specid event*                                                                     little-endian
//   event:= pcr:u32 type:u32=6 (EV_EVENT_TAG) count:u32=1 alg:u16=000b digest[32] size:u32 note    digest = SHA-256(note)
//   (the container: firmware/measure/event_log.h)
//   cel  := (RS object LF)*                                                                   RFC 7464, TCG CEL-JSON
//
// Parsers take hostile bytes and accept only what the encoders make. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/base/bytes.h"

namespace stele::evidence {

struct CheckpointEvent {
  Hash digest{};     // what the log says was extended
  std::string note;  // the event's data
};
[[nodiscard]] Bytes EncodeEventLog(std::uint32_t pcr, const std::vector<CheckpointEvent>& events);
// kInvalid names the event. That a digest is that of its note is not checked here.
[[nodiscard]] Result<std::vector<CheckpointEvent>> ParseEventLog(ByteView log, std::uint32_t pcr);
[[nodiscard]] std::string EncodeCheckpointsCel(std::uint32_t pcr, const std::vector<CheckpointEvent>& events);

struct AnchorEvent {
  std::uint64_t number = 0;
  Hash digest{};
  std::optional<std::string> note;  // the anchored checkpoint
};
[[nodiscard]] std::string EncodeAnchorsCel(std::uint32_t nv_handle, const std::vector<AnchorEvent>& events);
// kInvalid also where numbers do not ascend by one.
[[nodiscard]] Result<std::vector<AnchorEvent>> ParseAnchorsCel(std::string_view cel, std::uint32_t nv_handle);

}  // namespace stele::evidence
