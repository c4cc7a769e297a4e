// The files with which a site says what its appliance is: configuration, networks, time servers, keys it brings along.
// They come on a small file system that only the owner can make count (the first start, or the recovery key), and are
// copied into the root of the state partition.
//
//   stele.toml           configuration
//   hostname             one line
//   network/*            files of systemd-networkd (.network, .link, .netdev), instead of the image's own of the same
//   name time/*               sources of chrony (.sources) and trusted.pem, the authorities of their NTS certificates
//   keys/*               what `stele provision` makes for people, see docs/operating.md
//   and any other file or folder that stele.toml names
//
// store/, state/, tpm/ and run/ are the appliance's own and are never taken, nor are the names of its secrets in keys/.
// recovery.key and lost+found are passed over.
#pragma once

#include <filesystem>

#include "appliance/base/result.h"

namespace stele::state {

struct SiteOwner {
  unsigned user;
  unsigned group;
};

// Copies the files of `from` into `to`: durable when it returns, each whole or not at all, readable to everybody in
// network/ and time/ and to the owner alone elsewhere. The folders network and time of `to` are replaced as wholes
// where `from` has them; otherwise nothing is deleted. Everything is looked at before anything is written. Done again
// after it was cut off, it ends the same. Errors: kDenied for a file that may not be brought, anything that is neither
// file nor folder, a folder in a folder, more than 1,024 files, or more than 1 MiB in one; kIo.
[[nodiscard]] Result<std::size_t> CopySiteFiles(const std::filesystem::path& from, const std::filesystem::path& to,
                                                SiteOwner owner);

}  // namespace stele::state
