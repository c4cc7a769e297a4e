// What stele-ledger does before it serves: find the end of the log, let the anchor judge it, open the store for append.
#pragma once

#include "appliance/daemons/ledger_service.h"

namespace stele::ledger_daemon {

struct Started {
  Recovered recovered;
  std::unique_ptr<Writer> writer;
};

// `anchor_fd`: a blocking channel; -1: no anchor, which makes authentication impossible and is an error.
[[nodiscard]] Result<Started> StartLedger(const Settings& settings, DeviceShelf& shelf, int anchor_fd, Clock& clock,
                                          Entropy& entropy);

// The log as the anchor wants it described; reads the entries the landmarks name.
[[nodiscard]] Result<channel::LogState> DescribeLog(DeviceShelf& shelf, const Hash& log_id, std::uint64_t size,
                                                    const std::vector<Hash>& frontier, const ledger::Landmarks& landmarks);

// Log id = SHA-256 of the provisioning record inside the genesis payload (docs/entries.md).
[[nodiscard]] Result<Hash> LogIdOfGenesis(std::string_view genesis_payload);

}  // namespace stele::ledger_daemon
