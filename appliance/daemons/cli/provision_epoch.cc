// stele provision --epoch: the TPM died, was cleared or replaced, its registers are gone or hold junk. The log goes on with
// another TPM state; how the epoch before ended is signed with it and stays.
#include <fmt/format.h>

#include <algorithm>

#include "appliance/anchor/epoch_files.h"
#include "appliance/base/system.h"
#include "appliance/daemons/cli/client.h"
#include "appliance/daemons/cli/output.h"
#include "appliance/daemons/cli/provision.h"
#include "appliance/daemons/cli/verification.h"
#include "appliance/store/store.h"
#include "tpm/signing.h"
#include "tpm/swtpm.h"

namespace stele::daemons::cli {
namespace {

namespace fs = std::filesystem;

// What there is, and what the next record shall claim of it.
struct Situation {
  anchor::EpochChain epochs;  // those that have begun
  anchor::EpochClaim claim;
};

Result<void> CheckReason(const std::string& reason) {
  if (reason.empty() || reason.size() > anchor::kReasonBytesMax) {
    return Fail(Code::kInvalid, fmt::format("--reason: one to {} octets", anchor::kReasonBytesMax));
  }
  if (Safe(reason) != reason) return Fail(Code::kInvalid, "--reason: one line of printable text");
  return {};
}

// An epoch whose entry the log does not hold yet never was: its record may be replaced.
Result<anchor::EpochChain> EpochsBegun(const Home& home, std::uint64_t log_size) {
  STELE_TRY(anchor::EpochChain known, anchor::LoadEpochs(home.State()));
  const auto& newest = known.current().record.epoch;
  if (!newest || newest->log_size < log_size) return known;
  if (newest->log_size > log_size) {
    return Fail(Code::kDenied, fmt::format("epoch {} began over {} records and the store holds {}: an older store was put "
                                           "here; put the right one back",
                                           newest->number, newest->log_size, log_size));
  }
  return anchor::LoadEpochs(home.State(), known.number() - 1);
}

Result<Situation> Look(const Home& home, const ProvisionOptions& options) {
  Say("looking at the log and its TPM (the same as `stele verify`) ...");
  STELE_TRY(const store::OpenedShelf opened, OpenStore(home, {}, store::MediumUse::kReadDirect, std::nullopt));
  STELE_TRY(const store::Tail tail, store::ReadTail(*opened.shelf));
  if (tail.fresh || tail.size() == 0) {
    return Fail(Code::kDenied, "there is no log in " + home.Store().string() + " to go on with: `stele up` begins one");
  }
  STELE_TRY(anchor::EpochChain epochs, EpochsBegun(home, tail.size()));
  STELE_TRY(const Verification found, VerifyLog(home, {}, false));
  if (!found.epochs) return Fail(Code::kCorrupt, "the provisioning record cannot be read");
  const auto& last = epochs.current().record.epoch;
  anchor::EpochClaim claim;
  claim.number = epochs.number() + 1;
  claim.log_id = epochs.log_id();
  claim.reason = options.reason;
  claim.log_size = tail.size();
  const ledger::Frontier edge = tail.frontier();
  claim.log_root = edge.Root();
  claim.log_frontier = edge.Hashes();
  if (last) claim.verdicts = last->verdicts;
  // With a record waiting for its entry, that one's TPM was judged; the epoch before it had its verdict then.
  const bool replaced = found.epoch_begins;
  const ClosedEpoch end = replaced ? found.epochs->closed().back() : found.epochs->Newest(claim.log_size, claim.log_root);
  claim.verdicts.push_back(replaced ? end.word : found.word);
  claim.detail = replaced ? end.detail : found.detail;
  claim.anchor = end.anchor;
  claim.anchored_size = end.anchored_size;
  claim.checkpoint_size = end.checkpoint_size;
  return Situation{std::move(epochs), std::move(claim)};
}

void SaySituation(const Situation& situation) {
  const anchor::EpochClaim& claim = situation.claim;
  Say(fmt::format("log {}: {} records", HexOf(claim.log_id), claim.log_size));
  Say(fmt::format("epoch {} ends: {}, {}", claim.number - 1, claim.verdicts.back(), claim.detail));
  Say(fmt::format("  its last anchor is {} and covers {} records; the {} above it have no TPM's word", claim.anchor,
                  claim.anchored_size, claim.log_size - std::min(claim.log_size, claim.anchored_size)));
  Say(fmt::format("epoch {} begins: {}", claim.number, claim.reason));
}

Result<void> CheckSigner(const Home& home, const ProvisionChoices& choices, const anchor::EpochChain& epochs) {
  std::string public_pem = choices.enroller_public_pem;
  if (choices.exchange.empty()) {
    const fs::path path = choices.key.empty() ? home.ProvisioningKey() : choices.key;
    const auto key = ReadFile(path, anchor::kProvisioningBytesMax);
    if (!key) {
      return Fail(Code::kDenied, "the provisioning key is needed: name its file with --key, or have its owner sign "
                                 "(--exchange); " + Describe(key.error()));
    }
    STELE_TRY(public_pem, tpm::PublicPemOf(AsText(*key)));
  }
  STELE_TRY(const auto given, tpm::PointOf(public_pem));
  STELE_TRY(const auto signer, tpm::PointOf(epochs.genesis().signed_record.public_key_pem));
  if (given.x == signer.x && given.y == signer.y) return {};
  return Fail(Code::kDenied, "only the provisioning key that signed this log's beginning can sign its next epoch");
}

// An embedded TPM that cannot be provisioned (its authorisations are set, its registers taken) is kept aside as evidence
// and another one made. A chip's owner clears it in the firmware.
Result<anchor::SignedRecord> ProvisionNext(const Home& home, TpmSource& source, ProvisionChoices& choices) {
  if (source.embedded() && choices.ek_authorities_pem.empty()) {
    STELE_TRY(choices.ek_authorities_pem, tpm::SwtpmCaPem(home.Tpm()));
  }
  auto record = ProvisionLog(home, source, choices, &Say);
  if (record || record.error().code != Code::kDenied) return record;
  if (!source.embedded()) {
    return Fail(Code::kDenied, record.error().context + "; clear the TPM in the firmware and try again");
  }
  if (!choices.exchange.empty()) return record;  // the enroller may have refused: no reason to make another TPM
  STELE_TRY(const fs::path kept, source.Replace(home.RetiredTpm(choices.epoch->number - 1)));
  Say("the embedded TPM of the last epoch is kept in " + kept.string() + "; another one is made ...");
  STELE_TRY(choices.ek_authorities_pem, tpm::SwtpmCaPem(home.Tpm()));
  return ProvisionLog(home, source, choices, &Say);
}

Result<int> DryRun(const Home& home, const Config& config, ProvisionChoices& choices) {
  const bool embedded = config.tpm.kind == TpmKind::kEmbedded || tpm::HasSwtpmState(home.Tpm());
  if (embedded || !HasTpmDevice()) {
    Say("Dry run: nothing is changed. The embedded TPM would be provisioned where it is empty, else kept in " +
        home.RetiredTpm(choices.epoch->number - 1).string() + " and made anew; then the stages 1 to 8 of docs/operating.md.");
    return kExitYes;
  }
  STELE_TRY(TpmSource tpm, TpmSource::Open(home, config.tpm));
  choices.seal = SealedByDefault(config, tpm.embedded());
  STELE_TRY_VOID(DescribeProvisioning(home, tpm, choices, &Say));
  return kExitYes;
}

}  // namespace

Result<int> ProvisionEpoch(const Home& home, const ProvisionOptions& options, const Config& config) {
  STELE_TRY_VOID(CheckReason(options.reason));
  if (IsRunning(home)) return Fail(Code::kDenied, "a Stele is running in " + home.dir.string() + ": stop it first");
  STELE_TRY(ProvisionChoices choices, ChoicesOf(options, config));
  STELE_TRY(const Situation situation, Look(home, options));
  SaySituation(situation);
  STELE_TRY_VOID(CheckSigner(home, choices, situation.epochs));
  choices.origin = situation.epochs.genesis().record.origin;
  choices.epoch = situation.claim;
  if (options.dry_run) return DryRun(home, config, choices);
  STELE_TRY_VOID(MakeHome(home));
  STELE_TRY(const UniqueFd lock, LockHome(home));
  STELE_TRY(TpmSource source, TpmSource::Open(home, config.tpm));
  choices.seal = SealedByDefault(config, source.embedded());
  STELE_TRY(const anchor::SignedRecord record, ProvisionNext(home, source, choices));
  STELE_TRY(const anchor::ProvisioningRecord made, anchor::DecodeRecord(record.record));
  const auto key = anchor::CheckpointKeyOf(made, situation.epochs.Origin());
  Say("record      " + anchor::RecordPath(home.State(), situation.claim.number).string());
  Say("signed by   " + anchor::FingerprintOf(record.public_key_pem));
  Say("vkey        " + (key ? key->Vkey() : "") + "  (new: tell the witnesses)");
  Say("the next `stele up` writes the epoch's entry and makes its first anchor");
  if (choices.exchange.empty() && choices.lock_down) {
    const fs::path escrow = choices.escrow.empty() ? home.HierarchyAuths(situation.claim.number) : choices.escrow;
    Say("escrow      " + escrow.string() + " holds the TPM's authorisations: move it off this machine");
  }
  return kExitYes;
}

}  // namespace stele::daemons::cli
