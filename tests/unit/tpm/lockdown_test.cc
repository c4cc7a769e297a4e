// Goal: after the lock-down nobody without the escrowed authorisations clears, undefines, evicts or redefines anything,
// and the daemon needs none of them. Method: swtpm; tpm2-tools as the attacker, and once as the owner with the escrow.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/tpm/testbed.h"
#include "tpm/credential.h"
#include "tpm/provision.h"
#include "tpm/signing.h"

namespace stele::tpm::test {
namespace {

// The stages with the provisioning key at hand, and what happened to the auths on the wire.
class LockDown : public testing::Test {
 protected:
  void Provision(UniqueFd connection) {
    key_pem_ = MakeSigningKey().value();
    entropy_.Fill(auths_.owner);
    entropy_.Fill(auths_.endorsement);
    entropy_.Fill(auths_.lockout);
    ProvisionPlan plan;
    plan.provisioning_public_pem = PublicPemOf(key_pem_).value();
    auto provisioning = Provisioning::Open(std::move(connection), plan, entropy_);
    ASSERT_TRUE(provisioning.has_value()) << Describe(provisioning.error());
    ASSERT_TRUE((*provisioning)->MakeKeys());
    const auto nonces = (*provisioning)->DefineRegisters();
    ASSERT_TRUE(nonces.has_value()) << Describe(nonces.error());
    ASSERT_NO_FATAL_FAILURE(ActivateOnce(**provisioning));
    const auto sign = [&](FirstWrite which, const Bytes& nonce) {
      const auto& so_far = (*provisioning)->result();
      const Hash command =
          FirstWriteCommandHash(which, so_far.handles, so_far.provisioning_public_pem, so_far.genesis_random).value();
      return SignRaw(key_pem_, FirstWriteMessage(nonce, command)).value();
    };
    // A signature for one register does not write the other.
    const auto crossed =
        (*provisioning)->WriteFirst(sign(FirstWrite::kIndex, nonces->counter), sign(FirstWrite::kIndex, nonces->index));
    EXPECT_FALSE(crossed.has_value());
    const auto written =
        (*provisioning)
            ->WriteFirst(sign(FirstWrite::kCounter, nonces->counter), sign(FirstWrite::kIndex, nonces->index));
    ASSERT_TRUE(written.has_value()) << Describe(written.error());
    const auto locked = (*provisioning)->LockDown(auths_);
    ASSERT_TRUE(locked.has_value()) << Describe(locked.error());
    const auto finished = (*provisioning)->Finish(Filled(7));
    ASSERT_TRUE(finished.has_value()) << Describe(finished.error());
    bed_.result = (*provisioning)->TakeResult();
    EXPECT_TRUE(bed_.result.locked_down);
    EXPECT_TRUE(bed_.result.platform_disabled);
  }

  void ActivateOnce(Provisioning& provisioning) {
    const auto& made = provisioning.result();
    const auto credential = MakeCredential(made.ek_public, made.identity.ak_name, Filled(0x42), entropy_);
    ASSERT_TRUE(credential.has_value()) << Describe(credential.error());
    const auto secret = provisioning.Activate(*credential);
    ASSERT_TRUE(secret.has_value()) << Describe(secret.error());
    EXPECT_EQ(*secret, Filled(0x42));
    // Wrapped for another key, or damaged anywhere: not unwrapped.
    const auto foreign = MakeCredential(made.ek_public, made.identity.ek_name, Filled(0x42), entropy_);
    EXPECT_EQ(provisioning.Activate(*foreign).error().code, Code::kDenied);
    Credential damaged = *credential;
    damaged.blob.back() ^= std::byte{1};
    EXPECT_EQ(provisioning.Activate(damaged).error().code, Code::kDenied);
  }

  std::string Auth(const Hash& auth) const { return "hex:" + HexOf(auth); }

  Testbed bed_;
  SystemEntropy entropy_;
  std::string key_pem_;
  HierarchyAuths auths_;
};

TEST_F(LockDown, AnAttackerWithoutTheAuthorisationsChangesNothing) {
  ASSERT_NO_FATAL_FAILURE(Provision(bed_.Connect()));
  const char* const attacks[] = {"tpm2_clear -c l",
                                 "tpm2_clear -c p",
                                 "tpm2_clearcontrol -C p c",
                                 "tpm2_clearcontrol -C l c",
                                 "tpm2_nvundefine -C o 0x01815301",
                                 "tpm2_nvundefine -C o 0x01815302",
                                 "tpm2_nvundefine -C p 0x01815301",
                                 "tpm2_evictcontrol -C o -c 0x81015354",
                                 "tpm2_evictcontrol -C o -c 0x81010001",
                                 "tpm2_evictcontrol -C o -c 0x81015355",
                                 "tpm2_nvdefine -C o -s 8 -a 'ownerwrite|ownerread' 0x01815309",
                                 "tpm2_createprimary -C o -c primary",
                                 "tpm2_createprimary -C e -c primary",
                                 "tpm2_changeauth -c o x",
                                 "tpm2_changeauth -c e x",
                                 "tpm2_changeauth -c l x",
                                 "tpm2_nvincrement -C o 0x01815301",
                                 "tpm2_nvincrement -C 0x01815301 0x01815301",
                                 "tpm2_hierarchycontrol -C p phEnable set",
                                 "tpm2_dictionarylockout -s -n 1 -t 1 -l 1",
                                 "tpm2_setprimarypolicy -C o -g sha256"};
  for (const char* const attack : attacks) EXPECT_NE(bed_.Tool(attack), 0) << attack;

  // And all is as it was: the daemon, with no authorisation at all, goes on, also after power cuts.
  bed_.PowerCut();
  for (int boot = 0; boot < 2; ++boot) {
    const auto device = bed_.Device();
    ASSERT_TRUE(device);
    const TpmIdentity identity = device->Identity().value();
    EXPECT_EQ(identity.ak_name, bed_.result.identity.ak_name);
    EXPECT_EQ(identity.counter_name, bed_.result.identity.counter_name);
    EXPECT_EQ(identity.index_name, bed_.result.identity.index_name);
    EXPECT_TRUE(device->ExtendPcr(Filled(1)));
    EXPECT_TRUE(device->ExtendIndex(Filled(1)));
    EXPECT_TRUE(device->IncrementCounter());
    EXPECT_TRUE(device->Quote(Filled(1)));
    EXPECT_TRUE(device->CertifyCounter(Filled(1)));
    if (boot == 0) bed_.PowerCut();
  }
}

TEST_F(LockDown, AResetEnablesThePlatformHierarchyAndItCanBeDisabledAgain) {
  ASSERT_NO_FATAL_FAILURE(Provision(bed_.Connect()));
  bed_.Reboot();
  // Disabled before anybody else gets at it, as the supervisor does for the embedded TPM and firmware for a chip.
  EXPECT_TRUE(DisablePlatform(bed_.Connect(), 60'000).value());
  EXPECT_NE(bed_.Tool("tpm2_clearcontrol -C p c"), 0);
  EXPECT_NE(bed_.Tool("tpm2_clear -c p"), 0);
  EXPECT_TRUE(bed_.Device()->Quote(Filled(1)));
  EXPECT_FALSE(DisablePlatform(bed_.Connect(), 60'000).value());  // it is off
}

TEST_F(LockDown, TheEscrowedAuthorisationsAreTheRightOnes) {
  ASSERT_NO_FATAL_FAILURE(Provision(bed_.Connect()));
  EXPECT_EQ(bed_.Tool("tpm2_nvdefine -C o -P " + Auth(auths_.owner) + " -s 8 -a 'ownerwrite|ownerread' 0x01815309"), 0);
  EXPECT_EQ(bed_.Tool("tpm2_nvundefine -C o -P " + Auth(auths_.owner) + " 0x01815309"), 0);
  EXPECT_EQ(bed_.Tool("tpm2_createprimary -C e -P " + Auth(auths_.endorsement) + " -c primary"), 0);
  EXPECT_EQ(bed_.Tool("tpm2_dictionarylockout -s -n 32 -t 60 -l 60 -p " + Auth(auths_.lockout)), 0);
}

TEST_F(LockDown, TheAuthorisationsAreNeverOnTheWireInClear) {
  Bytes tape;
  Meddler meddler(bed_.Connect());
  meddler.instead = [&tape](std::uint32_t, const Bytes& command) -> std::optional<Bytes> {
    Append(tape, command);
    return std::nullopt;
  };
  meddler.change = [&tape](std::uint32_t, Bytes& answer) { Append(tape, answer); };
  ASSERT_NO_FATAL_FAILURE(Provision(meddler.TakeDeviceEnd()));
  meddler.Close();
  ASSERT_GT(tape.size(), 2'000U);
  for (const Hash& auth : {auths_.owner, auths_.endorsement, auths_.lockout}) {
    EXPECT_EQ(std::search(tape.begin(), tape.end(), auth.begin(), auth.begin() + 16), tape.end());
  }
}

}  // namespace
}  // namespace stele::tpm::test
