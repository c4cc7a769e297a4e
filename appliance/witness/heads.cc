#include "appliance/witness/heads.h"

#include <system_error>

#include "appliance/base/system.h"

namespace stele::witness {
namespace {

constexpr std::string_view kSuffix = ".note";

}  // namespace

Result<Heads> Heads::Open(std::filesystem::path dir, const ledger::CosignerKey& key) {
  Heads heads(std::move(dir));
  std::error_code failed;
  std::filesystem::directory_iterator files(heads.dir_, failed);
  if (failed) return Fail(Code::kIo, "read " + heads.dir_.string() + ": " + failed.message());
  for (const auto& file : files) {
    if (file.path().extension() != kSuffix) continue;  // what a crash left of a file being written
    const auto corrupt = [&file](const std::string& why) {
      return Fail(Code::kCorrupt,
                  file.path().string() + ": " + why + "; without it this witness could sign a second history");
    };
    const auto bytes = ReadFile(file.path(), ledger::kNoteBytesMax);
    if (!bytes) return corrupt(bytes.error().context);
    const auto note = ledger::ParseNote(AsText(*bytes));
    if (!note) return corrupt(note.error().context);
    const auto checkpoint = ledger::ParseForeignCheckpoint(note->text);
    if (!checkpoint) return corrupt(checkpoint.error().context);
    if (const auto cosigned = ledger::VerifyCosignature(*note, key); !cosigned)
      return corrupt(cosigned.error().context);
    if (file.path() != heads.FileOf(checkpoint->origin)) return corrupt("it is the file of another log");
    heads.heads_[checkpoint->origin] = {checkpoint->size, checkpoint->root};
  }
  return heads;
}

ledger::WitnessedHead Heads::HeadOf(const std::string& origin) const {
  const auto at = heads_.find(origin);
  return at == heads_.end() ? ledger::WitnessedHead{} : at->second;
}

Result<void> Heads::Store(const ledger::Checkpoint& checkpoint, std::string_view cosigned_note) {
  STELE_TRY_VOID(WriteFileDurably(FileOf(checkpoint.origin), AsBytes(cosigned_note), 0600));
  heads_[checkpoint.origin] = {checkpoint.size, checkpoint.root};
  return {};
}

std::vector<Heads::Kept> Heads::All() const {
  std::vector<Kept> all;
  for (const auto& [origin, head] : heads_) all.push_back({origin, head});
  return all;
}

std::filesystem::path Heads::FileOf(const std::string& origin) const {
  return dir_ / (HexOf(Sha256Of(AsBytes(origin))) + std::string(kSuffix));
}

}  // namespace stele::witness
