#include "appliance/store/log_reader.h"

#include <algorithm>
#include <list>
#include <map>

#include "appliance/base/limits.h"
#include "appliance/store/unit_scan.h"

namespace stele::store {
namespace {

using limits::kSectorBytes;
using limits::kTileLeaves;
constexpr std::size_t kCachedBlocks = 8;

struct CachedBlock {
  std::size_t index = 0;
  std::shared_ptr<const ledger::DecodedBlock> block;
  std::vector<record::EntryBytes> entries;  // filled when first asked for
  std::vector<Hash> leaves;
};

}  // namespace

class LogReader::Impl {
 public:
  explicit Impl(DeviceShelf& shelf) : shelf_(shelf) {}

  Result<void> Reload();
  Result<void> Advance(std::uint64_t size_limit);
  Result<CachedBlock*> Cached(std::size_t index);
  Result<CachedBlock*> WithEntries(std::size_t index);
  Result<std::vector<Hash>> LeavesOfTile(std::uint64_t tile);
  const SourceInfo* SourceOf(std::uint32_t source, std::size_t block_index);
  std::size_t BlockIndexOf(std::uint64_t sequence) const;
  std::uint64_t size() const { return blocks_.empty() ? 0 : blocks_.back().first_sequence + blocks_.back().record_count; }

  DeviceShelf& shelf_;
  Hash log_id_{};
  bool has_log_id_ = false;
  Hash head_{};  // the chain's, after the last block
  std::vector<BlockInfo> blocks_;
  ledger::TileTree tree_;
  std::string damage_;
  bool following_ = false;  // a live log: what was written since abandons_ was read may be abandoned already

 private:
  enum class Step : std::uint8_t { kMoved, kEnd };
  Result<Step> ReadNext(std::uint64_t size_limit);
  Result<bool> OpenNextUnit();
  bool UnitGivenUp();
  Result<Device*> DeviceOf(std::uint32_t unit);

  std::map<std::uint32_t, std::unique_ptr<Device>> devices_;
  std::vector<ledger::Abandon> abandons_;
  bool unit_open_ = false;
  std::uint32_t unit_ = 0;
  std::uint64_t at_bytes_ = 0;
  std::list<CachedBlock> cache_;
  struct UnitSources {
    std::size_t blocks_read_to = 0;  // index of the first block not yet looked at
    std::map<std::uint32_t, SourceInfo> by_id;
  };
  std::map<std::uint32_t, UnitSources> sources_;
};

Result<Device*> LogReader::Impl::DeviceOf(std::uint32_t unit) {
  auto at = devices_.find(unit);
  if (at == devices_.end()) {
    STELE_TRY(auto device, shelf_.Open(unit, false));
    at = devices_.emplace(unit, std::move(device)).first;
  }
  return at->second.get();
}

// The next unit whose superblock continues the log. False: there is none.
Result<bool> LogReader::Impl::OpenNextUnit() {
  for (std::uint32_t unit = unit_open_ ? unit_ + 1 : 0;; ++unit) {
    auto device = DeviceOf(unit);
    if (!device) {
      if (device.error().code == Code::kNotFound) return false;
      return tl::unexpected(std::move(device.error()));
    }
    Bytes sector(kSectorBytes);
    if ((*device)->size_bytes() < kSectorBytes) continue;
    STELE_TRY_VOID((*device)->Read(0, sector));
    const auto superblock = DecodeSuperblock(sector);
    if (!superblock || superblock->unit != unit) {
      devices_.erase(unit);  // perhaps still being made; look again next time
      continue;
    }
    if (has_log_id_ && superblock->log_id != log_id_) {
      damage_ = "unit " + std::to_string(unit) + " belongs to another log";
      return false;
    }
    if (superblock->first_sequence != size()) {
      damage_ = "unit " + std::to_string(unit) + " begins at record " + std::to_string(superblock->first_sequence) +
                ", expected " + std::to_string(size());
      return false;
    }
    if (has_log_id_ && superblock->head != head_) {
      damage_ = "unit " + std::to_string(unit) + " does not continue the chain";
      return false;
    }
    head_ = superblock->head;
    log_id_ = superblock->log_id;
    has_log_id_ = true;
    unit_ = unit;
    unit_open_ = true;
    at_bytes_ = kSectorBytes;
    return true;
  }
}

// The next unit begins where we stand: whatever else this one holds was never acknowledged.
bool LogReader::Impl::UnitGivenUp() {
  const auto device = DeviceOf(unit_ + 1);
  Bytes sector(kSectorBytes);
  if (!device || (*device)->size_bytes() < kSectorBytes || !(*device)->Read(0, sector)) return false;
  const auto superblock = DecodeSuperblock(sector);
  if (superblock) return superblock->unit == unit_ + 1 && superblock->first_sequence == size() && superblock->head == head_;
  devices_.erase(unit_ + 1);  // still being made
  return false;
}

Result<LogReader::Impl::Step> LogReader::Impl::ReadNext(std::uint64_t size_limit) {
  if (!unit_open_) {
    STELE_TRY(const bool opened, OpenNextUnit());
    return opened ? Step::kMoved : Step::kEnd;
  }
  if (const auto to = AbandonedTo(abandons_, unit_, at_bytes_); to && *to > at_bytes_) {
    at_bytes_ = *to;
    return Step::kMoved;
  }
  STELE_TRY(Device * device, DeviceOf(unit_));
  Bytes region(kSectorBytes);
  Result<ledger::BlockHeader> header = Fail(Code::kNotFound, "the unit is full");
  if (at_bytes_ + kSectorBytes <= device->size_bytes()) {
    STELE_TRY_VOID(device->Read(at_bytes_, region));
    header = ledger::DecodeBlockHeader(region);
  }
  const bool data_here = header && header->unit == unit_ && header->offset_bytes == at_bytes_ &&
                         header->size_bytes <= device->size_bytes() - at_bytes_;
  if (data_here && header->type == ledger::BlockType::kData) {
    if (following_ && UnitGivenUp()) {
      STELE_TRY(const bool opened, OpenNextUnit());
      return opened ? Step::kMoved : Step::kEnd;
    }
    if (header->first_sequence != size() || header->previous_head != head_) {
      damage_ = "unit " + std::to_string(unit_) + " offset " + std::to_string(at_bytes_) + ": not the next block";
      return Step::kEnd;
    }
    if (header->end_sequence() > size_limit) return Step::kEnd;
    const std::size_t whole = (header->header_bytes + kSectorBytes - 1) / kSectorBytes * kSectorBytes;
    if (whole > kSectorBytes) {
      region.resize(whole);
      STELE_TRY_VOID(device->Read(at_bytes_, region));
    }
    const auto tables = ledger::DecodeBlockTables(*header, region);
    if (tables) {
      for (const Hash& root : tables->tile_roots) tree_.PushTileRoot(root);
      blocks_.push_back({unit_, at_bytes_, header->size_bytes, header->first_sequence, header->record_count,
                         header->wall_ns_min, header->wall_ns_max, header->landmarks, header->source_entries});
      at_bytes_ += header->size_bytes;
      head_ = header->head;
      return Step::kMoved;
    }
  }
  if (data_here && header->type == ledger::BlockType::kSeal) {
    const std::uint32_t sealed_unit = unit_;
    STELE_TRY(const bool opened, OpenNextUnit());
    if (!opened) unit_ = sealed_unit;
    return opened ? Step::kMoved : Step::kEnd;
  }
  STELE_TRY(const bool opened, OpenNextUnit());
  if (opened) return Step::kMoved;
  if (damage_.empty() && !header && header.error().code == Code::kCorrupt) {
    damage_ = "unit " + std::to_string(unit_) + " offset " + std::to_string(at_bytes_) + ": " + header.error().context;
  }
  return Step::kEnd;
}

// Starts again from the first unit: what is abandoned is only known from what came later.
Result<void> LogReader::Impl::Reload() {
  STELE_TRY(abandons_, AbandonsInAll(shelf_));
  devices_.clear();
  blocks_.clear();
  cache_.clear();
  sources_.clear();
  tree_ = ledger::TileTree();
  has_log_id_ = false;
  unit_open_ = false;
  return {};
}

Result<void> LogReader::Impl::Advance(std::uint64_t size_limit) {
  damage_.clear();
  while (size() < size_limit) {
    STELE_TRY(const Step step, ReadNext(size_limit));
    if (step == Step::kEnd) break;
  }
  return {};
}

std::size_t LogReader::Impl::BlockIndexOf(std::uint64_t sequence) const {
  const auto after = std::upper_bound(blocks_.begin(), blocks_.end(), sequence,
                                      [](std::uint64_t s, const BlockInfo& b) { return s < b.first_sequence; });
  STELE_CHECK(after != blocks_.begin());
  return static_cast<std::size_t>(after - blocks_.begin()) - 1;
}

Result<CachedBlock*> LogReader::Impl::Cached(std::size_t index) {
  for (auto at = cache_.begin(); at != cache_.end(); ++at) {
    if (at->index != index) continue;
    cache_.splice(cache_.begin(), cache_, at);
    return &cache_.front();
  }
  STELE_CHECK(index < blocks_.size());
  const BlockInfo& info = blocks_[index];
  STELE_TRY(Device * device, DeviceOf(info.unit));
  Bytes bytes(info.size_bytes);
  STELE_TRY_VOID(device->Read(info.offset_bytes, bytes));
  STELE_TRY(ledger::DecodedBlock block, ledger::DecodeBlock(bytes));
  if (block.header.first_sequence != info.first_sequence || block.header.record_count != info.record_count) {
    return Fail(Code::kCorrupt, "unit " + std::to_string(info.unit) + ": a block changed under the reader");
  }
  cache_.push_front({index, std::make_shared<const ledger::DecodedBlock>(std::move(block)), {}, {}});
  if (cache_.size() > kCachedBlocks) cache_.pop_back();
  return &cache_.front();
}

Result<CachedBlock*> LogReader::Impl::WithEntries(std::size_t index) {
  STELE_TRY(CachedBlock * cached, Cached(index));
  if (cached->entries.empty()) {
    cached->entries = cached->block->Entries();
    for (const record::EntryBytes& entry : cached->entries) cached->leaves.push_back(LeafHash(entry));
  }
  return cached;
}

Result<std::vector<Hash>> LogReader::Impl::LeavesOfTile(std::uint64_t tile) {
  std::vector<Hash> leaves;
  std::uint64_t sequence = tile * kTileLeaves;
  const std::uint64_t end = std::min(sequence + kTileLeaves, size());
  while (sequence < end) {
    STELE_TRY(const CachedBlock* cached, WithEntries(BlockIndexOf(sequence)));
    const std::uint64_t first = cached->block->header.first_sequence;
    const std::uint64_t stop = std::min(end, cached->block->header.end_sequence());
    for (; sequence < stop; ++sequence) leaves.push_back(cached->leaves[sequence - first]);
  }
  return leaves;
}

const SourceInfo* LogReader::Impl::SourceOf(std::uint32_t source, std::size_t block_index) {
  const std::uint32_t unit = blocks_[block_index].unit;
  UnitSources& known = sources_[unit];
  const auto first_of_unit = static_cast<std::size_t>(
      std::partition_point(blocks_.begin(), blocks_.end(), [&](const BlockInfo& b) { return b.unit < unit; }) -
      blocks_.begin());
  for (std::size_t i = std::max(known.blocks_read_to, first_of_unit); i <= block_index; ++i) {
    if (blocks_[i].source_entries > 0) {
      const auto cached = Cached(i);
      if (!cached) break;
      const ledger::DecodedBlock& block = *(*cached)->block;
      for (std::size_t r = 0; r < block.kinds.size(); ++r) {
        if (block.kinds[r] != static_cast<std::uint8_t>(record::Kind::kSource)) continue;
        const std::uint32_t id = block.sources[r];
        known.by_id[id] = {id, block.header.first_sequence + r, std::string(AsText(block.Payload(r)))};
      }
    }
    known.blocks_read_to = i + 1;
  }
  const auto at = known.by_id.find(source);
  return at == known.by_id.end() ? nullptr : &at->second;
}

LogReader::LogReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LogReader::~LogReader() = default;

Result<std::unique_ptr<LogReader>> LogReader::Open(DeviceShelf& shelf, std::uint64_t size_limit) {
  auto impl = std::make_unique<Impl>(shelf);
  STELE_TRY_VOID(impl->Reload());
  STELE_TRY_VOID(impl->Advance(size_limit));
  return std::unique_ptr<LogReader>(new LogReader(std::move(impl)));  // NOLINT  // private constructor
}

Result<void> LogReader::Refresh(std::uint64_t size_limit) {
  impl_->following_ = true;
  STELE_TRY_VOID(impl_->Advance(size_limit));
  if (impl_->size() >= size_limit) return {};
  // The ledger announced more than there is to find this way: a unit was given up since.
  STELE_TRY_VOID(impl_->Reload());
  impl_->following_ = false;  // abandons_ is fresh
  return impl_->Advance(size_limit);
}
std::uint64_t LogReader::size() const { return impl_->size(); }
const std::string& LogReader::damage() const { return impl_->damage_; }
const Hash& LogReader::log_id() const { return impl_->log_id_; }
const std::vector<BlockInfo>& LogReader::blocks() const { return impl_->blocks_; }
std::size_t LogReader::BlockIndexOf(std::uint64_t sequence) const { return impl_->BlockIndexOf(sequence); }

Result<std::shared_ptr<const ledger::DecodedBlock>> LogReader::Block(std::size_t block_index) {
  STELE_TRY(const CachedBlock* cached, impl_->Cached(block_index));
  return cached->block;
}

StoredRecord LogReader::RecordAt(const ledger::DecodedBlock& block, std::size_t i) {
  StoredRecord record;
  record.sequence = block.header.first_sequence + i;
  record.kind = static_cast<record::Kind>(block.kinds[i]);
  record.flags = block.flags[i];
  record.source = block.sources[i];
  record.receive_wall_ns = block.wall_ns[i];
  record.peer = block.PeerOf(i);
  record.payload = block.Payload(i);
  return record;
}

Result<record::EntryBytes> LogReader::EntryOf(std::uint64_t sequence) {
  if (sequence >= size()) return Fail(Code::kNotFound, "no such record");
  STELE_TRY(const CachedBlock* cached, impl_->WithEntries(impl_->BlockIndexOf(sequence)));
  return cached->entries[sequence - cached->block->header.first_sequence];
}

Result<Hash> LogReader::LeafOf(std::uint64_t sequence) {
  if (sequence >= size()) return Fail(Code::kNotFound, "no such record");
  STELE_TRY(const CachedBlock* cached, impl_->WithEntries(impl_->BlockIndexOf(sequence)));
  return cached->leaves[sequence - cached->block->header.first_sequence];
}

Result<record::Salt> LogReader::SaltOf(std::uint64_t sequence) {
  if (sequence >= size()) return Fail(Code::kNotFound, "no such record");
  STELE_TRY(const CachedBlock* cached, impl_->Cached(impl_->BlockIndexOf(sequence)));
  return cached->block->SaltOf(sequence - cached->block->header.first_sequence);
}

Result<Hash> LogReader::RootAt(std::uint64_t tree_size) {
  if (tree_size > size()) return Fail(Code::kNotFound, "tree size above the log's");
  ledger::TileTree::Nodes nodes(impl_->tree_, [this](std::uint64_t tile) { return impl_->LeavesOfTile(tile); });
  return ledger::RootOf(nodes, tree_size);
}

Result<std::vector<Hash>> LogReader::InclusionProof(std::uint64_t sequence, std::uint64_t tree_size) {
  if (tree_size > size()) return Fail(Code::kNotFound, "tree size above the log's");
  ledger::TileTree::Nodes nodes(impl_->tree_, [this](std::uint64_t tile) { return impl_->LeavesOfTile(tile); });
  return ledger::InclusionProof(nodes, sequence, tree_size);
}

Result<std::vector<Hash>> LogReader::ConsistencyProof(std::uint64_t old_size, std::uint64_t new_size) {
  if (new_size > size()) return Fail(Code::kNotFound, "tree size above the log's");
  ledger::TileTree::Nodes nodes(impl_->tree_, [this](std::uint64_t tile) { return impl_->LeavesOfTile(tile); });
  return ledger::ConsistencyProof(nodes, old_size, new_size);
}

const SourceInfo* LogReader::SourceOf(std::uint32_t source, std::uint64_t sequence) {
  if (source == 0 || sequence >= size()) return nullptr;
  return impl_->SourceOf(source, impl_->BlockIndexOf(sequence));
}

Result<LogReader::Landmark> LogReader::LastOfKind(record::Kind kind, std::uint64_t before_sequence) {
  std::uint64_t before = std::min(before_sequence, size());
  while (before > 0) {
    const std::size_t index = impl_->BlockIndexOf(before - 1);
    STELE_TRY(const auto block, Block(index));
    const std::uint64_t first = block->header.first_sequence;
    for (std::uint64_t s = before; s > first; --s) {
      if (block->kinds[s - 1 - first] == static_cast<std::uint8_t>(kind)) {
        return Landmark{s - 1, ToBytes(block->Payload(s - 1 - first))};
      }
    }
    before = first;
    if (index == 0) break;
    const ledger::Landmarks& marks = impl_->blocks_[index - 1].landmarks;
    if (kind == record::Kind::kCheckpoint || kind == record::Kind::kAnchor) {
      const std::uint64_t mark = kind == record::Kind::kCheckpoint ? marks.checkpoint : marks.anchor;
      if (mark == ledger::kNoSequence) break;
      before = std::min(before, mark + 1);
    }
  }
  return Fail(Code::kNotFound, "no such entry");
}

}  // namespace stele::store
