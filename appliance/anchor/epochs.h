// The epochs of one log: which records of the provisioning key continue it, one after the other, on another TPM state.
//
// An `epoch` entry counts only if the key that signed genesis signed its record, for this log, with the next number, over
// exactly the log that lies before the entry, with an attestation key and a checkpoint key that no epoch had before, and
// with counter and index under the same guard. Anything else at that place is kDenied, and the context says which.
//
// Pure. Within an epoch, checkpoints are signed by its checkpoint key and anchors counted from its C0 and X0.
#pragma once

#include <vector>

#include "appliance/anchor/provisioning_record.h"
#include "appliance/ledger/note.h"

namespace stele::anchor {

struct Epoch {
  SignedRecord signed_record;
  ProvisioningRecord record;
};

class EpochChain {
 public:
  // kDenied: not signed by the key it carries, or it continues a log instead of beginning one.
  [[nodiscard]] static Result<EpochChain> Begin(SignedRecord genesis);

  // The next epoch, wherever its entry may stand.
  [[nodiscard]] Result<void> Continue(SignedRecord record);
  // The next epoch, from its entry: `sequence` is the entry's leaf, `root` that of the leaves before it.
  [[nodiscard]] Result<void> TakeEntry(std::uint64_t sequence, const Hash& root, std::string_view payload);

  [[nodiscard]] const Epoch& genesis() const { return epochs_.front(); }
  [[nodiscard]] const Epoch& current() const { return epochs_.back(); }
  [[nodiscard]] const std::vector<Epoch>& all() const { return epochs_; }
  [[nodiscard]] std::uint64_t number() const { return epochs_.size() - 1; }
  [[nodiscard]] const Hash& log_id() const { return log_id_; }
  [[nodiscard]] std::string Origin() const { return OriginOf(genesis().record, log_id_); }

 private:
  [[nodiscard]] Result<void> Check(const SignedRecord& signed_record, const ProvisioningRecord& record) const;

  std::vector<Epoch> epochs_;
  Hash log_id_{};
};

// The checkpoint key of an epoch; nullopt: its record pins none.
[[nodiscard]] std::optional<ledger::VerifyKey> CheckpointKeyOf(const ProvisioningRecord& record, std::string_view origin);

// How the epochs before this one ended, as a verdict's qualifiers: EPOCH_0_TPM_CLEARED.
[[nodiscard]] std::vector<std::string> EarlierVerdicts(const ProvisioningRecord& record);

}  // namespace stele::anchor
