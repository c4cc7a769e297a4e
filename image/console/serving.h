// Whether every process of Stele answers, as far as its files say.
#pragma once

namespace stele {

// By run/ready.json. What a start that was cut off has left of it is removed early in the next (tmpfiles.d); the time
// of a file would not do, since the clock may be set meanwhile.
[[nodiscard]] bool IsServing();

}  // namespace stele
