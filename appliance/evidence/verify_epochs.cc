// A log that went on with another TPM state: each epoch's record under the one provisioning key, and each over a beginning
// of this log.
#include <nlohmann/json.hpp>

#include "appliance/anchor/members.h"
#include "appliance/evidence/verify_state.h"

namespace stele::evidence {

using nlohmann::json;

Result<anchor::EpochChain> EpochsOf(const VerifyState& state) {
  const std::string key(state.TextOf(Part::kProvisioningKey));
  STELE_TRY(anchor::EpochChain epochs,
            anchor::EpochChain::Begin({ToBytes(state.Of(Part::kRecord)), ToBytes(state.Of(Part::kRecordSignature)), key}));
  if (!state.Has(Part::kEpochs)) return epochs;
  const json file = json::parse(state.TextOf(Part::kEpochs), nullptr, false);
  const auto list = file.is_object() ? file.find("epochs") : file.end();
  if (!file.is_object() || list == file.end() || !list->is_array() || list->empty() || list->size() > anchor::kEpochsMax) {
    return Fail(Code::kCorrupt, "epochs.json: not a list of records");
  }
  for (const json& one : *list) {
    anchor::SignedRecord signed_record;
    anchor::Members members(one);
    members.Base64("record_b64", true, signed_record.record);
    members.Base64("signature_b64", true, signed_record.signature);
    if (!members.fault().empty()) return Fail(Code::kCorrupt, "epochs.json: member " + members.fault());
    signed_record.public_key_pem = key;
    STELE_TRY_VOID(epochs.Continue(std::move(signed_record)));
  }
  return epochs;
}

void CheckEpochs(VerifyState& state) {
  if (!state.epochs || state.epochs->number() == 0) return;
  if (!state.checks.Passed("records")) return state.checks.Skip("epochs", "the records failed");
  std::string detail;
  for (const anchor::Epoch& epoch : state.epochs->all()) {
    if (!epoch.record.epoch) continue;
    const anchor::EpochClaim& claim = *epoch.record.epoch;
    const auto root = state.facts.roots.find(claim.log_size);
    if (root == state.facts.roots.end() || root->second != claim.log_root) {
      return state.checks.Fail("epochs", "TAMPERED",
                               "this log is not the one that epoch " + std::to_string(claim.number) + " continued",
                               "provisioning/epochs.json");
    }
    detail += (detail.empty() ? "" : "; ") + std::string("epoch ") + std::to_string(claim.number - 1) + " ended " +
              claim.verdicts.back() + " after anchor " + std::to_string(claim.anchor) + ", epoch " +
              std::to_string(claim.number) + " over " + std::to_string(claim.log_size) + " entries: " + claim.reason;
  }
  state.checks.Pass("epochs", std::move(detail));
}

Result<ledger::OpenedCheckpoint> OpenEarlier(const VerifyState& state, std::string_view note) {
  auto opened = ledger::OpenCheckpoint(note, *state.key);
  if (opened || !state.epochs) return opened;
  const auto& all = state.epochs->all();
  for (std::size_t i = 0; i + 1 < all.size(); ++i) {
    const auto key = anchor::CheckpointKeyOf(all[i].record, state.key->name);
    auto earlier = key ? ledger::OpenCheckpoint(note, *key) : tl::unexpected(opened.error());
    // An epoch's key signs nothing beyond its end: it may be lost to somebody by then.
    if (earlier && earlier->checkpoint.size <= all[i + 1].record.epoch->log_size) return earlier;
  }
  return opened;
}

}  // namespace stele::evidence
