#include "appliance/daemons/cli/tpm_check.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "appliance/anchor/epoch_files.h"
#include "appliance/anchor/keys.h"
#include "appliance/anchor/slots.h"
#include "appliance/base/limits.h"
#include "appliance/base/system.h"
#include "appliance/daemons/cli/client.h"
#include "appliance/daemons/cli/output.h"
#include "appliance/daemons/provisioning.h"
#include "tpm/swtpm.h"

namespace stele::daemons::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

TpmCheck NoAnswer(std::string source, const Error& error) {
  TpmCheck check;
  check.source = std::move(source);
  check.detail = Describe(error);
  check.unchecked = {"the TPM: roll-back, truncation across an anchor and a replaced TPM would go unseen"};
  return check;
}

std::vector<std::string> TextsOf(const json& list) {
  std::vector<std::string> texts;
  if (!list.is_array()) return texts;
  for (const auto& member : list) {
    if (member.is_string()) texts.push_back(Safe(member.get_ref<const std::string&>()));
  }
  return texts;
}

// swtpm on a copy of the embedded TPM's directory, for the time of one look.
class PrivateTpm {
 public:
  static Result<PrivateTpm> Start(const fs::path& original) {
    std::string folder = (fs::temp_directory_path() / "stele-verify-XXXXXX").string();
    if (::mkdtemp(folder.data()) == nullptr) return FailErrno("make a folder for a copy of the TPM");
    PrivateTpm copy(folder);
    std::error_code error;
    fs::copy(original, copy.dir_ / "tpm", fs::copy_options::recursive, error);
    if (error) return Fail(Code::kIo, "copy " + original.string(), static_cast<std::uint32_t>(error.value()));
    fs::permissions(copy.dir_ / "tpm", fs::perms::owner_all, error);  // swtpm complains itself if it cannot enter
    STELE_TRY(copy.process_, tpm::StartSwtpm(copy.dir_ / "tpm", copy.dir_ / "sock"));
    return copy;
  }
  PrivateTpm(PrivateTpm&& other) noexcept
      : dir_(std::exchange(other.dir_, {})), process_(std::exchange(other.process_, {})) {}
  PrivateTpm(const PrivateTpm&) = delete;
  PrivateTpm& operator=(const PrivateTpm&) = delete;
  PrivateTpm& operator=(PrivateTpm&&) = delete;
  ~PrivateTpm() {
    if (process_.pid > 0) tpm::KillSwtpm(process_);
    std::error_code ignored;  // a copy in the temporary folder
    if (!dir_.empty()) fs::remove_all(dir_, ignored);
  }
  [[nodiscard]] Result<UniqueFd> Connect() const { return tpm::ConnectSwtpm(process_.socket); }

 private:
  explicit PrivateTpm(fs::path dir) : dir_(std::move(dir)) {}
  fs::path dir_;
  tpm::SwtpmProcess process_;
};

std::optional<anchor::SlotState> NewestSlot(const Home& home, const anchor::Secret& seed, const std::string& origin,
                                            std::uint64_t epoch) {
  const auto keys = anchor::DeriveKeys(seed, origin);
  if (!keys) return std::nullopt;
  anchor::FileSlot first(anchor::SlotPath(home.State(), epoch, 0));
  anchor::FileSlot second(anchor::SlotPath(home.State(), epoch, 1));
  return anchor::SlotPair(first, second, keys->slot_key.view()).Load().newest;
}

// The public half as the record pins it, else of the seed.
Result<ledger::VerifyKey> CheckpointKey(const anchor::ProvisioningRecord& record, const std::string& origin,
                                        const Result<anchor::Secret>& seed) {
  if (auto key = anchor::CheckpointKeyOf(record, origin)) return std::move(*key);
  if (!seed) return tl::unexpected(seed.error());
  return anchor::VerifyKeyOf(*seed, origin);
}

using Connect = std::function<Result<UniqueFd>()>;

Result<anchor::RecoveryDecision> Judge(const Home& home, const Connect& connect, const anchor::SignedRecord& signed_record,
                                       const anchor::ProvisioningRecord& record, const channel::LogState& state,
                                       std::vector<std::string>& unchecked) {
  const Hash log_id = anchor::LogIdOf(record, signed_record.record);
  const std::string origin = anchor::OriginOf(record, log_id);
  const anchor::Pins pins = anchor::PinsOf(record, log_id);
  const Result<anchor::Secret> seed = LoadSeed(home, record, connect);
  STELE_TRY(const auto key, CheckpointKey(record, origin, seed));
  std::optional<anchor::SlotState> slot;
  if (seed) {
    slot = NewestSlot(home, *seed, origin, record.epoch_number());
  } else {
    unchecked.push_back("the anchor's own slots, whose key comes from the seed: " + seed.error().context);
  }
  STELE_TRY(UniqueFd connection, connect());
  STELE_TRY(const auto device,
            tpm::AnchorDevice::Open(std::move(connection), anchor::DeviceConfigOf(record, signed_record.public_key_pem)));
  STELE_TRY(const auto registers, anchor::ReadRegisters(*device, pins));
  const anchor::LogView view = anchor::ViewOf(state, key, pins);
  return anchor::Decide(anchor::FactsOf(state, view, registers, slot, pins));
}

}  // namespace

TpmCheck AskRunning(const Home& home) {
  auto client = Client::Connect(home);
  if (!client) return NoAnswer("live", client.error());
  const auto answer = client->Get("/api/v1/status");
  if (!answer) return NoAnswer("live", answer.error());
  const auto status = answer->Json();
  if (!answer->ok() || !status) return NoAnswer("live", Error{Code::kUnavailable, answer->ErrorText()});
  const json& verdict = ObjectOf(*status, "verdict");
  TpmCheck check;
  check.source = "live";
  check.word = TextOf(verdict, "word");
  check.detail = TextOf(verdict, "detail");
  check.qualifiers = TextsOf(verdict.value("qualifiers", json()));
  check.unchecked = {"the registers were judged when this Stele started and are watched since; stop it to have them read again"};
  return check;
}

TpmCheck JudgeStopped(const Home& home, const anchor::SignedRecord& signed_record, const anchor::ProvisioningRecord& record,
                      const channel::LogState& state) {
  std::optional<PrivateTpm> copy;
  Connect connect = [] { return OpenTpmDevice(); };
  const std::string source = record.software_tpm ? "copy" : "device";
  if (record.software_tpm) {
    auto started = PrivateTpm::Start(home.Tpm());
    if (!started) return NoAnswer(source, started.error());
    copy.emplace(std::move(*started));
    connect = [&copy] { return copy->Connect(); };
  }
  TpmCheck check;
  const auto decision = Judge(home, connect, signed_record, record, state, check.unchecked);
  if (!decision) return NoAnswer(source, decision.error());
  check.source = source;
  check.word = decision->word;
  check.detail = Safe(decision->detail);
  check.qualifiers = decision->qualifiers;
  for (const auto& warning : decision->warnings) check.warnings.push_back(Safe(warning));
  if (record.software_tpm) check.unchecked.emplace_back("the PCR: a TPM that is powered on for the look has only its NV registers");
  return check;
}

}  // namespace stele::daemons::cli
