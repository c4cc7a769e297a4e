// The spines of expired units as files of one folder: spine-00000000, ... (appliance/ledger/spine.h). Beside the
// segments where these are files; in the same folder, on the state partition, where they are raw partitions.
//
// A spine is written whole or not at all, once, and never removed.
#pragma once

#include <filesystem>
#include <set>

#include "appliance/base/fd.h"
#include "appliance/ledger/spine.h"

namespace stele::store {

class SpineFolder {
 public:
  // Looks which spines are there; a folder that is missing holds none. Reading one later takes the right to read the
  // folder.
  explicit SpineFolder(const std::filesystem::path& folder);

  [[nodiscard]] const std::set<std::uint32_t>& units() const { return units_; }
  // kNotFound: there is none. kIo, kCorrupt: larger than a spine may be.
  [[nodiscard]] Result<Bytes> Read(std::uint32_t unit) const;
  // Durable when it returns.
  [[nodiscard]] Result<void> Write(std::uint32_t unit, ByteView spine);

  [[nodiscard]] static std::string NameOf(std::uint32_t unit);

 private:
  UniqueFd folder_;
  std::set<std::uint32_t> units_;
};

}  // namespace stele::store
