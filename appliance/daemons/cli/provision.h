// Private to the two forms of `stele provision`: a log's beginning, and its next epoch.
#pragma once

#include <string>

#include "appliance/daemons/cli/commands.h"
#include "appliance/daemons/config.h"
#include "appliance/daemons/provisioning.h"

namespace stele::daemons::cli {

void Say(const std::string& line);  // escaped, at once
[[nodiscard]] Result<ProvisionChoices> ChoicesOf(const ProvisionOptions& options, const Config& config);

// stele provision --epoch
[[nodiscard]] Result<int> ProvisionEpoch(const Home& home, const ProvisionOptions& options, const Config& config);

}  // namespace stele::daemons::cli
