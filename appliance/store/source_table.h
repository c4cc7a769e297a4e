// The sources that the last unit declares: a restarted ledger goes on with their numbers.
#pragma once

#include <string>
#include <vector>

#include "appliance/store/store.h"

namespace stele::store {

struct DeclaredSource {
  std::uint32_t number = 0;
  std::string description_json;
};

// In the order declared; the later of two with one number is in force. Reads only the blocks of `tail` that hold source entries.
// Call it after Authenticate(): what was quarantined declares nothing.
[[nodiscard]] Result<std::vector<DeclaredSource>> SourcesOf(DeviceShelf& shelf, const Tail& tail);

}  // namespace stele::store
