// stele up: the whole appliance in one directory, supervised by one process (docs/processes.md).
#pragma once

#include <string>

#include "appliance/daemons/home.h"

namespace stele::daemons {

struct UpOptions {
  std::string config;  // file; empty: DIR/stele.toml where it exists
  std::string listen;  // address for all listeners; empty: as configured
  bool netns = false;  // as processes.network_namespace = "zones"
  std::string units;   // folder of the sockets behind which units start our processes; empty: we start them
};

// Runs until SIGINT or SIGTERM, then stops everybody in order. Returns the exit status: 0 stopped cleanly, 1 refused
// (another one runs here), 2 configuration, 3 something could not be started or did not stop.
int RunUp(const Home& home, const UpOptions& options);

}  // namespace stele::daemons
