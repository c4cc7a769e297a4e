// stele verify: the store, byte by byte, then what the TPM says of it.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fmt/format.h>

#include "appliance/anchor/keys.h"
#include "appliance/base/limits.h"
#include "appliance/base/system.h"
#include "appliance/base/text.h"
#include "appliance/daemons/cli/client.h"
#include "appliance/daemons/cli/commands.h"
#include "appliance/daemons/cli/output.h"
#include "appliance/daemons/cli/tpm_check.h"
#include "appliance/store/file_device.h"
#include "appliance/store/verify.h"
#include "tpm/signing.h"

namespace stele::daemons::cli {
namespace {

using nlohmann::json;

constexpr std::size_t kPinBytesMax = 64 * limits::kKiB;

bool IsGood(const std::string& word) { return word == "OK" || word == "OK_UNANCHORED_TAIL" || word == "RECOVERED_CRASH"; }

struct Verification {
  store::VerifyReport store;
  TpmCheck tpm;
  std::string word;
  std::string detail;
  std::vector<std::string> qualifiers;
  std::vector<std::string> unchecked;
  std::int64_t duration_ms = 0;
};

struct Provisioning {
  anchor::SignedRecord signed_record;
  anchor::ProvisioningRecord record;
};

Result<Provisioning> LoadProvisioning(const Home& home) {
  STELE_TRY(const Bytes text, ReadFile(home.ProvisioningRecord(), anchor::kProvisioningBytesMax));
  Provisioning provisioning;
  STELE_TRY(provisioning.signed_record, anchor::DecodeSignedRecord(AsText(text)));
  STELE_TRY_VOID(anchor::VerifySignedRecord(provisioning.signed_record));
  STELE_TRY(provisioning.record, anchor::DecodeRecord(provisioning.signed_record.record));
  return provisioning;
}

std::optional<ledger::VerifyKey> CheckpointKeyOf(const Provisioning& provisioning) {
  const Bytes& key = provisioning.record.checkpoint_key;
  ledger::VerifyKey verify_key;
  if (key.size() != verify_key.public_key.size()) return std::nullopt;
  verify_key.name = anchor::OriginOf(provisioning.record, anchor::LogIdOf(provisioning.signed_record.record));
  std::copy(key.begin(), key.end(), verify_key.public_key.begin());
  return verify_key;
}

channel::LogState StateOf(const store::VerifyReport& report, const AnchorEntries& entries) {
  channel::LogState state;
  state.log_id = report.log_id;
  state.size = report.records;
  state.root = report.root;
  state.frontier = report.frontier.Hashes();
  state.bytes_valid = IsGood(report.word);
  state.tail_records = report.tail_records;
  state.tail_since_wall_ns = report.checkpoint_wall_ns;
  entries.Into(state);
  return state;
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
  if (store.word == "CANNOT_TELL" && store.units == 0 && !tpm.word.empty() && !IsGood(tpm.word)) {  // an empty folder tells nothing; what the TPM counted does
    result.store.first_bad = store::Place{.what = "segment"};
    result.word = tpm.word;
    result.detail += "; " + tpm.detail;
    return;
  }
  if (!IsGood(store.word)) return;
  if (!tpm.word.empty() && (!IsGood(tpm.word) || store.word == "OK")) {
    result.word = tpm.word;
    if (!tpm.detail.empty()) result.detail = tpm.detail;
  }
  if (tpm.word.empty()) {
    result.word = "CANNOT_TELL";
    result.detail = "the bytes are whole; what the TPM says of them could not be had: " + Safe(tpm.detail);
  }
}

// Against a key from elsewhere. False: the record could not be read, so nothing is pinned.
Result<bool> CheckPin(const Result<Provisioning>& provisioning, const std::string& path) {
  if (path.empty() || !provisioning) return false;
  STELE_TRY(const Bytes pem, ReadFile(path, kPinBytesMax));
  STELE_TRY(const auto pinned, tpm::PointOf(AsText(pem)));
  STELE_TRY(const auto signer, tpm::PointOf(provisioning->signed_record.public_key_pem));
  if (pinned.x != signer.x || pinned.y != signer.y) {
    return Fail(Code::kDenied, "the log's provisioning record is not signed by the key in " + path);
  }
  return true;
}

Result<Verification> Verify(const Home& home, const VerifyOptions& arguments, bool show_progress) {
  const auto begin = std::chrono::steady_clock::now();
  Verification result;
  const bool live = IsRunning(home);
  const auto provisioning = LoadProvisioning(home);
  STELE_TRY(const bool pinned, CheckPin(provisioning, arguments.pin));
  store::VerifyOptions options;
  if (provisioning) {
    options.log_id = anchor::LogIdOf(provisioning->signed_record.record);
    options.checkpoint_key = CheckpointKeyOf(*provisioning);
  } else {
    result.unchecked.push_back("the provisioning record: " + Describe(provisioning.error()));
  }
  AnchorEntries entries;
  options.on_entry = [&entries](record::Kind kind, std::uint64_t, ByteView payload) { entries.Add(kind, payload); };
  if (show_progress) {
    options.on_progress = [](std::uint64_t records) { std::fprintf(stderr, "\r%llu records", static_cast<unsigned long long>(records)); };
  }
  store::FileShelf shelf(home.Store(), {.immutable_when_sealed = false, .direct_reads = !live});
  STELE_TRY(result.store, store::VerifyStore(shelf, options));
  if (show_progress) std::fprintf(stderr, "\r                         \r");
  if (!result.store.signatures_checked) result.unchecked.emplace_back("the signatures of the checkpoints");
  if (live) {
    result.tpm = AskRunning(home);
  } else if (provisioning) {
    result.tpm = JudgeStopped(home, provisioning->signed_record, provisioning->record, StateOf(result.store, entries));
  } else {
    result.tpm.detail = "there is no provisioning record to compare it with";
    result.tpm.unchecked = {"the TPM"};
  }
  if (!pinned) result.tpm.qualifiers.emplace_back("UNPINNED");  // the record is the appliance's own word then
  Conclude(result);
  result.duration_ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

json PlaceJson(const std::optional<store::Place>& place) {
  if (!place) return nullptr;
  return {{"what", place->what},
          {"segment", place->unit},
          {"offset", place->offset_bytes},
          {"first_seq", place->first_sequence},
          {"end_seq", place->end_sequence}};
}

json ToJson(const Verification& result) {
  const auto& store = result.store;
  return {{"word", result.word},
          {"qualifiers", result.qualifiers},
          {"detail", result.detail},
          {"first_bad", PlaceJson(store.first_bad)},
          {"unchecked", result.unchecked},
          {"store",
           {{"word", store.word},
            {"detail", Safe(store.detail)},
            {"log_id", HexOf(store.log_id)},
            {"root", HexOf(store.root)},
            {"records", store.records},
            {"blocks", store.blocks},
            {"segments", store.units},
            {"payload_bytes", store.payload_bytes},
            {"checkpoints", store.checkpoints},
            {"checkpoint_size", store.checkpoint_size},
            {"tail_records", store.tail_records},
            {"abandoned_bytes", store.abandoned_bytes},
            {"signatures_checked", store.signatures_checked}}},
          {"tpm",
           {{"source", result.tpm.source},
            {"word", result.tpm.word},
            {"detail", result.tpm.detail},
            {"warnings", result.tpm.warnings}}},
          {"duration_ms", result.duration_ms}};
}

std::string Joined(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

void PrintVerification(const Verification& result) {
  const auto& store = result.store;
  Print(result.word + (result.qualifiers.empty() ? "" : " (" + Joined(result.qualifiers) + ")") + "\n");
  if (!result.detail.empty()) Print("  " + result.detail + "\n");
  if (store.first_bad) {
    const auto& place = *store.first_bad;
    Print(fmt::format("  first bad place: {} in segment {} at byte {}, records {} to {}\n", Safe(place.what), place.unit,
                      place.offset_bytes, place.first_sequence,
                      place.end_sequence > place.first_sequence ? place.end_sequence - 1 : place.first_sequence));
  }
  Print("\n");
  const double seconds = static_cast<double>(std::max<std::int64_t>(1, result.duration_ms)) / 1'000;
  PrintPairs({{"log", HexOf(store.log_id)},
              {"records", fmt::format("{} in {} blocks, {} segments, {} of messages", store.records, store.blocks, store.units,
                                      SizeText(store.payload_bytes))},
              {"checkpoints", fmt::format("{}, the newest covers {} records{}", store.checkpoints, store.checkpoint_size,
                                          store.signatures_checked ? "" : " (signatures not checked)")},
              {"tail", fmt::format("{} records above it", store.tail_records)},
              {"abandoned", SizeText(store.abandoned_bytes)},
              {"TPM", (result.tpm.word.empty() ? "no answer" : result.tpm.word) + " (" + result.tpm.source + ") " +
                          Safe(result.tpm.detail)},
              {"took", fmt::format("{:.1f} s, {:.0f} records/s", seconds, static_cast<double>(store.records) / seconds)}});
  for (const auto& warning : result.tpm.warnings) Print("warning: " + warning + "\n");
  for (const auto& missing : result.unchecked) Print("not checked: " + Safe(missing) + "\n");
}

int ExitOf(const std::string& word) {
  if (IsGood(word)) return kExitYes;
  return word == "CANNOT_TELL" ? kExitCannotTell : kExitNo;
}

}  // namespace

int RunVerify(const Home& home, const VerifyOptions& options) {
  const bool as_json = options.json;
  std::error_code error;
  if (!std::filesystem::is_directory(home.Store(), error)) {
    std::fprintf(stderr, "stele: there is no log in %s\n", Safe(home.dir.string()).c_str());
    return kExitUsage;
  }
  const bool show_progress = !as_json && ::isatty(STDERR_FILENO) == 1;
  const auto result = Verify(home, options, show_progress);
  if (!result) return Complain(result.error());
  if (as_json) {
    PrintJson(ToJson(*result));
  } else {
    PrintVerification(*result);
  }
  return ExitOf(result->word);
}

}  // namespace stele::daemons::cli
