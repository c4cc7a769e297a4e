// Reads a log: the committed blocks of all segments, by sequence number, for search, proof and verification.
//
// The reader never trusts a length it has not bounded, and never repairs. It sees only what the ledger has announced as
// committed. Its memory does not grow with the log, some 100 bytes per unit and 64 per 65,536 records apart: of the blocks of a unit
// it keeps a list for the newest unit and a few others, and reads their headers again when another one is wanted. Thread safety: one thread per LogReader; several readers of one store are independent.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "appliance/base/seams.h"
#include "appliance/ledger/block.h"
#include "appliance/ledger/spine.h"
#include "appliance/ledger/tile_path.h"
#include "appliance/ledger/tile_tree.h"
#include "appliance/store/segment.h"

namespace stele::store {

// One committed record as stored. Views live as long as the block that holds them.
struct StoredRecord {
  std::uint64_t sequence = 0;
  record::Kind kind = record::Kind::kSyslog;
  std::uint16_t flags = 0;
  std::uint32_t source = 0;
  std::int64_t receive_wall_ns = 0;
  record::Peer peer{};
  ByteView payload;
};

struct BlockInfo {  // what the reader keeps in memory of the blocks of a few units
  std::uint32_t unit = 0;
  std::uint64_t offset_bytes = 0;
  std::uint32_t size_bytes = 0;
  std::uint64_t first_sequence = 0;
  std::uint32_t record_count = 0;
  std::int64_t wall_ns_min = 0;
  std::int64_t wall_ns_max = 0;
  ledger::Landmarks landmarks;
  std::uint32_t source_entries = 0;
};

struct UnitInfo {  // and of every unit
  std::uint32_t unit = 0;
  bool expired = false;         // its records are gone but for those its spine keeps; it has no blocks
  std::size_t first_block = 0;  // its blocks are [first_block, first_block + block_count)
  std::size_t block_count = 0;
  std::uint64_t first_sequence = 0;
  std::uint64_t end_sequence = 0;
  std::int64_t wall_ns_min = 0;  // of its records, if there are any
  std::int64_t wall_ns_max = 0;
};

// A source as its `source` entry describes it.
struct SourceInfo {
  std::uint32_t id = 0;
  std::uint64_t declared_sequence = 0;
  std::string description_json;  // {"zone","listener","transport","peer", ...}
};

class LogReader {
 public:
  // Opens every segment's superblock and block headers, up to size_limit records (a live reader passes 0 and lets
  // Refresh() follow the ledger's announcements). An unreadable place ends the log there; damage() names it.
  static Result<std::unique_ptr<LogReader>> Open(DeviceShelf& shelf, std::uint64_t size_limit = ~std::uint64_t{0});
  ~LogReader();

  // Looks for blocks committed since, up to size_limit records; never beyond. Cheap when there are none.
  Result<void> Refresh(std::uint64_t size_limit);

  [[nodiscard]] std::uint64_t size() const;  // records readable
  [[nodiscard]] const std::string& damage() const;  // empty, or the first unreadable place
  [[nodiscard]] const Hash& log_id() const;
  [[nodiscard]] const std::vector<UnitInfo>& units() const;  // ascending; one that was given up may be empty
  [[nodiscard]] std::size_t block_count() const;
  Result<std::size_t> BlockIndexOf(std::uint64_t sequence);  // sequence < size(); kNotFound: it has expired
  Result<BlockInfo> BlockAt(std::size_t block_index);        // block_index < block_count()

  // Decodes a block: columns and payloads; a small cache keeps the last few.
  Result<std::shared_ptr<const ledger::DecodedBlock>> Block(std::size_t block_index);
  // All records of a block, in order.
  static StoredRecord RecordAt(const ledger::DecodedBlock& block, std::size_t i);

  // Whether some of the records [begin, end) have expired.
  [[nodiscard]] bool HasExpired(std::uint64_t begin, std::uint64_t end) const;

  // The 92-byte entry of a record, rebuilt from the block and its chain heads, and its salt. kNotFound: it has expired and is not kept.
  Result<record::EntryBytes> EntryOf(std::uint64_t sequence);
  // The same with the payload, whether the record is there or kept of an expired unit.
  Result<ledger::KeptEntry> WholeEntryOf(std::uint64_t sequence);
  Result<Hash> LeafOf(std::uint64_t sequence);
  Result<record::Salt> SaltOf(std::uint64_t sequence);

  // RFC 6962 section 2.1: over the first tree_size records.
  Result<Hash> RootAt(std::uint64_t tree_size);
  Result<std::vector<Hash>> InclusionProof(std::uint64_t sequence, std::uint64_t tree_size);
  Result<std::vector<Hash>> ConsistencyProof(std::uint64_t old_size, std::uint64_t new_size);
  // The compact range [begin, end): the roots of the aligned subtrees that tile it, left to right.
  Result<std::vector<Hash>> RangeHashes(std::uint64_t begin, std::uint64_t end);

  // The hashes of a tile, recomputed from the blocks. kNotFound: it is not within size().
  Result<std::vector<Hash>> TileHashes(const ledger::Tile& tile);

  // The source entry in force for a source number at a sequence; nullptr when unknown. Each segment declares the sources
  // it uses, so this reads within one segment. Valid until the next call of any function.
  const SourceInfo* SourceOf(std::uint32_t source, std::uint64_t sequence);

  // The newest checkpoint entry (kind checkpoint) and anchor receipt (kind anchor) at or before a sequence. Of expired units those
  // that are kept.
  struct Landmark {
    std::uint64_t sequence = 0;
    std::int64_t receive_wall_ns = 0;
    Bytes payload;
  };
  Result<Landmark> LastOfKind(record::Kind kind, std::uint64_t before_sequence);  // strictly before; kNotFound

 private:
  class Impl;
  explicit LogReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace stele::store
