// Goal: an auditor's nonce is answered for the newest checkpoint in the register, buys nothing else, and wears nothing out.
// Method: the anchor on a simulated TPM with real signatures, driven as the ledger drives it.
#include <gtest/gtest.h>

#include "tests/unit/anchor/rig.h"
#include "tpm/attest.h"

namespace stele::anchor {
namespace {

const Hash kNonce = Sha256Of(AsBytes("an auditor's"));

Hash Qualifying(const AuditEntry& audit) {
  return QualifyingData(Purpose::kAudit, audit.log_id, audit.anchor, audit.digest, audit.nonce);
}

TEST(Attest, AllThreeStructuresAreSignedOverTheNonceAndTheNewestCheckpoint) {
  Rig rig;
  rig.Start();
  ASSERT_TRUE(rig.Checkpoint());
  ASSERT_TRUE(rig.Checkpoint());
  const auto audit = rig.anchor->Attest({kNonce, false});
  ASSERT_TRUE(audit) << audit.error().context;
  EXPECT_EQ(audit->demand, "not_asked");
  EXPECT_EQ(audit->anchor, 1U);  // the boot anchor
  const tpm::Signer signer{rig.config.pins.receipt.ak_public_pem, {}};
  const auto quote = tpm::VerifyQuote(audit->quote, signer, Qualifying(*audit), 14);
  ASSERT_TRUE(quote) << quote.error().context;
  EXPECT_EQ(tpm::VerifyQuotedValues(*quote, audit->quote.pcr_values, 14).value(), rig.tpm.state().pcr);
  EXPECT_EQ(tpm::VerifyCounter(audit->certify_counter, signer, Qualifying(*audit), rig.config.pins.receipt.counter_name)->value,
            rig.tpm.state().counter);
  EXPECT_EQ(tpm::VerifyIndex(audit->certify_index, signer, Qualifying(*audit), rig.config.pins.receipt.index_name)->value,
            rig.tpm.state().index);
  const auto newest = DecodeIntent(rig.log.intents.back(), rig.anchor->verify_key());
  ASSERT_TRUE(newest);
  EXPECT_EQ(audit->digest, newest->digest);
  EXPECT_EQ(audit->note, newest->note);
}

TEST(Attest, ComesBackFromItsTextUnchanged) {
  Rig rig;
  rig.Start();
  ASSERT_TRUE(rig.Checkpoint());
  const auto audit = rig.anchor->Attest({kNonce, false});
  ASSERT_TRUE(audit);
  const std::string text = EncodeAudit(*audit);
  const auto decoded = DecodeAudit(text);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(EncodeAudit(*decoded), text);
  EXPECT_FALSE(DecodeAudit("{}"));
  EXPECT_FALSE(DecodeAudit(text.substr(0, text.size() / 2)));
}

TEST(Attest, NothingIsWrittenToTheTpm) {
  Rig rig;
  rig.Start();
  ASSERT_TRUE(rig.Checkpoint());
  const auto before = rig.tpm.Snapshot();
  ASSERT_TRUE(rig.anchor->Attest({kNonce, true}));
  EXPECT_EQ(rig.tpm.state().pcr, before.pcr);
  EXPECT_EQ(rig.tpm.state().counter, before.counter);
  EXPECT_EQ(rig.tpm.state().index, before.index);
}

TEST(Attest, TheAnswerCannotPassForAReceipt) {
  Rig rig;
  rig.Start();
  ASSERT_TRUE(rig.Checkpoint());
  ASSERT_FALSE(rig.log.receipts.empty());
  const auto audit = rig.anchor->Attest({Hash{}, false});  // the nonce of receipts
  ASSERT_TRUE(audit);
  ReceiptEntry receipt = DecodeReceipt(rig.log.receipts.back()).value();
  ASSERT_TRUE(CheckReceipt(receipt, rig.config.pins.receipt));
  receipt.quote = audit->quote;
  EXPECT_FALSE(CheckReceipt(receipt, rig.config.pins.receipt));
}

TEST(Attest, ADemandedAnchorIsReportedAsMadeOrRefusedWithItsReason) {
  Rig rig;
  rig.config.pins.software_tpm = false;
  rig.config.anchors_allowance = 2;
  rig.config.anchors_per_day = 0;
  rig.Start();
  ASSERT_TRUE(rig.Checkpoint());  // the boot anchor
  ASSERT_TRUE(rig.Checkpoint(/*want_anchor=*/true));
  EXPECT_EQ(rig.anchor->Attest({kNonce, true})->demand, "made");
  ASSERT_TRUE(rig.Checkpoint(/*want_anchor=*/true));
  const auto refused = rig.anchor->Attest({kNonce, true});
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->demand, "refused");
  EXPECT_NE(refused->demand_text.find("wears"), std::string::npos);
  EXPECT_EQ(refused->anchor, 2U);
}

TEST(Attest, ThereIsNoAnswerBeforeACheckpointOrInTheMiddleOfOne) {
  Rig rig;
  rig.Start();
  EXPECT_EQ(rig.anchor->Attest({kNonce, false}).error().code, Code::kUnavailable);
  const auto intent = rig.Sign();
  ASSERT_TRUE(intent);
  EXPECT_EQ(rig.anchor->Attest({kNonce, false}).error().code, Code::kUnavailable);
  ASSERT_TRUE(rig.Confirm(*intent));
  EXPECT_TRUE(rig.anchor->Attest({kNonce, false}));
  rig.tpm.Reboot();
  EXPECT_EQ(rig.anchor->Attest({kNonce, false}).error().code, Code::kUnavailable);
}

TEST(Attest, ATpmThatDoesNotAnswerIsAnErrorAndNothingElse) {
  Rig rig;
  rig.Start();
  ASSERT_TRUE(rig.Checkpoint());
  rig.tpm.FailNext(sim::TpmFault::kBusy);
  EXPECT_FALSE(rig.anchor->Attest({kNonce, false}));
  rig.clock.Advance(60'000);  // a TPM in trouble is asked again after a while
  EXPECT_TRUE(rig.Checkpoint());
  EXPECT_TRUE(rig.anchor->Attest({kNonce, false}));
}

}  // namespace
}  // namespace stele::anchor
