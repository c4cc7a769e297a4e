#include "appliance/anchor/epochs.h"

#include <algorithm>

#include "appliance/base/hash.h"
#include "tpm/names.h"

namespace stele::anchor {

Result<EpochChain> EpochChain::Begin(SignedRecord genesis) {
  STELE_TRY_VOID(VerifySignedRecord(genesis));
  Epoch first;
  STELE_TRY(first.record, DecodeRecord(genesis.record));
  if (first.record.epoch) return Fail(Code::kDenied, "the provisioning record continues a log; it begins none");
  EpochChain chain;
  chain.log_id_ = LogIdOf(genesis.record);
  first.signed_record = std::move(genesis);
  chain.epochs_.push_back(std::move(first));
  return chain;
}

Result<void> EpochChain::Check(const SignedRecord& signed_record, const ProvisioningRecord& record) const {
  const auto denied = [this](std::string_view why) {
    return Fail(Code::kDenied, "epoch " + std::to_string(epochs_.size()) + ": " + std::string(why));
  };
  const std::string& key = genesis().signed_record.public_key_pem;
  if (signed_record.public_key_pem != key) return denied("signed by another provisioning key than the log's");
  if (!record.epoch) return denied("the record begins a log; it continues none");
  if (record.epoch->log_id != log_id_) return denied("it continues another log");
  if (record.epoch->number != epochs_.size()) return denied("it has the number " + std::to_string(record.epoch->number));
  if (epochs_.size() > kEpochsMax) return denied("too many epochs");
  if (record.origin != genesis().record.origin) return denied("it has another origin");
  if (record.checkpoint_key.empty()) return denied("it names no checkpoint key");
  for (const Epoch& earlier : epochs_) {
    if (earlier.record.identity.ak_name == record.identity.ak_name) return denied("its attestation key is an earlier one");
    if (earlier.record.checkpoint_key == record.checkpoint_key) return denied("its checkpoint key is an earlier one");
  }
  if (const auto& before = current().record.epoch) {
    if (record.epoch->log_size <= before->log_size) return denied("it does not begin after the epoch before");
    if (!std::equal(before->verdicts.begin(), before->verdicts.end(), record.epoch->verdicts.begin())) {
      return denied("it tells the end of an earlier epoch differently");
    }
  }
  const auto counter = tpm::WrittenCounterName(record.handles, key);
  const auto index = tpm::WrittenIndexName(record.handles, key);
  if (!counter || !index || *counter != record.identity.counter_name || *index != record.identity.index_name) {
    return denied("counter and index are not guarded by the provisioning key");
  }
  return {};
}

Result<void> EpochChain::Continue(SignedRecord signed_record) {
  if (const auto verified = VerifySignedRecord(signed_record); !verified) {
    return Fail(Code::kDenied, "epoch " + std::to_string(epochs_.size()) + ": its signature is not that of its key");
  }
  STELE_TRY(ProvisioningRecord record, DecodeRecord(signed_record.record));
  STELE_TRY_VOID(Check(signed_record, record));
  epochs_.push_back({std::move(signed_record), std::move(record)});
  return {};
}

Result<void> EpochChain::TakeEntry(std::uint64_t sequence, const Hash& root, std::string_view payload) {
  STELE_TRY(SignedRecord signed_record, DecodeEpochPayload(payload, genesis().signed_record.public_key_pem));
  STELE_TRY_VOID(Continue(std::move(signed_record)));
  const EpochClaim& claim = *current().record.epoch;
  if (claim.log_size == sequence && claim.log_root == root) return {};
  epochs_.pop_back();
  return Fail(Code::kDenied, "epoch " + std::to_string(epochs_.size()) + ": it was not made for this place of the log");
}

std::optional<ledger::VerifyKey> CheckpointKeyOf(const ProvisioningRecord& record, std::string_view origin) {
  ledger::VerifyKey key;
  if (record.checkpoint_key.size() != key.public_key.size()) return std::nullopt;
  key.name = std::string(origin);
  std::copy(record.checkpoint_key.begin(), record.checkpoint_key.end(), key.public_key.begin());
  return key;
}

std::vector<std::string> EarlierVerdicts(const ProvisioningRecord& record) {
  std::vector<std::string> words;
  if (!record.epoch) return words;
  for (const std::string& word : record.epoch->verdicts) {
    words.push_back("EPOCH_" + std::to_string(words.size()) + "_" + word);
  }
  return words;
}

}  // namespace stele::anchor
