// Goal: the key of the state partition comes out for an approved image on its own machine, and in no other case; the
// sentence says why. Method: a real swtpm whose registers are set as a start sets them; openssl as the owner who
// approves.
#include "firmware/state/vault.h"

#include <gtest/gtest.h>

#include "appliance/base/hash.h"
#include "tests/unit/tpm/testbed.h"
#include "tpm/names.h"

namespace stele::state {
namespace {

using tpm::test::Filled;

constexpr int kTimeoutMs = 60'000;

Hash Extended(const Hash& before, const Hash& digest) { return Sha256Of({before, digest}); }

class Start : public ::testing::Test {
 protected:
  Start() {
    MakeKey("owner");
    Measure(7, Filled(7));
    Measure(11, kImage);
  }
  void Run(const std::string& command) const { ASSERT_EQ(bed_.Tool(command), 0) << command; }
  void Measure(int pcr, const Hash& digest) const {
    Run("tpm2_pcrextend " + std::to_string(pcr) + ":sha256=" + HexOf(digest));
  }
  void Restart(const Hash& image, const Hash& secure_boot = Filled(7)) {
    bed_.PowerCut();
    Measure(7, secure_boot);
    Measure(11, image);
  }
  void MakeKey(const std::string& name) const {
    Run("openssl genrsa -out " + name + ".key 2048 && openssl pkey -in " + name + ".key -pubout -out " + name + ".pem");
  }
  [[nodiscard]] std::string Read(const std::string& name) const {
    const auto content = ReadFile(bed_.directory() / name, 4096);
    EXPECT_TRUE(content.has_value()) << name;
    return content ? std::string(AsText(*content)) : std::string();
  }
  [[nodiscard]] Approval Approve(const Hash& image, std::uint64_t version, const std::string& key = "owner") const {
    const Bytes name = tpm::NameOfPublicArea(RsaPublicArea(Read(key + ".pem")).value());
    Approval approval{ApprovedPolicy(Extended(Hash{}, image), version, name), {}, version};
    (void)bed_.File("policy", approval.policy);
    EXPECT_EQ(bed_.Tool("openssl dgst -sha256 -sign " + key + ".key -out signature policy"), 0);
    approval.signature = ToBytes(AsBytes(Read("signature")));
    return approval;
  }
  [[nodiscard]] Result<Vault> Open(const Approval& approval, const std::string& key = "owner") const {
    STELE_TRY(Vault vault, Vault::Open(bed_.Connect(), kTimeoutMs));
    STELE_TRY_VOID(vault.Take(approval, Read(key + ".pem")));
    return vault;
  }
  // The sentence of the refusal; empty when the secret came out.
  [[nodiscard]] std::string Refusal(const Approval& approval, const SealedKey& sealed,
                                    const std::string& key = "owner") const {
    auto vault = Open(approval, key);
    EXPECT_TRUE(vault.has_value()) << Describe(vault.error());
    Hash out = Filled(0xaa);
    const auto unsealed = vault->Unseal(sealed, out);
    if (unsealed) {
      EXPECT_EQ(out, kSecret);
      return {};
    }
    EXPECT_NE(out, kSecret);
    EXPECT_EQ(unsealed.error().code, Code::kDenied) << Describe(unsealed.error());
    return unsealed.error().context;
  }
  [[nodiscard]] SealedKey SealNow(const Approval& approval) const {
    auto vault = Open(approval);
    EXPECT_TRUE(vault.has_value()) << Describe(vault.error());
    auto sealed = vault->Seal(kSecret);
    EXPECT_TRUE(sealed.has_value()) << Describe(sealed.error());
    return sealed.value_or(SealedKey{});
  }
  static bool Says(const std::string& sentence, const char* words) { return sentence.find(words) != std::string::npos; }

  const Hash kImage = Filled(0x11);
  const Hash kUpdate = Filled(0x22);
  const Hash kSecret = Filled(0x5e);
  tpm::test::Testbed bed_;
};

TEST_F(Start, TheKeyComesBackAtTheNextStartOfTheSameImageAndOfAnApprovedUpdate) {
  const SealedKey sealed = SealNow(Approve(kImage, 3));
  EXPECT_EQ(Refusal(Approve(kImage, 3), sealed), "");
  Restart(kUpdate);
  EXPECT_EQ(Refusal(Approve(kUpdate, 4), sealed), "");
}

TEST_F(Start, AfterTheInitialRamDiskNobodyGetsItBeforeTheNextStart) {
  const Approval approval = Approve(kImage, 3);
  const SealedKey sealed = SealNow(approval);
  {
    auto vault = Open(approval);
    ASSERT_TRUE(vault.has_value());
    ASSERT_TRUE(vault->Lock());
  }
  EXPECT_TRUE(Says(Refusal(approval, sealed), "PCR 11"));
  Restart(kImage);
  EXPECT_EQ(Refusal(approval, sealed), "");
}

TEST_F(Start, AnImageThatIsOlderThanTheVersionIndexIsRefused) {
  const SealedKey sealed = SealNow(Approve(kImage, 3));
  EXPECT_TRUE(Says(Refusal(Approve(kImage, 2), sealed), "older"));
  // Not by saying another version either: it is in what was signed.
  Approval lies = Approve(kImage, 2);
  lies.version = 3;
  EXPECT_TRUE(Says(Refusal(lies, sealed), "PCR 11"));
}

TEST_F(Start, AConfirmedImageRaisesTheVersionIndexAndShutsOlderOnesOut) {
  const SealedKey sealed = SealNow(Approve(kImage, 3));
  Restart(kUpdate);
  const auto raise = [&](const Approval& approval) {
    auto vault = Open(approval);
    EXPECT_TRUE(vault.has_value());
    const auto raised = vault->RaiseVersion();
    EXPECT_TRUE(raised.has_value()) << Describe(raised.error());
    return vault->VersionIndex().value_or(0);
  };
  EXPECT_EQ(raise(Approve(kUpdate, 5)), 5U);
  EXPECT_EQ(raise(Approve(kUpdate, 5)), 5U);  // and again: nothing to do
  EXPECT_EQ(Refusal(Approve(kUpdate, 5), sealed), "");
  Restart(kImage);
  EXPECT_TRUE(Says(Refusal(Approve(kImage, 3), sealed), "older"));
}

TEST_F(Start, TheVersionIndexIsRaisedByNobodyElseAndNotAfterTheInitialRamDisk) {
  (void)SealNow(Approve(kImage, 3));
  Run("tpm2_changeauth -c owner secret");
  MakeKey("stranger");
  {
    auto stranger = Open(Approve(kImage, 9, "stranger"), "stranger");
    ASSERT_TRUE(stranger.has_value());
    EXPECT_FALSE(stranger->RaiseVersion());
  }
  auto vault = Open(Approve(kImage, 9));
  ASSERT_TRUE(vault.has_value());
  ASSERT_TRUE(vault->Lock());
  EXPECT_FALSE(vault->RaiseVersion());
  EXPECT_EQ(vault->VersionIndex().value_or(0), 3U);
}

TEST_F(Start, WithoutAVersionIndexThereIsNothingToRead) {
  auto vault = Open(Approve(kImage, 3));
  ASSERT_TRUE(vault.has_value());
  EXPECT_EQ(vault->VersionIndex().error().code, Code::kNotFound);
}

TEST_F(Start, AnotherImageUnderTheSameApprovalIsRefused) {
  const Approval approval = Approve(kImage, 3);
  const SealedKey sealed = SealNow(approval);
  Restart(kUpdate);
  EXPECT_TRUE(Says(Refusal(approval, sealed), "PCR 11"));
}

TEST_F(Start, AnotherKeyAndAFalseSignatureAreRefused) {
  const SealedKey sealed = SealNow(Approve(kImage, 3));
  MakeKey("stranger");
  EXPECT_TRUE(Says(Refusal(Approve(kImage, 3, "stranger"), sealed, "stranger"), "another PCR key"));
  Approval false_signature = Approve(kImage, 3);
  false_signature.signature = Approve(kImage, 3, "stranger").signature;
  EXPECT_TRUE(Says(Refusal(false_signature, sealed), "not signed"));
  // The header names the stranger as the one it was sealed to: the TPM itself says no.
  SealedKey forged = sealed;
  forged.approver_name = tpm::NameOfPublicArea(RsaPublicArea(Read("stranger.pem")).value());
  auto vault = Open(Approve(kImage, 3, "stranger"), "stranger");
  ASSERT_TRUE(vault.has_value());
  Hash out{};
  EXPECT_FALSE(vault->Unseal(forged, out));
  EXPECT_EQ(out, Hash{});
}

TEST_F(Start, SecureBootOffIsRefusedWhateverTheHeaderSays) {
  const Approval approval = Approve(kImage, 3);
  const SealedKey sealed = SealNow(approval);
  Restart(kImage, Filled(0));
  EXPECT_TRUE(Says(Refusal(approval, sealed), "Secure Boot"));
  SealedKey forged = sealed;
  forged.pcr_7 = Extended(Hash{}, Filled(0));
  auto vault = Open(approval);
  ASSERT_TRUE(vault.has_value());
  Hash out{};
  EXPECT_FALSE(vault->Unseal(forged, out));
  EXPECT_EQ(out, Hash{});
}

TEST_F(Start, UnsignedAddOnsAreRefused) {
  const Approval approval = Approve(kImage, 3);
  const SealedKey sealed = SealNow(approval);
  Measure(12, Filled(1));
  EXPECT_TRUE(Says(Refusal(approval, sealed), "PCR 12"));
  // And nothing is sealed in such a start: it could not be opened in the next.
  auto vault = Open(approval);
  ASSERT_TRUE(vault.has_value());
  EXPECT_FALSE(vault->Seal(kSecret));
}

TEST_F(Start, AClearedTpmIsRefusedAndTheOldKeyIsNotMadeAnew) {
  const Approval approval = Approve(kImage, 3);
  const SealedKey sealed = SealNow(approval);
  Run("tpm2_clear");
  EXPECT_TRUE(Says(Refusal(approval, sealed), "recovery key"));
  const SealedKey anew = SealNow(approval);  // with the recovery key one seals again
  EXPECT_TRUE(Says(Refusal(approval, sealed), "recovery key"));
  EXPECT_EQ(Refusal(approval, anew), "");
}

TEST_F(Start, ALockedDownTpmStillOpensAndNeedsNoOwner) {
  const Approval approval = Approve(kImage, 3);
  const SealedKey sealed = SealNow(approval);
  Run("tpm2_changeauth -c owner secret && tpm2_changeauth -c endorsement secret");
  Restart(kImage);
  EXPECT_EQ(Refusal(approval, sealed), "");
}

// V is as tpm2-tools see it, and its owner alone can write it outside of an approved start.
TEST_F(Start, TheVersionIndexHasTheNameThatApprovalsName) {
  (void)SealNow(Approve(kImage, 3));
  Run("tpm2_nvreadpublic 0x01815303 >public && tpm2_nvread 0x01815303 -o value");
  const Bytes name = VersionIndexName(tpm::NameOfPublicArea(RsaPublicArea(Read("owner.pem")).value()));
  EXPECT_NE(Read("public").find(HexOf(name)), std::string::npos) << Read("public");
  EXPECT_TRUE(SameBytes(AsBytes(Read("value")), VersionOperand(3)));
  (void)bed_.File("higher", VersionOperand(9));
  Run("tpm2_changeauth -c owner secret");
  EXPECT_NE(bed_.Tool("tpm2_nvwrite 0x01815303 -i higher"), 0);
}

}  // namespace
}  // namespace stele::state
