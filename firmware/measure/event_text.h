// Event logs for people and for scripts. Everything that stands in a log may be hostile: text comes out escaped, as
// ASCII.
#pragma once

#include <string>
#include <string_view>

#include "firmware/measure/event_log.h"

namespace stele::measure {

// "EV_SEPARATOR"; empty for a type that the specification does not name. TCG PC Client Platform Firmware Profile 1.06,
// table 27.
[[nodiscard]] std::string_view EventTypeName(std::uint32_t type);
[[nodiscard]] std::string EventTypeText(std::uint32_t type);       // the name, else "0x80000123"
[[nodiscard]] std::string AlgorithmText(std::uint16_t algorithm);  // "sha256", else "0x0027"

// What the event's data says: an action, a version, a variable with namespace and name, a tag. Empty where it is bytes.
[[nodiscard]] std::string DataText(const Event& event);

enum class DataDigest { kNotOverData, kSame, kDiffers };
// Whether the sha256 digest is that of the data, for the types whose digest is, by the specification, over the data.
[[nodiscard]] DataDigest CompareDataDigest(const Event& event);

// docs/format.md, "Measured boot". kInvalid as in event_log.h; banks whose hash is unknown here are left out of `pcrs`.
[[nodiscard]] Result<std::string> EventLogJson(ByteView log);
[[nodiscard]] Result<std::string> EventLogText(ByteView log);

}  // namespace stele::measure
