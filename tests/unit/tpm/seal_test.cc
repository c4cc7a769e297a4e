// Goal: the sealed seed comes out of its own TPM, once per boot, and never in clear over the wire.
// Method: swtpm; a man in the middle records every byte of sealing and unsealing; the policy digest against tpm2-tools.
#include "tpm/seal.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/tpm/testbed.h"
#include "tpm/names.h"
#include "tpm/signing.h"

namespace stele::tpm::test {
namespace {

constexpr int kTimeoutMs = 60'000;
const SealPolicy kAtBaseline{{{14, Hash{}}}};

Hash TheSecret() {
  Hash secret;
  SystemEntropy().Fill(secret);
  return secret;
}

bool Contains(const Bytes& haystack, ByteView needle) {
  return std::search(haystack.begin(), haystack.end(), needle.begin(), needle.end()) != haystack.end();
}

// Everything that goes over the wire, both ways.
void Record(Meddler& meddler, Bytes& tape) {
  meddler.instead = [&tape](std::uint32_t, const Bytes& command) -> std::optional<Bytes> {
    Append(tape, command);
    return std::nullopt;
  };
  meddler.change = [&tape](std::uint32_t, Bytes& answer) { Append(tape, answer); };
}

struct Sealed {
  SealedSecret blob;
  ProvisionResult made;
};

Sealed SealOn(UniqueFd connection, const Hash& secret, const SealPolicy& policy = kAtBaseline) {
  SystemEntropy entropy;
  ProvisionPlan plan;
  plan.provisioning_public_pem = PublicPemOf(MakeSigningKey().value()).value();
  auto provisioning = Provisioning::Open(std::move(connection), plan, entropy);
  EXPECT_TRUE(provisioning.has_value()) << Describe(provisioning.error());
  if (!provisioning) return {};
  EXPECT_TRUE((*provisioning)->MakeKeys());
  const auto sealed = (*provisioning)->SealSecret(secret, policy);
  EXPECT_TRUE(sealed.has_value()) << Describe(sealed.error());
  if (!sealed) return {};
  (*provisioning)->Keep();
  ProvisionResult made = (*provisioning)->TakeResult();
  return {made.sealed.value(), made};
}

Result<void> UnsealOn(UniqueFd connection, const Sealed& sealed, Hash& out) {
  return Unseal(std::move(connection), Handles{}, sealed.made.identity.ek_name, sealed.blob, kTimeoutMs, out);
}

TEST(Seal, TheSeedComesBackAndIsNeverOnTheWireInClear) {
  Testbed bed;
  const Hash secret = TheSecret();
  Bytes tape;
  Sealed sealed;
  {
    Meddler meddler(bed.Connect());
    Record(meddler, tape);
    sealed = SealOn(meddler.TakeDeviceEnd(), secret);
    meddler.Close();
  }
  Hash out = Filled(0xaa);
  {
    Meddler meddler(bed.Connect());
    Record(meddler, tape);
    const auto unsealed = UnsealOn(meddler.TakeDeviceEnd(), sealed, out);
    ASSERT_TRUE(unsealed.has_value()) << Describe(unsealed.error());
    meddler.Close();
  }
  EXPECT_EQ(out, secret);
  ASSERT_GT(tape.size(), 2'000U);
  // The recording is of the right thing: what need not be hidden is in it. Not the secret, and not a part of it.
  EXPECT_TRUE(Contains(tape, ByteView(sealed.blob.public_area).subspan(2)));
  for (std::size_t at = 0; at + 8 <= secret.size(); at += 8)
    EXPECT_FALSE(Contains(tape, ByteView(secret).subspan(at, 8))) << at;
}

// An honest limit: the policy is about the machine's state, not about who asks.
TEST(Seal, BeforeTheFirstCheckpointWhoeverMayUseTheTpmCanUnsealIt) {
  Testbed bed;
  const Hash secret = TheSecret();
  const Sealed sealed = SealOn(bed.Connect(), secret);
  (void)bed.File("pub", sealed.blob.public_area);
  (void)bed.File("priv", sealed.blob.private_area);
  ASSERT_EQ(
      bed.Tool("tpm2_load -C 0x81015355 -u pub -r priv -c obj && tpm2_startauthsession --policy-session -S sess && "
               "tpm2_policypcr -S sess -l sha256:14 && tpm2_unseal -p session:sess -c obj -o clear && "
               "tpm2_flushcontext sess; tpm2_flushcontext -t"),
      0);
  const auto clear = ReadFile(bed.directory() / "clear", 64);
  ASSERT_TRUE(clear.has_value());
  EXPECT_TRUE(SameBytes(*clear, secret));
}

TEST(Seal, AfterTheFirstCheckpointTheSeedStaysSealedUntilTheNextBoot) {
  Testbed bed;
  const Hash secret = TheSecret();
  const Sealed sealed = SealOn(bed.Connect(), secret);
  ASSERT_EQ(bed.Tool("tpm2_pcrextend 14:sha256=" + HexOf(Filled(1))), 0);
  Hash out{};
  const auto refused = UnsealOn(bed.Connect(), sealed, out);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Code::kDenied);
  EXPECT_NE(refused.error().context.find("PCR 14 is"), std::string::npos) << refused.error().context;
  EXPECT_EQ(out, Hash{});
  bed.PowerCut();
  ASSERT_TRUE(UnsealOn(bed.Connect(), sealed, out));
  EXPECT_EQ(out, secret);
}

TEST(Seal, EveryRegisterOfThePolicyCounts) {
  Testbed bed;
  const auto now = ReadRegisterValues(bed.Connect(), {7, 12}, kTimeoutMs);
  ASSERT_TRUE(now.has_value()) << Describe(now.error());
  SealPolicy policy = kAtBaseline;
  policy.registers.insert(now->begin(), now->end());
  EXPECT_EQ(TextOf(policy), "PCR 7, 12, 14");
  const Hash secret = TheSecret();
  const Sealed sealed = SealOn(bed.Connect(), secret, policy);
  Hash out{};
  ASSERT_TRUE(UnsealOn(bed.Connect(), sealed, out));
  ASSERT_EQ(bed.Tool("tpm2_pcrextend 7:sha256=" + HexOf(Filled(1))), 0);
  const auto refused = UnsealOn(bed.Connect(), sealed, out);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().context.find("PCR 7 is"), std::string::npos) << refused.error().context;
  // Lying about the policy does not help: the digest is in the object's Name.
  Sealed other = sealed;
  other.blob.policy = kAtBaseline;
  EXPECT_EQ(CheckSealed(other.blob).error().code, Code::kInvalid);
  EXPECT_FALSE(UnsealOn(bed.Connect(), other, out));
}

TEST(Seal, ThePolicyDigestIsTheOneStockToolsCompute) {
  Testbed bed;
  ASSERT_EQ(
      bed.Tool(
          "tpm2_startauthsession -S sess && tpm2_policypcr -S sess -l sha256:14 -L digest && tpm2_flushcontext sess"),
      0);
  const auto digest = ReadFile(bed.directory() / "digest", 64);
  ASSERT_TRUE(digest.has_value());
  EXPECT_TRUE(SameBytes(*digest, PolicyDigestOf(kAtBaseline)));
}

TEST(Seal, AnotherTpmDoesNotGiveItAndIsNotSaltedTo) {
  Testbed bed;
  Testbed stranger;
  const Sealed sealed = SealOn(bed.Connect(), TheSecret());
  (void)SealOn(stranger.Connect(), TheSecret());
  Hash out{};
  EXPECT_EQ(UnsealOn(stranger.Connect(), sealed, out).error().code, Code::kDenied);
  Sealed forced = sealed;
  forced.made.identity.ek_name.clear();
  EXPECT_FALSE(UnsealOn(stranger.Connect(), forced, out));
  EXPECT_EQ(out, Hash{});
}

TEST(Seal, ASealedObjectOfAnotherFormIsRefused) {
  Testbed bed;
  const Sealed sealed = SealOn(bed.Connect(), TheSecret());
  const auto name = CheckSealed(sealed.blob);
  ASSERT_TRUE(name.has_value());
  for (std::size_t at = 0; at < sealed.blob.public_area.size(); ++at) {
    SealedSecret altered = sealed.blob;
    altered.public_area[at] ^= std::byte{1};
    const auto checked = CheckSealed(altered);
    EXPECT_TRUE(!checked || *checked != *name) << at;
    altered.public_area.resize(at);
    EXPECT_FALSE(CheckSealed(altered)) << at;
  }
}

}  // namespace
}  // namespace stele::tpm::test
