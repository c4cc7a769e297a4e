// A block: one group commit, starting and ending on a sector boundary. Normative description: docs/format.md.
//
//   block   := header tables columns hints frames padding            size_bytes: a multiple of 4096
//   header  := fixed fields, kBlockFixedBytes (offsets in block.cc)   within sector 0
//   tables  := sector_checksum:u32 * (sectors - 1)                    XXH3 folded, of sectors 1..n-1
//              frontier[32]* tile_root[32]* salt_run* frame* abandon* peer[18]*
//   salt_run:= first:u32 count:u32 position:u32 key[16]               salts of records [first, first + count)
//   frame   := record_count:u32 raw_bytes:u32 stored_bytes:u32 head[32]   head = chain head after its last record
//   abandon := unit:u32 from:u64 to:u64                               bytes no reader may count as log
//   columns := kind flags source time peer_index length               compressed together with the block's codec
//   hints   := leaf_hash_prefix[4] * record_count                     so that damage is localised to a record
//   frames  := payloads in order, cut at record borders, each frame compressed alone (stored_bytes == raw_bytes: raw)
//
// The chain head commits to every entry, so the MAC over the header is a MAC over the whole block.
// Pure: bytes in, bytes out. A BlockEncoder belongs to one thread; decoding is a free function.
#pragma once

#include <memory>
#include <vector>

#include "appliance/ledger/merkle.h"
#include "appliance/record/entry.h"

namespace stele::ledger {

enum class Codec : std::uint8_t { kNone = 0, kLz4 = 1, kZstd = 2 };
enum class BlockType : std::uint8_t { kData = 0, kSeal = 1 };

struct SaltRun {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  std::uint32_t position = 0;
  record::SaltKey key{};
};

struct Abandon {  // [from, to) of a unit holds a torn or unauthenticated tail
  std::uint32_t unit = 0;
  std::uint64_t from = 0;
  std::uint64_t to = 0;
  bool operator==(const Abandon&) const = default;
};

// Where recovery finds the entries it needs without reading the log: sequence numbers, or kNoSequence. Hints: the entries
// prove themselves.
inline constexpr std::uint64_t kNoSequence = ~std::uint64_t{0};
struct Landmarks {
  std::uint64_t checkpoint = kNoSequence;           // the newest checkpoint entry (intent)
  std::uint64_t previous_checkpoint = kNoSequence;  // the one before
  std::uint64_t anchor_checkpoint = kNoSequence;    // the newest intent that carries an anchor number
  std::uint64_t anchor = kNoSequence;               // the newest receipt
  std::uint32_t next_source = 1;                    // the next free source number
  bool operator==(const Landmarks&) const = default;
};

// Frames of a batch that are compressed already (frame_packer.h): of its first `record_count` records.
struct PackedFrames {
  struct Frame {
    std::uint32_t record_count = 0;
    std::uint32_t raw_bytes = 0;
    std::uint32_t stored_bytes = 0;
  };
  Codec codec = Codec::kNone;
  std::vector<Frame> frames;
  Bytes bytes;
  std::size_t record_count = 0;
  std::size_t raw_bytes = 0;

  void Clear();  // keeps the buffers
};

// Records that wait for one commit, as columns; `payloads` is their concatenation.
struct Batch {
  std::vector<std::uint8_t> kinds;
  std::vector<std::uint16_t> flags;
  std::vector<std::uint32_t> sources;
  std::vector<std::int64_t> wall_ns;
  std::vector<record::Peer> peers;
  std::vector<std::uint32_t> lengths;
  std::vector<Hash> commitments;
  std::vector<SaltRun> salt_runs;
  Bytes payloads;
  PackedFrames packed;

  void Add(record::Kind kind, std::uint16_t flag_bits, std::uint32_t source, std::int64_t receive_wall_ns,
           const record::Peer& peer, const Hash& commitment, ByteView payload);
  [[nodiscard]] std::size_t size() const { return kinds.size(); }
  [[nodiscard]] bool empty() const { return kinds.empty(); }
  void Clear();
  // Removes and returns the first `count` records; neither part is packed then.
  [[nodiscard]] Batch TakeFirst(std::size_t count);
};

// A batch that has its place in the log: chain and tree computed (sequencer.h), not yet encoded.
struct SequencedBatch {
  Batch batch;
  std::uint64_t first_sequence = 0;
  Hash previous_head{};
  std::vector<Hash> first_frontier;  // at first_sequence: what a fresh unit's superblock says
  Hash head{};
  std::vector<Hash> leaves;
  std::vector<Hash> tile_roots;  // of the 256-leaf tiles completed in this batch
  std::vector<Hash> frontier;    // at first_sequence + size
};

struct BlockPlace {
  std::uint32_t unit = 0;
  std::uint64_t offset_bytes = 0;
  std::int64_t commit_wall_ns = 0;
  Landmarks landmarks;  // as they are after this block
  std::vector<Abandon> abandons;
};

// The ratchet of block MACs: key i + 1 = HMAC(key i, "stele/ratchet/v1"), key 0 from the anchor for one session.
class MacChain {
 public:
  MacChain(const Hash& session, const Hash& key) : session_(session), key_(key) {}
  ~MacChain();
  MacChain(const MacChain&) = default;
  MacChain& operator=(const MacChain&) = default;
  [[nodiscard]] Hash Mac(std::string_view label, const Hash& digest) const;
  void Advance();
  // Moves forward to a block number; kInvalid when that lies behind.
  [[nodiscard]] Result<void> AdvanceTo(std::uint64_t number);
  [[nodiscard]] const Hash& session() const { return session_; }
  [[nodiscard]] std::uint64_t number() const { return number_; }

 private:
  Hash session_;
  Hash key_;
  std::uint64_t number_ = 0;
};
inline constexpr std::string_view kBlockMacLabel = "stele/block/v1";
inline constexpr std::string_view kSuperblockMacLabel = "stele/superblock/v1";

class BlockEncoder {
 public:
  BlockEncoder();
  ~BlockEncoder();
  // The bytes of one block; the view is valid until the next call. Advances the MAC chain.
  [[nodiscard]] ByteView Encode(const SequencedBatch& batch, const BlockPlace& place, Codec codec, MacChain& mac);
  // The block that ends a unit: no records; commits to size, head, frontier and the time.
  [[nodiscard]] ByteView EncodeSeal(std::uint64_t size, const Hash& head, const std::vector<Hash>& frontier,
                                    const BlockPlace& place, MacChain& mac);
  // An upper bound of the encoded size.
  [[nodiscard]] static std::uint64_t SizeBound(std::size_t record_count, std::size_t payload_bytes,
                                               std::size_t salt_run_count);

 private:
  struct Buffers;
  std::unique_ptr<Buffers> buffers_;
};

struct BlockHeader {
  BlockType type = BlockType::kData;
  Codec codec = Codec::kNone;
  std::uint32_t header_bytes = 0;
  std::uint32_t size_bytes = 0;
  std::uint32_t unit = 0;
  std::uint64_t offset_bytes = 0;
  Hash session{};
  std::uint64_t session_block = 0;
  std::uint64_t first_sequence = 0;
  std::uint32_t record_count = 0;
  std::uint64_t payload_bytes = 0;
  std::int64_t commit_wall_ns = 0;
  std::int64_t wall_ns_min = 0;
  std::int64_t wall_ns_max = 0;
  Hash previous_head{};
  Hash head{};
  std::uint32_t columns_raw_bytes = 0;
  std::uint32_t columns_stored_bytes = 0;
  std::uint32_t frontier_count = 0;
  std::uint32_t tile_root_count = 0;
  std::uint32_t salt_run_count = 0;
  std::uint32_t frame_count = 0;
  std::uint32_t abandon_count = 0;
  std::uint32_t peer_count = 0;
  Landmarks landmarks;
  std::uint32_t source_entries = 0;  // how many of the records are `source` entries
  Hash mac{};
  [[nodiscard]] std::uint64_t end_sequence() const { return first_sequence + record_count; }
};

struct BlockFrame {
  std::uint32_t first_record = 0;
  std::uint32_t record_count = 0;
  std::uint32_t raw_bytes = 0;
  std::uint32_t stored_bytes = 0;
  Hash head{};
};

struct BlockTables {
  std::vector<std::uint32_t> sector_checksums;
  std::vector<Hash> frontier;
  std::vector<Hash> tile_roots;
  std::vector<SaltRun> salt_runs;
  std::vector<BlockFrame> frames;
  std::vector<Abandon> abandons;
  std::vector<record::Peer> peers;
};

// Sector 0 alone: enough to know the block's extent. kNotFound: the sector is all zero. kCorrupt: anything else wrong.
[[nodiscard]] Result<BlockHeader> DecodeBlockHeader(ByteView sector0);
// The tables of a block whose header_bytes are all here.
[[nodiscard]] Result<BlockTables> DecodeBlockTables(const BlockHeader& header, ByteView header_region);
// Sectors whose checksum is wrong, as indices into the block; empty = whole. `block` has size_bytes bytes.
[[nodiscard]] std::vector<std::uint32_t> DamagedSectors(const BlockHeader& header, const BlockTables& tables, ByteView block);
// Digest that the MAC covers.
[[nodiscard]] Hash BlockMacDigest(const BlockHeader& header, ByteView header_region);

struct DecodedBlock {
  BlockHeader header;
  BlockTables tables;
  std::vector<std::uint8_t> kinds;
  std::vector<std::uint16_t> flags;
  std::vector<std::uint32_t> sources;
  std::vector<std::int64_t> wall_ns;
  std::vector<std::uint32_t> peer_index;
  std::vector<std::uint32_t> lengths;
  std::vector<std::uint32_t> hints;
  std::vector<std::uint64_t> offsets;  // of each payload in `payloads`, and the end
  Bytes payloads;
  std::vector<bool> frame_bad;         // frames that did not decompress: their payloads read as zeros

  [[nodiscard]] ByteView Payload(std::size_t i) const {
    return ByteView(payloads).subspan(offsets[i], offsets[i + 1] - offsets[i]);
  }
  [[nodiscard]] const record::Peer& PeerOf(std::size_t i) const { return tables.peers[peer_index[i]]; }
  [[nodiscard]] Result<record::Salt> SaltOf(std::size_t i) const;
  [[nodiscard]] std::vector<record::Salt> Salts() const;
  // All entries and leaf hashes, recomputed from the payloads; `previous` is the head before the block.
  [[nodiscard]] std::vector<record::EntryBytes> Entries() const;
};

// Decodes a data block. Strict about every length. When `tolerate_bad_frames`, a frame that fails to decompress is noted in
// frame_bad instead of failing the block (verification wants to localise).
[[nodiscard]] Result<DecodedBlock> DecodeBlock(ByteView block, bool tolerate_bad_frames = false);

}  // namespace stele::ledger
