#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "appliance/base/limits.h"
#include "appliance/ledger/block.h"
#include "appliance/ledger/block_fields.h"
#include "appliance/ledger/frame_packer.h"

namespace stele::ledger {
namespace {

using limits::kSectorBytes;

std::size_t RoundUpToSector(std::size_t bytes) { return (bytes + kSectorBytes - 1) / kSectorBytes * kSectorBytes; }

template <typename T>
void AppendColumn(const std::vector<T>& column, Bytes& out) {
  Writer w(out);
  const bool constant = std::all_of(column.begin(), column.end(), [&](T v) { return v == column.front(); });
  w.Int(constant ? fields::kColumnConstant : fields::kColumnPlain);
  if (constant) {
    w.Int(column.front());
  } else {
    w.Raw(std::as_bytes(std::span(column)));
  }
}

struct PeerHash {
  std::size_t operator()(const record::Peer& peer) const { return Checksum32(peer); }
};

}  // namespace

struct BlockEncoder::Buffers {
  Compressor compressor;  // of the columns
  FramePacker packer;
  Bytes columns_raw;
  Bytes columns;
  PackedFrames rest;
  Bytes block;
  std::vector<std::uint32_t> peer_index;
  std::vector<record::Peer> peer_table;
  std::unordered_map<record::Peer, std::uint32_t, PeerHash> peer_numbers;
  std::vector<BlockFrame> frame_table;

  void IndexPeers(const Batch& batch);
  void TableOf(const SequencedBatch& sequenced, std::span<const PackedFrames::Frame> packed);
  void Finish(const BlockHeader& header, MacChain& mac);
};

void BlockEncoder::Buffers::IndexPeers(const Batch& batch) {
  peer_index.clear();
  peer_table.clear();
  peer_numbers.clear();
  for (const record::Peer& peer : batch.peers) {
    // Runs of one sender are the common case; memcmp, because == goes octet by octet.
    if (!peer_table.empty() && std::memcmp(peer.data(), peer_table[peer_index.back()].data(), peer.size()) == 0) {
      peer_index.push_back(peer_index.back());
      continue;
    }
    const auto [at, fresh] = peer_numbers.try_emplace(peer, static_cast<std::uint32_t>(peer_table.size()));
    if (fresh) peer_table.push_back(peer);
    peer_index.push_back(at->second);
  }
}

// The table of all frames: those packed before and the rest.
void BlockEncoder::Buffers::TableOf(const SequencedBatch& sequenced, std::span<const PackedFrames::Frame> packed) {
  frame_table.clear();
  std::size_t end = 0;
  const auto add = [&](const PackedFrames::Frame& frame) {
    end += frame.record_count;
    BlockFrame entry;
    entry.record_count = frame.record_count;
    entry.raw_bytes = frame.raw_bytes;
    entry.stored_bytes = frame.stored_bytes;
    entry.head = sequenced.leaves[end - 1];
    frame_table.push_back(entry);
  };
  for (const PackedFrames::Frame& frame : packed) add(frame);
  for (const PackedFrames::Frame& frame : rest.frames) add(frame);
}

// Fills in what depends on the finished bytes: sector checksums (last first: sector k holds only checksums of later
// sectors), the MAC, and at last the checksum of sector 0.
void BlockEncoder::Buffers::Finish(const BlockHeader& header, MacChain& mac) {
  std::byte* const base = block.data();
  const std::size_t sectors = block.size() / kSectorBytes;
  for (std::size_t i = sectors - 1; i > 0; --i) {
    StoreLittle(base + fields::kFixedBytes + (i - 1) * 4,
                Checksum32(ByteView(block).subspan(i * kSectorBytes, kSectorBytes)));
  }
  const Hash tag = mac.Mac(kBlockMacLabel, BlockMacDigest(header, block));
  std::copy(tag.begin(), tag.end(), base + fields::kMac);
  StoreLittle(base + fields::kSector0Checksum, Checksum32(ByteView(block).first(kSectorBytes)));
  mac.Advance();
}

namespace {

void WriteFixed(const BlockHeader& h, Bytes& out) {
  Writer w(out);
  w.Raw(AsBytes(fields::kMagic));
  w.Int(fields::kVersion);
  w.Int(static_cast<std::uint8_t>(h.codec));
  w.Int(static_cast<std::uint8_t>(h.type));
  w.Int(h.header_bytes);
  w.Int(h.size_bytes);
  w.Int(h.unit);
  w.Int(h.offset_bytes);
  w.Raw(h.session);
  w.Int(h.session_block);
  w.Int(h.first_sequence);
  w.Int(h.record_count);
  w.Int(h.payload_bytes);
  w.Int(h.commit_wall_ns);
  w.Int(h.wall_ns_min);
  w.Int(h.wall_ns_max);
  w.Raw(h.previous_head);
  w.Raw(h.head);
  w.Int(h.columns_raw_bytes);
  w.Int(h.columns_stored_bytes);
  w.Int(h.frontier_count);
  w.Int(h.tile_root_count);
  w.Int(h.salt_run_count);
  w.Int(h.frame_count);
  w.Int(h.abandon_count);
  w.Int(h.peer_count);
  w.Int(h.landmarks.checkpoint);
  w.Int(h.landmarks.previous_checkpoint);
  w.Int(h.landmarks.anchor_checkpoint);
  w.Int(h.landmarks.anchor);
  w.Int(h.landmarks.next_source);
  w.Int(h.source_entries);
  w.Raw(Hash{});  // MAC
  w.Int(std::uint32_t{0});
}

struct Tables {
  std::span<const Hash> frontier;
  std::span<const Hash> tile_roots;
  std::span<const SaltRun> salt_runs;
  std::span<const BlockFrame> frames;
  std::span<const Abandon> abandons;
  std::span<const record::Peer> peers;
};

// Sizes, then bytes: the number of sectors decides the size of the checksum table, which decides the number of sectors.
void WriteHeaderAndTables(BlockHeader& h, const Tables& t, std::size_t body_bytes, Bytes& out) {
  h.frontier_count = static_cast<std::uint32_t>(t.frontier.size());
  h.tile_root_count = static_cast<std::uint32_t>(t.tile_roots.size());
  h.salt_run_count = static_cast<std::uint32_t>(t.salt_runs.size());
  h.frame_count = static_cast<std::uint32_t>(t.frames.size());
  h.abandon_count = static_cast<std::uint32_t>(t.abandons.size());
  h.peer_count = static_cast<std::uint32_t>(t.peers.size());
  const std::size_t others = (t.frontier.size() + t.tile_roots.size()) * kHashBytes +
                             t.salt_runs.size() * fields::kSaltRunBytes + t.frames.size() * fields::kFrameBytes +
                             t.abandons.size() * fields::kAbandonBytes + t.peers.size() * record::kPeerBytes;
  std::size_t sectors = 1;
  std::size_t header_bytes = 0;
  while (true) {
    header_bytes = fields::kFixedBytes + (sectors - 1) * 4 + others;
    const std::size_t needed = RoundUpToSector(header_bytes + body_bytes) / kSectorBytes;
    if (needed <= sectors) break;
    sectors = needed;
  }
  // One sector too many can only come from the table's own growth; the decoder wants less than a sector of padding.
  STELE_CHECK(sectors * kSectorBytes - (header_bytes + body_bytes) < kSectorBytes);
  h.header_bytes = static_cast<std::uint32_t>(header_bytes);
  h.size_bytes = static_cast<std::uint32_t>(sectors * kSectorBytes);
  WriteFixed(h, out);
  out.resize(out.size() + (sectors - 1) * 4);
  Writer w(out);
  for (const Hash& hash : t.frontier) w.Raw(hash);
  for (const Hash& hash : t.tile_roots) w.Raw(hash);
  for (const SaltRun& run : t.salt_runs) {
    w.Int(run.first);
    w.Int(run.count);
    w.Int(run.position);
    w.Raw(run.key);
  }
  for (const BlockFrame& frame : t.frames) {
    w.Int(frame.record_count);
    w.Int(frame.raw_bytes);
    w.Int(frame.stored_bytes);
    w.Raw(frame.head);
  }
  for (const Abandon& abandon : t.abandons) {
    w.Int(abandon.unit);
    w.Int(abandon.from);
    w.Int(abandon.to);
  }
  for (const record::Peer& peer : t.peers) w.Raw(peer);
}

BlockHeader HeaderAt(const BlockPlace& place, const MacChain& mac) {
  BlockHeader h;
  h.unit = place.unit;
  h.offset_bytes = place.offset_bytes;
  h.commit_wall_ns = place.commit_wall_ns;
  h.landmarks = place.landmarks;
  h.session = mac.session();
  h.session_block = mac.number();
  return h;
}

}  // namespace

BlockEncoder::BlockEncoder() : buffers_(std::make_unique<Buffers>()) {}
BlockEncoder::~BlockEncoder() = default;

ByteView BlockEncoder::Encode(const SequencedBatch& sequenced, const BlockPlace& place, Codec codec, MacChain& mac) {
  const Batch& batch = sequenced.batch;
  STELE_CHECK(!batch.empty());
  STELE_CHECK(batch.size() <= limits::kBlockRecords);
  Buffers& b = *buffers_;
  b.IndexPeers(batch);
  b.columns_raw.clear();
  AppendColumn(batch.kinds, b.columns_raw);
  AppendColumn(batch.flags, b.columns_raw);
  AppendColumn(batch.sources, b.columns_raw);
  AppendColumn(batch.wall_ns, b.columns_raw);
  AppendColumn(b.peer_index, b.columns_raw);
  AppendColumn(batch.lengths, b.columns_raw);
  b.columns.clear();
  BlockHeader h = HeaderAt(place, mac);
  h.type = BlockType::kData;
  h.codec = codec;
  h.columns_raw_bytes = static_cast<std::uint32_t>(b.columns_raw.size());
  h.columns_stored_bytes = b.compressor.Append(codec, b.columns_raw, b.columns);
  b.packer.PackRest(batch, codec, b.rest);
  const bool packed_before = batch.packed.codec == codec;
  const ByteView first_frames = packed_before ? ByteView(batch.packed.bytes) : ByteView();
  b.TableOf(sequenced, packed_before ? std::span(batch.packed.frames) : std::span<const PackedFrames::Frame>());
  h.first_sequence = sequenced.first_sequence;
  h.record_count = static_cast<std::uint32_t>(batch.size());
  h.payload_bytes = batch.payloads.size();
  const auto [low, high] = std::minmax_element(batch.wall_ns.begin(), batch.wall_ns.end());
  h.wall_ns_min = *low;
  h.wall_ns_max = *high;
  h.source_entries = static_cast<std::uint32_t>(
      std::count(batch.kinds.begin(), batch.kinds.end(), static_cast<std::uint8_t>(record::Kind::kSource)));
  h.previous_head = sequenced.previous_head;
  h.head = sequenced.head;
  b.block.clear();
  WriteHeaderAndTables(h,
                       {sequenced.frontier, sequenced.tile_roots, batch.salt_runs, b.frame_table, place.abandons,
                        b.peer_table},
                       b.columns.size() + batch.size() * 4 + first_frames.size() + b.rest.bytes.size(), b.block);
  Append(b.block, b.columns);
  for (const Hash& leaf : sequenced.leaves) Append(b.block, ByteView(leaf).first(4));
  Append(b.block, first_frames);
  Append(b.block, b.rest.bytes);
  b.block.resize(h.size_bytes);
  b.Finish(h, mac);
  return b.block;
}

ByteView BlockEncoder::EncodeSeal(std::uint64_t size, const Hash& head, const std::vector<Hash>& frontier,
                                  const BlockPlace& place, MacChain& mac) {
  Buffers& b = *buffers_;
  BlockHeader h = HeaderAt(place, mac);
  h.type = BlockType::kSeal;
  h.first_sequence = size;
  h.wall_ns_min = place.commit_wall_ns;
  h.wall_ns_max = place.commit_wall_ns;
  h.previous_head = head;
  h.head = head;
  b.block.clear();
  WriteHeaderAndTables(h, {frontier, {}, {}, {}, place.abandons, {}}, 0, b.block);
  b.block.resize(h.size_bytes);
  b.Finish(h, mac);
  return b.block;
}

std::uint64_t BlockEncoder::SizeBound(std::size_t record_count, std::size_t payload_bytes, std::size_t salt_run_count) {
  const std::size_t frames = payload_bytes / (limits::kFrameRawBytes / 2) + 2;
  const std::size_t body = record_count * (fields::kColumnBytesPerRecordMax + 4 + record::kPeerBytes) +
                           payload_bytes + frames * (fields::kFrameBytes + 64);
  const std::size_t header = fields::kFixedBytes + 64 * kHashBytes + record_count / limits::kTileLeaves * kHashBytes +
                             kHashBytes + salt_run_count * fields::kSaltRunBytes + fields::kAbandonsMax * fields::kAbandonBytes;
  const std::size_t raw = header + body;
  return RoundUpToSector(raw + raw / 1000 + kSectorBytes);
}

}  // namespace stele::ledger
