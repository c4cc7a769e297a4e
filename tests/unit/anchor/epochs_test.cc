// Goal: only the provisioning key that began a log can continue it, in order, at its place; nothing else is ever an epoch.
// Method: real keys and signatures; for each refusal one thing is wrong and everything else right.
#include "appliance/anchor/epochs.h"

#include <gtest/gtest.h>

#include <functional>

#include "appliance/anchor/entries.h"
#include "appliance/anchor/epoch_files.h"
#include "appliance/anchor/members.h"
#include "appliance/base/system.h"
#include "appliance/ledger/merkle.h"
#include "tests/unit/tpm/testbed.h"
#include "tpm/names.h"
#include "tpm/signing.h"

namespace stele::anchor {
namespace {

class Epochs : public ::testing::Test {
 protected:
  Epochs() : key_(tpm::MakeSigningKey().value()), public_pem_(tpm::PublicPemOf(key_).value()) {
    for (std::uint8_t leaf = 0; leaf < 200; ++leaf) leaves_.push_back(Sha256Of(Bytes(1, std::byte{leaf})));
  }

  [[nodiscard]] ledger::Frontier TreeOf(std::uint64_t size) const {
    ledger::Frontier edge;
    for (std::uint64_t i = 0; i < size; ++i) edge.Push(leaves_[i]);
    return edge;
  }
  // A TPM state of its own: `which` makes its keys.
  [[nodiscard]] ProvisioningRecord StateOfTpm(std::uint8_t which) const {
    ProvisioningRecord record;
    record.ak_public_pem = public_pem_;
    record.identity.ek_name = Bytes(34, std::byte{which});
    record.identity.ak_name = Bytes(34, std::byte{which});
    record.identity.counter_name = tpm::WrittenCounterName(record.handles, public_pem_).value();
    record.identity.index_name = tpm::WrittenIndexName(record.handles, public_pem_).value();
    record.checkpoint_key = Bytes(32, std::byte{which});
    return record;
  }
  [[nodiscard]] SignedRecord Sign(const ProvisioningRecord& record) const { return SignRecord(EncodeRecord(record), key_).value(); }
  [[nodiscard]] EpochChain Begun() const { return EpochChain::Begin(Sign(StateOfTpm(1))).value(); }
  [[nodiscard]] ProvisioningRecord Next(const EpochChain& chain, std::uint64_t size) const {
    ProvisioningRecord record = StateOfTpm(static_cast<std::uint8_t>(chain.number() + 2));
    EpochClaim claim;
    claim.number = chain.number() + 1;
    claim.log_id = chain.log_id();
    claim.reason = "the TPM died";
    claim.log_size = size;
    claim.log_root = TreeOf(size).Root();
    claim.log_frontier = TreeOf(size).Hashes();
    if (const auto& before = chain.current().record.epoch) claim.verdicts = before->verdicts;
    claim.verdicts.emplace_back("TPM_CLEARED");
    claim.detail = "the attestation key is gone";
    claim.anchor = 3;
    claim.anchored_size = size / 2;
    claim.checkpoint_size = size - 1;
    record.epoch = claim;
    return record;
  }
  // The entry at leaf `sequence` of this test's log.
  [[nodiscard]] Result<void> Take(EpochChain& chain, const SignedRecord& record, std::uint64_t sequence) const {
    return chain.TakeEntry(sequence, TreeOf(sequence).Root(), EpochPayload(record).value());
  }
  void Refuses(const char* what, const std::function<void(ProvisioningRecord&)>& change) const {
    EpochChain chain = Begun();
    ProvisioningRecord record = Next(chain, 70);
    change(record);
    EXPECT_FALSE(Take(chain, Sign(record), 70).has_value()) << what;
    EXPECT_EQ(chain.number(), 0U) << what;
  }

  std::string key_;
  std::string public_pem_;
  std::vector<Hash> leaves_;
};

TEST_F(Epochs, TheProvisioningKeyContinuesItsLogInOrder) {
  EpochChain chain = Begun();
  for (const std::uint64_t size : {70U, 71U, 200U}) {
    const auto taken = Take(chain, Sign(Next(chain, size)), size);
    ASSERT_TRUE(taken.has_value()) << Describe(taken.error());
  }
  EXPECT_EQ(chain.number(), 3U);
  EXPECT_EQ(chain.log_id(), LogIdOf(chain.genesis().signed_record.record));
  EXPECT_EQ(LogIdOf(chain.current().record, chain.current().signed_record.record), chain.log_id());
  EXPECT_EQ(EarlierVerdicts(chain.current().record),
            (std::vector<std::string>{"EPOCH_0_TPM_CLEARED", "EPOCH_1_TPM_CLEARED", "EPOCH_2_TPM_CLEARED"}));
  const Pins pins = PinsOf(chain.current().record, chain.log_id());
  EXPECT_EQ(pins.receipt.epoch, 3U);
  EXPECT_EQ(CheckpointKeyOf(chain.current().record, chain.Origin())->public_key[0], std::byte{4});
}

TEST_F(Epochs, ARecordSurvivesItsBytes) {
  const EpochChain chain = Begun();
  const Bytes bytes = EncodeRecord(Next(chain, 70));
  const auto back = DecodeRecord(bytes);
  ASSERT_TRUE(back.has_value()) << Describe(back.error());
  EXPECT_EQ(EncodeRecord(*back), bytes);
  EXPECT_EQ(back->epoch->reason, "the TPM died");
}

TEST_F(Epochs, WhatSaysTooLittleOrContradictsItselfIsNoClaim) {
  const auto good = EpochJson(*Next(Begun(), 70).epoch);
  ASSERT_TRUE(EpochOf(good).has_value());
  for (const auto& member : good.items()) {
    auto bad = good;
    bad.erase(member.key());
    EXPECT_FALSE(EpochOf(bad).has_value()) << member.key();
    bad[member.key()] = nullptr;
    EXPECT_FALSE(EpochOf(bad).has_value()) << member.key();
  }
  const auto refuses = [&good](const char* member, nlohmann::json value) {
    auto bad = good;
    bad[member] = std::move(value);
    EXPECT_FALSE(EpochOf(bad).has_value()) << member;
  };
  refuses("number", 0);
  refuses("number", 2);
  refuses("verdicts", {"ok; DROP"});
  refuses("reason", "");
  refuses("reason", std::string(kReasonBytesMax + 1, 'x'));
  refuses("log_size", 69);
  refuses("log_root", std::string(64, '0'));
  refuses("anchored_size", 70);
  refuses("checkpoint_size", 71);
}

TEST_F(Epochs, AWrongSignatureIsNeverTaken) {
  EpochChain chain = Begun();
  SignedRecord record = Sign(Next(chain, 70));
  record.signature[20] ^= std::byte{1};
  EXPECT_FALSE(Take(chain, record, 70).has_value());
  record = Sign(Next(chain, 70));
  record.record[record.record.size() / 2] ^= std::byte{1};
  EXPECT_FALSE(Take(chain, record, 70).has_value());
  // Another key, honestly named.
  const std::string other = tpm::MakeSigningKey().value();
  EXPECT_FALSE(Take(chain, SignRecord(EncodeRecord(Next(chain, 70)), other).value(), 70).has_value());
  // Another key, under the name of the right one.
  record = SignRecord(EncodeRecord(Next(chain, 70)), other).value();
  record.public_key_pem = public_pem_;
  EXPECT_FALSE(Take(chain, record, 70).has_value());
  EXPECT_EQ(chain.number(), 0U);
}

TEST_F(Epochs, ASkippedNumberAnotherLogOrAnotherPlaceIsNeverTaken) {
  Refuses("a skipped number", [](ProvisioningRecord& r) {
    r.epoch->number = 2;
    r.epoch->verdicts.emplace_back("OK");
  });
  Refuses("another log", [](ProvisioningRecord& r) { r.epoch->log_id[0] ^= std::byte{1}; });
  Refuses("a record that begins a log", [](ProvisioningRecord& r) { r.epoch.reset(); });
  Refuses("another origin", [](ProvisioningRecord& r) { r.origin = "log.example.org"; });
  Refuses("an earlier attestation key", [this](ProvisioningRecord& r) { r.identity.ak_name = StateOfTpm(1).identity.ak_name; });
  Refuses("an earlier checkpoint key", [](ProvisioningRecord& r) { r.checkpoint_key = Bytes(32, std::byte{1}); });
  Refuses("no checkpoint key", [](ProvisioningRecord& r) { r.checkpoint_key.clear(); });
  Refuses("registers nobody guards", [](ProvisioningRecord& r) { r.identity.counter_name[5] ^= std::byte{1}; });
  EpochChain chain = Begun();
  const SignedRecord record = Sign(Next(chain, 70));
  EXPECT_FALSE(Take(chain, record, 71).has_value());
  EXPECT_FALSE(Take(chain, record, 69).has_value());
  EXPECT_FALSE(chain.TakeEntry(70, TreeOf(71).Root(), EpochPayload(record).value()).has_value());
  EXPECT_TRUE(Take(chain, record, 70).has_value());
}

TEST_F(Epochs, AReplayIsNeverTaken) {
  EpochChain chain = Begun();
  const SignedRecord first = Sign(Next(chain, 70));
  ASSERT_TRUE(Take(chain, first, 70).has_value());
  EXPECT_FALSE(Take(chain, first, 70).has_value());
  EXPECT_FALSE(Take(chain, first, 90).has_value());
  // An epoch that tells the end of the one before the last differently.
  ProvisioningRecord other = Next(chain, 90);
  other.epoch->verdicts.front() = "OK";
  EXPECT_FALSE(Take(chain, Sign(other), 90).has_value());
  // One that begins before the epoch it follows.
  EXPECT_FALSE(chain.Continue(Sign(Next(chain, 60))).has_value());
  EXPECT_EQ(chain.number(), 1U);
}

TEST_F(Epochs, AnEpochsRecordBeginsNoLog) {
  EXPECT_FALSE(EpochChain::Begin(Sign(Next(Begun(), 70))).has_value());
}

TEST_F(Epochs, TheFilesAreReadInOrderUpToTheFirstThatIsMissing) {
  const tpm::test::TemporaryDirectory folder;
  EXPECT_EQ(LoadEpochs(folder.path()).error().code, Code::kNotFound);
  EpochChain chain = Begun();
  const auto write = [&](std::uint64_t number, const SignedRecord& record) {
    ASSERT_TRUE(WriteFileDurably(RecordPath(folder.path(), number), AsBytes(EncodeSignedRecord(record)), 0600).has_value());
  };
  write(0, chain.genesis().signed_record);
  for (const std::uint64_t size : {70U, 80U}) {
    const SignedRecord record = Sign(Next(chain, size));
    ASSERT_TRUE(chain.Continue(record).has_value());
    write(chain.number(), record);
  }
  EXPECT_EQ(LoadEpochs(folder.path())->number(), 2U);
  EXPECT_EQ(LoadEpochs(folder.path(), 1)->number(), 1U);
  write(3, chain.current().signed_record);
  EXPECT_EQ(LoadEpochs(folder.path()).error().code, Code::kDenied);
  std::filesystem::remove(RecordPath(folder.path(), 1));
  EXPECT_EQ(LoadEpochs(folder.path())->number(), 0U);
}

TEST_F(Epochs, AReceiptOfAnotherEpochDoesNotCount) {
  ReceiptPins pins;
  pins.epoch = 1;
  ReceiptEntry receipt;
  const auto refused = CheckReceipt(receipt, pins);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().context, "receipt: of another epoch");
  receipt.epoch = 7;
  EXPECT_EQ(DecodeReceipt(EncodeReceipt(receipt))->epoch, 7U);
  receipt.epoch = 0;
  EXPECT_EQ(EncodeReceipt(receipt).find("epoch"), std::string::npos) << "what was written before there were epochs";
}

}  // namespace
}  // namespace stele::anchor
