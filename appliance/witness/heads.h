// What a witness has last cosigned of each log, on disk: one file for each, the note with our cosignature, whole or not
// at all. Losing a file, or putting back an older one, would let the witness sign a second history: the directory
// belongs to the witness alone and is not restored from a copy. Thread safety: none; Witness holds the lock.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "appliance/ledger/add_checkpoint.h"
#include "appliance/ledger/cosignature.h"

namespace stele::witness {

class Heads {
 public:
  // Reads every file. kCorrupt: one is not a checkpoint cosigned by `key`: the witness does not start.
  [[nodiscard]] static Result<Heads> Open(std::filesystem::path dir, const ledger::CosignerKey& key);

  [[nodiscard]] ledger::WitnessedHead HeadOf(const std::string& origin) const;  // size 0: nothing yet
  // Durable when it returns. After an error what is on disk is unknown, but no signature has left: the old head stands.
  [[nodiscard]] Result<void> Store(const ledger::Checkpoint& checkpoint, std::string_view cosigned_note);

  struct Kept {
    std::string origin;
    ledger::WitnessedHead head;
  };
  [[nodiscard]] std::vector<Kept> All() const;

 private:
  explicit Heads(std::filesystem::path dir) : dir_(std::move(dir)) {}
  [[nodiscard]] std::filesystem::path FileOf(const std::string& origin) const;

  std::filesystem::path dir_;
  std::map<std::string, ledger::WitnessedHead> heads_;
};

}  // namespace stele::witness
