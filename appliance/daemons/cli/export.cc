// stele export --tlog DIR: the log as a static tree (c2sp.org/tlog-tiles) for whoever mirrors, witnesses or audits it.
// Only what is new is fetched; all of it is checked against the signed root before `checkpoint` is replaced, last and
// whole.
#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>
#include <filesystem>
#include <map>

#include "appliance/base/system.h"
#include "appliance/daemons/cli/client.h"
#include "appliance/daemons/cli/commands.h"
#include "appliance/daemons/cli/output.h"
#include "appliance/daemons/cli/tree_reads.h"
#include "appliance/ledger/tile_path.h"
#include "appliance/record/entry.h"

namespace stele::daemons::cli {
namespace {

namespace fs = std::filesystem;

// A file of the tree, whole under its name; durable with the rest, by the sync before `checkpoint`.
Result<void> WriteTile(const fs::path& path, std::string_view bytes) {
  std::error_code failed;
  fs::create_directories(path.parent_path(), failed);
  if (failed) return Fail(Code::kIo, "make " + path.parent_path().string() + ": " + failed.message());
  const fs::path temporary = path.string() + ".new";
  UniqueFd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file.valid()) return FailErrno("open " + temporary.string());
  while (!bytes.empty()) {
    const ssize_t put = ::write(file.get(), bytes.data(), bytes.size());
    if (put < 0) return FailErrno("write " + temporary.string());
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) return FailErrno("rename " + temporary.string());
  return {};
}

Result<void> SyncAll(const fs::path& dir) {
  const UniqueFd fd(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || ::syncfs(fd.get()) != 0) return FailErrno("sync " + dir.string());
  return {};
}

// Nodes of the exported tree, from its files.
class ExportedNodes final : public ledger::NodeSource {
 public:
  ExportedNodes(fs::path dir, std::uint64_t size) : dir_(std::move(dir)), size_(size) {}

  Result<Hash> Node(unsigned level, std::uint64_t index) override {
    const unsigned tile_level = level / ledger::kTileHeight;
    const unsigned height = level % ledger::kTileHeight;
    const std::uint64_t first = index << height;
    STELE_TRY(const std::vector<Hash> hashes, Hashes(tile_level, first / ledger::kTileWidth));
    const std::size_t begin = first % ledger::kTileWidth;
    if (begin + (std::size_t{1} << height) > hashes.size())
      return Fail(Code::kNotFound, "the exported tree has no such node");
    ledger::CompactRange range;
    for (std::size_t i = 0; i < std::size_t{1} << height; ++i) range.Push(hashes[begin + i]);
    return range.Root();
  }

 private:
  Result<std::vector<Hash>> Hashes(unsigned level, std::uint64_t number) const {
    ledger::Tile tile{false, level, number, ledger::kTileWidth};
    if (!ledger::TileIsWithin(tile, size_))
      tile.width = static_cast<unsigned>((size_ >> (level * ledger::kTileHeight)) % ledger::kTileWidth);
    STELE_TRY(const Bytes bytes, ReadFile(dir_ / ledger::TilePath(tile), ledger::kTileWidth * kHashBytes));
    if (bytes.size() != tile.width * kHashBytes)
      return Fail(Code::kCorrupt, ledger::TilePath(tile) + " has the wrong size");
    Reader reader(bytes);
    std::vector<Hash> hashes;
    for (unsigned i = 0; i < tile.width; ++i) hashes.push_back(reader.ReadHash());
    return hashes;
  }

  fs::path dir_;
  std::uint64_t size_;
};

// One export: fetches, checks each tile against what lies below it, writes.
class Export {
 public:
  Export(TreeReads& reads, fs::path dir, bool entries) : reads_(reads), dir_(std::move(dir)), entries_(entries) {}

  Result<void> Run() {
    STELE_TRY(const std::string note, reads_.Checkpoint(/*newest=*/false));
    STELE_TRY(const ledger::OpenedCheckpoint opened, ledger::OpenCheckpoint(note, reads_.log()));
    STELE_TRY(old_size_, OldSize(opened.checkpoint));
    size_ = opened.checkpoint.size;
    // Bundles may be asked for after an export without them: then all of them are new.
    const bool bundles_missing = entries_ && old_size_ != 0 && !fs::exists(dir_ / "tile/entries");
    ledger::NewTiles tiles(bundles_missing ? 0 : old_size_, size_, entries_);
    if (bundles_missing) old_size_ = 0;
    while (const auto tile = tiles.Next()) STELE_TRY_VOID(tile->entries ? TakeBundle(*tile) : TakeTile(*tile));
    ExportedNodes nodes(dir_, size_);
    STELE_TRY(const Hash root, ledger::RootOf(nodes, size_));
    if (root != opened.checkpoint.root)
      return Fail(Code::kCorrupt, "the tiles do not lead to the root of the checkpoint");
    STELE_TRY_VOID(SyncAll(dir_));
    STELE_TRY_VOID(WriteFileDurably(dir_ / "checkpoint", AsBytes(note), 0644));
    std::error_code ignored;  // a partial tile left behind does no harm
    for (const fs::path& partial : superseded_) fs::remove_all(partial, ignored);
    Print(fmt::format("{} records in {}: {} files written, {} bytes\n", size_, dir_.string(), files_, bytes_));
    if (expired_ > 0) Print(fmt::format("{} files are not there: their records have expired\n", expired_));
    return {};
  }

 private:
  // What the directory has already: a checkpoint of this log that today's continues, or nothing.
  Result<std::uint64_t> OldSize(const ledger::Checkpoint& now) {
    const auto note = ReadFile(dir_ / "checkpoint", ledger::kNoteBytesMax);
    if (!note && note.error().code == Code::kNotFound) return std::uint64_t{0};
    if (!note) return tl::unexpected(note.error());
    const auto before = ledger::OpenCheckpoint(AsText(*note), reads_.log());
    if (!before)
      return Fail(Code::kDenied, dir_.string() + " holds the tree of another log: " + before.error().context);
    const ledger::Checkpoint& old = before->checkpoint;
    if (old.size > now.size)
      return Fail(
          Code::kDenied,
          fmt::format("the exported tree has {} records, the log's checkpoint {}: the log was rolled back, or its "
                      "newest checkpoint lacks its quorum",
                      old.size, now.size));
    STELE_TRY(const auto proof, reads_.Consistency(old.size, now.size));
    if (!ledger::VerifyConsistency(old.size, now.size, old.root, now.root, proof))
      return Fail(Code::kDenied, "the log does not continue the exported tree: its history was changed");
    return old.size;
  }

  Result<void> TakeTile(const ledger::Tile& tile) {
    hashes_.clear();
    const auto answer = reads_.Tile(ledger::TilePath(tile));
    if (tile.level == 0 && HasExpired(answer)) return {};
    STELE_TRY(const std::string bytes, answer);
    if (bytes.size() != tile.width * kHashBytes)
      return Fail(Code::kCorrupt, ledger::TilePath(tile) + " has the wrong size");
    Reader reader(AsBytes(bytes));
    for (unsigned i = 0; i < tile.width; ++i) hashes_.push_back(reader.ReadHash());
    const auto& below = roots_[tile.level];  // of the tiles fetched one level down, by number
    for (unsigned i = 0; i < tile.width; ++i) {
      const auto root = below.find(tile.number * ledger::kTileWidth + i);
      if (root != below.end() && root->second != hashes_[i])
        return Fail(Code::kCorrupt, ledger::TilePath(tile) + " contradicts the tile below it");
    }
    if (tile.width == ledger::kTileWidth) roots_[tile.level + 1][tile.number] = ledger::TileRoot(hashes_);
    return Write(tile, bytes);
  }

  // Its tile was the last one taken.
  Result<void> TakeBundle(const ledger::Tile& tile) {
    const auto answer = reads_.Tile(ledger::TilePath(tile));
    if (HasExpired(answer)) return {};
    STELE_TRY(const std::string bytes, answer);
    constexpr std::size_t kItemBytes = 2 + record::kEntryBytes;
    if (bytes.size() != tile.width * kItemBytes || hashes_.size() != tile.width)
      return Fail(Code::kCorrupt, ledger::TilePath(tile) + " has the wrong size");
    for (unsigned i = 0; i < tile.width; ++i) {
      const ByteView item = AsBytes(bytes).subspan(i * kItemBytes, kItemBytes);
      const bool sized = item[0] == std::byte{0} && item[1] == std::byte{record::kEntryBytes};
      if (!sized || LeafHash(item.subspan(2)) != hashes_[i])
        return Fail(Code::kCorrupt, ledger::TilePath(tile) + " contradicts its tile of hashes");
    }
    return Write(tile, bytes);
  }

  // The tree is whole without them: the levels above stay.
  bool HasExpired(const Result<std::string>& answer) {
    if (answer || answer.error().code != Code::kNotFound) return false;
    ++expired_;
    return true;
  }

  Result<void> Write(const ledger::Tile& tile, std::string_view bytes) {
    const fs::path path = dir_ / ledger::TilePath(tile);
    ++files_;
    bytes_ += bytes.size();
    if (tile.width == ledger::kTileWidth) superseded_.push_back(path.string() + ".p");
    return WriteTile(path, bytes);
  }

  TreeReads& reads_;
  fs::path dir_;
  bool entries_;
  std::uint64_t old_size_ = 0;
  std::uint64_t size_ = 0;
  std::vector<Hash> hashes_;                                 // of the tile taken last
  std::map<unsigned, std::map<std::uint64_t, Hash>> roots_;  // level -> tile number one level below -> its root
  std::vector<fs::path> superseded_;
  std::uint64_t files_ = 0;
  std::uint64_t expired_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace

int RunExport(const Home& home, const ExportOptions& options) {
  const auto done = [&]() -> Result<void> {
    STELE_TRY(TreeReads reads, TreeReads::Open(home));
    std::error_code failed;
    fs::create_directories(options.tlog_dir, failed);
    if (failed) return Fail(Code::kIo, "make " + options.tlog_dir + ": " + failed.message());
    return Export(reads, options.tlog_dir, !options.no_entries).Run();
  }();
  return done ? kExitYes : Complain(done.error());
}

}  // namespace stele::daemons::cli
