#include "appliance/daemons/cli/verification.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "appliance/anchor/epoch_files.h"
#include "appliance/base/limits.h"
#include "appliance/base/system.h"
#include "appliance/daemons/cli/output.h"
#include "appliance/daemons/config.h"
#include "tpm/signing.h"

namespace stele::daemons::cli {
namespace {

constexpr std::size_t kPinBytesMax = 64 * limits::kKiB;

channel::LogState StateOf(const Verification& result) {
  const store::VerifyReport& report = result.store;
  channel::LogState state;
  state.log_id = report.log_id;
  state.size = report.records;
  state.root = report.root;
  state.frontier = report.frontier.Hashes();
  state.bytes_valid = IsGood(report.word);
  state.tail_records = result.epoch_begins ? 0 : report.tail_records;
  state.tail_since_wall_ns = report.checkpoint_wall_ns;
  result.epochs->Into(state);
  return state;
}

// A closed epoch stays in the verdict, and one whose own evidence is not whole spoils it.
void ConcludeEpochs(Verification& result) {
  if (!result.epochs) return;
  for (std::string& earlier : anchor::EarlierVerdicts(result.epochs->chain().current().record)) {
    if (std::find(result.qualifiers.begin(), result.qualifiers.end(), earlier) == result.qualifiers.end()) {
      result.qualifiers.push_back(std::move(earlier));
    }
  }
  if (!IsGood(result.word)) return;
  for (const ClosedEpoch& epoch : result.epochs->closed()) {
    if (epoch.fault.empty()) continue;
    result.word = "TAMPERED";
    result.detail = "epoch " + std::to_string(epoch.number) + ": " + Safe(epoch.fault);
    return;
  }
}

// Bytes first: what is wrong on the disk is named before what the TPM concludes from it, except that a roll-back or a
// foreign TPM is the greater news when the bytes themselves are whole.
void Conclude(Verification& result) {
  const auto& store = result.store;
  const auto& tpm = result.tpm;
  result.qualifiers = tpm.qualifiers;
  result.unchecked.insert(result.unchecked.end(), tpm.unchecked.begin(), tpm.unchecked.end());
  result.word = store.word;
  result.detail = Safe(store.detail);
  // An empty folder tells nothing; what the TPM counted does.
  if (store.word == "CANNOT_TELL" && store.units == 0 && !tpm.word.empty() && !IsGood(tpm.word)) {
    result.store.first_bad = store::Place{.what = "segment"};
    result.word = tpm.word;
    result.detail += "; " + tpm.detail;
    return;
  }
  if (!IsGood(store.word)) return;
  if (!tpm.word.empty() && (!IsGood(tpm.word) || store.word == "OK" || result.epoch_begins)) {
    result.word = tpm.word;
    if (!tpm.detail.empty()) result.detail = tpm.detail;
  }
  if (tpm.word.empty()) {
    result.word = "CANNOT_TELL";
    result.detail = "the bytes are whole; what the TPM says of them could not be had: " + Safe(tpm.detail);
  }
}

// Against a key from elsewhere. False: the record could not be read, so nothing is pinned.
Result<bool> CheckPin(const Result<anchor::EpochChain>& epochs, const std::string& path) {
  if (path.empty() || !epochs) return false;
  STELE_TRY(const Bytes pem, ReadFile(path, kPinBytesMax));
  STELE_TRY(const auto pinned, tpm::PointOf(AsText(pem)));
  STELE_TRY(const auto signer, tpm::PointOf(epochs->genesis().signed_record.public_key_pem));
  if (pinned.x != signer.x || pinned.y != signer.y) {
    return Fail(Code::kDenied, "the log's provisioning record is not signed by the key in " + path);
  }
  return true;
}

// An epoch that was provisioned and whose entry the next start will write, if it fits the end of this log.
bool TakeWaitingEpoch(const Home& home, Verification& result) {
  if (!result.epochs || result.store.first_bad) return false;
  const auto known = anchor::LoadEpochs(home.State());
  if (!known || known->number() != result.epochs->chain().number() + 1) return false;
  const auto payload = anchor::EpochPayload(known->current().signed_record);
  return payload && result.epochs->Take(result.store.records, result.store.root, AsBytes(*payload)).has_value();
}

}  // namespace

Result<store::OpenedShelf> OpenStore(const Home& home, const std::vector<std::string>& devices, store::MediumUse use, const std::optional<Hash>& log_id) {
  store::MediumPlace place{home.Store(), devices};
  if (devices.empty()) {
    STELE_TRY(const Config config, LoadConfig(home.Config(), false));
    place.partitions = config.partitions;
  }
  STELE_TRY(const store::Medium medium, store::Medium::Open(std::move(place), use));
  return medium.Shelf(log_id);
}

bool IsGood(const std::string& word) { return word == "OK" || word == "OK_UNANCHORED_TAIL" || word == "RECOVERED_CRASH"; }

Result<Verification> VerifyLog(const Home& home, const VerifyOptions& arguments, bool show_progress) {
  const auto begin = std::chrono::steady_clock::now();
  Verification result;
  const bool live = IsRunning(home);
  const auto genesis = anchor::LoadEpochs(home.State(), 0);
  STELE_TRY(const bool pinned, CheckPin(genesis, arguments.pin));
  store::VerifyOptions options;
  if (genesis) {
    result.epochs.emplace(*genesis);
    options.log_id = genesis->log_id();
    options.checkpoint_key = anchor::CheckpointKeyOf(genesis->genesis().record, genesis->Origin());
    EpochHistory& epochs = *result.epochs;
    options.on_entry = [&epochs](record::Kind kind, std::uint64_t, ByteView payload) { epochs.Add(kind, payload); };
    options.on_epoch = [&epochs](std::uint64_t sequence, const Hash& root, ByteView payload) {
      return epochs.Take(sequence, root, payload);
    };
  } else {
    result.unchecked.push_back("the provisioning record: " + Describe(genesis.error()));
  }
  if (show_progress) {
    options.on_progress = [](std::uint64_t records) {
      std::fprintf(stderr, "\r%llu records", static_cast<unsigned long long>(records));
    };
  }
  const auto use = live ? store::MediumUse::kRead : store::MediumUse::kReadDirect;
  STELE_TRY(const store::OpenedShelf opened, OpenStore(home, arguments.devices, use, options.log_id));
  STELE_TRY(result.store, store::VerifyStore(*opened.shelf, options));
  if (opened.partitions != nullptr) {
    const store::PartitionsUse partitions = opened.partitions->Use();
    for (const std::string& refused : partitions.refused) result.unchecked.push_back("a partition: " + refused);
    for (const std::string& unmarked : partitions.unmarked) result.unchecked.push_back("a seal: " + unmarked);
  }
  if (show_progress) std::fprintf(stderr, "\r                         \r");
  if (!result.store.signatures_checked) result.unchecked.emplace_back("the signatures of the checkpoints");
  result.epoch_begins = !live && TakeWaitingEpoch(home, result);
  if (live) {
    result.tpm = AskRunning(home);
  } else if (result.epochs) {
    const anchor::Epoch& newest = result.epochs->chain().current();
    result.tpm = JudgeStopped(home, newest.signed_record, newest.record, StateOf(result));
  } else {
    result.tpm.detail = "there is no provisioning record to compare it with";
    result.tpm.unchecked = {"the TPM"};
  }
  if (!pinned) result.tpm.qualifiers.emplace_back("UNPINNED");  // the record is the appliance's own word then
  Conclude(result);
  ConcludeEpochs(result);
  result.duration_ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

}  // namespace stele::daemons::cli
