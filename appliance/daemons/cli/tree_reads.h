// What commands ask a running Stele about its tree: checkpoint, proofs, tiles.
#pragma once

#include <string>
#include <vector>

#include "appliance/daemons/cli/client.h"
#include "appliance/ledger/merkle.h"
#include "appliance/ledger/note.h"

namespace stele::daemons::cli {

class TreeReads {
 public:
  // kUnavailable: no Stele runs there.
  [[nodiscard]] static Result<TreeReads> Open(const Home& home);

  [[nodiscard]] const ledger::VerifyKey& log() const { return log_; }
  // The note. newest: the newest one, else the one that is served, which may have to have its quorum.
  [[nodiscard]] Result<std::string> Checkpoint(bool newest);
  [[nodiscard]] Result<std::vector<Hash>> Consistency(std::uint64_t from, std::uint64_t to);
  [[nodiscard]] Result<std::string> Tile(const std::string& path);

 private:
  TreeReads(Client client, ledger::VerifyKey log) : client_(std::move(client)), log_(std::move(log)) {}
  [[nodiscard]] Result<std::string> Get(const std::string& path, const Query& query);
  Client client_;
  ledger::VerifyKey log_;
};

}  // namespace stele::daemons::cli
