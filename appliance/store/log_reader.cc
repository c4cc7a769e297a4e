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
constexpr std::size_t kUnitsHeld = 3;     // the newest and the last ones looked at
constexpr std::size_t kDevicesOpen = 16;

struct CachedBlock {
  std::size_t index = 0;
  std::shared_ptr<const ledger::DecodedBlock> block;
  std::vector<record::EntryBytes> entries;  // filled when first asked for
  std::vector<Hash> leaves;
};

// What the headers of a unit's blocks say.
struct UnitBlocks {
  std::size_t unit_index = 0;
  std::vector<BlockInfo> blocks;
  std::vector<Hash> tile_roots;  // of the tiles that end in these blocks, in order
  std::optional<ledger::Spine> spine;  // of an expired unit, which has no blocks
  // The sources its blocks declare, as far as they were looked at.
  std::size_t sources_read_to = 0;  // index in `blocks` of the first not yet looked at
  std::map<std::uint32_t, SourceInfo> sources;

  void Add(const ledger::BlockHeader& header, const ledger::BlockTables& tables) {
    blocks.push_back({header.unit, header.offset_bytes, header.size_bytes, header.first_sequence, header.record_count,
                      header.wall_ns_min, header.wall_ns_max, header.landmarks, header.source_entries});
    tile_roots.insert(tile_roots.end(), tables.tile_roots.begin(), tables.tile_roots.end());
  }
};

// `region` holds the first sector of a block and grows to hold its whole header.
Result<void> ReadWholeHeader(Device& device, const ledger::BlockHeader& header, Bytes& region) {
  const std::size_t whole = (header.header_bytes + kSectorBytes - 1) / kSectorBytes * kSectorBytes;
  if (whole <= kSectorBytes) return {};
  region.resize(whole);
  return device.Read(header.offset_bytes, region);
}

}  // namespace

class LogReader::Impl {
 public:
  explicit Impl(DeviceShelf& shelf) : shelf_(shelf) {}

  Result<void> Reload();
  Result<void> Advance(std::uint64_t size_limit);
  Result<CachedBlock*> Cached(std::size_t index);
  Result<CachedBlock*> WithEntries(std::size_t index);
  Result<std::vector<Hash>> LeavesOfTile(std::uint64_t tile);
  Result<std::vector<Hash>> TilesOfGroup(std::uint64_t group);
  ledger::TileTree::Nodes Nodes();
  Result<const SourceInfo*> SourceOf(std::uint32_t source, std::size_t block_index);
  std::size_t UnitHolding(std::uint64_t sequence) const;
  std::size_t UnitIndexOf(std::size_t block_index) const;
  Result<std::size_t> BlockIndexOf(std::uint64_t sequence);
  Result<BlockInfo> BlockAt(std::size_t index);
  // Of an expired unit; nullptr: the unit is there. kNotFound: the record is not kept.
  Result<const ledger::Spine*> SpineAt(std::uint64_t sequence);
  Result<const ledger::KeptEntry*> Kept(std::uint64_t sequence);
  Result<std::optional<Landmark>> LastInBlocks(record::Kind kind, std::uint64_t before, std::uint64_t& go_on_before);
  std::uint64_t size() const { return units_.empty() ? 0 : units_.back().end_sequence; }
  std::size_t block_count() const { return units_.empty() ? 0 : units_.back().first_block + units_.back().block_count; }

  DeviceShelf& shelf_;
  Hash log_id_{};
  bool has_log_id_ = false;
  Hash head_{};  // the chain's, after the last block
  std::vector<UnitInfo> units_;
  ledger::TileTree tree_;
  std::string damage_;
  bool following_ = false;  // a live log: what was written since abandons_ was read may be abandoned already

 private:
  enum class Step : std::uint8_t { kMoved, kEnd };
  Result<Step> ReadNext(std::uint64_t size_limit);
  Result<bool> OpenNextUnit();
  Result<bool> TakeSpine(std::uint32_t unit);
  bool UnitGivenUp();
  Result<Device*> DeviceOf(std::uint32_t unit);
  void CloseSomeDevices();
  void Take(const ledger::BlockHeader& header, const ledger::BlockTables& tables);
  Result<UnitBlocks*> BlocksOf(std::size_t unit_index);
  Result<UnitBlocks> ReadHeaders(std::size_t unit_index);

  std::map<std::uint32_t, std::unique_ptr<Device>> devices_;
  std::vector<ledger::Abandon> abandons_;
  bool unit_open_ = false;
  std::uint32_t unit_ = 0;
  std::uint32_t next_unit_ = 0;
  std::uint64_t at_bytes_ = 0;
  std::list<CachedBlock> cache_;
  std::list<UnitBlocks> held_;  // the last one looked at first; the newest unit is always among them
};

Result<Device*> LogReader::Impl::DeviceOf(std::uint32_t unit) {
  auto at = devices_.find(unit);
  if (at == devices_.end()) {
    STELE_TRY(auto device, shelf_.Open(unit, false));
    at = devices_.emplace(unit, std::move(device)).first;
  }
  return at->second.get();
}

// Where nobody holds one: those of a long log would be too many.
void LogReader::Impl::CloseSomeDevices() {
  if (devices_.size() >= kDevicesOpen) devices_.clear();
}

// The next unit whose superblock continues the log. False: there is none.
Result<bool> LogReader::Impl::OpenNextUnit() {
  CloseSomeDevices();
  for (std::uint32_t unit = next_unit_;; ++unit) {
    auto device = DeviceOf(unit);
    if (!device) {
      if (device.error().code != Code::kNotFound) return tl::unexpected(std::move(device.error()));
      STELE_TRY(const bool taken, TakeSpine(unit));
      if (!taken) return false;
      continue;
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
    next_unit_ = unit + 1;
    unit_open_ = true;
    at_bytes_ = kSectorBytes;
    units_.push_back({unit, false, block_count(), 0, size(), size(), 0, 0});
    held_.push_front({});
    held_.front().unit_index = units_.size() - 1;
    if (held_.size() > kUnitsHeld) held_.pop_back();
    return true;
  }
}

// An expired unit: the log goes on over it. False: there is no spine, or it does not fit; damage_ says so.
Result<bool> LogReader::Impl::TakeSpine(std::uint32_t unit) {
  const auto bytes = shelf_.Spine(unit);
  if (!bytes) {
    if (bytes.error().code == Code::kNotFound) return false;
    return tl::unexpected(bytes.error());
  }
  auto spine = ledger::DecodeSpine(*bytes);
  const bool fits = spine && spine->unit == unit && spine->first_sequence == size() &&
                    (!has_log_id_ || (spine->log_id == log_id_ && spine->previous_head == head_));
  if (!fits) {
    damage_ = "the spine of unit " + std::to_string(unit) + ": " + (spine ? "it does not continue the log" : spine.error().context);
    return false;
  }
  log_id_ = spine->log_id;
  has_log_id_ = true;
  head_ = spine->head;
  for (const Hash& root : spine->tile_roots) tree_.PushTileRoot(root);
  units_.push_back({unit, true, block_count(), 0, spine->first_sequence, spine->end_sequence, spine->wall_ns_min, spine->wall_ns_max});
  next_unit_ = unit + 1;
  return true;
}

// The next unit begins where we stand: whatever else this one holds was never acknowledged.
bool LogReader::Impl::UnitGivenUp() {
  const auto device = DeviceOf(unit_ + 1);
  if (!device) return false;
  const auto superblock = ReadSuperblock(**device);
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
    STELE_TRY_VOID(ReadWholeHeader(*device, *header, region));
    const auto tables = ledger::DecodeBlockTables(*header, region);
    if (tables) {
      Take(*header, *tables);
      return Step::kMoved;
    }
  }
  if (data_here && header->type == ledger::BlockType::kSeal) {
    STELE_TRY(const bool opened, OpenNextUnit());
    return opened ? Step::kMoved : Step::kEnd;
  }
  STELE_TRY(const bool opened, OpenNextUnit());
  if (opened) return Step::kMoved;
  if (damage_.empty() && !header && header.error().code == Code::kCorrupt) {
    damage_ = "unit " + std::to_string(unit_) + " offset " + std::to_string(at_bytes_) + ": " + header.error().context;
  }
  return Step::kEnd;
}

// The next block of the newest unit.
void LogReader::Impl::Take(const ledger::BlockHeader& header, const ledger::BlockTables& tables) {
  UnitInfo& unit = units_.back();
  for (UnitBlocks& held : held_) {
    if (held.unit_index == units_.size() - 1) held.Add(header, tables);
  }
  for (const Hash& root : tables.tile_roots) tree_.PushTileRoot(root);
  unit.wall_ns_min = unit.block_count == 0 ? header.wall_ns_min : std::min(unit.wall_ns_min, header.wall_ns_min);
  unit.wall_ns_max = unit.block_count == 0 ? header.wall_ns_max : std::max(unit.wall_ns_max, header.wall_ns_max);
  ++unit.block_count;
  unit.end_sequence = header.end_sequence();
  at_bytes_ += header.size_bytes;
  head_ = header.head;
}

// The list of a unit's blocks, read again if it was let go.
Result<UnitBlocks*> LogReader::Impl::BlocksOf(std::size_t unit_index) {
  const auto here = std::find_if(held_.begin(), held_.end(), [&](const UnitBlocks& held) { return held.unit_index == unit_index; });
  if (here != held_.end()) {
    held_.splice(held_.begin(), held_, here);
    return &held_.front();
  }
  STELE_TRY(UnitBlocks read, ReadHeaders(unit_index));
  held_.push_front(std::move(read));
  if (held_.size() > kUnitsHeld) {
    auto last = std::prev(held_.end());
    if (last->unit_index == units_.size() - 1) --last;
    held_.erase(last);
  }
  return &held_.front();
}

Result<UnitBlocks> LogReader::Impl::ReadHeaders(std::size_t unit_index) {
  CloseSomeDevices();
  const UnitInfo& info = units_[unit_index];
  UnitBlocks read;
  read.unit_index = unit_index;
  if (info.expired) {
    STELE_TRY(const Bytes bytes, shelf_.Spine(info.unit));
    STELE_TRY(read.spine, ledger::DecodeSpine(bytes));
    if (read.spine->first_sequence != info.first_sequence || read.spine->end_sequence != info.end_sequence) {
      return Fail(Code::kCorrupt, "the spine of unit " + std::to_string(info.unit) + " changed under the reader");
    }
    read.tile_roots = read.spine->tile_roots;
    return read;
  }
  STELE_TRY(Device * device, DeviceOf(info.unit));
  std::uint64_t at = kSectorBytes;
  std::uint64_t sequence = info.first_sequence;
  while (read.blocks.size() < info.block_count) {
    if (const auto to = AbandonedTo(abandons_, info.unit, at); to && *to > at) {
      at = *to;
      continue;
    }
    Bytes region(kSectorBytes);
    if (at + kSectorBytes > device->size_bytes()) return Fail(Code::kCorrupt, "the unit became shorter");
    STELE_TRY_VOID(device->Read(at, region));
    STELE_TRY(const ledger::BlockHeader header, ledger::DecodeBlockHeader(region));
    const bool same = header.type == ledger::BlockType::kData && header.unit == info.unit && header.offset_bytes == at &&
                      header.size_bytes <= device->size_bytes() - at && header.first_sequence == sequence;
    if (!same) {
      return Fail(Code::kCorrupt, "unit " + std::to_string(info.unit) + " offset " + std::to_string(at) +
                                      ": a block changed under the reader");
    }
    STELE_TRY_VOID(ReadWholeHeader(*device, header, region));
    STELE_TRY(const ledger::BlockTables tables, ledger::DecodeBlockTables(header, region));
    read.Add(header, tables);
    at += header.size_bytes;
    sequence = header.end_sequence();
  }
  return read;
}

// Starts again from the first unit: what is abandoned is only known from what came later.
Result<void> LogReader::Impl::Reload() {
  STELE_TRY(abandons_, AbandonsInAll(shelf_));
  devices_.clear();
  units_.clear();
  held_.clear();
  cache_.clear();
  tree_ = ledger::TileTree();
  has_log_id_ = false;
  unit_open_ = false;
  next_unit_ = 0;
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

std::size_t LogReader::Impl::UnitHolding(std::uint64_t sequence) const {
  const auto after = std::upper_bound(units_.begin(), units_.end(), sequence,
                                      [](std::uint64_t s, const UnitInfo& unit) { return s < unit.end_sequence; });
  STELE_CHECK(after != units_.end());
  return static_cast<std::size_t>(after - units_.begin());
}

std::size_t LogReader::Impl::UnitIndexOf(std::size_t block_index) const {
  const auto after = std::upper_bound(units_.begin(), units_.end(), block_index, [](std::size_t i, const UnitInfo& unit) {
    return i < unit.first_block + unit.block_count;
  });
  STELE_CHECK(after != units_.end());
  return static_cast<std::size_t>(after - units_.begin());
}

Result<std::size_t> LogReader::Impl::BlockIndexOf(std::uint64_t sequence) {
  const std::size_t unit_index = UnitHolding(sequence);
  if (units_[unit_index].expired) return Fail(Code::kNotFound, "record " + std::to_string(sequence) + " has expired");
  STELE_TRY(const UnitBlocks* unit, BlocksOf(unit_index));
  const auto after = std::upper_bound(unit->blocks.begin(), unit->blocks.end(), sequence,
                                      [](std::uint64_t s, const BlockInfo& b) { return s < b.first_sequence; });
  STELE_CHECK(after != unit->blocks.begin());
  return units_[unit_index].first_block + static_cast<std::size_t>(after - unit->blocks.begin()) - 1;
}

Result<BlockInfo> LogReader::Impl::BlockAt(std::size_t index) {
  const std::size_t unit_index = UnitIndexOf(index);
  STELE_TRY(const UnitBlocks* unit, BlocksOf(unit_index));
  return unit->blocks[index - units_[unit_index].first_block];
}

Result<CachedBlock*> LogReader::Impl::Cached(std::size_t index) {
  for (auto at = cache_.begin(); at != cache_.end(); ++at) {
    if (at->index != index) continue;
    cache_.splice(cache_.begin(), cache_, at);
    return &cache_.front();
  }
  STELE_TRY(const BlockInfo info, BlockAt(index));
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
    STELE_TRY(const ledger::Spine* spine, SpineAt(sequence));
    if (spine != nullptr) {
      const auto leaf = spine->nodes.find({0, sequence});
      if (leaf == spine->nodes.end()) return Fail(Code::kNotFound, "record " + std::to_string(sequence) + " has expired");
      leaves.push_back(leaf->second);
      ++sequence;
      continue;
    }
    STELE_TRY(const std::size_t index, BlockIndexOf(sequence));
    STELE_TRY(const CachedBlock* cached, WithEntries(index));
    const std::uint64_t first = cached->block->header.first_sequence;
    const std::uint64_t stop = std::min(end, cached->block->header.end_sequence());
    for (; sequence < stop; ++sequence) leaves.push_back(cached->leaves[sequence - first]);
  }
  return leaves;
}

// A tile belongs to the unit in which it ends.
Result<std::vector<Hash>> LogReader::Impl::TilesOfGroup(std::uint64_t group) {
  std::vector<Hash> tiles;
  for (std::uint64_t tile = group * ledger::kGroupTiles; tile < (group + 1) * ledger::kGroupTiles;) {
    const std::size_t unit_index = UnitHolding(tile * kTileLeaves + kTileLeaves - 1);
    STELE_TRY(const UnitBlocks* unit, BlocksOf(unit_index));
    std::uint64_t at = tile - units_[unit_index].first_sequence / kTileLeaves;
    if (at >= unit->tile_roots.size()) return Fail(Code::kCorrupt, "tree: a block lacks the root of a tile");
    for (; at < unit->tile_roots.size() && tile < (group + 1) * ledger::kGroupTiles; ++at, ++tile) {
      tiles.push_back(unit->tile_roots[at]);
    }
  }
  return tiles;
}

ledger::TileTree::Nodes LogReader::Impl::Nodes() {
  return {tree_, [this](std::uint64_t tile) { return LeavesOfTile(tile); }, [this](std::uint64_t group) { return TilesOfGroup(group); },
          [this](unsigned level, std::uint64_t index) -> Result<std::optional<Hash>> {
            const std::uint64_t begin = index << level;
            if (begin >= size()) return std::nullopt;
            STELE_TRY(const ledger::Spine* spine, SpineAt(begin));
            return spine == nullptr ? std::nullopt : spine->Node(level, index);
          }};
}

Result<const ledger::Spine*> LogReader::Impl::SpineAt(std::uint64_t sequence) {
  const std::size_t unit_index = UnitHolding(sequence);
  if (!units_[unit_index].expired) return nullptr;
  STELE_TRY(const UnitBlocks* unit, BlocksOf(unit_index));
  return &*unit->spine;
}

Result<const ledger::KeptEntry*> LogReader::Impl::Kept(std::uint64_t sequence) {
  STELE_TRY(const ledger::Spine* spine, SpineAt(sequence));
  if (spine == nullptr) return nullptr;
  const auto at = spine->entries.find(sequence);
  if (at == spine->entries.end()) return Fail(Code::kNotFound, "record " + std::to_string(sequence) + " has expired");
  return &at->second;
}

// Backwards within units that are there, to the last expired record. nullopt: go on before `go_on_before`.
Result<std::optional<LogReader::Landmark>> LogReader::Impl::LastInBlocks(record::Kind kind, std::uint64_t before, std::uint64_t& go_on_before) {
  STELE_TRY(const std::size_t index, BlockIndexOf(before - 1));
  STELE_TRY(const CachedBlock* cached, Cached(index));
  const ledger::DecodedBlock& block = *cached->block;
  const std::uint64_t first = block.header.first_sequence;
  for (std::uint64_t s = before; s > first; --s) {
    const std::size_t i = s - 1 - first;
    if (block.kinds[i] == static_cast<std::uint8_t>(kind)) return Landmark{s - 1, block.wall_ns[i], ToBytes(block.Payload(i))};
  }
  go_on_before = first;
  if (index == 0) return std::nullopt;
  for (std::size_t unit = UnitIndexOf(index - 1) + 1; unit < UnitIndexOf(index); ++unit) {
    if (units_[unit].expired) return std::nullopt;  // a landmark must not lead over what its spine keeps
  }
  STELE_TRY(const BlockInfo before_it, BlockAt(index - 1));
  const ledger::Landmarks& marks = before_it.landmarks;
  if (kind == record::Kind::kCheckpoint || kind == record::Kind::kAnchor) {
    const std::uint64_t mark = kind == record::Kind::kCheckpoint ? marks.checkpoint : marks.anchor;
    go_on_before = mark == ledger::kNoSequence ? 0 : std::min(first, mark + 1);
  }
  return std::nullopt;
}

Result<const SourceInfo*> LogReader::Impl::SourceOf(std::uint32_t source, std::size_t block_index) {
  const std::size_t unit_index = UnitIndexOf(block_index);
  STELE_TRY(UnitBlocks * unit, BlocksOf(unit_index));
  const std::size_t first_block = units_[unit_index].first_block;
  for (std::size_t& i = unit->sources_read_to; first_block + i <= block_index; ++i) {
    if (unit->blocks[i].source_entries == 0) continue;
    const auto cached = Cached(first_block + i);
    if (!cached) break;
    const ledger::DecodedBlock& block = *(*cached)->block;
    for (std::size_t r = 0; r < block.kinds.size(); ++r) {
      if (block.kinds[r] != static_cast<std::uint8_t>(record::Kind::kSource)) continue;
      const std::uint32_t id = block.sources[r];
      unit->sources[id] = {id, block.header.first_sequence + r, std::string(AsText(block.Payload(r)))};
    }
  }
  const auto at = unit->sources.find(source);
  return at == unit->sources.end() ? nullptr : &at->second;
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
const std::vector<UnitInfo>& LogReader::units() const { return impl_->units_; }
std::size_t LogReader::block_count() const { return impl_->block_count(); }
Result<std::size_t> LogReader::BlockIndexOf(std::uint64_t sequence) { return impl_->BlockIndexOf(sequence); }
Result<BlockInfo> LogReader::BlockAt(std::size_t block_index) { return impl_->BlockAt(block_index); }

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

bool LogReader::HasExpired(std::uint64_t begin, std::uint64_t end) const {
  return std::any_of(impl_->units_.begin(), impl_->units_.end(), [&](const UnitInfo& unit) {
    const bool has_records = unit.first_sequence < unit.end_sequence;
    return unit.expired && has_records && unit.first_sequence < end && begin < unit.end_sequence;
  });
}

Result<record::EntryBytes> LogReader::EntryOf(std::uint64_t sequence) {
  if (sequence >= size()) return Fail(Code::kNotFound, "no such record");
  STELE_TRY(const ledger::KeptEntry* kept, impl_->Kept(sequence));
  if (kept != nullptr) return kept->entry;
  STELE_TRY(const std::size_t index, impl_->BlockIndexOf(sequence));
  STELE_TRY(const CachedBlock* cached, impl_->WithEntries(index));
  return cached->entries[sequence - cached->block->header.first_sequence];
}

Result<ledger::KeptEntry> LogReader::WholeEntryOf(std::uint64_t sequence) {
  if (sequence >= size()) return Fail(Code::kNotFound, "no such record");
  STELE_TRY(const ledger::KeptEntry* kept, impl_->Kept(sequence));
  if (kept != nullptr) return *kept;
  STELE_TRY(const std::size_t index, impl_->BlockIndexOf(sequence));
  STELE_TRY(const CachedBlock* cached, impl_->WithEntries(index));
  const std::size_t i = sequence - cached->block->header.first_sequence;
  STELE_TRY(const record::Salt salt, cached->block->SaltOf(i));
  return ledger::KeptEntry{cached->entries[i], salt, cached->block->PeerOf(i), ToBytes(cached->block->Payload(i))};
}

Result<Hash> LogReader::LeafOf(std::uint64_t sequence) {
  STELE_TRY(const record::EntryBytes entry, EntryOf(sequence));
  return LeafHash(entry);
}

Result<record::Salt> LogReader::SaltOf(std::uint64_t sequence) {
  if (sequence >= size()) return Fail(Code::kNotFound, "no such record");
  STELE_TRY(const ledger::KeptEntry* kept, impl_->Kept(sequence));
  if (kept != nullptr) return kept->salt;
  STELE_TRY(const std::size_t index, impl_->BlockIndexOf(sequence));
  STELE_TRY(const CachedBlock* cached, impl_->Cached(index));
  return cached->block->SaltOf(sequence - cached->block->header.first_sequence);
}

Result<Hash> LogReader::RootAt(std::uint64_t tree_size) {
  if (tree_size > size()) return Fail(Code::kNotFound, "tree size above the log's");
  auto nodes = impl_->Nodes();
  return ledger::RootOf(nodes, tree_size);
}

Result<std::vector<Hash>> LogReader::InclusionProof(std::uint64_t sequence, std::uint64_t tree_size) {
  if (tree_size > size()) return Fail(Code::kNotFound, "tree size above the log's");
  auto nodes = impl_->Nodes();
  return ledger::InclusionProof(nodes, sequence, tree_size);
}

Result<std::vector<Hash>> LogReader::ConsistencyProof(std::uint64_t old_size, std::uint64_t new_size) {
  if (new_size > size()) return Fail(Code::kNotFound, "tree size above the log's");
  auto nodes = impl_->Nodes();
  return ledger::ConsistencyProof(nodes, old_size, new_size);
}

Result<std::vector<Hash>> LogReader::RangeHashes(std::uint64_t begin, std::uint64_t end) {
  if (end > size()) return Fail(Code::kNotFound, "tree size above the log's");
  auto nodes = impl_->Nodes();
  std::vector<Hash> hashes;
  for (const unsigned level : ledger::SubtreeLevels(begin, end)) {
    STELE_TRY(const Hash node, nodes.Node(level, begin >> level));
    hashes.push_back(node);
    begin += std::uint64_t{1} << level;
  }
  return hashes;
}

Result<std::vector<Hash>> LogReader::TileHashes(const ledger::Tile& tile) {
  if (!ledger::TileIsWithin(tile, size())) return Fail(Code::kNotFound, "tile above the log's size");
  if (tile.level == 0) {
    STELE_TRY(std::vector<Hash> leaves, impl_->LeavesOfTile(tile.number));
    leaves.resize(tile.width);
    return leaves;
  }
  auto nodes = impl_->Nodes();
  std::vector<Hash> hashes;
  for (unsigned i = 0; i < tile.width; ++i) {
    STELE_TRY(hashes.emplace_back(), nodes.Node(tile.level * ledger::kTileHeight, tile.number * ledger::kTileWidth + i));
  }
  return hashes;
}

const SourceInfo* LogReader::SourceOf(std::uint32_t source, std::uint64_t sequence) {
  if (source == 0 || sequence >= size()) return nullptr;
  const auto index = impl_->BlockIndexOf(sequence);
  return index ? impl_->SourceOf(source, *index).value_or(nullptr) : nullptr;
}

Result<LogReader::Landmark> LogReader::LastOfKind(record::Kind kind, std::uint64_t before_sequence) {
  std::uint64_t before = std::min(before_sequence, size());
  while (before > 0) {
    STELE_TRY(const ledger::Spine* spine, impl_->SpineAt(before - 1));
    if (spine != nullptr) {
      if (const ledger::KeptEntry* kept = spine->LastOfKind(kind, before)) {
        const record::Entry entry = kept->Decoded();
        return Landmark{entry.sequence, entry.receive_wall_ns, kept->payload};
      }
      before = spine->first_sequence;
      continue;
    }
    STELE_TRY(auto found, impl_->LastInBlocks(kind, before, before));
    if (found) return std::move(*found);
  }
  return Fail(Code::kNotFound, "no such entry");
}

}  // namespace stele::store
