// A witness on the network: POST /add-checkpoint, a thread for each connection, every step with a deadline.
#pragma once

#include <atomic>
#include <functional>
#include <optional>

#include "appliance/witness/witness.h"

namespace stele::witness {

struct ServerLimits {
  std::size_t connections_max = 64;  // above it a connection is closed at once
  std::int64_t request_ms = 20'000;  // from the first wait for a request to the end of its answer
};

// Serves until `stop_fd` is readable. `say` is told of each decision, in one line; it is called from several threads.
using Say = std::function<void(const std::string& line)>;
[[nodiscard]] Result<void> ServeWitness(Witness& witness, UniqueFd listener, const TlsContext* tls, int stop_fd,
                                        const Say& say, const ServerLimits& limits = {});

}  // namespace stele::witness
