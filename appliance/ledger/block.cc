#include "appliance/ledger/block.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <unordered_map>

#include "appliance/base/limits.h"
#include "appliance/ledger/block_fields.h"
#include "appliance/ledger/codec.h"

namespace stele::ledger {
namespace {

using limits::kSectorBytes;

void ZeroRange(MutableBytes bytes, std::size_t at, std::size_t count) {
  std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), count, std::byte{0});
}

std::uint32_t Sector0Checksum(ByteView sector0) {
  std::array<std::byte, kSectorBytes> copy;
  std::copy(sector0.begin(), sector0.end(), copy.begin());
  ZeroRange(copy, fields::kSector0Checksum, 4);
  return Checksum32(copy);
}

std::size_t TablesBytes(const BlockHeader& h) {
  return (h.size_bytes / kSectorBytes - 1) * std::size_t{4} +
         std::size_t{h.frontier_count + h.tile_root_count} * kHashBytes +
         std::size_t{h.salt_run_count} * fields::kSaltRunBytes + std::size_t{h.frame_count} * fields::kFrameBytes +
         std::size_t{h.abandon_count} * fields::kAbandonBytes + std::size_t{h.peer_count} * record::kPeerBytes;
}

template <typename T>
Result<std::vector<T>> DecodeColumn(Reader& in, std::size_t count) {
  const auto mode = in.Int<std::uint8_t>();
  if (mode == fields::kColumnConstant) {
    const T value = in.Int<T>();
    if (!in.ok()) return Fail(Code::kCorrupt, "block: column ends early");
    return std::vector<T>(count, value);
  }
  if (mode != fields::kColumnPlain) return Fail(Code::kCorrupt, "block: unknown column mode");
  const ByteView raw = in.Raw(count * sizeof(T));
  if (!in.ok()) return Fail(Code::kCorrupt, "block: column ends early");
  std::vector<T> column(count);
  std::memcpy(column.data(), raw.data(), raw.size());
  return column;
}

Result<void> DecodeColumns(ByteView raw, DecodedBlock& block) {
  const std::size_t n = block.header.record_count;
  Reader in(raw);
  STELE_TRY(block.kinds, DecodeColumn<std::uint8_t>(in, n));
  STELE_TRY(block.flags, DecodeColumn<std::uint16_t>(in, n));
  STELE_TRY(block.sources, DecodeColumn<std::uint32_t>(in, n));
  STELE_TRY(block.wall_ns, DecodeColumn<std::int64_t>(in, n));
  STELE_TRY(block.peer_index, DecodeColumn<std::uint32_t>(in, n));
  STELE_TRY(block.lengths, DecodeColumn<std::uint32_t>(in, n));
  if (!in.AtEnd()) return Fail(Code::kCorrupt, "block: bytes left over after the columns");
  for (const std::uint8_t kind : block.kinds) {
    if (!record::IsKind(kind)) return Fail(Code::kCorrupt, "block: unknown kind");
  }
  for (const std::uint32_t peer : block.peer_index) {
    if (peer >= block.header.peer_count) return Fail(Code::kCorrupt, "block: peer outside its table");
  }
  return {};
}

// Payload offsets from the lengths, checked against the frames' raw sizes.
Result<void> PlacePayloads(DecodedBlock& block) {
  const std::size_t n = block.header.record_count;
  block.offsets.resize(n + 1);
  std::uint64_t at = 0;
  for (std::size_t i = 0; i < n; ++i) {
    block.offsets[i] = at;
    at += block.lengths[i];
  }
  block.offsets[n] = at;
  if (at != block.header.payload_bytes) return Fail(Code::kCorrupt, "block: lengths do not add up");
  std::size_t records = 0;
  for (const BlockFrame& frame : block.tables.frames) {
    if (frame.record_count > n - records) return Fail(Code::kCorrupt, "block: frames hold more records than the block");
    const std::uint64_t raw = block.offsets[records + frame.record_count] - block.offsets[records];
    if (raw != frame.raw_bytes) return Fail(Code::kCorrupt, "block: a frame's size does not match its records");
    records += frame.record_count;
  }
  if (records != n) return Fail(Code::kCorrupt, "block: records without a frame");
  return {};
}

}  // namespace

MacChain::~MacChain() { OPENSSL_cleanse(key_.data(), key_.size()); }

Hash MacChain::Mac(std::string_view label, const Hash& digest) const {
  return HmacSha256(key_, {AsBytes(label), digest});
}

void MacChain::Advance() {
  key_ = HmacSha256(key_, {AsBytes("stele/ratchet/v1")});
  ++number_;
}

Result<void> MacChain::AdvanceTo(std::uint64_t number) {
  if (number < number_) return Fail(Code::kInvalid, "mac: the key of an earlier block is gone");
  while (number_ < number) Advance();
  return {};
}

void Batch::Add(record::Kind kind, std::uint16_t flag_bits, std::uint32_t source, std::int64_t receive_wall_ns,
                const record::Peer& peer, const Hash& commitment, ByteView payload) {
  kinds.push_back(static_cast<std::uint8_t>(kind));
  flags.push_back(flag_bits);
  sources.push_back(source);
  wall_ns.push_back(receive_wall_ns);
  peers.push_back(peer);
  lengths.push_back(static_cast<std::uint32_t>(payload.size()));
  commitments.push_back(commitment);
  stele::Append(payloads, payload);
}

Batch Batch::TakeFirst(std::size_t count) {
  STELE_CHECK(count <= size());
  packed.Clear();
  Batch first;
  const auto take = [count](auto& from, auto& to) {
    const auto middle = from.begin() + static_cast<std::ptrdiff_t>(count);
    to.assign(from.begin(), middle);
    from.erase(from.begin(), middle);
  };
  take(kinds, first.kinds);
  take(flags, first.flags);
  take(sources, first.sources);
  take(wall_ns, first.wall_ns);
  take(peers, first.peers);
  take(lengths, first.lengths);
  take(commitments, first.commitments);
  std::size_t payload_bytes = 0;
  for (const std::uint32_t length : first.lengths) payload_bytes += length;
  const auto cut = payloads.begin() + static_cast<std::ptrdiff_t>(payload_bytes);
  first.payloads.assign(payloads.begin(), cut);
  payloads.erase(payloads.begin(), cut);
  const auto border = static_cast<std::uint32_t>(count);
  std::vector<SaltRun> rest;
  for (const SaltRun& run : salt_runs) {
    const std::uint32_t before = run.first >= border ? 0 : std::min(run.count, border - run.first);
    if (before > 0) first.salt_runs.push_back({run.first, before, run.position, run.key});
    if (before < run.count) {
      rest.push_back({run.first + before - border, run.count - before, run.position + before, run.key});
    }
  }
  salt_runs = std::move(rest);
  return first;
}

void PackedFrames::Clear() {
  frames.clear();
  bytes.clear();
  record_count = 0;
  raw_bytes = 0;
}

void Batch::Clear() {
  packed.Clear();
  kinds.clear();
  flags.clear();
  sources.clear();
  wall_ns.clear();
  peers.clear();
  lengths.clear();
  commitments.clear();
  salt_runs.clear();
  payloads.clear();
}

Result<BlockHeader> DecodeBlockHeader(ByteView sector0) {
  if (sector0.size() < kSectorBytes) return Fail(Code::kCorrupt, "block: header cut short");
  sector0 = sector0.first(kSectorBytes);
  if (std::all_of(sector0.begin(), sector0.end(), [](std::byte b) { return b == std::byte{0}; })) {
    return Fail(Code::kNotFound, "block: nothing written here");
  }
  Reader in(sector0);
  BlockHeader h;
  const ByteView magic = in.Raw(fields::kMagic.size());
  if (AsText(magic) != fields::kMagic) return Fail(Code::kCorrupt, "block: wrong magic");
  if (LoadLittle<std::uint32_t>(sector0.data() + fields::kSector0Checksum) != Sector0Checksum(sector0)) {
    return Fail(Code::kCorrupt, "block: checksum of the first sector is wrong");
  }
  if (in.Int<std::uint16_t>() != fields::kVersion) return Fail(Code::kCorrupt, "block: unknown version");
  const auto codec = in.Int<std::uint8_t>();
  const auto type = in.Int<std::uint8_t>();
  if (codec > 2 || type > 1) return Fail(Code::kCorrupt, "block: unknown codec or type");
  h.codec = static_cast<Codec>(codec);
  h.type = static_cast<BlockType>(type);
  h.header_bytes = in.Int<std::uint32_t>();
  h.size_bytes = in.Int<std::uint32_t>();
  h.unit = in.Int<std::uint32_t>();
  h.offset_bytes = in.Int<std::uint64_t>();
  h.session = in.ReadHash();
  h.session_block = in.Int<std::uint64_t>();
  h.first_sequence = in.Int<std::uint64_t>();
  h.record_count = in.Int<std::uint32_t>();
  h.payload_bytes = in.Int<std::uint64_t>();
  h.commit_wall_ns = in.Int<std::int64_t>();
  h.wall_ns_min = in.Int<std::int64_t>();
  h.wall_ns_max = in.Int<std::int64_t>();
  h.previous_head = in.ReadHash();
  h.head = in.ReadHash();
  h.columns_raw_bytes = in.Int<std::uint32_t>();
  h.columns_stored_bytes = in.Int<std::uint32_t>();
  h.frontier_count = in.Int<std::uint32_t>();
  h.tile_root_count = in.Int<std::uint32_t>();
  h.salt_run_count = in.Int<std::uint32_t>();
  h.frame_count = in.Int<std::uint32_t>();
  h.abandon_count = in.Int<std::uint32_t>();
  h.peer_count = in.Int<std::uint32_t>();
  h.landmarks.checkpoint = in.Int<std::uint64_t>();
  h.landmarks.previous_checkpoint = in.Int<std::uint64_t>();
  h.landmarks.anchor_checkpoint = in.Int<std::uint64_t>();
  h.landmarks.anchor = in.Int<std::uint64_t>();
  h.landmarks.next_source = in.Int<std::uint32_t>();
  h.source_entries = in.Int<std::uint32_t>();
  h.mac = in.ReadHash();
  (void)in.Int<std::uint32_t>();  // the checksum, read above
  STELE_CHECK(in.ok());
  const std::uint64_t records = h.record_count;
  const bool counts_fit = records <= limits::kBlockRecords && h.frontier_count <= 64 &&
                          h.tile_root_count <= records / limits::kTileLeaves + 1 && h.salt_run_count <= records &&
                          h.frame_count <= records && h.peer_count <= records && h.abandon_count <= fields::kAbandonsMax;
  const bool sizes_fit = h.size_bytes >= kSectorBytes && h.size_bytes % kSectorBytes == 0 &&
                         h.size_bytes <= fields::kBlockBytesMax && h.payload_bytes <= fields::kPayloadBytesMax &&
                         h.columns_raw_bytes <= fields::kColumnBytesPerRecordMax * (records + 2);
  const bool type_fits = h.type == BlockType::kData ? records > 0 : records == 0;
  if (!counts_fit || !sizes_fit || !type_fits || h.end_sequence() < h.first_sequence) {
    return Fail(Code::kCorrupt, "block: impossible counts");
  }
  if (h.header_bytes != fields::kFixedBytes + TablesBytes(h) || h.header_bytes > h.size_bytes) {
    return Fail(Code::kCorrupt, "block: header size does not match its tables");
  }
  return h;
}

Result<BlockTables> DecodeBlockTables(const BlockHeader& h, ByteView region) {
  if (region.size() < h.header_bytes) return Fail(Code::kCorrupt, "block: tables cut short");
  Reader in(region.subspan(fields::kFixedBytes, h.header_bytes - fields::kFixedBytes));
  BlockTables t;
  t.sector_checksums.resize(h.size_bytes / kSectorBytes - 1);
  for (auto& checksum : t.sector_checksums) checksum = in.Int<std::uint32_t>();
  t.frontier.resize(h.frontier_count);
  for (auto& hash : t.frontier) hash = in.ReadHash();
  t.tile_roots.resize(h.tile_root_count);
  for (auto& hash : t.tile_roots) hash = in.ReadHash();
  t.salt_runs.resize(h.salt_run_count);
  for (auto& run : t.salt_runs) {
    run.first = in.Int<std::uint32_t>();
    run.count = in.Int<std::uint32_t>();
    run.position = in.Int<std::uint32_t>();
    const ByteView key = in.Raw(run.key.size());
    std::copy(key.begin(), key.end(), run.key.begin());
    if (run.count > h.record_count || run.first > h.record_count - run.count) {
      return Fail(Code::kCorrupt, "block: salt run outside the block");
    }
  }
  t.frames.resize(h.frame_count);
  std::uint64_t first = 0;
  std::uint64_t raw = 0;
  std::uint64_t stored = 0;
  for (auto& frame : t.frames) {
    frame.first_record = static_cast<std::uint32_t>(first);
    frame.record_count = in.Int<std::uint32_t>();
    frame.raw_bytes = in.Int<std::uint32_t>();
    frame.stored_bytes = in.Int<std::uint32_t>();
    frame.head = in.ReadHash();
    first += frame.record_count;
    raw += frame.raw_bytes;
    stored += frame.stored_bytes;
  }
  t.abandons.resize(h.abandon_count);
  for (auto& abandon : t.abandons) {
    abandon.unit = in.Int<std::uint32_t>();
    abandon.from = in.Int<std::uint64_t>();
    abandon.to = in.Int<std::uint64_t>();
  }
  t.peers.resize(h.peer_count);
  for (auto& peer : t.peers) {
    const ByteView bytes = in.Raw(record::kPeerBytes);
    if (bytes.size() == record::kPeerBytes) std::copy(bytes.begin(), bytes.end(), peer.begin());
  }
  if (!in.AtEnd()) return Fail(Code::kCorrupt, "block: tables do not fill the header");
  const std::uint64_t body = h.columns_stored_bytes + std::uint64_t{h.record_count} * 4 + stored;
  if (first != h.record_count || raw != h.payload_bytes || h.header_bytes + body > h.size_bytes ||
      h.size_bytes - (h.header_bytes + body) >= kSectorBytes) {
    return Fail(Code::kCorrupt, "block: parts do not add up to its size");
  }
  return t;
}

std::vector<std::uint32_t> DamagedSectors(const BlockHeader& header, const BlockTables& tables, ByteView block) {
  std::vector<std::uint32_t> damaged;
  const std::size_t sectors = header.size_bytes / kSectorBytes;
  for (std::size_t i = 1; i < sectors; ++i) {
    if (Checksum32(block.subspan(i * kSectorBytes, kSectorBytes)) != tables.sector_checksums[i - 1]) {
      damaged.push_back(static_cast<std::uint32_t>(i));
    }
  }
  return damaged;
}

Hash BlockMacDigest(const BlockHeader& header, ByteView header_region) {
  Bytes copy = ToBytes(header_region.first(header.header_bytes));
  ZeroRange(copy, fields::kMac, kHashBytes);
  ZeroRange(copy, fields::kSector0Checksum, 4);
  return Sha256Of(copy);
}

Result<record::Salt> DecodedBlock::SaltOf(std::size_t i) const {
  for (const SaltRun& run : tables.salt_runs) {
    if (i >= run.first && i - run.first < run.count) {
      return record::DeriveSalt(run.key, run.position + static_cast<std::uint32_t>(i - run.first));
    }
  }
  return Fail(Code::kCorrupt, "block: a record without a salt");
}

std::vector<record::Salt> DecodedBlock::Salts() const {
  std::vector<record::Salt> salts(header.record_count);
  for (const SaltRun& run : tables.salt_runs) {
    record::DeriveSalts(run.key, run.position, std::span(salts).subspan(run.first, run.count));
  }
  return salts;
}

std::vector<record::EntryBytes> DecodedBlock::Entries() const {
  const std::vector<record::Salt> salts = Salts();
  std::vector<record::EntryBytes> entries(header.record_count);
  std::vector<Hash> commitments(header.record_count);
  for (std::size_t i = 0; i < entries.size(); i += 2) {
    const std::size_t k = std::min(i + 1, entries.size() - 1);
    const auto first = record::MakeCommitmentPrefix(salts[i], PeerOf(i));
    const auto second = record::MakeCommitmentPrefix(salts[k], PeerOf(k));
    Hash second_out{};
    Sha256Pair({first, Payload(i)}, {second, Payload(k)}, commitments[i], second_out);
    if (k != i) commitments[k] = second_out;
  }
  Hash previous = header.previous_head;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    record::Entry entry;
    entry.kind = static_cast<record::Kind>(kinds[i]);
    entry.flags = flags[i];
    entry.source = sources[i];
    entry.sequence = header.first_sequence + i;
    entry.receive_wall_ns = wall_ns[i];
    entry.previous = previous;
    entry.commitment = commitments[i];
    entry.payload_length = lengths[i];
    entries[i] = record::EncodeEntry(entry);
    previous = LeafHash(entries[i]);
  }
  return entries;
}

Result<DecodedBlock> DecodeBlock(ByteView bytes, bool tolerate_bad_frames) {
  DecodedBlock block;
  STELE_TRY(block.header, DecodeBlockHeader(bytes));
  const BlockHeader& h = block.header;
  if (bytes.size() < h.size_bytes) return Fail(Code::kCorrupt, "block: cut short");
  STELE_TRY(block.tables, DecodeBlockTables(h, bytes));
  Reader in(bytes.subspan(h.header_bytes, h.size_bytes - h.header_bytes));
  Bytes columns(h.columns_raw_bytes);
  STELE_TRY_VOID(Decompress(h.codec, in.Raw(h.columns_stored_bytes), columns));
  STELE_TRY_VOID(DecodeColumns(columns, block));
  block.hints.resize(h.record_count);
  for (auto& hint : block.hints) hint = in.Int<std::uint32_t>();
  STELE_TRY_VOID(PlacePayloads(block));
  block.payloads.resize(h.payload_bytes);
  block.frame_bad.assign(block.tables.frames.size(), false);
  std::size_t at = 0;
  for (std::size_t i = 0; i < block.tables.frames.size(); ++i) {
    const BlockFrame& frame = block.tables.frames[i];
    const auto out = MutableBytes(block.payloads).subspan(at, frame.raw_bytes);
    auto done = Decompress(h.codec, in.Raw(frame.stored_bytes), out);
    if (!done) {
      if (!tolerate_bad_frames) return tl::unexpected(std::move(done.error()));
      block.frame_bad[i] = true;
      std::fill(out.begin(), out.end(), std::byte{0});
    }
    at += frame.raw_bytes;
  }
  if (!in.ok()) return Fail(Code::kCorrupt, "block: body cut short");
  while (in.left_bytes() > 0) {
    if (in.Int<std::uint8_t>() != 0) return Fail(Code::kCorrupt, "block: padding is not zero");
  }
  return block;
}

}  // namespace stele::ledger
