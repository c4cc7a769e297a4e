// Goal: evidence that somebody forged, mixed or replayed, with every key of the box in hand but not its TPM's honesty, gets
// the word of docs/format.md that belongs to it.
// Method: an honest bundle is changed in one way and signed anew with whatever key the forger would have; the word and the
// first failing check are compared.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/unit/evidence/made_log.h"
#include "tpm/names.h"
#include "tpm/signing.h"

namespace stele::evidence {
namespace {

using nlohmann::json;

class Forgery : public ::testing::Test {
 protected:
  Forgery() {
    log_.Append(20);
    log_.Checkpoint(true);
    log_.Append(5);
    log_.Checkpoint(false);
    log_.Append(5);
    log_.Checkpoint(true);
    wish_ = log_.All(nonce_);
    policy_.nonce = nonce_;
    policy_.pin_pem = log_.provisioning_public_pem;
    policy_.ek_roots_pem = EkRootPem();
  }

  void Expect(const Bytes& archive, std::string_view word, std::string_view check, const std::string& place = {}) {
    const Report report = VerifyBundle(archive, policy_);
    EXPECT_EQ(report.word, word) << ReportText(report);
    EXPECT_EQ(report.detail.substr(0, report.detail.find(':')), check);
    if (!place.empty()) {
      EXPECT_EQ(report.place, place);
    }
    EXPECT_EQ(report.exit_status(), word == "CANNOT_TELL" ? 3 : 1);
  }
  // The honest bundle with another head.
  Bytes With(const std::function<void(BundleHead&)>& change) const {
    BundleHead head = log_.Head(wish_);
    change(head);
    return log_.Assemble(head, wish_);
  }
  Hash Qualifying(const BundleHead& head) const {
    return anchor::QualifyingData(anchor::Purpose::kAudit, head.audit.log_id, head.audit.anchor, head.audit.digest, head.audit.nonce);
  }
  TpmAttestation SignQuote(tpm::Attested attested) const {
    TpmAttestation quote = log_.tpm.Sign(attested, log_.tpm.ak_private_pem);
    quote.pcr_values = log_.tpm.Values();
    return quote;
  }

  Hash nonce_ = NonceOf("mine");
  MadeLog log_;
  BundleWish wish_;
  Policy policy_;
};

TEST_F(Forgery, TheHonestBundleIsOk) { EXPECT_EQ(VerifyBundle(log_.Bundle(wish_), policy_).word, "OK"); }

// --- the quote ---

TEST_F(Forgery, AnNvCertificateOfferedAsQuote) {
  Expect(With([&](BundleHead& head) {
           TpmAttestation forged = head.audit.certify_counter;
           forged.pcr_values = head.audit.quote.pcr_values;
           head.audit.quote = forged;
           // WriteHead reads the selection from the quote; give the members what an attacker would.
         }),
         "TAMPERED", "quote");
}

TEST_F(Forgery, AQuoteByAnotherKey) {
  Expect(With([&](BundleHead& head) {
           const std::string other = tpm::MakeSigningKey().value();
           TpmAttestation quote = log_.tpm.Sign(log_.tpm.Quoted(Qualifying(head)), other);
           quote.pcr_values = log_.tpm.Values();
           head.audit.quote = quote;
         }),
         "TAMPERED", "quote");
}

TEST_F(Forgery, AQuoteByAKeyInTheOwnerHierarchy) {
  Expect(With([&](BundleHead& head) {
           tpm::Attested attested = log_.tpm.Quoted(Qualifying(head));
           // The same key, qualified as a primary of the owner: its resetCount would be obfuscated.
           Bytes owner = {std::byte{0x40}, std::byte{0}, std::byte{0}, std::byte{1}};
           Append(owner, log_.tpm.identity.ak_name);
           attested.qualified_signer = {std::byte{0}, std::byte{0x0b}};
           Append(attested.qualified_signer, Sha256Of(ByteView(owner)));
           head.audit.quote = SignQuote(attested);
         }),
         "TAMPERED", "quote");
}

TEST_F(Forgery, AQuoteOverAnotherNonceUnderThisOnesName) {
  Expect(With([&](BundleHead& head) { head.audit.quote = SignQuote(log_.tpm.Quoted(NonceOf("other"))); }), "TAMPERED", "quote");
}

TEST_F(Forgery, AnotherAuditorsWholeBundle) {
  const BundleWish theirs = log_.All(NonceOf("theirs"));
  Expect(log_.Bundle(theirs), "TAMPERED", "nonce");
}

TEST_F(Forgery, AReceiptsQuoteShownAsAnAnswer) {
  Expect(With([&](BundleHead& head) { head.audit.quote = anchor::DecodeReceipt(*head.receipt).value().quote; }), "TAMPERED", "quote");
}

TEST_F(Forgery, AQuoteOverAnotherSelection) {
  Expect(With([&](BundleHead& head) {
           tpm::Attested attested = log_.tpm.Quoted(Qualifying(head));
           attested.selection = tpm::QuoteSelection(13);
           head.audit.quote = SignQuote(attested);
         }),
         "TAMPERED", "quote");
}

TEST_F(Forgery, AQuoteOverTheSha1Bank) {
  TakenApart apart = TakeApart(log_.Bundle(wish_));
  Bytes& attest = apart.Of("quote.attest");
  // The bank stands after the count of selections; find 00000001 000b 03 and make it SHA-1, signed by the very key.
  const Bytes bank = {std::byte{0}, std::byte{0}, std::byte{0}, std::byte{1}, std::byte{0}, std::byte{0x0b}, std::byte{3}};
  const auto at = std::search(attest.begin(), attest.end(), bank.begin(), bank.end());
  ASSERT_NE(at, attest.end());
  *(at + 5) = std::byte{0x04};
  const auto signature = tpm::SignRaw(log_.tpm.ak_private_pem, attest).value();
  Bytes tpmt = {std::byte{0}, std::byte{0x18}, std::byte{0}, std::byte{0x0b}, std::byte{0}, std::byte{0x20}};
  Append(tpmt, signature.r);
  tpmt.push_back(std::byte{0});
  tpmt.push_back(std::byte{0x20});
  Append(tpmt, signature.s);
  apart.Of("quote.signature") = tpmt;
  apart.Of("quote.der") = tpm::DerOf(signature);
  Expect(apart.Together(), "TAMPERED", "quote");
}

TEST_F(Forgery, BytesBehindTheSignedStructure) {
  TakenApart apart = TakeApart(log_.Bundle(wish_));
  apart.Of("quote.attest").push_back(std::byte{0});
  Expect(apart.Together(), "TAMPERED", "quote");
  for (const char* name : {"counter", "index"}) {
    TakenApart other = TakeApart(log_.Bundle(wish_));
    other.Of(std::string(name) + ".attest").push_back(std::byte{0});
    Expect(other.Together(), "TAMPERED", name);
  }
}

TEST_F(Forgery, RegisterValuesThatWereNotQuoted) {
  Expect(With([&](BundleHead& head) { head.audit.quote.pcr_values[0][0] ^= std::byte{1}; }), "TAMPERED", "quote");
  TakenApart apart = TakeApart(log_.Bundle(wish_));
  apart.Of("quote.pcrs.tpm2-tools")[140] ^= std::byte{1};
  Expect(apart.Together(), "TAMPERED", "quote");
  TakenApart der = TakeApart(log_.Bundle(wish_));
  der.Of("quote.der") = der.Of("counter.der");
  Expect(der.Together(), "TAMPERED", "quote");
}

// --- counter and index ---

TEST_F(Forgery, QuoteAndCounterOfDifferentBoots) {
  Expect(With([&](BundleHead& head) {
           tpm::Attested attested = log_.tpm.CertifiedCounter(Qualifying(head));
           ++attested.clock.reset_count;
           head.audit.certify_counter = log_.tpm.Sign(attested, log_.tpm.ak_private_pem);
         }),
         "TAMPERED", "boot");
}

TEST_F(Forgery, AnIndexThatWasDefinedAnew) {
  Expect(With([&](BundleHead& head) {
           tpm::Attested attested = log_.tpm.CertifiedIndex(Qualifying(head));
           attested.index_name[5] ^= std::byte{1};  // the Name of one not yet written, or with another policy
           head.audit.certify_index = log_.tpm.Sign(attested, log_.tpm.ak_private_pem);
         }),
         "ANCHOR_REDEFINED", "index");
  Expect(With([&](BundleHead& head) {
           tpm::Attested attested = log_.tpm.CertifiedCounter(Qualifying(head));
           attested.index_name[5] ^= std::byte{1};
           head.audit.certify_counter = log_.tpm.Sign(attested, log_.tpm.ak_private_pem);
         }),
         "ANCHOR_REDEFINED", "counter");
}

TEST_F(Forgery, ARecordThatNamesTheUnwrittenIndex) {
  MadeLog log(1);
  const auto policy = tpm::WritePolicyOf(log.provisioning_public_pem).value();
  log.record.identity.index_name = tpm::NvName(log.record.handles.index, tpm::kIndexAttributes, policy.policy, 32);
  log.tpm.identity.index_name = log.record.identity.index_name;
  log.SignRecord();
  log.log.clear();
  log.Append(3);
  log.Checkpoint(true);
  policy_.pin_pem = log.provisioning_public_pem;
  Expect(log.Bundle(log.All(nonce_)), "ANCHOR_REDEFINED", "registers");
}

TEST_F(Forgery, PartOfACounter) {
  Expect(With([&](BundleHead& head) {
           tpm::Attested attested = log_.tpm.CertifiedCounter(Qualifying(head));
           attested.contents.resize(4);
           attested.offset = 4;
           head.audit.certify_counter = log_.tpm.Sign(attested, log_.tpm.ak_private_pem);
         }),
         "TAMPERED", "counter");
}

TEST_F(Forgery, AnchorsThatTheTpmCountedAndTheLogDoesNotShow) {
  ++log_.tpm.counter;
  Expect(log_.Bundle(wish_), "ROLLED_BACK", "anchors");
}

TEST_F(Forgery, ATpmThatCountedFewerAnchorsThanThereAre) {
  --log_.tpm.counter;
  Expect(log_.Bundle(wish_), "ROLLED_BACK", "anchors");
}

TEST_F(Forgery, AnIndexThatSomethingElseExtended) {
  log_.tpm.index = anchor::Extended(log_.tpm.index, NonceOf("foreign"));
  Expect(log_.Bundle(wish_), "TAMPERED", "anchors");
}

TEST_F(Forgery, AnAnchorLeftOutOfTheList) {
  Expect(With([&](BundleHead& head) {
           head.anchors.erase(head.anchors.begin());
           head.info.anchors_first = 2;
           head.info.anchors_count = 1;
           head.receipt_before = log_.receipts[1];
         }),
         "TAMPERED", "anchors");
  // With the receipt that belongs before it, the shorter list is as good.
  BundleHead head = log_.Head(wish_);
  head.anchors.erase(head.anchors.begin());
  head.info.anchors_first = 2;
  head.info.anchors_count = 1;
  head.receipt_before = log_.receipts[0];
  EXPECT_EQ(VerifyBundle(log_.Assemble(head, wish_), policy_).word, "OK");
}

TEST_F(Forgery, AnUnfinishedAnchorIsToldApartFromAMissingOne) {
  // X was extended, C not yet: the log shows the pending anchor, so nothing is missing.
  log_.Append(2);
  log_.Checkpoint(false);
  MadeLog::Signed& pending = log_.checkpoints.back();
  log_.tpm.index = anchor::Extended(log_.tpm.index, pending.digest);
  wish_ = log_.All(nonce_);
  Expect(log_.Bundle(wish_), "TAMPERED", "anchors");  // it does not show it
  BundleHead head = log_.Head(wish_);
  head.anchors.push_back({3, pending.digest, pending.note});
  head.info.anchors_count = 3;
  head.info.marks.push_back(pending.size);
  EXPECT_EQ(VerifyBundle(log_.Assemble(head, wish_), policy_).word, "OK_UNANCHORED_TAIL");
  ++log_.tpm.counter;
  head.audit = log_.Attest(nonce_);
  EXPECT_EQ(VerifyBundle(log_.Assemble(head, wish_), policy_).word, "OK_UNANCHORED_TAIL");
}

TEST_F(Forgery, AReceiptOfAnotherAnchor) {
  Expect(With([&](BundleHead& head) { head.receipt = log_.receipts[0]; }), "TAMPERED", "receipt");
}

TEST_F(Forgery, ATpmPutBackToBeforeItsLastAnchor) {
  log_.tpm.clock.reset_count = 2;
  Expect(log_.Bundle(wish_), "ROLLED_BACK", "boot");
  log_.tpm.clock.reset_count = 1;
  Expect(log_.Bundle(wish_), "ROLLED_BACK", "boot");
  log_.tpm.clock.reset_count = 3;
  log_.tpm.clock.clock_ms = 1;
  Expect(log_.Bundle(wish_), "ROLLED_BACK", "boot");
}

// --- the P-chain ---

TEST_F(Forgery, ARegisterTheLogNeverExtended) {
  log_.tpm.pcrs[14] = Hash{};
  Expect(log_.Bundle(wish_), "FOREIGN_EXTEND", "pcr_log");
}

TEST_F(Forgery, ARegisterSomethingElseExtended) {
  log_.tpm.pcrs[14] = anchor::Extended(log_.tpm.pcrs[14], NonceOf("foreign"));
  Expect(log_.Bundle(wish_), "FOREIGN_EXTEND", "pcr_log");
}

TEST_F(Forgery, AnEventWhoseDigestIsNotItsDatas) {
  // Stock tools replay the digests and do not look: the register is right, the data is another checkpoint's.
  Expect(With([&](BundleHead& head) { head.events[0].note = log_.Note(5); }), "TAMPERED", "pcr_log");
}

TEST_F(Forgery, AForeignEventListedInTheLog) {
  const Hash foreign = Sha256Of(AsBytes("not a note"));
  log_.tpm.pcrs[14] = anchor::Extended(log_.tpm.pcrs[14], foreign);
  Expect(With([&](BundleHead& head) {
           head.events.push_back({foreign, "not a note"});
           ++head.info.pcr_events;
         }),
         "TAMPERED", "pcr_log");
}

TEST_F(Forgery, TheTwoFormsOfTheEventLogDiffer) {
  TakenApart apart = TakeApart(log_.Bundle(wish_));
  apart.Of("checkpoints.cel").clear();
  Expect(apart.Together(), "TAMPERED", "pcr_log");
}

// --- who made it ---

TEST_F(Forgery, ARecordSignedBySomebodyElse) {
  log_.provisioning_key_pem = tpm::MakeSigningKey().value();
  MadeLog theirs(1);  // everything right in itself, with a provisioning key that is not the pinned one
  theirs.Append(3);
  theirs.Checkpoint(true);
  Expect(theirs.Bundle(theirs.All(nonce_)), "TAMPERED", "pin");
}

TEST_F(Forgery, ARecordWithOneMemberChanged) {
  Expect(With([&](BundleHead& head) {
           const std::string text(AsText(head.record.record));
           json record = json::parse(text);
           record["counter_start"] = 6;
           head.record.record = ToBytes(AsBytes(record.dump()));
         }),
         "TAMPERED", "provisioning");
}

TEST_F(Forgery, ARecordWhoseSignatureIsAnothers) {
  TakenApart apart = TakeApart(log_.Bundle(wish_));
  apart.Of("provisioning/record.sig") = tpm::Sign(tpm::MakeSigningKey().value(), apart.Of("provisioning/record.json")).value();
  Expect(apart.Together(), "TAMPERED", "provisioning");
}

TEST_F(Forgery, AnotherTpmsCertificate) {
  const MadeLog other(2);
  TakenApart apart = TakeApart(log_.Bundle(wish_));
  apart.Of("tpm/ek.der") = other.tpm.ek_certificate;
  Expect(apart.Together(), "TPM_REPLACED", "endorsement");
}

TEST_F(Forgery, ACertificateForAnotherKeyThanTheRecordNames) {
  MadeLog log(1);
  log.record.ek_certificate = MadeLog(2).tpm.ek_certificate;
  log.SignRecord();
  log.log.clear();
  log.Append(3);
  log.Checkpoint(true);
  policy_.pin_pem = log.provisioning_public_pem;
  Expect(log.Bundle(log.All(nonce_)), "TPM_REPLACED", "endorsement");
}

TEST_F(Forgery, ACertificateOfNobodysAuthority) {
  policy_.ek_roots_pem = log_.provisioning_public_pem;  // no certificate in it at all
  Expect(log_.Bundle(wish_), "TPM_REPLACED", "endorsement");
}

TEST_F(Forgery, ARootThatTheBundleBringsItselfIsNotBelieved) {
  policy_.ek_roots_pem = "# none of mine\n";
  Expect(With([](BundleHead& head) { head.ek_chain_pem = EkRootPem(); }), "TPM_REPLACED", "endorsement");
}

TEST_F(Forgery, AnotherAttestationKey) {
  const MadeLog other(2);
  TakenApart apart = TakeApart(log_.Bundle(wish_));
  apart.Of("tpm/ak.tpm2b") = other.tpm.ak_public;
  Expect(apart.Together(), "TPM_CLEARED", "attestation_key");
  TakenApart pem = TakeApart(log_.Bundle(wish_));
  pem.Of("tpm/ak.pem") = ToBytes(AsBytes(other.tpm.ak_public_pem));
  Expect(pem.Together(), "TPM_CLEARED", "attestation_key");
}

TEST_F(Forgery, AnAttestationKeyThatSignsWhateverItIsGiven) {
  TakenApart apart = TakeApart(log_.Bundle(wish_));
  apart.Of("tpm/ak.tpm2b")[2 + 4 + 1] ^= std::byte{1};  // not restricted
  Expect(apart.Together(), "TPM_CLEARED", "attestation_key");
}

// --- the checkpoint ---

TEST_F(Forgery, ACheckpointOfAnotherLog) {
  MadeLog other(2);
  other.Append(30);
  Expect(With([&](BundleHead& head) {
           head.audit.note = other.Note(31);
           head.vkey = other.key->verify_key().Vkey();
         }),
         "TAMPERED", "checkpoint", "log.vkey");
  Expect(With([&](BundleHead& head) { head.audit.note = other.Note(31); }), "TAMPERED", "checkpoint");
}

TEST_F(Forgery, AnotherCheckpointOfThisLogThanTheQuotedOne) {
  Expect(With([&](BundleHead& head) { head.audit.note = log_.Note(12); }), "TAMPERED", "checkpoint");
}

TEST_F(Forgery, ACheckpointWithExtensionLines) {
  Expect(With([&](BundleHead& head) {
           head.audit.note = log_.key->Sign(log_.NoteText(log_.checkpoint_size()) + "more\n");
           head.audit.digest = Sha256Of(AsBytes(head.audit.note));
         }),
         "TAMPERED", "checkpoint");
}

// --- the records ---

TEST_F(Forgery, AChangedPayloadNamesItsRecord) {
  log_.log[17].payload[3] ^= std::byte{1};
  Expect(log_.Bundle(wish_), "TAMPERED", "records", "record 17");
}

TEST_F(Forgery, AChangedPayloadWithAChangedCommitmentBreaksTheChain) {
  MadeRecord& one = log_.log[17];
  one.payload[3] ^= std::byte{1};
  auto entry = record::DecodeEntry(one.entry).value();
  entry.commitment = record::CommitPayload(one.salt, one.peer, one.payload);
  one.entry = record::EncodeEntry(entry);
  Expect(log_.Bundle(wish_), "TAMPERED", "records", "record 18");
}

TEST_F(Forgery, AScatteredRecordWithAChangedEntryDoesNotLeadToTheRoot) {
  wish_.records = {17};
  auto entry = record::DecodeEntry(log_.log[17].entry).value();
  ++entry.receive_wall_ns;
  log_.log[17].entry = record::EncodeEntry(entry);
  Expect(log_.Bundle(wish_), "TAMPERED", "records");
}

TEST_F(Forgery, AChangedSaltOrPeer) {
  log_.log[9].salt[0] ^= std::byte{1};
  Expect(log_.Bundle(wish_), "TAMPERED", "records", "record 9");
  log_.log[9].salt[0] ^= std::byte{1};
  log_.log[4].peer[17] ^= std::byte{1};
  Expect(log_.Bundle(wish_), "TAMPERED", "records", "record 4");
}

TEST_F(Forgery, ARecordLeftOutOfARangeLeavesAHoleThatIsNoRange) {
  wish_.records.erase(wish_.records.begin() + 8);
  const Report report = VerifyBundle(log_.Bundle(wish_), policy_);
  EXPECT_EQ(report.word, "OK");  // what it holds is authentic
  EXPECT_FALSE(report.facts.contiguous);
  EXPECT_NE(StatementOf(report).find("does not prove"), std::string::npos);
}

TEST_F(Forgery, EntriesSwappedRepeatedOrOfAnotherLog) {
  for (const int way : {0, 1, 2, 3}) {
    TakenApart apart = TakeApart(log_.Bundle(wish_));
    Bytes& entries = apart.Of("records/000000.entries");
    const auto entry = [&](std::ptrdiff_t i) { return entries.begin() + i * 92; };
    if (way == 0) std::swap_ranges(entry(5), entry(6), entry(6));
    if (way == 1) std::copy(entry(5), entry(6), entry(6));
    if (way == 2) entries.resize(entries.size() - 92);
    if (way == 3) *(entry(0) + 24) ^= std::byte{1};  // entry 0 names another log
    Expect(apart.Together(), "TAMPERED", "records");
  }
}

TEST_F(Forgery, TreeHashesTooManyOrTooFew) {
  wish_.records = {17, 20};
  for (const char* name : {"records/000000.tree", "records/end.tree"}) {
    TakenApart more = TakeApart(log_.Bundle(wish_));
    more.Of(name).resize(more.Of(name).size() + 32);
    Expect(more.Together(), "TAMPERED", "records");
    TakenApart less = TakeApart(log_.Bundle(wish_));
    if (less.Of(name).empty()) continue;
    less.Of(name).resize(less.Of(name).size() - 32);
    Expect(less.Together(), "TAMPERED", "records");
  }
}

TEST_F(Forgery, AHistoryThatDoesNotContinueAnAnchoredOne) {
  // The log was rewritten below its first anchor, and everything above signed anew with the box's own key.
  MadeLog rewritten = std::move(log_);
  rewritten.log.resize(5);
  rewritten.seed = 77;
  rewritten.Append(26);
  MadeLog::Signed& last = rewritten.checkpoints.back();
  ASSERT_EQ(last.size, rewritten.log.size());
  const std::string old_note = last.note;
  // The TPM holds the old digests: the forger cannot change them, only what he shows beside them.
  wish_ = rewritten.All(nonce_);
  const Report report = VerifyBundle(rewritten.Bundle(wish_), policy_);
  EXPECT_EQ(report.word, "TAMPERED") << ReportText(report);
}

TEST_F(Forgery, AnAnchoredSizeWithoutItsProof) {
  Expect(With([&](BundleHead& head) { head.info.marks.erase(head.info.marks.begin()); }), "TAMPERED", "marks");
}

TEST_F(Forgery, AProofOfAnotherRecord) {
  TakenApart apart = TakeApart(log_.Bundle(wish_));
  const auto proof = std::find_if(apart.files.begin(), apart.files.end(), [](const auto& file) { return file.first.starts_with("proofs/"); });
  ASSERT_NE(proof, apart.files.end());
  TakenApart renamed = apart;
  const std::string text(AsText(proof->second));
  const std::string last = std::to_string(wish_.records.back());
  std::string moved = text;
  moved.replace(moved.find("index " + last), 6 + last.size(), "index 3");
  for (auto& file : renamed.files) {
    if (!file.first.starts_with("proofs/")) continue;
    file.first = "proofs/3.tlog-proof";
    file.second = ToBytes(AsBytes(moved));
  }
  Expect(renamed.Together(), "TAMPERED", "proofs");
}

// --- transport ---

TEST_F(Forgery, AChangedReadmeIsDamageNotTampering) {
  Bytes archive = log_.Bundle(wish_);
  archive[512 + 10] ^= std::byte{1};
  Expect(archive, "DAMAGED", "manifest", "README");
}

TEST_F(Forgery, JsonThatIsNone) {
  for (const char* name : {"bundle.json", "attest.json"}) {
    for (const char* text : {"", "{", "[]", "null", "{\"bundle\":\"stele\"}", "{\"marks\":[3,2]}"}) {
      TakenApart apart = TakeApart(log_.Bundle(wish_));
      apart.Of(name) = ToBytes(AsBytes(text));
      Expect(apart.Together(), "DAMAGED", "bundle", name);
    }
  }
}

TEST_F(Forgery, MarksBeyondTheCheckpoint) {
  Expect(With([&](BundleHead& head) { head.info.marks.push_back(log_.checkpoint_size() + 1); }), "TAMPERED", "records");
}

}  // namespace
}  // namespace stele::evidence
