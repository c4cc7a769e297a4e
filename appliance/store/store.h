// The writing side of a log: finds its end after any crash, then appends blocks, one durable group commit at a time.
//
// Used by stele-ledger only, from one thread at a time. Nothing is ever overwritten; a unit whose write or sync failed is
// never written again: its successor's superblock abandons what lies behind the last whole block.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "appliance/base/seams.h"
#include "appliance/ledger/sequencer.h"
#include "appliance/store/segment.h"

namespace stele::store {

// A block of the last unit, as recovery needs it.
struct TailBlock {
  ledger::BlockHeader header;
  std::vector<Hash> frontier;
  Hash mac_digest{};
};

// What ReadTail() found. Costs one unit, whatever the size of the log.
struct Tail {
  bool fresh = true;              // no unit at all
  std::uint32_t unit = 0;         // the last unit with a superblock
  std::uint32_t next_unit = 0;
  Superblock superblock;
  Hash superblock_mac_digest{};
  std::vector<TailBlock> blocks;
  bool sealed = false;
  std::uint64_t end_bytes = 0;    // where the next block of this unit goes
  std::vector<std::uint32_t> spares;      // units behind it that were made and never begun: they come next
  std::vector<ledger::Abandon> abandons;  // to be named by the next block or superblock
  bool closed = false;            // the last unit is not continued: its sessions are of an earlier epoch, whose keys are gone
  bool damaged = false;           // something is wrong that no crash explains
  std::uint64_t quarantined_records = 0;  // whole blocks that nobody authenticated, now abandoned
  std::string detail;

  [[nodiscard]] std::uint64_t size() const;
  [[nodiscard]] Hash head() const;
  [[nodiscard]] ledger::Frontier frontier() const;
  [[nodiscard]] ledger::Landmarks landmarks() const;
  // Sessions whose keys Authenticate() needs, each once.
  [[nodiscard]] std::vector<Hash> sessions() const;
};

[[nodiscard]] Result<Tail> ReadTail(DeviceShelf& shelf);

// Checks every block's MAC with its session's key. The first block that fails, and all after it, are quarantined: abandoned,
// counted in quarantined_records, never adopted.
// Not for a closed tail: the provisioning key's signature over its root stands for the MACs.
using KeyOfSession = std::function<std::optional<Hash>(const Hash& session)>;
void Authenticate(Tail& tail, const KeyOfSession& key_of_session);

// Brings the last unit to the medium: after a stop without a power cut its end may be in memory only. Comes before anything is
// built on the tail, above all before the anchor extends a checkpoint found in it.
[[nodiscard]] Result<void> MakeDurable(DeviceShelf& shelf, const Tail& tail);

struct StoreOptions {
  std::uint64_t segment_bytes = 0;
  ledger::Codec codec = ledger::Codec::kZstd;
};

class Store {
 public:
  // Continues `tail`, or starts unit 0 of the log `log_id` when it is fresh.
  static Result<std::unique_ptr<Store>> Open(DeviceShelf& shelf, Clock& clock, const StoreOptions& options, const Tail& tail,
                                             const Hash& log_id, ledger::MacChain mac);

  // How many of the batch's records the current unit takes. 0: none, call Pad() or Roll() (see PadCount()).
  // A unit ends on a multiple of 256 records, so near its end the answer is what reaches the boundary.
  [[nodiscard]] std::size_t Fits(const ledger::Batch& batch, std::uint64_t size) const;
  // Records missing to the boundary when Fits() said 0.
  [[nodiscard]] static std::size_t PadCount(std::uint64_t size);
  // Seals the unit and opens the next. The log's state after the last commit is needed for the superblock.
  Result<void> Roll(std::uint64_t size, const Hash& head, const ledger::Frontier& frontier);

  // Encodes, writes and syncs one block. After an error the unit is dead; the same batch is committed to a fresh unit; if
  // that fails too the error is returned and nothing of the batch may be acknowledged.
  Result<void> Commit(const ledger::SequencedBatch& batch, const ledger::Landmarks& landmarks);
  // Room for blocks to come that no other program can take: the rest of the unit and the spare units, less what ends them.
  [[nodiscard]] std::uint64_t RoomBytes() const;
  // Makes spare units until there is so much room, or none more can be had. kIo with ENOSPC: the disk is full.
  Result<void> Prepare(std::uint64_t room_bytes);
  // A spare unit, so that this one can be ended. Without one it stays open for what still fits.
  Result<void> PrepareRoll();

  void UseCodec(ledger::Codec codec) { options_.codec = codec; }

  [[nodiscard]] std::uint32_t unit() const { return unit_; }
  [[nodiscard]] std::uint64_t position_bytes() const { return position_bytes_; }

 private:
  Store(DeviceShelf& shelf, Clock& clock, const StoreOptions& options, ledger::MacChain mac)
      : shelf_(shelf), clock_(clock), options_(options), mac_(std::move(mac)) {}
  Result<void> OpenUnit(std::uint64_t size, const Hash& head, const std::vector<Hash>& frontier);
  Result<void> Apply(ByteView block);
  Result<void> MakeSpare();
  [[nodiscard]] std::uint64_t RoomInUnitBytes() const;

  DeviceShelf& shelf_;
  Clock& clock_;
  StoreOptions options_;
  ledger::MacChain mac_;
  ledger::BlockEncoder encoder_;
  std::unique_ptr<Device> device_;
  struct Spare {
    std::uint32_t unit = 0;
    std::unique_ptr<Device> device;
  };
  std::deque<Spare> spares_;  // made and not begun; also one whose superblock could not be written: tried again, not another
  Hash log_id_{};
  std::uint32_t unit_ = 0;
  std::uint32_t next_unit_ = 0;
  std::uint64_t position_bytes_ = 0;
  ledger::Landmarks landmarks_;
  std::vector<ledger::Abandon> abandons_;
  bool unit_dead_ = false;
};

}  // namespace stele::store
