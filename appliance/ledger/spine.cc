#include "appliance/ledger/spine.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "appliance/base/limits.h"
#include "appliance/ledger/codec.h"

namespace stele::ledger {
namespace {

using limits::kTileLeaves;
using record::Kind;

constexpr std::string_view kMagic = "STELESPN";
constexpr std::uint16_t kVersion = 1;
constexpr unsigned kTileLevel = 8;
constexpr std::size_t kAbandonBytes = 4 + 8 + 8;
constexpr std::size_t kNodeBytes = 1 + 8 + kHashBytes;
constexpr std::size_t kEntryBytesMin = record::kEntryBytes + record::kSaltBytes + record::kPeerBytes + 4;
constexpr std::size_t kEntriesBytesMax = 1024 * limits::kMiB;

std::uint64_t TileOf(std::uint64_t sequence) { return sequence / kTileLeaves; }

// The roots of the aligned subtrees that tile [begin, end), by their places.
template <typename Visit>
void ForSubtrees(std::uint64_t begin, std::uint64_t end, Visit visit) {
  for (const unsigned level : SubtreeLevels(begin, end)) {
    visit(level, begin >> level);
    begin += std::uint64_t{1} << level;
  }
}

// Folds nodes of one tile, pairwise and upwards, into its root. Two words for one node must agree, and no node may be
// left over.
Result<Hash> FoldTile(std::uint64_t tile, std::map<NodePlace, Hash> nodes) {
  for (std::uint8_t level = 0; level < kTileLevel; ++level) {
    while (!nodes.empty() && nodes.begin()->first.level == level) {
      const auto left = nodes.extract(nodes.begin());
      const NodePlace at = left.key();
      const auto right = nodes.extract({level, at.index + 1});
      if (at.index % 2 != 0 || right.empty())
        return Fail(Code::kCorrupt, "spine: a node of tile " + std::to_string(tile) + " stands alone");
      const NodePlace above{static_cast<std::uint8_t>(level + 1), at.index / 2};
      const Hash hash = NodeHash(left.mapped(), right.mapped());
      if (const auto [place, fresh] = nodes.emplace(above, hash); !fresh && place->second != hash) {
        return Fail(Code::kCorrupt, "spine: the nodes of tile " + std::to_string(tile) + " do not agree");
      }
    }
  }
  if (nodes.size() != 1 || nodes.begin()->first != NodePlace{kTileLevel, tile}) {
    return Fail(Code::kCorrupt, "spine: nodes outside of tile " + std::to_string(tile));
  }
  return nodes.begin()->second;
}

Result<void> CheckEntry(const Spine& spine, std::uint64_t sequence, const KeptEntry& kept) {
  STELE_TRY(const record::Entry entry, record::DecodeEntry(kept.entry));
  const std::string name = "spine: kept entry " + std::to_string(sequence);
  if (entry.sequence != sequence || entry.payload_length != kept.payload.size())
    return Fail(Code::kCorrupt, name + " is another one");
  if (record::CommitPayload(kept.salt, kept.peer, kept.payload) != entry.commitment) {
    return Fail(Code::kCorrupt, name + " does not match its commitment");
  }
  const auto leaf = spine.nodes.find({0, sequence});
  if (leaf == spine.nodes.end() || leaf->second != LeafHash(kept.entry))
    return Fail(Code::kCorrupt, name + " is not a leaf of the tree");
  return {};
}

void AppendHashes(Writer& writer, const std::vector<Hash>& hashes) {
  writer.Int(static_cast<std::uint32_t>(hashes.size()));
  for (const Hash& hash : hashes) writer.Raw(hash);
}

template <std::size_t kBytes>
void ReadArray(Reader& reader, std::array<std::byte, kBytes>& out) {
  const ByteView raw = reader.Raw(kBytes);
  std::copy(raw.begin(), raw.end(), out.begin());
}

bool ReadHashes(Reader& reader, std::vector<Hash>& hashes) {
  const auto count = reader.Int<std::uint32_t>();
  if (!reader.ok() || count > reader.left_bytes() / kHashBytes) return false;
  hashes.resize(count);
  for (Hash& hash : hashes) hash = reader.ReadHash();
  return reader.ok();
}

Result<void> DecodeEntries(ByteView raw, std::uint32_t count, Spine& spine) {
  Reader reader(raw);
  for (std::uint32_t i = 0; i < count; ++i) {
    KeptEntry kept;
    ReadArray(reader, kept.entry);
    ReadArray(reader, kept.salt);
    ReadArray(reader, kept.peer);
    kept.payload = ToBytes(reader.Sized(raw.size()));
    if (!reader.ok()) return Fail(Code::kCorrupt, "spine: its entries are cut");
    STELE_TRY(const record::Entry entry, record::DecodeEntry(kept.entry));
    const bool ascends = spine.entries.empty() || spine.entries.rbegin()->first < entry.sequence;
    if (!ascends || entry.sequence < spine.first_sequence || entry.sequence >= spine.end_sequence) {
      return Fail(Code::kCorrupt, "spine: its entries are out of order");
    }
    spine.entries.emplace_hint(spine.entries.end(), entry.sequence, std::move(kept));
  }
  if (reader.left_bytes() != 0) return Fail(Code::kCorrupt, "spine: bytes behind its entries");
  return {};
}

std::uint64_t TilesEndingIn(std::uint64_t first, std::uint64_t end) { return TileOf(end) - TileOf(first); }

}  // namespace

record::Entry KeptEntry::Decoded() const {
  auto decoded = record::DecodeEntry(entry);
  STELE_CHECK(decoded.has_value());  // DecodeSpine() and SpineMaker let no other in
  return *decoded;
}

std::optional<Hash> Spine::Node(unsigned level, std::uint64_t index) const {
  if (level >= kTileLevel) return std::nullopt;
  const auto here = nodes.find({static_cast<std::uint8_t>(level), index});
  if (here != nodes.end()) return here->second;
  if (level == 0) return std::nullopt;
  const auto left = Node(level - 1, 2 * index);
  if (!left) return std::nullopt;
  const auto right = Node(level - 1, 2 * index + 1);
  return right ? std::optional(NodeHash(*left, *right)) : std::nullopt;
}

const KeptEntry* Spine::LastOfKind(Kind kind, std::uint64_t before) const {
  for (auto at = entries.lower_bound(before); at != entries.begin();) {
    --at;
    if (at->second.entry[1] == static_cast<std::byte>(kind)) return &at->second;
  }
  return nullptr;
}

Bytes EncodeSpine(const Spine& spine) {
  Bytes out;
  Writer writer(out);
  writer.Raw(AsBytes(kMagic));
  writer.Int(kVersion);
  writer.Int(std::uint16_t{0});
  writer.Int(spine.unit);
  writer.Raw(spine.log_id);
  writer.Int(spine.first_sequence);
  writer.Int(spine.end_sequence);
  writer.Int(spine.wall_ns_min);
  writer.Int(spine.wall_ns_max);
  writer.Raw(spine.previous_head);
  writer.Raw(spine.head);
  AppendHashes(writer, spine.frontier);
  AppendHashes(writer, spine.tile_roots);
  writer.Int(static_cast<std::uint32_t>(spine.abandons.size()));
  for (const Abandon& abandon : spine.abandons) {
    writer.Int(abandon.unit);
    writer.Int(abandon.from);
    writer.Int(abandon.to);
  }
  writer.Int(static_cast<std::uint32_t>(spine.nodes.size()));
  for (const auto& [place, hash] : spine.nodes) {
    writer.Int(place.level);
    writer.Int(place.index);
    writer.Raw(hash);
  }
  Bytes raw;
  Writer entries(raw);
  for (const auto& [sequence, kept] : spine.entries) {
    entries.Raw(kept.entry);
    entries.Raw(kept.salt);
    entries.Raw(kept.peer);
    entries.Sized(kept.payload);
  }
  Bytes stored;
  Compressor compressor;
  const std::uint32_t stored_bytes = raw.empty() ? 0 : compressor.Append(Codec::kZstd, raw, stored);
  writer.Int(static_cast<std::uint32_t>(spine.entries.size()));
  writer.Int(static_cast<std::uint32_t>(raw.size()));
  writer.Int(stored_bytes);
  writer.Raw(stored);
  writer.Int(Checksum32(out));
  return out;
}

Result<Spine> DecodeSpine(ByteView bytes) {
  Reader reader(bytes);
  Spine spine;
  if (AsText(reader.Raw(kMagic.size())) != kMagic) return Fail(Code::kCorrupt, "spine: not one");
  const auto version = reader.Int<std::uint16_t>();
  const auto reserved = reader.Int<std::uint16_t>();
  if (version != kVersion || reserved != 0) return Fail(Code::kCorrupt, "spine: of another version");
  spine.unit = reader.Int<std::uint32_t>();
  spine.log_id = reader.ReadHash();
  spine.first_sequence = reader.Int<std::uint64_t>();
  spine.end_sequence = reader.Int<std::uint64_t>();
  spine.wall_ns_min = reader.Int<std::int64_t>();
  spine.wall_ns_max = reader.Int<std::int64_t>();
  spine.previous_head = reader.ReadHash();
  spine.head = reader.ReadHash();
  if (!reader.ok() || !ReadHashes(reader, spine.frontier) || !ReadHashes(reader, spine.tile_roots)) {
    return Fail(Code::kCorrupt, "spine: cut");
  }
  if (spine.first_sequence > spine.end_sequence ||
      spine.tile_roots.size() != TilesEndingIn(spine.first_sequence, spine.end_sequence)) {
    return Fail(Code::kCorrupt, "spine: not as many tile roots as tiles");
  }
  const auto abandon_count = reader.Int<std::uint32_t>();
  if (!reader.ok() || abandon_count > reader.left_bytes() / kAbandonBytes)
    return Fail(Code::kCorrupt, "spine: cut in what it abandons");
  for (std::uint32_t i = 0; i < abandon_count; ++i) {
    Abandon abandon;
    abandon.unit = reader.Int<std::uint32_t>();
    abandon.from = reader.Int<std::uint64_t>();
    abandon.to = reader.Int<std::uint64_t>();
    spine.abandons.push_back(abandon);
  }
  const auto node_count = reader.Int<std::uint32_t>();
  if (!reader.ok() || node_count > reader.left_bytes() / kNodeBytes)
    return Fail(Code::kCorrupt, "spine: cut in its nodes");
  for (std::uint32_t i = 0; i < node_count; ++i) {
    NodePlace place;
    place.level = reader.Int<std::uint8_t>();
    place.index = reader.Int<std::uint64_t>();
    const Hash hash = reader.ReadHash();
    const bool ascends = spine.nodes.empty() || spine.nodes.rbegin()->first < place;
    if (!ascends || place.level >= kTileLevel || place.index > (spine.end_sequence >> place.level)) {
      return Fail(Code::kCorrupt, "spine: its nodes are out of order");
    }
    spine.nodes.emplace_hint(spine.nodes.end(), place, hash);
  }
  const auto entry_count = reader.Int<std::uint32_t>();
  const auto raw_bytes = reader.Int<std::uint32_t>();
  const auto stored_bytes = reader.Int<std::uint32_t>();
  const ByteView stored = reader.Raw(stored_bytes);
  const std::size_t checked_bytes = bytes.size() - reader.left_bytes();
  const auto checksum = reader.Int<std::uint32_t>();
  if (!reader.ok() || reader.left_bytes() != 0) return Fail(Code::kCorrupt, "spine: cut");
  if (checksum != Checksum32(bytes.first(checked_bytes))) return Fail(Code::kCorrupt, "spine: its checksum is wrong");
  // Entries do not compress a thousandfold: no small file asks for a gibibyte.
  const bool plausible =
      raw_bytes <= kEntriesBytesMax && raw_bytes / 1'024 <= stored_bytes && entry_count <= raw_bytes / kEntryBytesMin;
  if (!plausible) return Fail(Code::kCorrupt, "spine: its entries are too many");
  Bytes raw(raw_bytes);
  if (raw_bytes > 0) STELE_TRY_VOID(Decompress(Codec::kZstd, stored, raw));
  STELE_TRY_VOID(DecodeEntries(raw, entry_count, spine));
  return spine;
}

Result<Frontier> CheckSpine(const Spine& spine) {
  STELE_TRY(Frontier frontier, Frontier::FromHashes(0, spine.first_sequence, spine.frontier));
  for (const auto& [sequence, kept] : spine.entries) STELE_TRY_VOID(CheckEntry(spine, sequence, kept));
  // Nodes by tile.
  std::map<std::uint64_t, std::map<NodePlace, Hash>> tiles;
  for (const auto& [place, hash] : spine.nodes) {
    const std::uint64_t begin = place.index << place.level;
    const std::uint64_t end = (place.index + 1) << place.level;
    if (begin < spine.first_sequence || end > spine.end_sequence)
      return Fail(Code::kCorrupt, "spine: a node of another unit");
    tiles[TileOf(begin)].emplace(place, hash);
  }
  const std::uint64_t first_tile = TileOf(spine.first_sequence);
  for (std::size_t i = 0; i < spine.tile_roots.size(); ++i) {
    const std::uint64_t tile = first_tile + i;
    const std::uint64_t begin = tile * kTileLeaves;
    const auto known = tiles.find(tile);
    if (begin < spine.first_sequence) {  // begun in the unit before: its part is in the frontier
      if (known == tiles.end()) return Fail(Code::kCorrupt, "spine: the first tile is missing");
      std::size_t at = SubtreeLevels(0, begin).size();
      ForSubtrees(begin, spine.first_sequence, [&](unsigned level, std::uint64_t index) {
        known->second.emplace(NodePlace{static_cast<std::uint8_t>(level), index}, spine.frontier[at++]);
      });
    }
    if (known != tiles.end()) {
      STELE_TRY(const Hash root, FoldTile(tile, std::move(known->second)));
      tiles.erase(known);
      if (root != spine.tile_roots[i])
        return Fail(Code::kCorrupt, "spine: tile " + std::to_string(tile) + " has another root");
    }
    if (begin >= spine.first_sequence) {
      frontier.PushSubtree(kTileLevel, spine.tile_roots[i]);
      continue;
    }
    STELE_TRY(frontier, Frontier::FromHashes(
                            0, begin,
                            {spine.frontier.begin(),
                             spine.frontier.begin() + static_cast<std::ptrdiff_t>(SubtreeLevels(0, begin).size())}));
    frontier.PushSubtree(kTileLevel, spine.tile_roots[i]);
  }
  // The tile that goes on in the next unit: leaf by leaf.
  while (frontier.end() < spine.end_sequence) {
    const auto leaf = spine.nodes.find({0, frontier.end()});
    if (leaf == spine.nodes.end()) return Fail(Code::kCorrupt, "spine: a leaf of the last tile is missing");
    frontier.Push(leaf->second);
  }
  const std::uint64_t last_tile = TileOf(spine.end_sequence);
  const auto rest = tiles.extract(last_tile);
  if (!tiles.empty()) return Fail(Code::kCorrupt, "spine: nodes of a tile that is not the unit's");
  if (!rest.empty()) {
    const bool leaves =
        std::all_of(rest.mapped().begin(), rest.mapped().end(), [](const auto& node) { return node.first.level == 0; });
    if (!leaves) return Fail(Code::kCorrupt, "spine: the last tile is not in leaves");
  }
  return frontier;
}

std::optional<Hash> RootAt(const Spine& spine, std::uint64_t size) {
  if (size < spine.first_sequence || size > spine.end_sequence) return std::nullopt;
  auto range = Frontier::FromHashes(0, spine.first_sequence, spine.frontier);
  const std::uint64_t first_tile = TileOf(spine.first_sequence);
  if (range && TileOf(size) > first_tile) {
    const std::uint64_t begin = first_tile * kTileLeaves;
    const auto below = static_cast<std::ptrdiff_t>(SubtreeLevels(0, begin).size());
    range = Frontier::FromHashes(0, begin, {spine.frontier.begin(), spine.frontier.begin() + below});
    for (std::uint64_t tile = first_tile; tile < TileOf(size); ++tile)
      range->PushSubtree(kTileLevel, spine.tile_roots[tile - first_tile]);
  }
  while (range && range->end() < size) {
    unsigned level = kTileLevel - 1;
    while (level > 0 &&
           (range->end() % (std::uint64_t{1} << level) != 0 || range->end() + (std::uint64_t{1} << level) > size))
      --level;
    const auto node = spine.Node(level, range->end() >> level);
    if (!node) return std::nullopt;
    range->PushSubtree(level, *node);
  }
  if (!range) return std::nullopt;
  return range->Root();
}

std::optional<std::uint64_t> SizeOfIntent(ByteView payload) {
  const auto json = nlohmann::json::parse(AsText(payload), nullptr, false);
  if (!json.is_object()) return std::nullopt;
  const auto size = json.find("size");
  if (size == json.end() || !size->is_number_unsigned()) return std::nullopt;
  return size->get<std::uint64_t>();
}

bool IsKept(Kind kind, ByteView payload) {
  switch (kind) {
    case Kind::kSource:
    case Kind::kPolicy:
    case Kind::kEpoch:
    case Kind::kAnchor:
    case Kind::kTombstone:
      return true;
    case Kind::kCheckpoint: {
      const auto json = nlohmann::json::parse(AsText(payload), nullptr, false);
      if (!json.is_object()) return false;
      const auto anchor = json.find("anchor");
      return anchor != json.end() && anchor->is_number_unsigned() && anchor->get<std::uint64_t>() != 0;
    }
    default:
      return false;
  }
}

SpineMaker::SpineMaker(std::uint32_t unit, const Hash& log_id, std::uint64_t first_sequence, const Hash& head,
                       std::vector<Hash> frontier) {
  spine_.unit = unit;
  spine_.log_id = log_id;
  spine_.first_sequence = first_sequence;
  spine_.end_sequence = first_sequence;
  spine_.previous_head = head;
  spine_.head = head;
  spine_.frontier = std::move(frontier);
  next_ = first_sequence;
}

void SpineMaker::KeepBorder(std::uint64_t size) { borders_.insert(size); }

void SpineMaker::Look(const DecodedBlock& block) {
  for (std::size_t i = 0; i < block.kinds.size(); ++i) {
    const auto kind = static_cast<Kind>(block.kinds[i]);
    const bool candidate = kind != Kind::kSyslog && kind != Kind::kJson;
    if (!candidate || !IsKept(kind, block.Payload(i))) continue;
    proven_.insert(block.header.first_sequence + i);
    if (kind == Kind::kEpoch) KeepBorder(block.header.first_sequence + i);  // it signs the tree before it
    if (kind != Kind::kCheckpoint) continue;
    if (const auto size = SizeOfIntent(block.Payload(i))) KeepBorder(*size);
  }
}

Result<void> SpineMaker::Take(const DecodedBlock& block) {
  const BlockHeader& header = block.header;
  if (next_ == spine_.first_sequence && SubtreeLevels(0, next_).size() != spine_.frontier.size()) {
    return Fail(Code::kCorrupt, "spine: not the frontier of its first record");
  }
  if (header.first_sequence != next_ || header.previous_head != spine_.head)
    return Fail(Code::kCorrupt, "spine: a block does not continue the chain");
  const std::vector<record::EntryBytes> entries = block.Entries();
  if (entries.empty()) return {};
  for (std::size_t i = 0; i < entries.size(); ++i) {
    tile_.push_back(LeafHash(entries[i]));
    if (proven_.contains(next_)) {
      STELE_TRY(const record::Salt salt, block.SaltOf(i));
      spine_.entries[next_] = {entries[i], salt, block.PeerOf(i), ToBytes(block.Payload(i))};
    }
    if (++next_ % kTileLeaves == 0) EndTile();
  }
  if (LeafHash(entries.back()) != header.head)
    return Fail(Code::kCorrupt, "spine: a block does not end in its chain head");
  spine_.head = header.head;
  const auto [least, greatest] =
      std::minmax_element(block.wall_ns.begin(), block.wall_ns.end());  // as the entries have it
  const bool first = spine_.wall_ns_min == 0 && spine_.wall_ns_max == 0;
  spine_.wall_ns_min = first ? *least : std::min(spine_.wall_ns_min, *least);
  spine_.wall_ns_max = first ? *greatest : std::max(spine_.wall_ns_max, *greatest);
  return {};
}

void SpineMaker::Keep(unsigned level, std::uint64_t index) {
  const std::uint64_t begin = (index << level) % kTileLeaves;
  CompactRange range;
  for (std::uint64_t i = 0; i < std::uint64_t{1} << level; ++i) range.Push(tile_[begin + i]);
  spine_.nodes[{static_cast<std::uint8_t>(level), index}] = range.Root();
}

void SpineMaker::KeepLeaves(std::uint64_t begin) {
  for (std::size_t i = 0; i < tile_.size(); ++i) spine_.nodes[{0, begin + i}] = tile_[i];
}

// The tile that ends before next_.
void SpineMaker::EndTile() {
  const std::uint64_t begin = next_ - kTileLeaves;
  if (begin < spine_.first_sequence) {
    const auto low = spine_.frontier.begin() + static_cast<std::ptrdiff_t>(SubtreeLevels(0, begin).size());
    auto range = CompactRange::FromHashes(begin, spine_.first_sequence, {low, spine_.frontier.end()});
    STELE_CHECK(range.has_value());  // the caller's frontier is that of first_sequence
    for (const Hash& leaf : tile_) range->Push(leaf);
    spine_.tile_roots.push_back(range->Hashes().front());
    KeepLeaves(spine_.first_sequence);
    tile_.clear();
    return;
  }
  spine_.tile_roots.push_back(TileRoot(tile_));
  const auto keep = [this](unsigned level, std::uint64_t index) { Keep(level, index); };
  for (auto border = borders_.upper_bound(begin); border != borders_.end() && *border < next_; ++border) {
    ForSubtrees(begin, *border, keep);
    ForSubtrees(*border, next_, keep);
  }
  for (auto entry = proven_.lower_bound(begin); entry != proven_.end() && *entry < next_; ++entry) {
    Keep(0, *entry);
    for (unsigned level = 0; level < kTileLevel; ++level) Keep(level, (*entry >> level) ^ 1U);
  }
  tile_.clear();
}

Result<Spine> SpineMaker::Finish() {
  KeepLeaves(next_ - tile_.size());
  spine_.end_sequence = next_;
  return std::move(spine_);
}

}  // namespace stele::ledger
