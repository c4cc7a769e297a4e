// The status as OpenMetrics 1.0 text, for whoever watches many machines: numbers about the appliance, nothing of any
// record.
#pragma once

#include <string>

#include "nlohmann/json.hpp"

namespace stele::query {

inline constexpr const char* kOpenMetricsType = "application/openmetrics-text; version=1.0.0; charset=utf-8";

// `status`: the object of GET /api/v1/status. What it does not hold is left out; the text always ends with "# EOF".
[[nodiscard]] std::string MetricsText(const nlohmann::json& status);

}  // namespace stele::query
