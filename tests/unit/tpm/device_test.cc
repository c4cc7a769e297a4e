// Goal: the anchor's registers do what they say on a real swtpm, and say so when somebody on the wire or in the TPM meddles.
// Method: swtpm through our own transport; a man in the middle drops, replays and changes; tpm2-tools play the attacker with
// the owner's authorisation and the independent verifier.
#include "tpm/device.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "appliance/base/hash.h"
#include "tests/unit/tpm/testbed.h"
#include "tpm/attest.h"
#include "tpm/names.h"

namespace stele::tpm::test {
namespace {

Hash Extended(const Hash& old, const Hash& digest) { return Sha256Of({old, digest}); }

Signer SignerOf(const ProvisionResult& result, const Bytes& qualified) { return Signer{result.ak_public_pem, qualified}; }

TEST(AnchorDevice, RegistersExtendCountAndReadBack) {
  Testbed bed;
  ASSERT_NO_FATAL_FAILURE(bed.Provision());
  const auto device = bed.Device();
  ASSERT_TRUE(device);

  EXPECT_EQ(device->ReadPcr().value(), Hash{});
  ASSERT_TRUE(device->ExtendPcr(Filled(1)));
  EXPECT_EQ(device->ReadPcr().value(), Extended(Hash{}, Filled(1)));
  ASSERT_TRUE(device->ExtendPcr(Filled(2)));
  EXPECT_EQ(device->ReadPcr().value(), Extended(Extended(Hash{}, Filled(1)), Filled(2)));

  EXPECT_EQ(device->ReadIndex().value(), bed.result.index_start);
  Hash index = bed.result.index_start;
  for (std::uint8_t i = 1; i <= 3; ++i) {
    const auto extended = device->ExtendIndex(Filled(i));
    ASSERT_TRUE(extended.has_value()) << Describe(extended.error());
    const auto counted = device->IncrementCounter();
    ASSERT_TRUE(counted.has_value()) << Describe(counted.error());
    index = Extended(index, Filled(i));
    EXPECT_EQ(device->ReadIndex().value(), index);
    EXPECT_EQ(device->ReadCounter().value(), bed.result.counter_start + i);
  }
  const auto clock = device->ReadClock();
  ASSERT_TRUE(clock.has_value());
  EXPECT_EQ(clock->reset_count, bed.result.reset_count);
  EXPECT_TRUE(device->alive());
}

TEST(AnchorDevice, QuoteIsAcceptedByOurVerifierAndByTpm2Checkquote) {
  Testbed bed;
  ASSERT_NO_FATAL_FAILURE(bed.Provision());
  auto device = bed.Device();
  ASSERT_TRUE(device);
  ASSERT_TRUE(device->ExtendPcr(Filled(7)));
  const Hash nonce = Filled(0x5a);
  const auto quote = device->Quote(nonce);
  ASSERT_TRUE(quote.has_value()) << Describe(quote.error());
  const Bytes qualified = QualifiedNameOf(bed.result.identity.ek_name, bed.result.identity.ak_name);
  const Signer signer = SignerOf(bed.result, qualified);
  const auto attested = VerifyQuote(*quote, signer, nonce, kDefaultPcr);
  ASSERT_TRUE(attested.has_value()) << Describe(attested.error());
  EXPECT_EQ(attested->clock.reset_count, bed.result.reset_count);
  EXPECT_EQ(attested->firmware_version, bed.result.firmware_version);
  EXPECT_EQ(VerifyQuotedValues(*attested, quote->pcr_values, kDefaultPcr).value(), Extended(Hash{}, Filled(7)));

  // Wrong nonce, other registers, other values, each altered byte.
  EXPECT_EQ(VerifyQuote(*quote, signer, Filled(0x5b), kDefaultPcr).error().code, Code::kDenied);
  EXPECT_EQ(VerifyQuote(*quote, signer, nonce, 13).error().code, Code::kDenied);
  EXPECT_EQ(VerifyQuote(*quote, Signer{bed.result.ak_public_pem, bed.result.identity.ak_name}, nonce, 14).error().code,
            Code::kDenied);
  auto values = quote->pcr_values;
  values.back()[0] ^= std::byte{1};
  EXPECT_EQ(VerifyQuotedValues(*attested, values, kDefaultPcr).error().code, Code::kDenied);
  for (std::size_t at = 0; at < quote->attest.size(); ++at) {
    TpmAttestation altered = *quote;
    altered.attest[at] ^= std::byte{0x10};
    ASSERT_FALSE(VerifyQuote(altered, signer, nonce, kDefaultPcr)) << "byte " << at;
  }

  const Bytes blob = ToolPcrBlob(attested->selection, quote->pcr_values);
  EXPECT_EQ(blob.size(), 1200U);  // as tpm2_quote -o writes it
  (void)bed.File("ak.pem", AsBytes(bed.result.ak_public_pem));
  (void)bed.File("quote.msg", quote->attest);
  (void)bed.File("quote.sig", quote->signature);
  (void)bed.File("quote.pcrs", blob);
  const std::string check = "tpm2_checkquote -u ak.pem -m quote.msg -s quote.sig -g sha256 -f quote.pcrs -q ";
  EXPECT_EQ(bed.Tool(check + HexOf(nonce)), 0);
  EXPECT_NE(bed.Tool(check + HexOf(Filled(0x5b))), 0);
  (void)bed.File("quote.pcrs", ToolPcrBlob(attested->selection, values));
  EXPECT_NE(bed.Tool(check + HexOf(nonce)), 0);  // another value of one register
}

TEST(AnchorDevice, CertificatesOfCounterAndIndexCarryTheirValuesAndNames) {
  Testbed bed;
  ASSERT_NO_FATAL_FAILURE(bed.Provision());
  const auto device = bed.Device();
  ASSERT_TRUE(device);
  ASSERT_TRUE(device->ExtendIndex(Filled(9)));
  ASSERT_TRUE(device->IncrementCounter());
  const Hash nonce = Filled(0x11);
  const Bytes qualified = QualifiedNameOf(bed.result.identity.ek_name, bed.result.identity.ak_name);
  const Signer signer = SignerOf(bed.result, qualified);
  const Bytes& counter_name = bed.result.identity.counter_name;
  const Bytes& index_name = bed.result.identity.index_name;

  const auto of_counter = device->CertifyCounter(nonce);
  ASSERT_TRUE(of_counter.has_value()) << Describe(of_counter.error());
  const auto counter = VerifyCounter(*of_counter, signer, nonce, counter_name);
  ASSERT_TRUE(counter.has_value()) << Describe(counter.error());
  EXPECT_EQ(counter->value, bed.result.counter_start + 1);
  EXPECT_EQ(counter->attested.clock.reset_count, bed.result.reset_count);

  const auto of_index = device->CertifyIndex(nonce);
  ASSERT_TRUE(of_index.has_value()) << Describe(of_index.error());
  const auto index = VerifyIndex(*of_index, signer, nonce, index_name);
  ASSERT_TRUE(index.has_value()) << Describe(index.error());
  EXPECT_EQ(index->value, Extended(bed.result.index_start, Filled(9)));

  // One is not taken for the other, nor for a quote (tpm2_checkquote without a PCR file does take it for one).
  EXPECT_EQ(VerifyIndex(*of_counter, signer, nonce, counter_name).error().code, Code::kDenied);
  EXPECT_EQ(VerifyCounter(*of_counter, signer, nonce, index_name).error().code, Code::kDenied);
  EXPECT_EQ(VerifyCounter(*of_counter, signer, Filled(0x12), counter_name).error().code, Code::kDenied);
  EXPECT_EQ(VerifyCounter(*of_counter, signer, nonce, {}).error().code, Code::kDenied);
  EXPECT_EQ(VerifyQuote(*of_counter, signer, nonce, kDefaultPcr).error().code, Code::kDenied);
}

TEST(AnchorDevice, ATpmWithoutNvCertifyGivesAuditedReadsInstead) {
  Testbed bed;
  const auto meddler = [&bed] {
    auto made = std::make_unique<Meddler>(bed.Connect());
    EXPECT_TRUE(made->Obey("lack NV_Certify"));
    return made;
  };
  {
    auto provisioning = meddler();
    ProvisionOptions options;
    options.provisioning_key_pem = MakeSigningKey().value();
    SystemEntropy entropy;
    auto made = stele::tpm::Provision(provisioning->TakeDeviceEnd(), options, entropy);
    ASSERT_TRUE(made.has_value()) << Describe(made.error());
    bed.result = std::move(*made);
  }
  // What a locked-down TPM leaves the daemon: no authorisation of a hierarchy.
  ASSERT_EQ(bed.Tool("tpm2_changeauth -c endorsement endorsement-secret"), 0);
  auto between = meddler();
  auto device = AnchorDevice::Open(between->TakeDeviceEnd(), ConfigOf(bed.result));
  ASSERT_TRUE(device.has_value()) << Describe(device.error());
  const Bytes qualified = QualifiedNameOf(bed.result.identity.ek_name, bed.result.identity.ak_name);
  const Signer signer = SignerOf(bed.result, qualified);
  Hash index = bed.result.index_start;
  for (std::uint8_t i = 1; i <= 3; ++i) {  // sessions do not run out
    ASSERT_TRUE((*device)->ExtendIndex(Filled(i)));
    ASSERT_TRUE((*device)->IncrementCounter());
    index = Extended(index, Filled(i));
    const auto of_counter = (*device)->CertifyCounter(Filled(0x11));
    ASSERT_TRUE(of_counter.has_value()) << Describe(of_counter.error());
    const auto counter = VerifyCounter(*of_counter, signer, Filled(0x11), bed.result.identity.counter_name);
    ASSERT_TRUE(counter.has_value()) << Describe(counter.error());
    EXPECT_EQ(counter->value, bed.result.counter_start + i);
    EXPECT_EQ(counter->attested.clock.reset_count, bed.result.reset_count);
    const auto of_index = (*device)->CertifyIndex(Filled(0x12));
    ASSERT_TRUE(of_index.has_value()) << Describe(of_index.error());
    EXPECT_EQ(VerifyIndex(*of_index, signer, Filled(0x12), bed.result.identity.index_name).value().value, index);
    EXPECT_FALSE(VerifyCounter(*of_counter, signer, Filled(0x12), bed.result.identity.counter_name));  // another nonce
    EXPECT_FALSE(VerifyIndex(*of_counter, signer, Filled(0x11), bed.result.identity.index_name));
    TpmAttestation lie = *of_counter;
    lie.contents.back() ^= std::byte{1};
    EXPECT_FALSE(VerifyCounter(lie, signer, Filled(0x11), bed.result.identity.counter_name));
  }
  EXPECT_EQ(between->Count(kCcNvCertify), 0);
  const auto quote = (*device)->Quote(Filled(3));
  ASSERT_TRUE(quote.has_value()) << Describe(quote.error());
}

// The attack that exclusive sessions are about: read, let the counter go on, then have the old value signed with a new
// nonce.
TEST(AnchorDevice, AnAuditedReadDoesNotOutliveAWriteOfTheIndex) {
  Testbed bed;
  ASSERT_NO_FATAL_FAILURE(bed.Provision());
  const std::string handle = fmt::format("0x{:x}", bed.result.handles.counter);
  ASSERT_EQ(bed.Tool("tpm2_startauthsession --hmac-session --audit-session -S audit.ctx && "
                     "tpm2_nvread " +
                     handle + " -C " + handle + " -S audit.ctx -o old.value"),
            0);
  ASSERT_TRUE(bed.Device()->IncrementCounter());
  const std::string attest = "tpm2_getsessionauditdigest -c " + fmt::format("0x{:x}", bed.result.handles.ak) +
                             " -g sha256 -q " + HexOf(Filled(0x5a)) + " -m audit.msg -s audit.sig -S audit.ctx";
  ASSERT_EQ(bed.Tool(attest), 0);
  TpmAttestation old;
  old.attest = ReadFile(bed.directory() / "audit.msg", 4096).value();
  old.signature = ReadFile(bed.directory() / "audit.sig", 4096).value();
  old.contents = ReadFile(bed.directory() / "old.value", 4096).value();
  const auto verified =
      VerifyCounter(old, Signer{bed.result.ak_public_pem, {}}, Filled(0x5a), bed.result.identity.counter_name);
  ASSERT_FALSE(verified.has_value());
  EXPECT_EQ(verified.error().code, Code::kDenied);
  EXPECT_NE(verified.error().context.find("other commands ran"), std::string::npos) << verified.error().context;
}

TEST(AnchorDevice, ARebootKeepsTheIndicesAndTheKeyAndResetsThePcr) {
  Testbed bed;
  ASSERT_NO_FATAL_FAILURE(bed.Provision());
  Hash index = bed.result.index_start;
  const auto one_boot = [&](std::uint32_t boots, bool power_cut) {
    auto device = bed.Device();
    ASSERT_TRUE(device);
    EXPECT_EQ(device->ReadPcr().value(), Hash{}) << "boot " << boots;
    EXPECT_EQ(device->ReadClock().value().reset_count, bed.result.reset_count + boots);
    EXPECT_EQ(device->ReadCounter().value(), bed.result.counter_start + boots);
    EXPECT_EQ(device->ReadIndex().value(), index);
    const TpmIdentity identity = device->Identity().value();
    EXPECT_EQ(identity.ek_name, bed.result.identity.ek_name);
    EXPECT_EQ(identity.ak_name, bed.result.identity.ak_name);
    EXPECT_EQ(identity.counter_name, bed.result.identity.counter_name);
    EXPECT_EQ(identity.index_name, bed.result.identity.index_name);
    EXPECT_TRUE(device->Quote(Filled(1)));
    ASSERT_TRUE(device->ExtendPcr(Filled(3)));
    ASSERT_TRUE(device->ExtendIndex(Filled(3)));
    ASSERT_TRUE(device->IncrementCounter());
    index = Extended(index, Filled(3));
    if (power_cut) {
      bed.PowerCut();
      EXPECT_FALSE(device->ReadPcr());  // the old connection is dead and says so
      EXPECT_FALSE(device->alive());
      EXPECT_EQ(device->ExtendPcr(Filled(1)).error().code, Code::kUnavailable);
    } else {
      device.reset();
      bed.Reboot();
    }
  };
  one_boot(0, false);
  // Four power cuts: more than the three after which a TPM without noda would lock out.
  for (std::uint32_t boots = 1; boots <= 4; ++boots) one_boot(boots, true);
  const auto device = bed.Device();
  ASSERT_TRUE(device);
  EXPECT_EQ(device->ReadCounter().value(), bed.result.counter_start + 5);
  EXPECT_EQ(device->ReadIndex().value(), index);
  EXPECT_TRUE(device->Quote(Filled(1)));
}

TEST(AnchorDevice, ATpmResetUnderAnOpenConnectionIsNotMistakenForTheOldBoot) {
  Testbed bed;
  ASSERT_NO_FATAL_FAILURE(bed.Provision());
  auto device = bed.Device();
  ASSERT_TRUE(device);
  ASSERT_TRUE(device->ExtendPcr(Filled(1)));
  ASSERT_EQ(bed.Tool("swtpm_ioctl --unix s.ctrl -i"), 0);
  // Not started up yet: every command is refused.
  EXPECT_FALSE(device->ReadPcr());
  EXPECT_FALSE(device->ExtendPcr(Filled(1)));
  device.reset();
  ASSERT_EQ(bed.Tool("tpm2_startup -c"), 0);
  device = bed.Device();
  ASSERT_TRUE(device);
  EXPECT_EQ(device->ReadPcr().value(), Hash{});
  EXPECT_EQ(device->ReadClock().value().reset_count, bed.result.reset_count + 1);
  EXPECT_EQ(device->ReadCounter().value(), bed.result.counter_start);
}

TEST(AnchorDevice, ARecreatedIndexHasTheSameUnwrittenNameAndCannotBeWritten) {
  Testbed bed;
  ASSERT_NO_FATAL_FAILURE(bed.Provision());
  const WritePolicy policy = WritePolicyOf(bed.result.provisioning_public_pem).value();
  (void)bed.File("policy", policy.policy);
  (void)bed.File("data", Filled(1));
  ASSERT_EQ(bed.Tool("tpm2_nvundefine -C o 0x01815301 && tpm2_nvundefine -C o 0x01815302"), 0);
  {
    const auto gone = bed.Device();
    ASSERT_TRUE(gone);
    EXPECT_TRUE(gone->Identity().value().counter_name.empty());
    EXPECT_EQ(gone->ReadIndex().error().code, Code::kNotFound);
    EXPECT_EQ(gone->IncrementCounter().error().code, Code::kNotFound);
  }
  ASSERT_EQ(bed.Tool("tpm2_nvdefine -C o -g sha256 -s 8 -a 'policywrite|authread|no_da|nt=counter' -L policy 0x01815301"), 0);
  ASSERT_EQ(bed.Tool("tpm2_nvdefine -C o -g sha256 -s 32 -a 'policywrite|authread|no_da|nt=extend' -L policy 0x01815302"), 0);
  EXPECT_NE(bed.Tool("tpm2_nvincrement -C 0x01815301 0x01815301"), 0);  // the index's own empty authorisation
  EXPECT_NE(bed.Tool("tpm2_nvincrement -C o 0x01815301"), 0);           // the owner's
  EXPECT_NE(bed.Tool("tpm2_nvextend -C o -i data 0x01815302"), 0);
  // The first branch of the policy, as the daemon satisfies it, is refused as well: the index is not written.
  (void)bed.File("b1", policy.written);
  (void)bed.File("b2", policy.first);
  EXPECT_NE(bed.Tool("tpm2_startauthsession --policy-session -S sess && tpm2_policynvwritten -S sess s && "
                     "tpm2_policyor -S sess -l sha256:b1,b2 && tpm2_nvincrement -C 0x01815301 -P session:sess 0x01815301"),
            0);
  EXPECT_EQ(bed.Tool("tpm2_flushcontext sess"), 0);
  AnchorConfig unpinned = ConfigOf(bed.result);
  unpinned.pinned = {};
  auto device = AnchorDevice::Open(bed.Connect(), unpinned);
  ASSERT_TRUE(device.has_value());
  EXPECT_TRUE((*device)->Identity().value().index_name.empty());  // there, but unwritten
  EXPECT_EQ((*device)->ExtendIndex(Filled(1)).error().code, Code::kTpm);
  EXPECT_EQ((*device)->IncrementCounter().error().code, Code::kTpm);
  EXPECT_FALSE((*device)->ReadCounter());
  device->reset();
  const auto pinned = bed.Device();
  EXPECT_EQ(pinned->ExtendIndex(Filled(1)).error().code, Code::kDenied);
}

TEST(AnchorDevice, AClearedTpmHasLostTheAttestationKey) {
  Testbed bed;
  ASSERT_NO_FATAL_FAILURE(bed.Provision());
  ASSERT_EQ(bed.Tool("tpm2_clear -c p"), 0);
  const auto device = bed.Device();
  ASSERT_TRUE(device);
  const TpmIdentity identity = device->Identity().value();
  EXPECT_TRUE(identity.ak_name.empty());
  EXPECT_TRUE(identity.counter_name.empty());
  EXPECT_EQ(device->Quote(Filled(1)).error().code, Code::kNotFound);
}

TEST(AnchorDevice, NothingIsWrittenToAnotherTpmThanThePinnedOne) {
  Testbed bed;
  ASSERT_NO_FATAL_FAILURE(bed.Provision());
  AnchorConfig config = ConfigOf(bed.result);
  config.pinned.ek_name[5] ^= std::byte{1};
  const auto device = AnchorDevice::Open(bed.Connect(), config);
  ASSERT_TRUE(device.has_value());
  EXPECT_EQ((*device)->ExtendPcr(Filled(1)).error().code, Code::kDenied);
  EXPECT_EQ((*device)->ExtendIndex(Filled(1)).error().code, Code::kDenied);
  EXPECT_EQ((*device)->IncrementCounter().error().code, Code::kDenied);
  EXPECT_EQ((*device)->Identity().value().ek_name, bed.result.identity.ek_name);
  EXPECT_EQ((*device)->ReadPcr().value(), Hash{});
}

TEST(AnchorDevice, RefusesAResettablePcrAndADisabledBank) {
  Testbed bed;
  ASSERT_NO_FATAL_FAILURE(bed.Provision());
  for (const std::uint32_t pcr : {0U, 11U, 16U, 23U, 24U, 99U}) {
    AnchorConfig config = ConfigOf(bed.result);
    config.pcr = pcr;
    EXPECT_EQ(AnchorDevice::Open(bed.Connect(), config).error().code, Code::kInvalid) << pcr;
  }
  ASSERT_EQ(bed.Tool("tpm2_pcrallocate -P '' sha1:all+sha256:none"), 0);
  bed.Reboot();
  EXPECT_EQ(AnchorDevice::Open(bed.Connect(), ConfigOf(bed.result)).error().code, Code::kDenied);
}

TEST(AnchorDevice, SessionsLeftBehindByOthersAreFlushed) {
  Testbed bed;
  ASSERT_NO_FATAL_FAILURE(bed.Provision());
  // All the session slots a TPM has: swtpm keeps what a client leaves behind.
  for (int i = 0; i < 4; ++i) (void)bed.Tool("tpm2_startauthsession -S left" + std::to_string(i));
  const auto device = bed.Device();
  ASSERT_TRUE(device);
  EXPECT_TRUE(device->ExtendPcr(Filled(1)));
  EXPECT_TRUE(device->IncrementCounter());
}

class MeddledDevice : public testing::Test {
 protected:
  void SetUp() override {
    bed_.Provision();
    if (HasFatalFailure()) return;
    meddler_ = std::make_unique<Meddler>(bed_.Connect());
    auto device = AnchorDevice::Open(meddler_->TakeDeviceEnd(), ConfigOf(bed_.result));
    ASSERT_TRUE(device.has_value()) << Describe(device.error());
    device_ = std::move(*device);
  }
  void Reopen() {  // without a meddler
    device_.reset();
    meddler_.reset();
    device_ = bed_.Device();
    ASSERT_TRUE(device_);
  }

  Testbed bed_;
  std::unique_ptr<Meddler> meddler_;
  std::unique_ptr<AnchorDevice> device_;  // destroyed before the meddler it talks through
};

TEST_F(MeddledDevice, AWriteDroppedOnTheBusIsNoticedHoweverTheAnswerIsForged) {
  struct Case {
    std::uint32_t code;
    std::function<Result<void>()> write;
  };
  const std::vector<Case> cases = {
      {kCcPcrExtend, [this] { return device_->ExtendPcr(Filled(1)); }},
      {kCcNvIncrement, [this] { return device_->IncrementCounter(); }},
      {kCcNvExtend, [this] { return device_->ExtendIndex(Filled(1)); }},
  };
  for (const Case& one : cases) {
    Bytes genuine;
    meddler_->change = [&](std::uint32_t code, Bytes& answer) {
      if (code == one.code) genuine = answer;
    };
    ASSERT_TRUE(one.write());
    ASSERT_FALSE(genuine.empty());
    meddler_->instead = [&](std::uint32_t code, const Bytes&) -> std::optional<Bytes> {
      if (code == one.code) return genuine;  // yesterday's answer
      return std::nullopt;
    };
    const auto dropped = one.write();
    ASSERT_FALSE(dropped.has_value()) << std::hex << one.code;
    EXPECT_EQ(dropped.error().code, Code::kTpm);
    EXPECT_FALSE(device_->alive());
    device_.reset();
    meddler_ = std::make_unique<Meddler>(bed_.Connect());
    auto again = AnchorDevice::Open(meddler_->TakeDeviceEnd(), ConfigOf(bed_.result));
    ASSERT_TRUE(again.has_value());
    device_ = std::move(*again);
  }
  EXPECT_EQ(device_->ReadPcr().value(), Extended(Hash{}, Filled(1)));
  EXPECT_EQ(device_->ReadCounter().value(), bed_.result.counter_start + 1);
  EXPECT_EQ(device_->ReadIndex().value(), Extended(bed_.result.index_start, Filled(1)));
}

TEST_F(MeddledDevice, AChangedReadBackIsNoticed) {
  for (const std::uint32_t code : {kCcPcrRead, kCcNvRead}) {
    meddler_->change = [code](std::uint32_t seen, Bytes& answer) {
      if (seen != code) return;
      answer[code == kCcPcrRead ? 36 : 18] ^= std::byte{1};  // inside the value
    };
    const auto pcr = device_->ReadPcr();
    if (code == kCcPcrRead) {
      EXPECT_FALSE(pcr.has_value());
    } else {
      EXPECT_FALSE(device_->ReadCounter().has_value());
    }
    EXPECT_FALSE(device_->alive());
    device_.reset();
    meddler_ = std::make_unique<Meddler>(bed_.Connect());
    auto again = AnchorDevice::Open(meddler_->TakeDeviceEnd(), ConfigOf(bed_.result));
    ASSERT_TRUE(again.has_value());
    device_ = std::move(*again);
  }
}

TEST_F(MeddledDevice, AnEndorsementKeySwappedOnTheBusIsNotSaltedTo) {
  device_.reset();
  meddler_ = std::make_unique<Meddler>(bed_.Connect());
  bool changed = false;
  meddler_->change = [&changed](std::uint32_t code, Bytes& answer) {
    if (code != kCcReadPublic || answer.size() < 300) return;
    answer[200] ^= std::byte{1};  // inside the RSA modulus
    changed = true;
  };
  const auto device = AnchorDevice::Open(meddler_->TakeDeviceEnd(), ConfigOf(bed_.result));
  EXPECT_TRUE(changed);
  EXPECT_FALSE(device.has_value() && (*device)->ExtendPcr(Filled(1)).has_value());
}

TEST_F(MeddledDevice, RetryIsRepeatedBelowUsAndStillExtendsOnce) {
  for (const std::uint32_t rc : {0x922U, 0x90aU, 0x908U}) {  // RETRY, TESTING, YIELDED
    int refusals = 2;
    meddler_->instead = [&](std::uint32_t code, const Bytes&) -> std::optional<Bytes> {
      if (code == kCcPcrExtend && refusals-- > 0) return ErrorAnswer(rc);
      return std::nullopt;
    };
    const Hash before = device_->ReadPcr().value();
    ASSERT_TRUE(device_->ExtendPcr(Filled(4))) << std::hex << rc;
    EXPECT_EQ(device_->ReadPcr().value(), Extended(before, Filled(4)));
  }
}

TEST_F(MeddledDevice, NotNowIsUnavailableAndSentOnce) {
  for (const std::uint32_t rc : {0x920U, 0x921U, 0x923U}) {  // NV_RATE, LOCKOUT, NV_UNAVAILABLE
    const int before = meddler_->Count(kCcNvIncrement);
    meddler_->instead = [rc](std::uint32_t code, const Bytes&) -> std::optional<Bytes> {
      if (code == kCcNvIncrement) return ErrorAnswer(rc);
      return std::nullopt;
    };
    const auto refused = device_->IncrementCounter();
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, Code::kUnavailable);
    EXPECT_EQ(refused.error().detail, rc);
    EXPECT_EQ(meddler_->Count(kCcNvIncrement), before + 1);
    EXPECT_TRUE(device_->alive());
  }
  meddler_->instead = nullptr;
  EXPECT_TRUE(device_->IncrementCounter());  // the same device goes on
  EXPECT_EQ(device_->ReadCounter().value(), bed_.result.counter_start + 1);
}

// A lockout refuses FlushContext as well, so sessions are left behind and fill the TPM: opened anew, all is well again.
TEST_F(MeddledDevice, SessionsThatCouldNotBeFlushedAreGivenUpWithTheConnection) {
  for (int i = 0; i < 4 && device_->alive(); ++i) {
    ASSERT_TRUE(device_->IncrementCounter().has_value() || i > 0);
    ASSERT_TRUE(meddler_->Obey("answer any LOCKOUT"));
    EXPECT_FALSE(device_->ReadClock());
    ASSERT_TRUE(meddler_->Obey("clear"));
    (void)device_->IncrementCounter();
  }
  EXPECT_FALSE(device_->alive());
  Reopen();
  EXPECT_TRUE(device_->IncrementCounter());
}

TEST_F(MeddledDevice, AnyOtherRefusalIsATpmErrorAndSentOnce) {
  const int before = meddler_->Count(kCcPcrExtend);
  meddler_->instead = [](std::uint32_t code, const Bytes&) -> std::optional<Bytes> {
    if (code == kCcPcrExtend) return ErrorAnswer(0x101);  // TPM_RC_FAILURE
    return std::nullopt;
  };
  const auto refused = device_->ExtendPcr(Filled(1));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Code::kTpm);
  EXPECT_EQ(refused.error().detail, 0x101U);
  EXPECT_EQ(meddler_->Count(kCcPcrExtend), before + 1);
}

TEST_F(MeddledDevice, AnAnswerThatNeverComesKillsTheDeviceAfterItsTimeout) {
  device_.reset();
  meddler_ = std::make_unique<Meddler>(bed_.Connect());
  AnchorConfig config = ConfigOf(bed_.result);
  config.timeout_ms = 500;
  auto device = AnchorDevice::Open(meddler_->TakeDeviceEnd(), config);
  ASSERT_TRUE(device.has_value());
  meddler_->instead = [](std::uint32_t code, const Bytes&) -> std::optional<Bytes> {
    if (code == kCcPcrExtend) return Bytes{};  // silence
    return std::nullopt;
  };
  const auto silent = (*device)->ExtendPcr(Filled(1));
  ASSERT_FALSE(silent.has_value());
  EXPECT_EQ(silent.error().code, Code::kIo);
  EXPECT_EQ(silent.error().detail, static_cast<std::uint32_t>(ETIMEDOUT));
  EXPECT_FALSE((*device)->alive());
  EXPECT_EQ((*device)->ReadPcr().error().code, Code::kUnavailable);
  EXPECT_EQ(meddler_->Count(kCcPcrExtend), 1);
}

}  // namespace
}  // namespace stele::tpm::test
