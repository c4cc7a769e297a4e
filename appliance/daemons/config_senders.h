// The lists of stele.toml that name who sends: [[ingest.senders]], [[ingest.keys]], [[ingest.syslog_keys]]. Checked
// when the file is read, so that a mistake is told with its place and not by a receiver that ends.
//
//   [[ingest.senders]]  name = "..."   and   token = "..." | token_sha256 = "hex", or fingerprint = "sha256:hex", or
//   both
//   [[ingest.keys]]     kid = "..."    alg = "EdDSA" | "ES256"    public_key = "base64url, PEM or JWK"
//   [[ingest.syslog_keys]]  name = "..."   host = ""   and one of public_key, certificate, fingerprint, authority;
//                           unlisted = "host" | "all" | "ignore"      (appliance/ingest/syslog_keys.h)
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "appliance/daemons/config.h"

#ifndef TOML_EXCEPTIONS
#define TOML_EXCEPTIONS 0
#endif
#include <toml++/toml.h>

namespace stele::daemons {

// What is wrong, as a clause; nothing when all is well.
[[nodiscard]] std::optional<std::string> ReadSenders(const toml::node& node, std::vector<SenderConfig>& out);
[[nodiscard]] std::optional<std::string> ReadSourceKeys(const toml::node& node, std::vector<SourceKeyConfig>& out);
[[nodiscard]] std::optional<std::string> ReadSyslogKeys(const toml::node& node,
                                                        std::vector<ingest::SyslogKeyText>& out);

// As stele-receive is told (docs/processes.md): tokens only as digests.
[[nodiscard]] nlohmann::json SendersJson(const std::vector<SenderConfig>& senders);
[[nodiscard]] nlohmann::json SourceKeysJson(const std::vector<SourceKeyConfig>& keys);
[[nodiscard]] nlohmann::json SyslogKeysJson(const std::vector<ingest::SyslogKeyText>& keys);

}  // namespace stele::daemons
