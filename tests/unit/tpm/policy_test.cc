// Goal: a policy's digest computed from bytes is the one a TPM computes. Method: trial sessions on swtpm by tpm2-tools,
// step after step in one session, and the branches and the approval that begin a session anew. (TPM2_PolicySigned and
// TPM2_PolicyNvWritten guard the registers in provision_test.cc.)
#include "tpm/policy.h"

#include <gtest/gtest.h>

#include "appliance/base/hash.h"
#include "tests/unit/tpm/testbed.h"
#include "tpm/names.h"
#include "tpm/seal_policy.h"

namespace stele::tpm::test {
namespace {

class TrialPolicy : public ::testing::Test {
 protected:
  [[nodiscard]] std::string Read(const std::string& name) const {
    const auto content = ReadFile(bed_.directory() / name, 4096);
    EXPECT_TRUE(content.has_value()) << name;
    return content ? std::string(AsText(*content)) : std::string();
  }
  [[nodiscard]] std::string Digest(const std::string& name) const { return HexOf(AsBytes(Read(name))); }
  void Run(const std::string& command) const { ASSERT_EQ(bed_.Tool(command), 0) << command; }
  // In a trial session of its own; each command's digest is in the file `out`.
  void Trial(const std::string& commands) const {
    Run("tpm2_startauthsession -S sess && " + commands + " && tpm2_flushcontext sess");
  }
  Testbed bed_;
};

std::string ShaHex(const PolicyDigest& policy) { return HexOf(policy.value()); }

PolicyDigest AtBaseline() {
  const SealPolicy registers{{{11, Hash{}}, {14, Hash{}}}};
  return PolicyDigest().Pcr(SelectionOf(registers), RegistersDigestOf(registers));
}

TEST_F(TrialPolicy, RegistersAnIndexAndAPasswordAsTheTpmFoldsThem) {
  constexpr const char* kIndex = "0x1500016 ";
  (void)bed_.File("operand", *ParseHex("0000000000000005"));
  (void)bed_.File("zeros", Bytes(8));
  Run(std::string("tpm2_nvdefine ") + kIndex + "-C o -s 8 -a 'ownerread|ownerwrite' && tpm2_nvwrite " + kIndex +
      "-C o -i zeros");
  Run(std::string("tpm2_nvreadpublic ") + kIndex + ">public");
  const std::string text = Read("public");
  const std::size_t at = text.find("name: ");
  ASSERT_NE(at, std::string::npos) << text;
  const auto name = ParseHex(text.substr(at + 6, 2 * kNameBytes));
  ASSERT_TRUE(name.has_value()) << text;
  Trial(std::string("tpm2_policypcr -S sess -l sha256:11,14 -L pcr && tpm2_policynv -S sess -C o -i operand -L nv ") +
        kIndex + "ule && tpm2_policynv -S sess -C o -i operand --offset 0 -L nv2 " + kIndex +
        "eq && tpm2_policyauthvalue -S sess -L auth");
  PolicyDigest policy = AtBaseline();
  EXPECT_EQ(ShaHex(policy), Digest("pcr"));
  const Bytes operand = *ParseHex("0000000000000005");
  EXPECT_EQ(ShaHex(policy.Nv(*name, operand, 0, NvComparison::kUnsignedLessOrEqual)), Digest("nv"));
  EXPECT_EQ(ShaHex(policy.Nv(*name, operand, 0, NvComparison::kEqual)), Digest("nv2"));
  EXPECT_EQ(ShaHex(policy.AuthValue()), Digest("auth"));
}

TEST_F(TrialPolicy, EveryComparisonHasItsNumber) {
  constexpr std::pair<const char*, NvComparison> kComparisons[] = {
      {"neq", NvComparison::kNotEqual},
      {"ugt", NvComparison::kUnsignedGreater},
      {"ult", NvComparison::kUnsignedLess},
      {"uge", NvComparison::kUnsignedGreaterOrEqual},
  };
  const Bytes operand = *ParseHex("00000005");
  (void)bed_.File("operand", operand);
  Run("tpm2_nvdefine 0x1500016 -C o -s 8 -a 'ownerread|ownerwrite' && printf 12345678 | tpm2_nvwrite 0x1500016 -C o "
      "-i-");
  Run("tpm2_nvreadpublic 0x1500016 >public");
  const std::string text = Read("public");
  const auto name = ParseHex(text.substr(text.find("name: ") + 6, 2 * kNameBytes));
  ASSERT_TRUE(name.has_value()) << text;
  for (const auto& [word, comparison] : kComparisons) {
    Trial(std::string("tpm2_policynv -S sess -C o -i operand --offset 4 -L out 0x1500016 ") + word);
    EXPECT_EQ(ShaHex(PolicyDigest().Nv(*name, operand, 4, comparison)), Digest("out")) << word;
  }
}

TEST_F(TrialPolicy, BranchesAndWhatAKeyApproves) {
  const PolicyDigest one = AtBaseline();
  const PolicyDigest two = PolicyDigest().AuthValue();
  (void)bed_.File("one", one.value());
  (void)bed_.File("two", two.value());
  Trial("tpm2_policypcr -S sess -l sha256:11,14 && tpm2_policyor -S sess -L either sha256:one,two");
  EXPECT_EQ(ShaHex(PolicyDigest::Or({one.value(), two.value()})), Digest("either"));
  Trial("tpm2_policycommandcode -S sess -L command TPM2_CC_Unseal");
  EXPECT_EQ(ShaHex(PolicyDigest().CommandCode(0x15e)), Digest("command"));

  Bytes name = *ParseHex("000b");
  Append(name, Sha256Of(AsBytes("a key's public area")));
  (void)bed_.File("name", name);
  (void)bed_.File("reference", AsBytes("image v1"));
  Trial("tpm2_policypcr -S sess -l sha256:11,14 && tpm2_policyauthorize -S sess -i one -n name -L approved");
  EXPECT_EQ(ShaHex(AtBaseline().Authorize(name, {})), Digest("approved"));
  Trial(
      "tpm2_policypcr -S sess -l sha256:11,14 && tpm2_policyauthorize -S sess -i one -n name -q reference -L "
      "referenced");
  EXPECT_EQ(ShaHex(PolicyDigest().Authorize(name, AsBytes("image v1"))), Digest("referenced"));
}

// The whole of it once: what the key has approved opens the session, and nothing else does.
TEST_F(TrialPolicy, AnApprovalUnsealsAndAnotherStateDoesNot) {
  const Hash approved = AtBaseline().value();
  (void)bed_.File("one", approved);
  (void)bed_.File("signed", AuthorizationDigest(approved, {}));
  (void)bed_.File("secret", AsBytes("secret"));
  Run("openssl genrsa -out key.pem 2048 && openssl rsa -in key.pem -pubout -out public.pem && "
      "openssl pkeyutl -sign -inkey key.pem -in signed -pkeyopt digest:sha256 -out signature");
  Run("tpm2_loadexternal -C o -G rsa -u public.pem -c key -n name && "
      "tpm2_verifysignature -c key -d signed -s signature -f rsassa -t ticket && tpm2_flushcontext -t");
  (void)bed_.File("policy", PolicyDigest().Authorize(AsBytes(Read("name")), {}).value());
  Run("tpm2_createprimary -C o -c primary && tpm2_flushcontext -t && tpm2_create -C primary -L policy -i secret -u u "
      "-r r -a "
      "'fixedtpm|fixedparent' && "
      "tpm2_flushcontext -t && tpm2_load -C primary -u u -r r -c object");
  const std::string unseal =
      "tpm2_flushcontext -t; tpm2_startauthsession --policy-session -S sess && tpm2_policypcr -S sess -l sha256:11,14 "
      "&& "
      "tpm2_policyauthorize -S sess -i one -n name -t ticket && tpm2_unseal -c object -p session:sess -o clear";
  Run(unseal + " && tpm2_flushcontext sess");
  EXPECT_EQ(Read("clear"), "secret");
  Run("tpm2_pcrextend 11:sha256=" + HexOf(Filled(1)));
  EXPECT_NE(bed_.Tool(unseal), 0);
}

}  // namespace
}  // namespace stele::tpm::test
