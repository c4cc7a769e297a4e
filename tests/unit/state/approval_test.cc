// Goal: what an image carries and what a LUKS2 header keeps is read as it was written, and nothing else is taken for
// it. Method: round trip, every truncation, each member missing. (That the digests are a TPM's: vault_test.cc.)
#include "firmware/state/approval.h"

#include <gtest/gtest.h>

#include "tests/unit/golden.h"

namespace stele::state {
namespace {

Hash Filled(unsigned char value) {
  Hash hash;
  hash.fill(static_cast<std::byte>(value));
  return hash;
}

const SealedKey kSealed{Bytes(34, std::byte{1}), Bytes(34, std::byte{2}), Filled(7), Bytes(60, std::byte{3}),
                        Bytes(90, std::byte{4})};

std::string ApprovalText(const std::string& policy, std::size_t signature_bytes, const std::string& version) {
  return "{\"policy\": \"" + policy + "\", \"signature\": \"" + std::string(2 * signature_bytes, 'a') +
         "\", \"version\": " + version + "}";
}

TEST(Token, ComesBackFromTheHeaderAsItWasWritten) {
  const std::string text = EncodeToken(kSealed, 1);
  EXPECT_NE(text.find(R"("type":"stele-tpm2","keyslots":["1"])"), std::string::npos) << text;
  const auto parsed = ParseToken(text);
  ASSERT_TRUE(parsed.has_value()) << Describe(parsed.error());
  EXPECT_EQ(*parsed, kSealed);
}

TEST(Token, IsWrittenByteForByteLikeTheGoldenFile) {
  const std::string text = EncodeToken(kSealed, 0);
  WriteGoldenIfAsked("state_token.json", AsBytes(text));
  EXPECT_EQ(text, AsText(ReadGolden("state_token.json")));
}

TEST(Token, WhatIsNotWholeIsRefused) {
  const std::string text = EncodeToken(kSealed, 0);
  for (std::size_t size = 0; size < text.size(); ++size) EXPECT_FALSE(ParseToken(text.substr(0, size))) << size;
  EXPECT_FALSE(ParseToken(R"({"type":"systemd-tpm2","keyslots":["0"]})"));
  EXPECT_FALSE(ParseToken(R"({"type":7})"));
  for (const char* name : {"parent", "approver", "pcr_7", "public", "private"}) {
    std::string without = text;
    without.replace(without.find("\"" + std::string(name)), std::string(name).size() + 1, "\"other");
    EXPECT_FALSE(ParseToken(without)) << name;
  }
}

TEST(Approval, IsAPolicyASignatureOf2048BitsAndAVersion) {
  const auto parsed = ParseApproval(ApprovalText(HexOf(Filled(9)), 256, "3"));
  ASSERT_TRUE(parsed.has_value()) << Describe(parsed.error());
  EXPECT_EQ(parsed->policy, Filled(9));
  EXPECT_EQ(parsed->version, 3U);
  EXPECT_EQ(parsed->signature.size(), 256U);
}

TEST(Approval, WhatIsNotWholeIsRefused) {
  const std::string whole = ApprovalText(HexOf(Filled(9)), 256, "3");
  for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(ParseApproval(whole.substr(0, size))) << size;
  EXPECT_FALSE(ParseApproval(ApprovalText(HexOf(Filled(9)), 255, "3")));
  EXPECT_FALSE(ParseApproval(ApprovalText(HexOf(Filled(9)), 256, "-3")));
  EXPECT_FALSE(ParseApproval(ApprovalText(HexOf(Filled(9)), 256, "\"3\"")));
  EXPECT_FALSE(ParseApproval(ApprovalText(HexOf(Filled(9)).substr(2), 256, "3")));
  EXPECT_FALSE(ParseApproval("[]"));
}

TEST(PcrKey, IsRsa2048AndNothingElse) {
  EXPECT_FALSE(RsaPublicArea(""));
  EXPECT_FALSE(RsaPublicArea("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"));
}

}  // namespace
}  // namespace stele::state
