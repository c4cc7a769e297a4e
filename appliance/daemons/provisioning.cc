#include "appliance/daemons/provisioning.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "appliance/anchor/epoch_files.h"
#include "appliance/anchor/members.h"
#include "appliance/base/hash.h"
#include "appliance/base/limits.h"
#include "appliance/base/system.h"
#include "tpm/certificate.h"
#include "tpm/seal.h"
#include "tpm/signing.h"

namespace stele::daemons {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kTpmTimeoutMs = 120'000;
constexpr std::size_t kPemBytesMax = 64 * limits::kKiB;
constexpr std::size_t kAuthoritiesBytesMax = limits::kMiB;
constexpr std::chrono::milliseconds kBetweenLooks{300};
constexpr const char* kAnyName = "stele";  // the public key does not depend on the name it is asked for under

volatile sig_atomic_t g_interrupted = 0;
extern "C" void OnInterrupt(int) { g_interrupted = 1; }

// While it lives, Ctrl-C ends the wait for the enroller instead of the process, so that the TPM is cleaned up.
class InterruptWatch {
 public:
  InterruptWatch() {
    g_interrupted = 0;
    struct sigaction action {};
    action.sa_handler = OnInterrupt;
    (void)::sigaction(SIGINT, &action, &before_int_);  // cannot fail: valid signals
    (void)::sigaction(SIGTERM, &action, &before_term_);
  }
  ~InterruptWatch() {
    (void)::sigaction(SIGINT, &before_int_, nullptr);
    (void)::sigaction(SIGTERM, &before_term_, nullptr);
  }
  InterruptWatch(const InterruptWatch&) = delete;
  InterruptWatch& operator=(const InterruptWatch&) = delete;

 private:
  struct sigaction before_int_ {};
  struct sigaction before_term_ {};
};

Result<std::string> ProvisioningKeyOf(const fs::path& path, const ProvisionChoices& choices) {
  auto present = ReadFile(path, kPemBytesMax);
  if (present) return std::string(AsText(*present));
  if (present.error().code != Code::kNotFound || choices.epoch) {
    return tl::unexpected(std::move(present.error()));
  }
  STELE_TRY(const std::string made, tpm::MakeSigningKey());
  STELE_TRY_VOID(WriteFileDurably(path, AsBytes(made), 0600));
  return made;
}

// Who signs: a key here, or one behind a folder of files.
class Signer {
 public:
  virtual ~Signer() = default;
  [[nodiscard]] virtual const std::string& public_pem() const = 0;
  [[nodiscard]] virtual Result<std::string> Challenge(const std::string& request) = 0;
  [[nodiscard]] virtual Result<std::string> Record(const std::string& request, const std::string& answer) = 0;
  // Called with the authorisations before the TPM takes them.
  [[nodiscard]] virtual Result<void> Escrow(const tpm::HierarchyAuths& auths) = 0;
};

class LocalSigner final : public Signer {
 public:
  static Result<std::unique_ptr<Signer>> Make(const fs::path& key, const ProvisionChoices& choices,
                                              const fs::path& escrow) {
    STELE_TRY(std::string private_pem, ProvisioningKeyOf(key, choices));
    STELE_TRY(std::string public_pem, tpm::PublicPemOf(private_pem));
    return std::unique_ptr<Signer>(new LocalSigner(std::move(private_pem), std::move(public_pem), choices,
                                                   escrow));  // NOLINT: private constructor
  }
  const std::string& public_pem() const override { return public_pem_; }
  Result<std::string> Challenge(const std::string& request) override {
    STELE_TRY(const auto challenge, enroller_.Challenge(request));
    return anchor::EncodeChallenge(challenge);
  }
  Result<std::string> Record(const std::string& request, const std::string& answer) override {
    STELE_TRY(const auto record, enroller_.Record(request, answer));
    return anchor::EncodeSignedRecord(record);
  }
  Result<void> Escrow(const tpm::HierarchyAuths& auths) override {
    return WriteFileDurably(escrow_, AsBytes(EncodeAuths(auths)), 0600);
  }

 private:
  LocalSigner(std::string private_pem, std::string public_pem, const ProvisionChoices& choices, fs::path escrow)
      : public_pem_(std::move(public_pem)),
        escrow_(std::move(escrow)),
        enroller_(std::move(private_pem), choices.ek_authorities_pem, clock_, entropy_) {}
  std::string public_pem_;
  fs::path escrow_;
  SystemClock clock_;
  SystemEntropy entropy_;
  anchor::Enroller enroller_;
};

class ExchangeSigner final : public Signer {
 public:
  ExchangeSigner(fs::path folder, std::string public_pem, const SayLine& say)
      : folder_(std::move(folder)), public_pem_(std::move(public_pem)), say_(say) {}
  const std::string& public_pem() const override { return public_pem_; }
  Result<std::string> Challenge(const std::string& request) override {
    return Ask(kRequestFile, request, kChallengeFile);
  }
  Result<std::string> Record(const std::string& /*request*/, const std::string& answer) override {
    return Ask(kAnswerFile, answer, kRecordFile);
  }
  Result<void> Escrow(const tpm::HierarchyAuths& /*auths*/) override { return {}; }  // the enroller derives them itself

 private:
  Result<std::string> Ask(const char* own, const std::string& text, const char* other) {
    std::error_code ignored;  // an old answer must not be taken for this one; its absence is fine
    fs::remove(folder_ / other, ignored);
    STELE_TRY_VOID(WriteFileDurably(folder_ / own, AsBytes(text), 0644));
    say_("  wrote " + (folder_ / own).string());
    say_("  waiting for " + (folder_ / other).string() +
         " from the enroller (leave this running; Ctrl-C gives up) ...");
    const InterruptWatch watch;
    for (;;) {
      auto answer = ReadFile(folder_ / other, anchor::kEnrolmentBytesMax);
      if (answer && !answer->empty()) return std::string(AsText(*answer));
      if (!answer && answer.error().code != Code::kNotFound) return tl::unexpected(std::move(answer.error()));
      if (g_interrupted != 0) return Fail(Code::kUnavailable, "gave up waiting for the enroller");
      std::this_thread::sleep_for(kBetweenLooks);
    }
  }
  fs::path folder_;
  std::string public_pem_;
  const SayLine& say_;
};

std::uint64_t EpochOf(const ProvisionChoices& choices) { return choices.epoch ? choices.epoch->number : 0; }

Result<std::unique_ptr<Signer>> SignerFor(const Home& home, const ProvisionChoices& choices, const SayLine& say) {
  if (!choices.exchange.empty()) {
    return std::unique_ptr<Signer>(
        std::make_unique<ExchangeSigner>(choices.exchange, choices.enroller_public_pem, say));
  }
  return LocalSigner::Make(choices.key.empty() ? home.ProvisioningKey() : choices.key, choices,
                           choices.escrow.empty() ? home.HierarchyAuths(EpochOf(choices)) : choices.escrow);
}

std::string VersionText(std::uint64_t version) {
  return fmt::format("{}.{}.{}.{}", version >> 48U, (version >> 32U) & 0xffff, (version >> 16U) & 0xffff,
                     version & 0xffff);
}

void SayFacts(const tpm::TpmFacts& facts, const SayLine& say) {
  say(fmt::format("  TPM: {} {}, firmware {}{}", facts.manufacturer, facts.vendor, VersionText(facts.firmware_version),
                  facts.software_tpm ? " (software)" : ""));
  say(fmt::format("  EK {}, certificate {}; NV_Certify {}; {} sessions, {} transient objects at least",
                  facts.ek_persisted ? "persisted" : "to be made", facts.ek_certificate ? "in NV" : "none",
                  facts.nv_certify ? "yes" : "no: audited reads instead", facts.sessions_loaded_min,
                  facts.transients_min));
  say(fmt::format("  authorisations set: owner {}, endorsement {}, lockout {}; TPM2_Clear {}; platform hierarchy {}",
                  facts.owner_auth_set ? "yes" : "no", facts.endorsement_auth_set ? "yes" : "no",
                  facts.lockout_auth_set ? "yes" : "no", facts.clear_disabled ? "forbidden" : "allowed",
                  facts.platform_enabled ? "enabled" : "disabled"));
}

// What stands in the way, in words; empty: nothing.
std::string Obstacle(const tpm::TpmFacts& facts) {
  if (!facts.missing_commands.empty()) return "the TPM cannot do " + facts.missing_commands.front();
  if (facts.in_lockout) return "the TPM is in dictionary-attack lockout";
  if (facts.owner_auth_set || facts.endorsement_auth_set || facts.lockout_auth_set) {
    return "a hierarchy authorisation is set: this TPM belongs to somebody; clear it in the firmware first";
  }
  if (!facts.present.empty()) return facts.present.front() + " exists already (an interrupted attempt: --start-over)";
  return {};
}

// One attempt on one connection.
class Attempt {
 public:
  Attempt(tpm::Provisioning& tpm, Signer& signer, const ProvisionChoices& choices, const SayLine& say)
      : tpm_(tpm), signer_(signer), choices_(choices), say_(say) {}

  Result<anchor::SignedRecord> Run(const Home& home, const anchor::Secret& seed, const tpm::SealPolicy& policy);

 private:
  Result<void> Check();
  Result<std::string> MakeRequest();
  Result<anchor::Secret> UseChallenge(const std::string& request);

  tpm::Provisioning& tpm_;
  Signer& signer_;
  const ProvisionChoices& choices_;
  const SayLine& say_;
};

Result<void> Attempt::Check() {
  say_("1/8 checking the TPM");
  STELE_TRY(const tpm::TpmFacts facts, tpm_.Examine());
  SayFacts(facts, say_);
  if (const std::string obstacle = Obstacle(facts); !obstacle.empty()) return Fail(Code::kDenied, obstacle);
  return {};
}

Result<std::string> Attempt::MakeRequest() {
  say_("2/8 keys: endorsement key, storage key, attestation key");
  STELE_TRY_VOID(tpm_.MakeKeys());
  say_("  EK " + HexOf(tpm_.result().identity.ek_name));
  say_("3/8 registers: counter and index, unwritten");
  STELE_TRY(const auto nonces, tpm_.DefineRegisters());
  const tpm::ProvisionResult& made = tpm_.result();
  anchor::EnrolRequest request;
  SystemClock clock;
  request.created_ns = clock.WallNs();
  request.pcr = made.pcr;
  request.handles = made.handles;
  request.origin = choices_.origin;
  request.ek_public = made.ek_public;
  request.ek_certificate = made.ek_certificate_der;
  request.ak_public = made.ak_public;
  request.genesis_random = made.genesis_random;
  request.manufacturer = made.manufacturer;
  request.vendor = made.vendor;
  request.firmware_version = made.firmware_version;
  request.software_tpm = made.software_tpm;
  request.epoch = choices_.epoch;
  if (nonces.counter.size() != kHashBytes || nonces.index.size() != kHashBytes) {
    return Fail(Code::kTpm, "the TPM's nonces are not of 32 bytes");
  }
  std::copy(nonces.counter.begin(), nonces.counter.end(), request.counter_nonce.begin());
  std::copy(nonces.index.begin(), nonces.index.end(), request.index_nonce.begin());
  return anchor::EncodeRequest(request);
}

Result<anchor::Secret> Attempt::UseChallenge(const std::string& request) {
  say_("4/8 credential activation by the enroller");
  STELE_TRY(const std::string text, signer_.Challenge(request));
  STELE_TRY(const anchor::EnrolChallenge challenge, anchor::DecodeChallenge(text));
  if (challenge.request_sha256 != Sha256Of(AsBytes(request)))
    return Fail(Code::kDenied, "the challenge is for another request");
  STELE_TRY(const Hash key, tpm_.Activate(challenge.credential));
  anchor::Secret secret(key);
  say_("5/8 first writes, signed by the provisioning key");
  STELE_TRY(const auto signatures, anchor::UnwrapSignatures(challenge.signatures, secret));
  STELE_TRY_VOID(tpm_.WriteFirst(signatures.counter, signatures.index));
  return secret;
}

Result<anchor::SignedRecord> Attempt::Run(const Home& home, const anchor::Secret& seed, const tpm::SealPolicy& policy) {
  STELE_TRY_VOID(Check());
  STELE_TRY(const std::string request, MakeRequest());
  STELE_TRY(const anchor::Secret key, UseChallenge(request));
  anchor::EnrolAnswer answer;
  STELE_TRY(const auto checkpoint_key, anchor::VerifyKeyOf(seed, kAnyName));
  answer.checkpoint_key = ToBytes(checkpoint_key.public_key);
  if (choices_.seal) {
    say_("6/8 sealing the seed of the checkpoint key: " + TextOf(policy));
    Hash value{};
    std::copy(seed.view().begin(), seed.view().end(), value.begin());
    const auto sealed = tpm_.SealSecret(value, policy);
    OPENSSL_cleanse(value.data(), value.size());
    STELE_TRY_VOID(sealed);
    answer.sealed = tpm_.result().sealed;
    STELE_TRY_VOID(WriteFileDurably(home.SealedSeedFile(EpochOf(choices_)), AsBytes(anchor::EncodeSealedSeed(*answer.sealed)), 0600));
    answer.sealed->private_area.clear();
  } else {
    say_("6/8 the seed stays a file (anchor.key = \"file\")");
    STELE_TRY_VOID(WriteFileDurably(home.SeedFile(EpochOf(choices_)), seed.view(), 0600));
  }
  if (choices_.lock_down) {
    say_("7/8 lock-down: authorisations escrowed, TPM2_Clear forbidden");
    const tpm::HierarchyAuths auths = anchor::EscrowedAuths(key);
    STELE_TRY_VOID(signer_.Escrow(auths));
    STELE_TRY_VOID(tpm_.LockDown(auths));
    say_(tpm_.result().platform_disabled ? "  platform hierarchy disabled until the next reset"
                                         : "  the platform hierarchy is the firmware's: not ours to disable");
  } else {
    say_("7/8 no lock-down: whoever is root here can remove the registers (not rewrite them)");
  }
  say_("8/8 read-back, and the record");
  STELE_TRY(answer.evidence, tpm_.Finish(anchor::AttestChallenge(key)));
  answer.locked_down = tpm_.result().locked_down;
  STELE_TRY(const std::string text,
            signer_.Record(request, anchor::EncodeAnswer(answer, Sha256Of(AsBytes(request)), key)));
  STELE_TRY(anchor::SignedRecord record, anchor::DecodeSignedRecord(text));
  STELE_TRY_VOID(anchor::VerifySignedRecord(record));
  STELE_TRY(const auto decoded, anchor::DecodeRecord(record.record));
  const TpmIdentity& mine = tpm_.result().identity;
  if (record.public_key_pem != signer_.public_pem() || decoded.identity.ak_name != mine.ak_name ||
      decoded.identity.counter_name != mine.counter_name || decoded.identity.index_name != mine.index_name ||
      !SameBytes(decoded.checkpoint_key, answer.checkpoint_key)) {
    return Fail(Code::kDenied, "the record is not for this TPM, or not signed by the pinned key");
  }
  return record;
}

// The anchor's own register at its baseline, the others as they are now.
Result<tpm::SealPolicy> PolicyNow(TpmSource& source, const ProvisionChoices& choices) {
  tpm::SealPolicy policy;
  policy.registers[choices.pcr] = Hash{};
  if (choices.seal_pcrs.empty()) return policy;
  STELE_TRY(UniqueFd connection, source.Connect());
  STELE_TRY(const auto values, tpm::ReadRegisterValues(std::move(connection), choices.seal_pcrs, kTpmTimeoutMs));
  for (const auto& [number, value] : values) {
    if (number != choices.pcr) policy.registers[number] = value;
  }
  return policy;
}

// For bundles: an auditor then needs the maker's root alone.
Result<void> KeepEkChain(const Home& home, const ProvisionChoices& choices, const anchor::SignedRecord& signed_record) {
  std::error_code ignored;
  fs::remove(home.EkChain(), ignored);  // of the TPM of an epoch before
  STELE_TRY(const auto record, anchor::DecodeRecord(signed_record.record));
  if (choices.ek_authorities_pem.empty() || record.ek_certificate.empty()) return {};
  STELE_TRY(const std::string pem,
            tpm::EkIntermediates(record.ek_certificate, choices.ek_authorities_pem, record.created_ns));
  if (pem.empty()) return {};
  return WriteFileDurably(home.EkChain(), AsBytes(pem), 0600);
}

}  // namespace

Result<anchor::SignedRecord> ProvisionLog(const Home& home, TpmSource& source, const ProvisionChoices& choices,
                                          const SayLine& say) {
  SystemEntropy entropy;
  Hash fresh{};
  entropy.Fill(fresh);
  const anchor::Secret seed(fresh);
  OPENSSL_cleanse(fresh.data(), fresh.size());
  STELE_TRY(const auto signer, SignerFor(home, choices, say));
  STELE_TRY(const tpm::SealPolicy policy, PolicyNow(source, choices));
  tpm::ProvisionPlan plan{choices.pcr, {}, signer->public_pem(), kTpmTimeoutMs};
  if (choices.start_over) {
    STELE_TRY(UniqueFd connection, source.Connect());
    STELE_TRY(const auto earlier, tpm::Provisioning::Open(std::move(connection), plan, entropy));
    STELE_TRY_VOID(earlier->TakeOver());
  }
  STELE_TRY(UniqueFd connection, source.Connect());
  STELE_TRY(const auto provisioning, tpm::Provisioning::Open(std::move(connection), plan, entropy));
  STELE_TRY(const anchor::SignedRecord record, Attempt(*provisioning, *signer, choices, say).Run(home, seed, policy));
  if (choices.epoch) {
    STELE_TRY(anchor::EpochChain epochs, anchor::LoadEpochs(home.State(), choices.epoch->number - 1));
    STELE_TRY_VOID(epochs.Continue(record));
    const auto& claimed = epochs.current().record.epoch;
    if (anchor::EpochJson(*claimed) != anchor::EpochJson(*choices.epoch)) {
      return Fail(Code::kDenied, "the record says something else of this epoch than was asked for");
    }
  }
  if (const auto kept = KeepEkChain(home, choices, record); !kept) {
    say("    the EK certificate's chain is not kept for bundles: " +
        Describe(kept.error()));  // nothing else depends on it
  }
  const fs::path path = anchor::RecordPath(home.State(), EpochOf(choices));
  STELE_TRY_VOID(WriteFileDurably(path, AsBytes(anchor::EncodeSignedRecord(record)), 0600));
  return record;
}

Result<void> DescribeProvisioning(const Home& home, TpmSource& source, const ProvisionChoices& choices,
                                  const SayLine& say) {
  STELE_TRY(UniqueFd fd, source.Connect());
  STELE_TRY(const auto connection, tpm::Connection::Open(std::move(fd), kTpmTimeoutMs));
  const tpm::Handles handles;
  STELE_TRY(const tpm::TpmFacts facts, tpm::Examine(*connection, handles, choices.pcr));
  say("Dry run: nothing is changed.");
  SayFacts(facts, say);
  say("1/8 check banks, limits, commands, that nothing of ours exists and no authorisation is set");
  say(fmt::format("2/8 endorsement key at {:#x}{}; storage key at {:#x}; attestation key, child of the EK, at {:#x}",
                  handles.ek, facts.ek_persisted ? " (kept)" : " (made)", handles.storage, handles.ak));
  say(fmt::format(
      "3/8 counter at NV {:#x}, index at NV {:#x}: written first only with the provisioning key's signature",
      handles.counter, handles.index));
  const fs::path key = choices.key.empty() ? home.ProvisioningKey() : choices.key;
  say(choices.exchange.empty() ? "4/8 credential activation by a provisioning key in " + key.string()
                               : "4/8 credential activation by the enroller, files in " + choices.exchange.string());
  say(choices.ek_authorities_pem.empty() ? "    the EK certificate's chain is NOT verified here (--ek-root)"
                                         : "    the EK certificate's chain is verified to the roots given");
  say(fmt::format("5/8 first writes; PCR {} is the anchor's", choices.pcr));
  say(choices.seal ? "6/8 the checkpoint key's seed sealed to " + home.SealedSeedFile(EpochOf(choices)).string()
                   : "6/8 the checkpoint key's seed as a file");
  say(choices.lock_down ? "7/8 lock-down: owner, endorsement and lockout authorisations set, TPM2_Clear forbidden"
                        : "7/8 no lock-down");
  say("8/8 read back, attest, signed record to " + anchor::RecordPath(home.State(), EpochOf(choices)).string());
  if (const std::string obstacle = Obstacle(facts); !obstacle.empty())
    return Fail(Code::kDenied, "it would refuse: " + obstacle);
  return {};
}

bool SealedByDefault(const Config& config, bool embedded) {
  return config.key == "tpm" || (config.key == "auto" && embedded);
}

Result<anchor::Secret> LoadSeed(const Home& home, const anchor::ProvisioningRecord& record,
                                const std::function<Result<UniqueFd>()>& connect) {
  if (!record.key_sealed()) return anchor::LoadSeed(home.SeedFile(record.epoch_number()));
  STELE_TRY(const Bytes text, ReadFile(home.SealedSeedFile(record.epoch_number()), anchor::kEnrolmentBytesMax));
  STELE_TRY(const tpm::SealedSecret sealed, anchor::DecodeSealedSeed(AsText(text)));
  STELE_TRY(UniqueFd connection, connect());
  Hash value{};
  STELE_TRY_VOID(
      tpm::Unseal(std::move(connection), record.handles, record.identity.ek_name, sealed, kTpmTimeoutMs, value));
  anchor::Secret seed(value);
  OPENSSL_cleanse(value.data(), value.size());
  return seed;
}

Result<std::string> ReadAuthorities(const fs::path& path) {
  std::vector<fs::path> files;
  std::error_code error;
  if (fs::is_directory(path, error)) {
    for (const auto& entry : fs::directory_iterator(path, error)) {
      if (entry.is_regular_file(error)) files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
  } else {
    files.push_back(path);
  }
  std::string all;
  for (const fs::path& file : files) {
    STELE_TRY(const Bytes content, ReadFile(file, kAuthoritiesBytesMax));
    if (AsText(content).find("-----BEGIN CERTIFICATE-----") != std::string_view::npos) {
      all += std::string(AsText(content)) + "\n";
    } else if (auto pem = tpm::PemOfCertificate(content)) {
      all += *pem;
    } else if (files.size() == 1) {
      return Fail(Code::kInvalid, file.string() + " holds no certificate");
    }
  }
  if (all.empty()) return Fail(Code::kInvalid, path.string() + " holds no certificate");
  return all;
}

std::string EncodeAuths(const tpm::HierarchyAuths& auths) {
  const json object = {{"stele", "tpm-authorisations"},
                       {"version", 1},
                       {"owner", HexOf(auths.owner)},
                       {"endorsement", HexOf(auths.endorsement)},
                       {"lockout", HexOf(auths.lockout)}};
  return object.dump(2) + "\n";
}

Result<tpm::HierarchyAuths> DecodeAuths(std::string_view text) {
  const json object = json::parse(text, nullptr, false);
  tpm::HierarchyAuths auths;
  const std::pair<const char*, Hash*> wanted[] = {
      {"owner", &auths.owner}, {"endorsement", &auths.endorsement}, {"lockout", &auths.lockout}};
  for (const auto& [name, value] : wanted) {
    const auto hash = object.is_object() && object.contains(name) && object[name].is_string()
                          ? ParseHash(object[name].get_ref<const std::string&>())
                          : std::nullopt;
    if (!hash) return Fail(Code::kInvalid, std::string("not a file of TPM authorisations: member ") + name);
    *value = *hash;
  }
  return auths;
}

}  // namespace stele::daemons
