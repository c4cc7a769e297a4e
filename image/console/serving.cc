#include "image/console/serving.h"

#include <unistd.h>

namespace stele {

bool IsServing() { return ::access("/var/lib/stele/run/ready.json", F_OK) == 0; }

}  // namespace stele
