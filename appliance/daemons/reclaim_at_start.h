// What a start does before the ledger opens the log: units that the log says have expired are made free
// (appliance/store/reclaim.h).
//
// The orders lie in state/reclaim.json, as stele-ledger gave them to the supervisor. The file decides nothing: each
// order is checked against the log, the log's keys and the TPM's signatures. Who takes it away delays a reclaiming.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/daemons/config.h"
#include "appliance/daemons/home.h"
#include "appliance/store/medium.h"
#include "appliance/store/reclaim.h"

namespace stele::daemons {

[[nodiscard]] std::filesystem::path ReclaimFile(const Home& home);

// Follows all orders; those that are refused are dropped, the ledger gives them again if they are still right. Orders
// that were followed stay in the file until the log has an entry of it.
[[nodiscard]] Result<store::Reclaimed> ReclaimAtStart(const Home& home, const Config& config,
                                                      const store::Medium& medium);

// Of the orders in the file, those that a start has followed and those that are still to be followed.
struct ReclaimLists {
  std::vector<store::ReclaimOrder> done;
  std::vector<store::ReclaimOrder> waiting;
};
[[nodiscard]] ReclaimLists ListsOf(const Home& home);
[[nodiscard]] Result<void> KeepReclaimLists(const Home& home, const ReclaimLists& lists);
// Of a notice of stele-ledger: in the file and in `lists`, an order for the same unit instead of an older one.
[[nodiscard]] Result<void> TakeReclaimOrders(const Home& home, std::string_view orders_json, ReclaimLists& lists);

// What `stele up` does: ReclaimAtStart() if there are orders, and `say` what came of it; what it cannot do is a warning.
// Where processes are units the initial RAM disk did it: the partitions are sealed by now.
[[nodiscard]] ReclaimLists ReclaimFirst(const Home& home, const Config& config,
                                        const std::function<void(const std::string& line)>& say);

}  // namespace stele::daemons
