#include "appliance/witness/cosigned.h"

#include <algorithm>
#include <limits>

#include "appliance/base/system.h"
#include "appliance/base/text.h"

namespace stele::witness {
namespace {

constexpr std::int64_t kNsPerSecond = 1'000'000'000;
constexpr std::size_t kDateCharacters = 10;  // YYYY-MM-DD of RFC 3339

// The line of this witness with the newest time. The note's lines were verified before.
const ledger::NoteSignature* LineOf(const ledger::Note& note, const ledger::CosignerKey& key) {
  const ledger::NoteSignature* newest = nullptr;
  const ledger::KeyId id = key.Id();
  for (const ledger::NoteSignature& line : note.signatures) {
    if (line.name != key.name || line.key_id != id) continue;
    if (newest == nullptr || ledger::TimeOfCosignature(line) > ledger::TimeOfCosignature(*newest)) newest = &line;
  }
  return newest;
}

// The text and the log's own signature alone.
ledger::Note BaseOf(const ledger::Note& note, const ledger::VerifyKey& log) {
  ledger::Note base{note.text, {}};
  for (const ledger::NoteSignature& line : note.signatures) {
    if (base.signatures.empty() && line.name == log.name && line.key_id == log.Id()) base.signatures.push_back(line);
  }
  return base;
}

}  // namespace

Result<ledger::WitnessPolicy> ParsePolicyFor(std::string_view text, const ledger::VerifyKey& log) {
  STELE_TRY(ledger::WitnessPolicy policy, ledger::ParseWitnessPolicy(text));
  const bool listed =
      std::any_of(policy.logs.begin(), policy.logs.end(), [&log](const ledger::WitnessPolicy::Log& one) {
        return one.key.name == log.name && one.key.public_key == log.public_key;
      });
  if (!policy.logs.empty() && !listed)
    return Fail(Code::kInvalid, "the policy names logs, and this one is not among them: " + log.Vkey());
  return policy;
}

Cosigned::Cosigned(std::filesystem::path dir, ledger::WitnessPolicy policy, ledger::VerifyKey log)
    : dir_(std::move(dir)), policy_(std::move(policy)), log_(std::move(log)) {}

std::filesystem::path Cosigned::FileOf(std::size_t witness) const {
  constexpr std::size_t kNameCharacters = 16;
  return dir_ / (HexOf(Sha256Of(AsBytes(policy_.witnesses[witness].key.Vkey()))).substr(0, kNameCharacters) + ".note");
}

std::optional<ledger::Note> Cosigned::Load(const std::filesystem::path& path) const {
  const auto bytes = ReadFile(path, ledger::kNoteBytesMax);
  if (!bytes || !ledger::OpenCheckpoint(AsText(*bytes), log_)) return std::nullopt;
  auto note = ledger::ParseNote(AsText(*bytes));
  return note ? std::optional(std::move(*note)) : std::nullopt;
}

std::optional<Cosigned::Head> Cosigned::Of(std::size_t witness) {
  const auto note = Load(FileOf(witness));
  if (!note) return std::nullopt;
  const auto time_s = ledger::VerifyCosignature(*note, policy_.witnesses[witness].key);
  const auto checkpoint = ledger::ParseCheckpoint(note->text);
  if (!time_s || !checkpoint) return std::nullopt;
  return Head{*checkpoint, *time_s};
}

std::optional<Cosigned::Head> Cosigned::WithQuorum() {
  const auto note = Load(dir_ / kCosignedFile);
  if (!note) return std::nullopt;
  const auto report = ledger::CheckWitnesses(policy_, *note);
  const auto checkpoint = ledger::ParseCheckpoint(note->text);
  if (!report || !report->quorum_met || !checkpoint) return std::nullopt;
  Head head{*checkpoint, std::numeric_limits<std::uint64_t>::max()};
  for (const auto& seen : report->witnesses) {
    if (seen.time_s) head.time_s = std::min(head.time_s, *seen.time_s);
  }
  return head;
}

Result<std::vector<std::size_t>> Cosigned::Keep(std::string_view cosigned_note) {
  STELE_TRY(const ledger::OpenedCheckpoint opened, ledger::OpenCheckpoint(cosigned_note, log_));
  STELE_TRY(const ledger::Note note, ledger::ParseNote(cosigned_note));
  STELE_TRY(const ledger::WitnessReport report, ledger::CheckWitnesses(policy_, note));
  const ledger::Note base = BaseOf(note, log_);
  std::vector<std::size_t> kept;
  for (std::size_t i = 0; i < policy_.witnesses.size(); ++i) {
    if (!report.witnesses[i].time_s) continue;
    kept.push_back(i);
    const auto had = Of(i);
    if (had && had->checkpoint.size > opened.checkpoint.size) continue;
    ledger::Note own = base;
    own.signatures.push_back(*LineOf(note, policy_.witnesses[i].key));
    STELE_TRY_VOID(WriteFileDurably(FileOf(i), AsBytes(ledger::FormatNote(own)), 0644));
  }
  STELE_TRY_VOID(KeepQuorum(base, opened.checkpoint));
  return kept;
}

// All that is kept for this very checkpoint, together; where that is a quorum and the largest yet, it becomes the
// newest.
Result<void> Cosigned::KeepQuorum(const ledger::Note& base, const ledger::Checkpoint& checkpoint) {
  ledger::Note joined = base;
  std::set<std::string, std::less<>> names;
  std::uint64_t newest_s = 0;
  for (std::size_t i = 0; i < policy_.witnesses.size(); ++i) {
    const auto note = Load(FileOf(i));
    if (!note || note->text != base.text) continue;
    const auto time_s = ledger::VerifyCosignature(*note, policy_.witnesses[i].key);
    if (!time_s) continue;
    newest_s = std::max(newest_s, *time_s);
    joined.signatures.push_back(*LineOf(*note, policy_.witnesses[i].key));
    names.insert(policy_.witnesses[i].name);
  }
  if (names.empty() || !policy_.QuorumMet(names)) return {};
  const auto had = WithQuorum();
  if (had && had->checkpoint.size > checkpoint.size) return {};
  const std::string text = ledger::FormatNote(joined);
  const std::string day = FormatTime(static_cast<std::int64_t>(newest_s) * kNsPerSecond).substr(0, kDateCharacters);
  STELE_TRY_VOID(WriteFileDurably(dir_ / ("cosigned-" + day + ".note"), AsBytes(text), 0644));
  return WriteFileDurably(dir_ / kCosignedFile, AsBytes(text), 0644);
}

}  // namespace stele::witness
