// What the stele-receive of a zone is told about TLS: the certificate of its listeners, and whom they trust. Files are
// read here, in the supervisor, because the receiver opens none.
#pragma once

#include <filesystem>
#include <string>

#include "appliance/daemons/certificates.h"
#include "appliance/daemons/config.h"

namespace stele::daemons {

// {"certificate_pem","key_pem","min":"1.3"|"1.2","client_auth":"none"|"request"|"require","client_ca_pem",
// "client_fingerprints":["sha256:..."]}: what docs/processes.md calls `tls`. Paths in the configuration are relative to
// `dir`. kInvalid, naming the key of stele.toml: a file that cannot be read or does not hold what it should, or too
// much of it. kDenied: the key file can be read by others.
[[nodiscard]] Result<std::string> IngestTlsJson(const std::filesystem::path& dir, const IngestZone& zone,
                                                const ServerCertificate& own);

}  // namespace stele::daemons
