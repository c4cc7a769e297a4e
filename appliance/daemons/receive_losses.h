// Writes what was lost into the log: one entry per listener and cause, or per source where it is known. A loss stays on
// its account until its entry is committed; an entry the ledger refused is made again. Thread safety: the io_context's
// one thread.
#pragma once

#include <memory>
#include <vector>

#include "appliance/daemons/receive_link.h"

namespace stele::receive {

class LossRecorder {
 public:
  LossRecorder(LedgerLink& link, Clock& clock) : link_(link), clock_(clock) {}

  // Once a second. While the store refuses records it writes less and less often: the reserve must last.
  void Tick(const std::vector<std::unique_ptr<Listener>>& listeners);

 private:
  [[nodiscard]] bool Due(const std::vector<std::unique_ptr<Listener>>& listeners);
  void Finish(bool committed);

  LedgerLink& link_;
  Clock& clock_;
  std::vector<std::pair<Listener*, Listener::Losers>> under_way_;
  std::int64_t next_ns_ = 0;  // BOOTTIME
  std::int64_t interval_ms_ = 0;
};

// The `cause` member of a loss entry (docs/entries.md).
[[nodiscard]] const char* CauseName(Cause cause);
// Per listener, for the status: {"name",...,"received","stored","lost","losses":{cause:count},"unknown_losses",...}
[[nodiscard]] nlohmann::json ListenerCounters(const Listener& listener);

}  // namespace stele::receive
