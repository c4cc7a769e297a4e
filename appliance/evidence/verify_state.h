// Private to the verifier: what one audit has read and found so far, handed from check to check.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/anchor/entries.h"
#include "appliance/anchor/epochs.h"
#include "appliance/anchor/provisioning_record.h"
#include "appliance/evidence/bundle_format.h"
#include "appliance/evidence/tree_walk.h"
#include "appliance/evidence/verify.h"
#include "tpm/attest.h"

namespace stele::evidence {

// Every check once, in the order of docs/format.md.
class CheckList {
 public:
  void Pass(std::string_view name, std::string detail = {});
  void Fail(std::string_view name, std::string_view word, std::string detail, std::string place = {});  // the first stays
  void Skip(std::string_view name, std::string why);
  [[nodiscard]] bool Passed(std::string_view name) const;
  [[nodiscard]] bool Failed(std::string_view name) const;
  [[nodiscard]] std::vector<Check> InOrder() const;

 private:
  std::map<std::string, Check, std::less<>> done_;
};

struct VerifyState {
  explicit VerifyState(const Policy& brought) : policy(brought) {}
  const Policy& policy;
  CheckList checks;
  Facts facts;
  std::vector<std::string> unchecked;
  std::array<std::optional<Bytes>, static_cast<std::size_t>(Part::kProof)> members;  // of the parts that come once

  // Filled by the check that proved it; absent when that failed.
  std::optional<BundleInfo> info;
  std::optional<anchor::AuditEntry> audit;
  std::optional<anchor::EpochChain> epochs;
  std::optional<anchor::ProvisioningRecord> record;  // of the newest epoch, which made this evidence
  anchor::Pins pins;
  std::optional<ledger::VerifyKey> key;
  std::optional<ledger::OpenedCheckpoint> checkpoint;
  std::optional<tpm::Attested> quote;
  Hash quoted_pcr{};
  std::optional<tpm::CertifiedCounter> counter;
  std::optional<tpm::CertifiedIndex> index;
  std::optional<anchor::ReceiptEntry> receipt;
  std::optional<tpm::Attested> receipt_quote;
  std::map<std::uint64_t, Hash> anchored_roots;  // by size: what the anchors' notes sign
  bool gap = false;                              // boots without an anchor

  [[nodiscard]] bool Has(Part part) const { return members[static_cast<std::size_t>(part)].has_value(); }
  [[nodiscard]] ByteView Of(Part part) const {
    const auto& member = members[static_cast<std::size_t>(part)];
    return member ? ByteView(*member) : ByteView{};
  }
  [[nodiscard]] std::string_view TextOf(Part part) const { return AsText(Of(part)); }
  [[nodiscard]] Hash QualifyingData() const {
    return anchor::QualifyingData(anchor::Purpose::kAudit, info->log_id, audit->anchor, audit->digest, info->nonce);
  }
};

// The log's beginning and the epochs that continue it, from the bundle. kDenied, kCorrupt: which one, and why not.
[[nodiscard]] Result<anchor::EpochChain> EpochsOf(const VerifyState& state);
// Every epoch began over a beginning of this log, as the records proved.
void CheckEpochs(VerifyState& state);
// A checkpoint that this log signed, in whatever epoch.
[[nodiscard]] Result<ledger::OpenedCheckpoint> OpenEarlier(const VerifyState& state, std::string_view note);
// bundle provisioning pin endorsement attestation_key registers checkpoint
void CheckIdentity(VerifyState& state);
// quote nonce counter index boot receipt anchors pcr_log boot_log expected_pcrs
void CheckTpm(VerifyState& state);
// The cosigned checkpoint against the auditor's witness policy and the roots that the records proved.
void CheckWitnesses(VerifyState& state);
// An earlier checkpoint against the roots that the records proved.
void CheckSince(VerifyState& state);

// records marks proofs: chunk by chunk.
class RecordsCheck {
 public:
  explicit RecordsCheck(VerifyState& state);
  void TakeProof(std::uint64_t sequence, ByteView content);
  // The parts of a chunk in their order, the last one has it checked; after the last chunk the closing gap.
  void Take(const Member& member, Bytes content);
  void Finish();

 private:
  void Fail(std::string detail, std::string place = {});
  void TakeEnd(ByteView tree);
  Result<void> CheckChunk();
  Result<void> CheckEntry(const record::Entry& entry, const Hash& leaf);
  Result<void> CheckPayload(const record::Entry& entry, std::size_t i, std::size_t& payload_at);
  void NoteEntry(const record::Entry& entry);
  void CheckMarks();
  void CheckProofs();

  VerifyState& state_;
  TreeWalk walk_;
  bool ended_ = false;  // the closing gap has come
  bool ready_ = false;  // there is a checkpoint to lead to
  std::array<Bytes, 5> parts_;
  std::uint64_t next_chunk_ = 0;
  Part next_part_ = Part::kEntries;
  std::optional<std::uint64_t> last_sequence_;
  Hash last_leaf_{};
  std::map<std::uint64_t, std::vector<Hash>> proofs_;
  std::map<std::uint64_t, Hash> proven_leaves_;  // of the entries that have a proof file
  std::string place_;                            // of the record being checked
};

}  // namespace stele::evidence
