// stele provision: what `stele up` does by itself on its first run, as a command of its own, and the enroller's side of
// it.
#include <algorithm>
#include <cstdio>

#include "appliance/anchor/provisioning_record.h"
#include "appliance/base/hash.h"
#include "appliance/base/system.h"
#include "appliance/daemons/cli/client.h"
#include "appliance/daemons/cli/commands.h"
#include "appliance/daemons/cli/output.h"
#include "appliance/daemons/cli/provision.h"
#include "appliance/daemons/config.h"
#include "appliance/daemons/first_run.h"
#include "appliance/daemons/provisioning.h"
#include "tpm/names.h"
#include "tpm/signing.h"

namespace stele::daemons::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPemBytesMax = 64 * limits::kKiB;

Result<std::string> ReadPem(const std::string& path) {
  STELE_TRY(const Bytes text, ReadFile(path, kPemBytesMax));
  return std::string(AsText(text));
}

Result<std::string> ReadText(const fs::path& path) {
  STELE_TRY(const Bytes text, ReadFile(path, anchor::kEnrolmentBytesMax));
  return std::string(AsText(text));
}

}  // namespace

void Say(const std::string& line) {
  Print(Safe(line) + "\n");
  std::fflush(stdout);
}

Result<ProvisionChoices> ChoicesOf(const ProvisionOptions& options, const Config& config) {
  ProvisionChoices choices;
  choices.pcr = static_cast<std::uint32_t>(config.pcr);
  choices.seal_pcrs.insert(options.seal_pcrs.begin(), options.seal_pcrs.end());
  choices.lock_down = !options.no_lock_down;
  choices.escrow = options.escrow;
  choices.exchange = options.exchange;
  choices.start_over = options.start_over;
  if (!options.ek_root.empty()) {
    STELE_TRY(choices.ek_authorities_pem, ReadAuthorities(options.ek_root));
  }
  if (!options.exchange.empty()) {
    if (options.pin.empty()) return Fail(Code::kInvalid, "--exchange needs --pin: the enroller's public key");
    STELE_TRY(choices.enroller_public_pem, ReadPem(options.pin));
  }
  if (options.epoch) choices.key = options.key;
  return choices;
}

namespace {

Result<int> Provision(const Home& home, const ProvisionOptions& options, const Config& config) {
  STELE_TRY(ProvisionChoices choices, ChoicesOf(options, config));
  if (options.dry_run) {
    std::error_code ignored;  // a directory that cannot be looked at is found out by MakeHome
    if (fs::exists(home.ProvisioningRecord(), ignored)) {
      Say("Dry run: " + home.dir.string() + " is provisioned; there is nothing to do.");
      return kExitYes;
    }
    if (!tpm::HasSwtpmState(home.Tpm()) && config.tpm.kind != TpmKind::kDevice && config.tpm.kind != TpmKind::kSocket && !HasTpmDevice()) {
      Say("Dry run: nothing is changed. There is no TPM device: an embedded software TPM would be made in " +
          home.Tpm().string() + ",\nand a provisioning key in " + home.ProvisioningKey().string() +
          "; then the stages 1 to 8 of docs/operating.md.");
      return kExitYes;
    }
    if (IsRunning(home))
      return Fail(Code::kDenied, "a Stele is running in " + home.dir.string() + ": its TPM is in use");
    STELE_TRY(TpmSource tpm, TpmSource::Open(home, config.tpm));
    choices.seal = SealedByDefault(config, tpm.embedded());
    STELE_TRY_VOID(DescribeProvisioning(home, tpm, choices, &Say));
    return kExitYes;
  }
  STELE_TRY_VOID(MakeHome(home));
  STELE_TRY(const UniqueFd lock, LockHome(home));
  STELE_TRY(TpmSource tpm, TpmSource::Open(home, config.tpm));
  STELE_TRY(const Identity identity, MakeOrLoadIdentity(home, config, tpm, choices, &Say));
  Say("log id      " + identity.log_id);
  Say("origin      " + identity.origin);
  Say("vkey        " + identity.verification_key);
  Say("record      " + home.ProvisioningRecord().string());
  Print("pin         keep this public key outside the box, for `stele verify --pin`:\n" +
        identity.provisioning_public_pem);
  if (options.exchange.empty() && choices.lock_down && identity.fresh) {
    const fs::path escrow = choices.escrow.empty() ? home.HierarchyAuths(0) : choices.escrow;
    Say("escrow      " + escrow.string() + " holds the TPM's authorisations: move it off this machine");
    Say("            and " + home.ProvisioningKey().string() + ", the provisioning key, with it");
  }
  for (const auto& line : identity.sign_in) Say(line);
  return kExitYes;
}

void SayRequest(const anchor::EnrolRequest& request) {
  Say("  TPM      " + request.manufacturer + " " + request.vendor +
      (request.software_tpm ? " (software: no chip)" : ""));
  Say("  EK       " + HexOf(tpm::NameOfPublicArea(
                          ByteView(request.ek_public).subspan(std::min<std::size_t>(2, request.ek_public.size())))));
  Say("  origin   " + (request.origin.empty() ? "(from the log id)" : request.origin));
  if (!request.epoch) return;
  const anchor::EpochClaim& epoch = *request.epoch;
  Say("  EPOCH    " + std::to_string(epoch.number) + " of log " + HexOf(epoch.log_id));
  Say("  reason   " + epoch.reason);
  Say("  over     " + std::to_string(epoch.log_size) + " records, root " + HexOf(epoch.log_root));
  Say("  before   " + epoch.verdicts.back() + " after anchor " + std::to_string(epoch.anchor) + ": " + epoch.detail);
}

// One round: whatever file is next. The two rounds need nothing in common but the key and the request.
Result<int> Enrol(const ProvisionOptions& options) {
  if (options.key.empty())
    return Fail(Code::kInvalid, "--enroller needs --key: the provisioning key (--make-key makes one)");
  STELE_TRY(const std::string key, ReadPem(options.key));
  std::string authorities;
  if (!options.ek_root.empty()) {
    STELE_TRY(authorities, ReadAuthorities(options.ek_root));
  } else if (!options.no_ek_root) {
    return Fail(Code::kInvalid,
                "--enroller needs --ek-root: the TPM makers' certificates (or --no-ek-root, on your own word)");
  }
  SystemClock clock;
  SystemEntropy entropy;
  anchor::Enroller enroller(key, authorities, clock, entropy);
  const fs::path folder = options.enroller;
  STELE_TRY(const std::string request_text, ReadText(folder / kRequestFile));
  STELE_TRY(const anchor::EnrolRequest request, anchor::DecodeRequest(request_text));
  SayRequest(request);
  auto answer = ReadText(folder / kAnswerFile);
  if (answer) {
    STELE_TRY(const anchor::SignedRecord record, enroller.Record(request_text, *answer));
    STELE_TRY_VOID(WriteFileDurably(folder / kRecordFile, AsBytes(anchor::EncodeSignedRecord(record)), 0644));
    Say("The attestation key has proven that it lives in that TPM; its counter and index hold their first values.");
    Say("log id     " + HexOf(anchor::LogIdOf(record.record)));
    Say("wrote      " + (folder / kRecordFile).string() + ": take it back, and keep a copy with " +
        (folder / kRequestFile).string());
    return kExitYes;
  }
  if (answer.error().code != Code::kNotFound) return tl::unexpected(std::move(answer.error()));
  STELE_TRY(const anchor::EnrolChallenge challenge, enroller.Challenge(request_text));
  if (!options.escrow.empty()) {
    STELE_TRY(const tpm::HierarchyAuths auths, enroller.Auths(request_text));
    STELE_TRY_VOID(WriteFileDurably(options.escrow, AsBytes(EncodeAuths(auths)), 0600));
    Say("escrow     " + options.escrow + ": the authorisations this TPM gets when it is locked down");
  }
  STELE_TRY_VOID(WriteFileDurably(folder / kChallengeFile, AsBytes(anchor::EncodeChallenge(challenge)), 0644));
  Say(authorities.empty() ? "The EK certificate was NOT verified up to a root."
                          : "The EK certificate is good up to the roots given.");
  Say("wrote      " + (folder / kChallengeFile).string() + ": take it to the appliance, come back with " + kAnswerFile);
  return kExitYes;
}

Result<int> MakeKey(const std::string& path) {
  std::error_code ignored;  // a path that cannot be looked at cannot be written either
  if (fs::exists(path, ignored)) return Fail(Code::kDenied, path + " exists");
  STELE_TRY(const std::string key, tpm::MakeSigningKey());
  STELE_TRY(const std::string pin, tpm::PublicPemOf(key));
  STELE_TRY_VOID(WriteFileDurably(path, AsBytes(key), 0600));
  STELE_TRY_VOID(WriteFileDurably(path + ".pub", AsBytes(pin), 0644));
  Say("made " + path + " (keep it here) and " + path + ".pub (the pin: for appliances and auditors)");
  return kExitYes;
}

}  // namespace

int RunProvision(const Home& home, const ProvisionOptions& options) {
  const auto run = [&]() -> Result<int> {
    if (!options.make_key.empty()) return MakeKey(options.make_key);
    if (!options.enroller.empty()) return Enrol(options);
    const bool named = !options.config.empty();
    const auto config = LoadConfig(named ? fs::path(options.config) : home.Config(), named);
    if (!config) {
      (void)Complain(config.error());
      return kExitUsage;
    }
    return options.epoch ? ProvisionEpoch(home, options, *config) : Provision(home, options, *config);
  };
  const auto exit_status = run();
  return exit_status ? *exit_status : Complain(exit_status.error());
}

}  // namespace stele::daemons::cli
