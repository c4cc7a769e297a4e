// The epochs of a log as its own entries tell them: the key in force at each place, what recovery needs of the newest
// epoch, and what the evidence of every closed one is worth without its TPM.
//
// A closed epoch is checked against its last receipt: the attestation key of that epoch signed C and X, and X is the hash
// chain of every anchored checkpoint of the epoch, each of which the checkpoint key of that epoch signed. What lies above its last anchor has
// the checkpoint signatures, and from the next epoch's beginning the provisioning key's word.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "appliance/anchor/epochs.h"
#include "appliance/channel/anchor_messages.h"
#include "appliance/record/entry.h"

namespace stele::daemons::cli {

struct ClosedEpoch {
  std::uint64_t number = 0;
  std::string word;    // of the verdict it ended with
  std::string detail;  // what was found then
  std::string reason;  // the operator's, for the next one
  std::int64_t closed_wall_ns = 0;
  std::uint64_t anchor = 0;         // its newest receipted anchor
  std::uint64_t anchored_size = 0;  // records from here to end_sequence are its tail
  std::uint64_t checkpoint_size = 0;
  std::uint64_t end_sequence = 0;   // of the entry that closed it
  std::string fault;                // what contradicts its own evidence; empty: nothing
};

// Collects what recovery needs from the checkpoint and anchor entries of one epoch, in order, and follows its X-chain.
class AnchorEntries {
 public:
  explicit AnchorEntries(const Hash& index_start) : index_(index_start), index_before_(index_start) {}
  void Add(record::Kind kind, ByteView payload);
  void Into(channel::LogState& state) const;
  // Whether the chain of all anchored checkpoints up to anchor `number` gives this value of X.
  [[nodiscard]] bool LeadsTo(std::uint64_t number, const Hash& index) const;

 private:
  std::optional<std::string> receipt_;
  std::optional<std::string> anchored_;  // the newest intent with an anchor number
  std::vector<std::string> newest_;      // the newest two, the older first
  std::uint64_t anchors_ = 0;            // intended, as they follow one another
  Hash index_{};                         // X after them
  Hash index_before_{};                  // X before the last of them
};

class EpochHistory {
 public:
  explicit EpochHistory(anchor::EpochChain chain);

  void Add(record::Kind kind, ByteView payload) { entries_.Add(kind, payload); }
  // An `epoch` entry: the checkpoint key from there on. kDenied: it does not continue this log at this place.
  [[nodiscard]] Result<std::optional<ledger::VerifyKey>> Take(std::uint64_t sequence, const Hash& root, ByteView payload);

  [[nodiscard]] const anchor::EpochChain& chain() const { return chain_; }
  [[nodiscard]] const std::vector<ClosedEpoch>& closed() const { return closed_; }
  void Into(channel::LogState& state) const { entries_.Into(state); }  // of the newest epoch
  // What the newest epoch would say of itself, were it closed now.
  [[nodiscard]] ClosedEpoch Newest(std::uint64_t size, const Hash& root) const;

 private:
  anchor::EpochChain chain_;
  AnchorEntries entries_;
  std::vector<ClosedEpoch> closed_;
};

// "epoch 0: TPM_CLEARED after anchor 17, closed by epoch 1 (...) signed by ..."
[[nodiscard]] std::string TextOf(const ClosedEpoch& epoch, std::string_view signer);

}  // namespace stele::daemons::cli
