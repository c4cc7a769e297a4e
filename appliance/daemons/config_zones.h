// What the zones of stele.toml must keep between them: names that can be told apart, doors that do not collide.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "appliance/daemons/config.h"

namespace stele::daemons {

// What is wrong with the name of a zone, as a clause. A name stands in entries, in file names and in the names of
// processes.
[[nodiscard]] std::optional<std::string> ProblemOfZoneName(std::string_view name);

// The first listener that wants a port which another one has on the same address.
struct DoorClash {
  std::size_t zone = 0;  // by index
  const IngestDoor* door = nullptr;
  std::string text;  // "wants 127.0.0.1:514, which is syslog-tcp of zone a"
};
[[nodiscard]] std::optional<DoorClash> FindDoorClash(const Config& config);

}  // namespace stele::daemons
