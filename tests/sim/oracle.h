// What the simulation knows apart from the product: which records were committed, which may be there, what was signed.
// It never looks at the product's memory, only at its answers and at the disk.
#pragma once

#include <string>
#include <vector>

#include "appliance/anchor/facts.h"
#include "appliance/ledger/sequencer.h"
#include "appliance/store/log_reader.h"
#include "appliance/store/store.h"

namespace stele::sim {

struct Written {
  std::uint8_t kind = 0;
  std::uint16_t flags = 0;
  std::uint32_t source = 0;
  std::int64_t wall_ns = 0;
  record::Peer peer{};
  Bytes payload;
  Hash leaf{};
};

class Oracle {
 public:
  // A commit begins: its records may survive a crash, all or none. They are `committed` only when the store said so.
  void Begin(const ledger::SequencedBatch& part);
  void Committed();

  void Signed(std::uint64_t size);                 // the anchor signed the tree of the first `size` records
  void ReceiptDurable(std::string payload);        // acknowledged as durable
  [[nodiscard]] std::uint64_t size() const { return records_.size(); }
  [[nodiscard]] std::uint64_t receipts() const { return receipts_.size(); }

  // The disk after a crash, as recovery sees it: the committed records, perhaps one commit that was under way, nothing else.
  // Adopts that one. Complaints are collected, with the place.
  void Recovered(const store::Tail& tail);
  // Every record byte for byte, and what the verifier says.
  void CheckDisk(DeviceShelf& shelf, const ledger::VerifyKey& key, const Hash& log_id, const char* when);
  // A reader that has followed the log for long holds every committed record, byte for byte, and no other.
  void CheckReader(store::LogReader& reader, const std::string& when);
  // Nothing under way, everything settled: TPM registers against the receipts in the log.
  void CheckRegisters(DeviceShelf& shelf, Tpm& tpm, const anchor::Pins& pins);
  void CheckVerdict(const std::string& word, const std::string& detail);
  void Complain(std::string text) { complaints_.push_back(std::move(text)); }
  [[nodiscard]] const std::vector<std::string>& complaints() const { return complaints_; }

 private:
  [[nodiscard]] Hash RootOf(std::uint64_t size) const;

  std::vector<Written> records_;
  std::vector<std::vector<Written>> under_way_;  // alternatives: of these at most one may turn up behind the committed records
  struct SignedTree {
    std::uint64_t size = 0;
    Hash root{};
  };
  std::vector<SignedTree> signed_;
  std::vector<std::string> receipts_;
  std::vector<std::string> complaints_;
};

}  // namespace stele::sim
