// stele verify: prints what verification.h finds.
#include <unistd.h>

#include <cstdio>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "appliance/base/text.h"
#include "appliance/daemons/cli/client.h"
#include "appliance/daemons/cli/output.h"
#include "appliance/daemons/cli/verification.h"

namespace stele::daemons::cli {
namespace {

using nlohmann::json;

json PlaceJson(const std::optional<store::Place>& place) {
  if (!place) return nullptr;
  return {{"what", place->what},
          {"segment", place->unit},
          {"offset", place->offset_bytes},
          {"first_seq", place->first_sequence},
          {"end_seq", place->end_sequence}};
}

json EpochsJson(const Verification& result) {
  json epochs = json::array();
  if (!result.epochs) return epochs;
  for (const ClosedEpoch& epoch : result.epochs->closed()) {
    epochs.push_back({{"number", epoch.number},
                      {"word", epoch.word},
                      {"detail", Safe(epoch.detail)},
                      {"reason", Safe(epoch.reason)},
                      {"closed_by", epoch.number + 1},
                      {"closed_ns", epoch.closed_wall_ns},
                      {"anchor", epoch.anchor},
                      {"tail", {{"first_seq", epoch.anchored_size},
                                {"end_seq", epoch.end_sequence},
                                {"checkpoint_size", epoch.checkpoint_size}}},
                      {"fault", Safe(epoch.fault)}});
  }
  epochs.push_back({{"number", result.epochs->chain().number()},
                    {"word", result.tpm.word},
                    {"detail", result.tpm.detail},
                    {"begins_with_next_start", result.epoch_begins}});
  return epochs;
}

std::string SignerOf(const Verification& result) {
  return anchor::FingerprintOf(result.epochs->chain().genesis().signed_record.public_key_pem);
}

json ToJson(const Verification& result) {
  const auto& store = result.store;
  return {{"word", result.word},
          {"qualifiers", result.qualifiers},
          {"detail", result.detail},
          {"first_bad", PlaceJson(store.first_bad)},
          {"unchecked", result.unchecked},
          {"epochs", EpochsJson(result)},
          {"signer", result.epochs ? SignerOf(result) : ""},
          {"store",
           {{"word", store.word},
            {"detail", Safe(store.detail)},
            {"log_id", HexOf(store.log_id)},
            {"root", HexOf(store.root)},
            {"records", store.records},
            {"blocks", store.blocks},
            {"segments", store.units},
            {"expired", {{"segments", store.expired_units}, {"records", store.expired_records}}},
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
              {"expired", fmt::format("{} of the records, in {} segments whose spines stand for them", store.expired_records, store.expired_units)},
              {"checkpoints", fmt::format("{}, the newest covers {} records{}", store.checkpoints, store.checkpoint_size,
                                          store.signatures_checked ? "" : " (signatures not checked)")},
              {"tail", fmt::format("{} records above it", store.tail_records)},
              {"abandoned", SizeText(store.abandoned_bytes)},
              {"TPM", (result.tpm.word.empty() ? "no answer" : result.tpm.word) + " (" + result.tpm.source + ") " +
                          Safe(result.tpm.detail)},
              {"took", fmt::format("{:.1f} s, {:.0f} records/s", seconds, static_cast<double>(store.records) / seconds)}});
  if (result.epochs && !result.epochs->closed().empty()) {
    for (const ClosedEpoch& epoch : result.epochs->closed()) Print(Safe(TextOf(epoch, SignerOf(result))) + "\n");
    Print(fmt::format("epoch {}: {}{}\n", result.epochs->chain().number(),
                      result.tpm.word.empty() ? "no answer of its TPM" : result.tpm.word,
                      result.epoch_begins ? "; its entry is written at the next start" : ""));
  }
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
  if (options.devices.empty() && !std::filesystem::is_directory(home.Store(), error)) {
    std::fprintf(stderr, "stele: there is no log in %s\n", Safe(home.dir.string()).c_str());
    return kExitUsage;
  }
  const bool show_progress = !as_json && ::isatty(STDERR_FILENO) == 1;
  const auto result = VerifyLog(home, options, show_progress);
  if (!result) return Complain(result.error());
  if (as_json) {
    PrintJson(ToJson(*result));
  } else {
    PrintVerification(*result);
  }
  return ExitOf(result->word);
}

}  // namespace stele::daemons::cli
