// Goal: Names, policies and the signing helper. Method: published values where there are any, round trips, hostile input; the
// Names a real TPM gives are compared in provision_test.cc.
#include "tpm/names.h"

#include <gtest/gtest.h>

#include "tpm/big_endian.h"
#include "tpm/signing.h"

namespace stele::tpm {
namespace {

TEST(Names, QuoteCoversFirmwareKernelAndTheAnchorsRegister) {
  const std::vector<std::uint32_t> expected = {0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 12, 14};
  EXPECT_EQ(RegistersOf(QuoteSelection(14)), expected);
  const std::vector<std::uint32_t> with_eight = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12};
  EXPECT_EQ(RegistersOf(QuoteSelection(8)), with_eight);
  for (std::uint32_t pcr = 0; pcr < 40; ++pcr) EXPECT_EQ(IsAnchorPcr(pcr), pcr == 8 || pcr == 13 || pcr == 14);
}

TEST(Names, WritePolicyDependsOnTheKeyExceptForTheFirstBranch) {
  const std::string one = PublicPemOf(MakeSigningKey().value()).value();
  const std::string two = PublicPemOf(MakeSigningKey().value()).value();
  const WritePolicy a = WritePolicyOf(one).value();
  const WritePolicy b = WritePolicyOf(two).value();
  // PolicyNvWritten(YES), as every TPM computes it.
  EXPECT_EQ(HexOf(a.written), "f7887d158ae8d38be0ac5319f37a9e07618bf54885453c7a54ddb0c6a6193beb");
  EXPECT_EQ(a.written, b.written);
  EXPECT_NE(a.first, b.first);
  EXPECT_NE(a.policy, b.policy);
  EXPECT_NE(WrittenCounterName(Handles{}, one).value(), WrittenCounterName(Handles{}, two).value());
  EXPECT_FALSE(WritePolicyOf("not a key"));
}

TEST(Names, AttestationKeyParserTakesOurTemplateOnly) {
  const EcPoint point = PointOf(PublicPemOf(MakeSigningKey().value()).value()).value();
  Bytes area = *ParseHex("0023000b" "00050472" "0000" "0010" "0018000b" "0003" "0010");
  BigWriter(area).Sized(point.x);
  BigWriter(area).Sized(point.y);
  Bytes good;
  BigWriter(good).Sized(area);
  const auto key = ParseAttestationKey(good);
  ASSERT_TRUE(key.has_value()) << Describe(key.error());
  EXPECT_EQ(PointOf(key->public_pem).value().x, point.x);
  EXPECT_EQ(key->name, NameOfPublicArea(area));
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(ParseAttestationKey(ByteView(good).first(size))) << size;
  }
  Bytes longer = good;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(ParseAttestationKey(longer));
  // Any other attribute (not restricted, duplicable, with lock-out), scheme or point off the curve.
  for (std::size_t at = 2; at < good.size(); ++at) {
    Bytes altered = good;
    altered[at] ^= std::byte{1};
    EXPECT_FALSE(ParseAttestationKey(altered)) << at;
  }
}

TEST(Signing, SignsAndVerifiesAndRefusesEverythingElse) {
  const std::string key = MakeSigningKey().value();
  const std::string pem = PublicPemOf(key).value();
  const Bytes data = ToBytes(AsBytes("provisioning record"));
  const Bytes signature = Sign(key, data).value();
  EXPECT_TRUE(VerifySignature(pem, data, signature));
  EXPECT_EQ(VerifySignature(pem, AsBytes("another"), signature).error().code, Code::kDenied);
  EXPECT_EQ(VerifySignature(PublicPemOf(MakeSigningKey().value()).value(), data, signature).error().code, Code::kDenied);
  EXPECT_EQ(VerifySignature(pem, data, {}).error().code, Code::kDenied);
  for (std::size_t at = 0; at < signature.size(); ++at) {
    Bytes altered = signature;
    altered[at] ^= std::byte{1};
    EXPECT_FALSE(VerifySignature(pem, data, altered)) << at;
  }
  EXPECT_EQ(Sign(pem, data).error().code, Code::kInvalid);  // a public key cannot sign
  EXPECT_EQ(Sign("", data).error().code, Code::kInvalid);
}

TEST(Signing, RawSignaturesAndPointsRoundTrip) {
  const std::string key = MakeSigningKey().value();
  const std::string pem = PublicPemOf(key).value();
  EXPECT_EQ(PemOf(PointOf(pem).value()).value(), pem);
  EcPoint off = PointOf(pem).value();
  off.y[31] ^= std::byte{1};
  EXPECT_EQ(PemOf(off).error().code, Code::kInvalid);
  EXPECT_FALSE(PemOf(EcPoint{}));
  const Bytes data(1000, std::byte{7});
  const EcSignature signature = SignRaw(key, data).value();
  EXPECT_TRUE(VerifyRaw(pem, data, signature));
  EXPECT_TRUE(VerifySignature(pem, data, DerOf(signature)));
  EXPECT_FALSE(VerifyRaw(pem, data, EcSignature{}));
}

TEST(Signing, OnlyP256IsTaken) {
  const std::string p384 =
      "-----BEGIN PUBLIC KEY-----\n"
      "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAELHyqm7dptpoE9w29GL46Jm0Go7JL1+pF\n"
      "IPA7zY35nz7OtiLUu8JV+CcUt0XGBjwWgwWbl8zrvzTghqf7rQxpVg4Y+JG/aG6H\n"
      "vr/JA28YrqJZTbfwQXm7x7p88NYTGUDx\n"
      "-----END PUBLIC KEY-----\n";
  EXPECT_EQ(PointOf(p384).error().code, Code::kInvalid);
}

}  // namespace
}  // namespace stele::tpm
