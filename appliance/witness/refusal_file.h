// A refusal that came by file: who imports it leaves it beside the cosignatures, stele-courier finds it and raises the alarm
// that the same answer over the network would have raised. One at a time; the newest stands.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "appliance/base/result.h"

namespace stele::witness {

inline constexpr const char* kRefusalFile = "refused-by-file";

// `text`: one line for people, why this log was refused.
[[nodiscard]] Result<void> LeaveRefusal(const std::filesystem::path& dir, const std::string& text);
[[nodiscard]] std::optional<std::string> ReadRefusal(const std::filesystem::path& dir);
void RemoveRefusal(const std::filesystem::path& dir);

}  // namespace stele::witness
