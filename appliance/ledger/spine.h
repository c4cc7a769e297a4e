// The spine of a unit: what stays of it for ever when its records have expired. docs/format.md, "Spine".
//
//   spine := "STELESPN" version:u16 reserved:u16 unit:u32 log_id[32] first:u64 end:u64 wall_ns_min:i64 wall_ns_max:i64
//            previous_head[32] head[32] frontier_count:u32 frontier[32]* tile_root_count:u32 tile_root[32]*
//            abandon_count:u32 (unit:u32 from:u64 to:u64)*
//            node_count:u32 (level:u8 index:u64 hash[32])*  entry_count:u32 raw_bytes:u32 stored_bytes:u32 entries
//            checksum:u32                                     XXH3 folded, of everything before
//   entry := entry[92] salt[16] peer[18] payload_bytes:u32 payload     all of them one zstd frame; stored_bytes ==
//   raw_bytes: raw
//
// It is derived and carries no proof of its own: every hash in it is a node of the log's tree (CheckSpine), and the
// tree is what the checkpoints sign. With it all other records still prove, and so do checkpoints and epochs that lie
// in the unit. Pure: bytes in, bytes out.
#pragma once

#include <map>
#include <set>

#include "appliance/ledger/block.h"

namespace stele::ledger {

struct NodePlace {  // the complete subtree [index << level, (index + 1) << level)
  std::uint8_t level = 0;
  std::uint64_t index = 0;
  auto operator<=>(const NodePlace&) const = default;
};

struct KeptEntry {
  record::EntryBytes entry{};
  record::Salt salt{};
  record::Peer peer{};
  Bytes payload;
  [[nodiscard]] record::Entry Decoded() const;
};

struct Spine {
  std::uint32_t unit = 0;
  Hash log_id{};
  std::uint64_t first_sequence = 0;
  std::uint64_t end_sequence = 0;
  std::int64_t wall_ns_min = 0;  // receive times of its records; 0 and 0: it had none
  std::int64_t wall_ns_max = 0;
  Hash previous_head{};
  Hash head{};
  std::vector<Hash> frontier;                  // at first_sequence
  std::vector<Hash> tile_roots;                // of the tiles that end in the unit
  std::vector<Abandon> abandons;               // what it said of other units and of itself
  std::map<NodePlace, Hash> nodes;             // below the tile roots
  std::map<std::uint64_t, KeptEntry> entries;  // by sequence number

  // A node below the level of tiles, from the stored ones or those below it.
  [[nodiscard]] std::optional<Hash> Node(unsigned level, std::uint64_t index) const;
  // The newest kept entry of a kind strictly below a sequence number.
  [[nodiscard]] const KeptEntry* LastOfKind(record::Kind kind, std::uint64_t before) const;
};

[[nodiscard]] Bytes EncodeSpine(const Spine& spine);
// kCorrupt: not a spine, or damaged. Bounded by the input; proves nothing.
[[nodiscard]] Result<Spine> DecodeSpine(ByteView bytes);

// Recomputes every hash: nodes fold into the tile roots, kept entries into the nodes, payloads into their commitments.
// The frontier at end_sequence; who knows the right root for it compares. kCorrupt: something does not fit.
[[nodiscard]] Result<Frontier> CheckSpine(const Spine& spine);

// The root of the tree at a size in [first_sequence, end_sequence], where the spine keeps the nodes for it.
[[nodiscard]] std::optional<Hash> RootAt(const Spine& spine, std::uint64_t size);

// Which entries stay: sources, policies, epochs, receipts, tombstones, and checkpoints that carry an anchor.
[[nodiscard]] bool IsKept(record::Kind kind, ByteView payload);
// The tree size a checkpoint entry is about; nullopt: not a checkpoint entry's payload.
[[nodiscard]] std::optional<std::uint64_t> SizeOfIntent(ByteView payload);

// Makes a spine of a unit's blocks, which it must see twice, in order: first all Look(), then all Take().
class SpineMaker {
 public:
  SpineMaker(std::uint32_t unit, const Hash& log_id, std::uint64_t first_sequence, const Hash& head,
             std::vector<Hash> frontier);

  void Look(const DecodedBlock& block);
  void KeepAbandons(std::vector<Abandon> abandons) { spine_.abandons = std::move(abandons); }
  // A size that must stay provable though what is about it lies behind this unit.
  void KeepBorder(std::uint64_t size);
  // kCorrupt: a block does not continue the chain.
  [[nodiscard]] Result<void> Take(const DecodedBlock& block);
  [[nodiscard]] Result<Spine> Finish();

 private:
  void EndTile();
  void Keep(unsigned level, std::uint64_t index);
  void KeepLeaves(std::uint64_t begin);

  Spine spine_;
  std::set<std::uint64_t> borders_;  // tree sizes
  std::set<std::uint64_t> proven_;   // sequence numbers of kept entries
  std::vector<Hash> tile_;           // leaves of the tile at hand, from the unit's first record on
  std::uint64_t next_ = 0;
};

}  // namespace stele::ledger
