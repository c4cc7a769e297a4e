// The log as static resources (c2sp.org/tlog-tiles): checkpoint, tiles of hashes, bundles of entry headers. Payloads
// are in none of them; level-0 tiles and bundles are recomputed from the blocks each time.
#include <algorithm>

#include "appliance/base/system.h"
#include "appliance/ledger/cosignature.h"
#include "appliance/query/parameters.h"
#include "appliance/query/reads.h"

namespace stele::query {
namespace {

constexpr std::int64_t kNsPerSecond = 1'000'000'000;

// c2sp.org/tlog-tiles: the checkpoint "SHOULD prevent caching beyond a few seconds", a tile is immutable.
constexpr const char* kHeadCaching = "no-cache";
constexpr const char* kTileCachingPublic = "public, max-age=31536000, immutable";
constexpr const char* kTileCachingPrivate = "private, max-age=31536000, immutable";

// A bundle: (length:u16 big-endian, entry) for each.
void AppendEntry(std::string& bundle, const record::EntryBytes& entry) {
  static_assert(sizeof(entry) < 256);
  bundle += '\0';
  bundle += static_cast<char>(sizeof(entry));
  bundle += AsText(entry);
}

// The newest time any of the note's signatures carries, as cosignatures do; they were verified when the file was
// written.
std::int64_t NewestCosignatureS(const ledger::Note& note) {
  std::uint64_t newest_s = 0;
  for (const ledger::NoteSignature& signature : note.signatures) {
    if (const auto time_s = ledger::TimeOfCosignature(signature)) newest_s = std::max(newest_s, *time_s);
  }
  return static_cast<std::int64_t>(newest_s);
}

}  // namespace

// The newest checkpoint with a quorum, where it is this log's, its root is the tree's, and it is fresh enough.
std::optional<std::string> Reads::CosignedHead() {
  if (config_.cosigned_path.empty()) return std::nullopt;
  const auto bytes = ReadFile(config_.cosigned_path, ledger::kNoteBytesMax);
  const auto key = ledger::ParseVkey(config_.vkey);
  if (!bytes || !key) return std::nullopt;
  const auto opened = ledger::OpenCheckpoint(AsText(*bytes), *key);
  const auto note = ledger::ParseNote(AsText(*bytes));
  if (!opened || !note || opened->checkpoint.size > reader_->size()) return std::nullopt;
  const auto root = reader_->RootAt(opened->checkpoint.size);
  if (!root || *root != opened->checkpoint.root) return std::nullopt;
  const std::int64_t age_s = clock_.WallNs() / kNsPerSecond - NewestCosignatureS(*note);
  if (!config_.cosigned_only && age_s > config_.cosigned_max_age_s) return std::nullopt;
  return std::string(AsText(*bytes));
}

Answer Reads::TreeHead(const ReadRequest& request) {
  Answer answer;
  answer.content_type = "text/plain; charset=utf-8";
  answer.headers["cache-control"] = kHeadCaching;
  if (!request.as_signed) {
    if (auto cosigned = CosignedHead()) {
      answer.body = std::move(*cosigned);
      return answer;
    }
    if (config_.cosigned_only) return Refusal(503, "unavailable", "no checkpoint has its quorum of cosignatures");
  }
  const auto newest = NewestCheckpoint();
  if (!newest) return Refusal(404, "not_found", "there is no checkpoint yet");
  answer.size = newest->size;
  answer.body = newest->note;
  return answer;
}

Answer Reads::Tile(const ReadRequest& request) {
  const ledger::Tile& tile = request.tile;
  const auto newest = NewestCheckpoint();
  // What no checkpoint covers is no part of the published tree yet.
  if (!newest || !ledger::TileIsWithin(tile, newest->size))
    return Refusal(404, "not_found", "the tree has no such tile");
  Answer answer;
  answer.content_type = "application/octet-stream";
  answer.headers["cache-control"] = config_.tree_public ? kTileCachingPublic : kTileCachingPrivate;
  answer.size = newest->size;
  const std::uint64_t first = tile.number * ledger::kTileWidth;
  if ((tile.entries || tile.level == 0) && reader_->HasExpired(first, first + tile.width)) {
    return Refusal(404, "expired", "the records of this tile have expired; the levels above are kept");
  }
  if (tile.entries) {
    for (unsigned i = 0; i < tile.width; ++i) {
      const auto entry = reader_->EntryOf(first + i);
      if (!entry) return Refusal(503, "unavailable", "the store is damaged there");
      AppendEntry(answer.body, *entry);
    }
    answer.rows = tile.width;
    return answer;
  }
  const auto hashes = reader_->TileHashes(tile);
  if (!hashes) return Refusal(503, "unavailable", "the store is damaged there");
  for (const Hash& hash : *hashes) answer.body += AsText(hash);
  return answer;
}

}  // namespace stele::query
