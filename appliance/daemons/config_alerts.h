// [[alerts.flows]] of stele.toml: where alarms go out to. Checked when the file is read.
//
//   name = "soc"        to = "syslog-tls://siem.example.org:6514" | "https://alerts.example.org/stele"
//   ca = "keys/siem-ca.pem"   server_name = ""    certificate = ""   key = ""     files relative to the directory
//   losses = false      receipts = false          sources = ["core-switch"]       to a SIEM only
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "appliance/daemons/config.h"
#include "netfilter/checks.h"

#ifndef TOML_EXCEPTIONS
#define TOML_EXCEPTIONS 0
#endif
#include <toml++/toml.h>

namespace stele::daemons {

inline constexpr std::size_t kAlertFlowsMax = 8;  // a thread of stele-courier each
inline constexpr std::size_t kAlertFlowNameBytesMax = 32;
inline constexpr std::size_t kAlertFlowSourcesMax = 64;

// What is wrong, as a clause; nothing when all is well.
[[nodiscard]] std::optional<std::string> ReadAlertFlows(const toml::node& node, std::vector<AlertFlowConfig>& out);
[[nodiscard]] std::optional<std::string> ReadViewerUrl(const toml::node& node, std::string& out);

// Flows of alerts that the network policy gives no way out: warnings. What is named by a name may be any of its
// destinations.
[[nodiscard]] std::vector<netfilter::Finding> CheckWaysOut(const Config& config, const netfilter::Policy& policy);

}  // namespace stele::daemons
