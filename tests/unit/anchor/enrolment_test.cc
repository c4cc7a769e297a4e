// Goal: a provisioning key on a machine without a TPM signs a record exactly when a TPM with the certified EK and this
// AK has proven itself; nothing else, replayed, mixed or altered, gets a signature that counts. Method: swtpm for the
// appliance's side, the enroller in memory; each file altered in each member.
#include "appliance/anchor/enrolment.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "appliance/base/hash.h"
#include "appliance/base/system.h"
#include "tpm/signing.h"
#include "tpm/swtpm.h"

namespace stele::anchor {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class Enrolment : public testing::Test {
 protected:
  void SetUp() override {
    char directory[] = "/tmp/stele-enrol-XXXXXX";
    ASSERT_NE(::mkdtemp(directory), nullptr);
    dir_ = directory;
    const auto made = tpm::MakeSwtpmState(dir_ / "tpm");
    if (!made && made.error().code == Code::kNotFound) GTEST_SKIP() << "swtpm is not installed";
    ASSERT_TRUE(made.has_value()) << Describe(made.error());
    auto process = tpm::StartSwtpm(dir_ / "tpm", dir_ / "s");
    ASSERT_TRUE(process.has_value()) << Describe(process.error());
    process_ = *process;
    roots_ = tpm::SwtpmCaPem(dir_ / "tpm").value();
    key_ = tpm::MakeSigningKey().value();
    seed_ = Secret(Sha256Of(AsBytes("a seed for tests")));
  }

  void TearDown() override {
    tpm_.reset();
    if (process_.pid > 0) tpm::KillSwtpm(process_);
    fs::remove_all(dir_);
  }

  Enroller TheEnroller() { return Enroller(key_, roots_, clock_, entropy_); }

  // The appliance up to its request.
  void Begin() {
    tpm_.reset();
    tpm::ProvisionPlan plan;
    plan.provisioning_public_pem = tpm::PublicPemOf(key_).value();
    auto connection = tpm::ConnectSwtpm(process_.socket);
    ASSERT_TRUE(connection.has_value());
    auto opened = tpm::Provisioning::Open(std::move(*connection), plan, entropy_);
    ASSERT_TRUE(opened.has_value()) << Describe(opened.error());
    tpm_ = std::move(*opened);
    const auto keys = tpm_->MakeKeys();
    ASSERT_TRUE(keys.has_value()) << Describe(keys.error());
    const auto nonces = tpm_->DefineRegisters();
    ASSERT_TRUE(nonces.has_value()) << Describe(nonces.error());
    const auto& so_far = tpm_->result();
    EnrolRequest request;
    request.created_ns = clock_.WallNs();
    request.origin = "log.example.org";
    request.ek_public = so_far.ek_public;
    request.ek_certificate = so_far.ek_certificate_der;
    request.ak_public = so_far.ak_public;
    request.genesis_random = so_far.genesis_random;
    std::copy(nonces->counter.begin(), nonces->counter.end(), request.counter_nonce.begin());
    std::copy(nonces->index.begin(), nonces->index.end(), request.index_nonce.begin());
    request.software_tpm = true;
    request_ = EncodeRequest(request);
  }

  // From the challenge to the answer, as the appliance does it.
  void Answer(std::string_view challenge_text) {
    const auto challenge = DecodeChallenge(challenge_text);
    ASSERT_TRUE(challenge.has_value()) << Describe(challenge.error());
    const auto activated = tpm_->Activate(challenge->credential);
    ASSERT_TRUE(activated.has_value()) << Describe(activated.error());
    shared_ = Secret(*activated);
    const auto signatures = UnwrapSignatures(challenge->signatures, shared_);
    ASSERT_TRUE(signatures.has_value()) << Describe(signatures.error());
    const auto written = tpm_->WriteFirst(signatures->counter, signatures->index);
    ASSERT_TRUE(written.has_value()) << Describe(written.error());
    Hash seed{};
    std::copy(seed_.view().begin(), seed_.view().end(), seed.begin());
    const auto sealed = tpm_->SealSecret(seed, tpm::SealPolicy{{{14, Hash{}}}});
    ASSERT_TRUE(sealed.has_value()) << Describe(sealed.error());
    const auto locked = tpm_->LockDown(EscrowedAuths(shared_));
    ASSERT_TRUE(locked.has_value()) << Describe(locked.error());
    auto evidence = tpm_->Finish(AttestChallenge(shared_));
    ASSERT_TRUE(evidence.has_value()) << Describe(evidence.error());
    answer_.evidence = std::move(*evidence);
    answer_.checkpoint_key = ToBytes(VerifyKeyOf(seed_, "stele")->public_key);
    answer_.sealed = tpm_->result().sealed;
    answer_.sealed->private_area.clear();
    answer_.locked_down = true;
    answer_text_ = EncodeAnswer(answer_, Sha256Of(AsBytes(request_)), shared_);
  }

  std::string Altered(const std::string& text, const char* name, json value) const {
    json object = json::parse(text);
    object[name] = std::move(value);
    return object.dump();
  }

  fs::path dir_;
  tpm::SwtpmProcess process_;
  SystemClock clock_;
  SystemEntropy entropy_;
  std::string roots_;
  std::string key_;
  Secret seed_;
  Secret shared_;
  std::unique_ptr<tpm::Provisioning> tpm_;
  std::string request_;
  EnrolAnswer answer_;
  std::string answer_text_;
};

TEST_F(Enrolment, TwoRoundTripsGiveARecordThatSaysWhatWasProven) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  Enroller enroller = TheEnroller();
  const auto challenge = enroller.Challenge(request_);
  ASSERT_TRUE(challenge.has_value()) << Describe(challenge.error());
  ASSERT_NO_FATAL_FAILURE(Answer(EncodeChallenge(*challenge)));
  Enroller later = TheEnroller();  // has kept nothing but the key
  const auto record = later.Record(request_, answer_text_);
  ASSERT_TRUE(record.has_value()) << Describe(record.error());
  EXPECT_TRUE(VerifySignedRecord(*record));
  const auto decoded = DecodeRecord(record->record);
  ASSERT_TRUE(decoded.has_value()) << Describe(decoded.error());
  EXPECT_TRUE(decoded->activated);
  EXPECT_TRUE(decoded->ek_chain_verified);
  EXPECT_TRUE(decoded->locked_down);
  EXPECT_TRUE(decoded->key_sealed());
  EXPECT_EQ(decoded->origin, "log.example.org");
  EXPECT_EQ(decoded->identity.ak_name, tpm_->result().identity.ak_name);
  EXPECT_EQ(decoded->identity.counter_name, tpm_->result().identity.counter_name);
  EXPECT_EQ(decoded->counter_start, tpm_->result().counter_start);
  EXPECT_EQ(decoded->index_start, tpm_->result().index_start);
  EXPECT_EQ(decoded->sealed_name, tpm::CheckSealed(*tpm_->result().sealed).value());
  // The escrow can be made again from the key and the request, and is not to be had from the request alone.
  EXPECT_EQ(later.Auths(request_)->owner, EscrowedAuths(shared_).owner);
  key_ = tpm::MakeSigningKey().value();
  EXPECT_NE(TheEnroller().Auths(request_)->owner, EscrowedAuths(shared_).owner);
}

TEST_F(Enrolment, AnotherAuthoritysTpmIsNotChallenged) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_TRUE(tpm::MakeSwtpmState(dir_ / "other"));
  roots_ = tpm::SwtpmCaPem(dir_ / "other").value();
  EXPECT_EQ(TheEnroller().Challenge(request_).error().code, Code::kDenied);
  roots_ = tpm::SwtpmCaPem(dir_ / "tpm").value();
  // No certificate, or that of another key.
  EXPECT_EQ(TheEnroller().Challenge(Altered(request_, "ek_certificate_b64", "")).error().code, Code::kDenied);
  json object = json::parse(request_);
  Bytes other_ek = *ParseBase64(object["ek_public_b64"].get<std::string>(), 4096);
  other_ek.back() ^= std::byte{2};
  EXPECT_EQ(TheEnroller().Challenge(Altered(request_, "ek_public_b64", Base64Of(other_ek))).error().code,
            Code::kDenied);
  // An attestation key that is none of ours (here: the EK itself).
  EXPECT_FALSE(TheEnroller().Challenge(Altered(request_, "ak_public_b64", object["ek_public_b64"])));
}

TEST_F(Enrolment, AKeyFromElsewhereCannotBeActivated) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  // A software key dressed up as an attestation key: the certified EK, another point.
  const auto point = tpm::PointOf(tpm::PublicPemOf(tpm::MakeSigningKey().value()).value()).value();
  Bytes ak = *ParseBase64(json::parse(request_)["ak_public_b64"].get<std::string>(), 4096);
  std::copy(point.y.begin(), point.y.end(), ak.end() - 32);
  std::copy(point.x.begin(), point.x.end(), ak.end() - 32 - 2 - 32);
  const auto challenge = TheEnroller().Challenge(Altered(request_, "ak_public_b64", Base64Of(ak)));
  ASSERT_TRUE(challenge.has_value()) << Describe(challenge.error());
  EXPECT_EQ(tpm_->Activate(challenge->credential).error().code, Code::kDenied);
}

TEST_F(Enrolment, ReplayedMixedAndAlteredFilesGetNoRecord) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  Enroller enroller = TheEnroller();
  const auto challenge = enroller.Challenge(request_);
  ASSERT_TRUE(challenge.has_value());
  ASSERT_NO_FATAL_FAILURE(Answer(EncodeChallenge(*challenge)));
  ASSERT_TRUE(enroller.Record(request_, answer_text_));

  // Another request with this answer, another enroller's key, an answer without the shared key.
  const std::string other_request = Altered(request_, "origin", "elsewhere.example.org");
  EXPECT_EQ(enroller.Record(other_request, answer_text_).error().code, Code::kDenied);
  Enroller stranger(tpm::MakeSigningKey().value(), roots_, clock_, entropy_);
  EXPECT_EQ(stranger.Record(request_, answer_text_).error().code, Code::kDenied);
  const Secret wrong(Sha256Of(AsBytes("guessed")));
  EXPECT_EQ(enroller.Record(request_, EncodeAnswer(answer_, Sha256Of(AsBytes(request_)), wrong)).error().code,
            Code::kDenied);
  for (const char* name : {"stele", "version", "request_sha256", "body_b64", "mac"}) {
    json object = json::parse(answer_text_);
    object.erase(name);
    EXPECT_FALSE(enroller.Record(request_, object.dump())) << name;
  }
  // With the shared key, but not what the TPM says: attestations exchanged, of another challenge, a weaker policy.
  const auto refused = [&](const char* what, auto change) {
    EnrolAnswer bad = answer_;
    change(bad);
    const auto record = enroller.Record(request_, EncodeAnswer(bad, Sha256Of(AsBytes(request_)), shared_));
    EXPECT_FALSE(record.has_value()) << what;
  };
  refused("counter for quote", [](EnrolAnswer& a) { a.evidence.quote = a.evidence.counter; });
  refused("counter for index", [](EnrolAnswer& a) { a.evidence.index = a.evidence.counter; });
  refused("altered attestation", [](EnrolAnswer& a) { a.evidence.counter.attest.back() ^= std::byte{1}; });
  refused("altered signature", [](EnrolAnswer& a) { a.evidence.index.signature.back() ^= std::byte{1}; });
  refused("policy without the anchor's PCR", [](EnrolAnswer& a) { a.sealed->policy.registers = {{7, Hash{}}}; });
  refused("another baseline", [](EnrolAnswer& a) { a.pcr_baseline.fill(std::byte{1}); });
  refused("short key", [](EnrolAnswer& a) { a.checkpoint_key.pop_back(); });
}

TEST_F(Enrolment, ADamagedChallengeChangesNothing) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  const auto challenge = TheEnroller().Challenge(request_);
  ASSERT_TRUE(challenge.has_value());
  const auto key = tpm_->Activate(challenge->credential);
  ASSERT_TRUE(key.has_value());
  for (std::size_t at = 0; at < challenge->signatures.size(); at += 7) {
    Bytes damaged = challenge->signatures;
    damaged[at] ^= std::byte{1};
    EXPECT_EQ(UnwrapSignatures(damaged, Secret(*key)).error().code, Code::kDenied) << at;
  }
  EXPECT_EQ(UnwrapSignatures(ByteView(challenge->signatures).first(10), Secret(*key)).error().code, Code::kInvalid);
  EXPECT_EQ(UnwrapSignatures(challenge->signatures, seed_).error().code, Code::kDenied);
}

TEST_F(Enrolment, EveryMissingMemberOfEveryFileIsRefused) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  const auto challenge = TheEnroller().Challenge(request_);
  ASSERT_TRUE(challenge.has_value());
  const std::string challenge_text = EncodeChallenge(*challenge);
  EXPECT_EQ(EncodeRequest(*DecodeRequest(request_)), request_);
  EXPECT_EQ(EncodeChallenge(*DecodeChallenge(challenge_text)), challenge_text);
  const auto request_members = json::parse(request_);
  for (const auto& [name, value] : request_members.items()) {
    json bad = request_members;
    bad.erase(name);
    EXPECT_FALSE(DecodeRequest(bad.dump())) << name;
    bad[name] = nullptr;
    EXPECT_FALSE(DecodeRequest(bad.dump())) << name;
  }
  const auto challenge_members = json::parse(challenge_text);
  for (const auto& [name, value] : challenge_members.items()) {
    json bad = challenge_members;
    bad.erase(name);
    EXPECT_FALSE(DecodeChallenge(bad.dump())) << name;
    bad[name] = nullptr;
    EXPECT_FALSE(DecodeChallenge(bad.dump())) << name;
  }
  for (std::size_t size = 0; size + 1 < request_.size(); size += 11) {
    EXPECT_FALSE(DecodeRequest(std::string_view(request_).substr(0, size)));
  }
  EXPECT_FALSE(DecodeRequest(challenge_text));
  EXPECT_FALSE(DecodeChallenge(request_));
}

}  // namespace
}  // namespace stele::anchor
