// Goal: provisioning makes exactly what tpm/README.md says, refuses a provisioned TPM, and undoes its own half-done work.
// Method: swtpm; Names recomputed from bytes; the EK certificate chain checked against the state's own authority.
#include "tpm/provision.h"

#include <gtest/gtest.h>

#include "appliance/base/hash.h"
#include "tests/unit/tpm/testbed.h"
#include "tpm/certificate.h"
#include "tpm/names.h"
#include "tpm/signing.h"

namespace stele::tpm::test {
namespace {

TEST(Provision, RecordsTheTpmItsKeysAndTheFirstValues) {
  Testbed bed;
  ASSERT_NO_FATAL_FAILURE(bed.Provision());
  const ProvisionResult& made = bed.result;
  EXPECT_EQ(made.manufacturer, "IBM");
  EXPECT_EQ(made.vendor, "SW   TPM");
  EXPECT_TRUE(made.software_tpm);
  EXPECT_NE(made.firmware_version, 0U);
  EXPECT_NE(made.reset_count, 0U);
  EXPECT_GE(made.counter_start, 1U);
  EXPECT_NE(made.genesis_random, Hash{});
  EXPECT_EQ(made.index_start,
            Sha256Of({Hash{}, Sha256Of({AsBytes("stele/genesis/v1"), made.genesis_random})}));

  EXPECT_EQ(made.identity.ek_name, NameOfPublicArea(ByteView(made.ek_public).subspan(2)));
  const AttestationKey ak = ParseAttestationKey(made.ak_public).value();
  EXPECT_EQ(made.identity.ak_name, ak.name);
  EXPECT_EQ(made.ak_public_pem, ak.public_pem);
  EXPECT_EQ(made.identity.counter_name, WrittenCounterName(made.handles, made.provisioning_public_pem).value());
  EXPECT_EQ(made.identity.index_name, WrittenIndexName(made.handles, made.provisioning_public_pem).value());

  // The EK certificate: for this EK, from this authority, at this time only.
  const std::string authority = SwtpmCaPem(bed.directory() / "tpm").value();
  SystemClock clock;
  EXPECT_TRUE(CheckEkCertificate(made.ek_certificate_der, made.ek_public));
  const auto chain = VerifyEkChain(made.ek_certificate_der, authority, clock.WallNs());
  EXPECT_TRUE(chain.has_value()) << Describe(chain.error());
  EXPECT_EQ(VerifyEkChain(made.ek_certificate_der, authority, 1'000'000'000).error().code, Code::kDenied);
  EXPECT_EQ(VerifyEkChain(made.ek_certificate_der, "", clock.WallNs()).error().code, Code::kDenied);
  const auto between = EkIntermediates(made.ek_certificate_der, authority, clock.WallNs());
  ASSERT_TRUE(between) << Describe(between.error());
  EXPECT_EQ(between->rfind("-----BEGIN CERTIFICATE-----"), 0U) << "swtpm's CA has one certificate between";
  EXPECT_EQ(VerifyEkChain(made.ek_certificate_der, *between, clock.WallNs()).error().code, Code::kDenied) << "a root is not among them";
  Bytes other_ek = made.ek_public;
  other_ek.back() ^= std::byte{2};
  EXPECT_EQ(CheckEkCertificate(made.ek_certificate_der, other_ek).error().code, Code::kDenied);
  for (std::size_t size = 0; size < other_ek.size(); ++size) {
    EXPECT_FALSE(CheckEkCertificate(made.ek_certificate_der, ByteView(other_ek).first(size)));
  }
  Bytes padded = made.ek_certificate_der;
  padded.resize(padded.size() + 20);
  EXPECT_EQ(TrimCertificate(padded).value(), made.ek_certificate_der);
  EXPECT_FALSE(TrimCertificate(ByteView(padded).first(100)));

  // A second provisioning changes nothing and says what is in the way.
  ProvisionOptions options;
  options.provisioning_key_pem = bed.key_pem;
  SystemEntropy entropy;
  const auto again = Provision(bed.Connect(), options, entropy);
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().code, Code::kDenied);
  EXPECT_NE(again.error().context.find("0x81015354"), std::string::npos) << again.error().context;
  EXPECT_EQ(bed.Device()->ReadCounter().value(), made.counter_start);
}

TEST(Provision, AForeignIndexAtOurHandleIsNotTouched) {
  Testbed bed;
  ASSERT_EQ(bed.Tool("tpm2_nvdefine -C o -s 8 -a 'ownerwrite|ownerread' 0x01815302"), 0);
  ProvisionOptions options;
  options.provisioning_key_pem = MakeSigningKey().value();
  SystemEntropy entropy;
  const auto refused = Provision(bed.Connect(), options, entropy);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Code::kDenied);
  EXPECT_NE(refused.error().context.find("0x01815302"), std::string::npos) << refused.error().context;
  EXPECT_EQ(bed.Tool("tpm2_nvreadpublic 0x01815302"), 0);
  EXPECT_NE(bed.Tool("tpm2_nvreadpublic 0x01815301"), 0);
}

TEST(Provision, TheEndorsementKeyIsMadeAgainWhereNobodyKeptIt) {
  Testbed bed;
  Bytes kept_name;
  {
    auto device = AnchorDevice::Open(bed.Connect(), AnchorConfig{});
    ASSERT_TRUE(device.has_value()) << Describe(device.error());
    kept_name = (*device)->Identity().value().ek_name;
  }
  ASSERT_EQ(bed.Tool("tpm2_evictcontrol -C o -c 0x81010001"), 0);
  ASSERT_NO_FATAL_FAILURE(bed.Provision());
  EXPECT_EQ(bed.result.identity.ek_name, kept_name);  // same seed, same template, same key
  EXPECT_FALSE(bed.result.ek_certificate_der.empty());
}

TEST(Provision, AFailureOnTheWayLeavesNothingBehind) {
  Testbed bed;
  ProvisionOptions options;
  options.provisioning_key_pem = MakeSigningKey().value();
  SystemEntropy entropy;
  Meddler meddler(bed.Connect());
  meddler.instead = [](std::uint32_t code, const Bytes&) -> std::optional<Bytes> {
    if (code == kCcNvExtend) return ErrorAnswer(0x101);
    return std::nullopt;
  };
  const auto failed = Provision(meddler.TakeDeviceEnd(), options, entropy);
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code, Code::kTpm);
  meddler.Close();
  EXPECT_NE(bed.Tool("tpm2_nvreadpublic 0x01815301"), 0);
  EXPECT_NE(bed.Tool("tpm2_nvreadpublic 0x01815302"), 0);
  EXPECT_NE(bed.Tool("tpm2_readpublic -c 0x81015354"), 0);
  EXPECT_EQ(bed.Tool("tpm2_readpublic -c 0x81010001"), 0);  // was there before
  ASSERT_NO_FATAL_FAILURE(bed.Provision());                 // and the next attempt succeeds
}

TEST(Provision, WithoutTheProvisioningKeysSignatureTheFirstWriteIsRefused) {
  Testbed bed;
  const std::string right = PublicPemOf(MakeSigningKey().value()).value();
  const WritePolicy policy = WritePolicyOf(right).value();
  (void)bed.File("policy", policy.policy);
  (void)bed.File("b1", policy.written);
  (void)bed.File("b2", policy.first);
  ASSERT_EQ(bed.Tool("tpm2_nvdefine -C o -g sha256 -s 8 -a 'policywrite|authread|no_da|nt=counter' -L policy 0x01815301"), 0);
  // NvWritten(NO) alone is not the second branch.
  EXPECT_NE(bed.Tool("tpm2_startauthsession --policy-session -S sess && "
                     "tpm2_policynvwritten -S sess c && tpm2_policyor -S sess -l sha256:b1,b2 && "
                     "tpm2_nvincrement -C 0x01815301 -P session:sess 0x01815301"), 0);
  (void)bed.Tool("tpm2_flushcontext sess");
  EXPECT_NE(bed.Tool("tpm2_nvincrement -C 0x01815301 0x01815301"), 0);
  EXPECT_NE(bed.Tool("tpm2_nvread -C 0x01815301 0x01815301"), 0);  // still unwritten
}

TEST(Provision, RefusesKeysAndRegistersItCannotUse) {
  Testbed bed;
  SystemEntropy entropy;
  ProvisionOptions options;
  EXPECT_EQ(Provision(bed.Connect(), options, entropy).error().code, Code::kInvalid);
  options.provisioning_key_pem = MakeSigningKey().value();
  options.pcr = 16;
  EXPECT_EQ(Provision(bed.Connect(), options, entropy).error().code, Code::kInvalid);
}

}  // namespace
}  // namespace stele::tpm::test
