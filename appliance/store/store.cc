#include "appliance/store/store.h"

#include <algorithm>
#include <cerrno>
#include <map>

#include "appliance/base/limits.h"
#include "appliance/store/unit_scan.h"

namespace stele::store {
namespace {

using limits::kSectorBytes;
using limits::kTileLeaves;

constexpr std::size_t kPadPayloadBytes = 64;  // at most, per pad record
constexpr std::size_t kSparesMax = 64;

// Kept free in every unit: enough to pad to the boundary and to seal.
std::uint64_t ReserveBytes() {
  static const std::uint64_t bytes =
      ledger::BlockEncoder::SizeBound(kTileLeaves, kTileLeaves * kPadPayloadBytes, 1) + 2 * kSectorBytes;
  return bytes;
}

}  // namespace

std::uint64_t Tail::size() const { return blocks.empty() ? superblock.first_sequence : blocks.back().header.end_sequence(); }
Hash Tail::head() const { return blocks.empty() ? superblock.head : blocks.back().header.head; }
ledger::Landmarks Tail::landmarks() const {
  return blocks.empty() ? superblock.landmarks : blocks.back().header.landmarks;
}

ledger::Frontier Tail::frontier() const {
  auto frontier = ledger::Frontier::FromHashes(0, size(), blocks.empty() ? superblock.frontier : blocks.back().frontier);
  STELE_CHECK(frontier.has_value());  // ReadTail() let only consistent blocks in
  return std::move(*frontier);
}

std::vector<Hash> Tail::sessions() const {
  std::vector<Hash> sessions;
  const auto add = [&](const Hash& session) {
    if (std::find(sessions.begin(), sessions.end(), session) == sessions.end()) sessions.push_back(session);
  };
  if (!fresh) add(superblock.session);
  for (const TailBlock& block : blocks) add(block.header.session);
  return sessions;
}

namespace {

struct LastUnit {
  std::unique_ptr<Device> device;
  Superblock superblock;
  Hash mac_digest{};
};

// The highest unit with a superblock. Units above it that are spare (no superblock, and none above them that was touched) are used
// next; others are abandoned whole.
Result<std::optional<LastUnit>> FindLastUnit(DeviceShelf& shelf, const std::vector<std::uint32_t>& units, Tail& tail) {
  for (auto unit = units.rbegin(); unit != units.rend(); ++unit) {
    STELE_TRY(auto device, shelf.Open(*unit, false));
    Bytes sector(kSectorBytes);
    if (device->size_bytes() >= kSectorBytes) STELE_TRY_VOID(device->Read(0, sector));
    auto superblock = DecodeSuperblock(sector);
    if (superblock && superblock->unit == *unit &&
        ledger::Frontier::FromHashes(0, superblock->first_sequence, superblock->frontier)) {
      return LastUnit{std::move(device), std::move(*superblock), SuperblockMacDigest(sector)};
    }
    const bool never_begun = !superblock && superblock.error().code == Code::kNotFound;
    if (never_begun && tail.abandons.empty()) {
      tail.spares.insert(tail.spares.begin(), *unit);
      continue;
    }
    if (!never_begun) {
      tail.damaged = true;
      tail.detail = "unit " + std::to_string(*unit) + ": " +
                    (superblock ? std::string("superblock of another unit") : superblock.error().context);
    }
    tail.abandons.push_back({*unit, 0, device->size_bytes()});
  }
  return std::optional<LastUnit>();
}

bool Continues(const Tail& tail, const ScanStep& step) {
  return step.header.first_sequence == tail.size() && step.header.previous_head == tail.head() &&
         ledger::SubtreeLevels(0, step.header.end_sequence()).size() == step.tables.frontier.size();
}

// Its blocks, and where they end; `known`: what later ones gave up.
Result<void> ScanLastUnit(Device& device, std::vector<ledger::Abandon> known, Tail& tail) {
  UnitScan scan(device, tail.unit, std::move(known));
  while (true) {
    STELE_TRY(ScanStep step, scan.Next());
    tail.end_bytes = step.offset_bytes;
    if (step.what == ScanStep::What::kBlock && (tail.sealed || !Continues(tail, step))) {
      step.what = ScanStep::What::kDamaged;
      step.detail = "block: does not continue the chain";
    }
    if (step.what == ScanStep::What::kBlock) {
      tail.sealed = step.header.type == ledger::BlockType::kSeal;
      tail.end_bytes = step.end_bytes;
      tail.blocks.push_back({step.header, step.tables.frontier, ledger::BlockMacDigest(step.header, step.bytes)});
      continue;
    }
    if (step.what == ScanStep::What::kEnd) return {};
    if (step.what == ScanStep::What::kDamaged) {
      tail.damaged = true;
      tail.detail = "unit " + std::to_string(tail.unit) + " offset " + std::to_string(step.offset_bytes) + ": " + step.detail;
    }
    const std::uint64_t to = std::max(step.end_bytes, step.offset_bytes + kSectorBytes);
    tail.abandons.push_back({tail.unit, step.offset_bytes, to});
    tail.end_bytes = to;
    return {};
  }
}

}  // namespace

Result<Tail> ReadTail(DeviceShelf& shelf) {
  Tail tail;
  STELE_TRY(const std::vector<std::uint32_t> units, shelf.List());
  if (units.empty()) return tail;
  tail.next_unit = units.back() + 1;
  const std::vector<std::uint32_t> expired = shelf.Expired();
  for (std::uint32_t unit = 0; unit < tail.next_unit; ++unit) {
    if (std::binary_search(units.begin(), units.end(), unit) || std::binary_search(expired.begin(), expired.end(), unit)) continue;
    tail.damaged = true;
    tail.detail = "unit " + std::to_string(unit) + " is missing";
    break;
  }
  STELE_TRY(std::optional<LastUnit> last, FindLastUnit(shelf, units, tail));
  if (!last) {
    // Units that never got their superblock hold nothing: the log may begin with them.
    if (tail.spares.size() == units.size() && tail.spares.front() == 0 && !tail.damaged) return tail;
    return Fail(Code::kCorrupt, "store: no unit has a valid superblock");
  }
  tail.fresh = false;
  tail.unit = last->superblock.unit;
  tail.superblock = std::move(last->superblock);
  tail.superblock_mac_digest = last->mac_digest;
  if (tail.superblock.size_bytes != last->device->size_bytes()) {
    tail.damaged = true;  // nothing more is written here: a copy on a medium of another size, or a file that was cut
    tail.detail = "unit " + std::to_string(tail.unit) + ": it has " + std::to_string(last->device->size_bytes()) + " bytes and was begun with " +
                  std::to_string(tail.superblock.size_bytes);
  }
  // Usually nothing was given up in it, and one reading is enough: of a large partition each takes long.
  const Tail before = tail;
  STELE_TRY_VOID(ScanLastUnit(*last->device, {}, tail));
  if (tail.abandons.size() > before.abandons.size()) {
    tail = before;
    STELE_TRY(std::vector<ledger::Abandon> known, AbandonsIn(*last->device, tail.unit));
    STELE_TRY_VOID(ScanLastUnit(*last->device, std::move(known), tail));
  }
  return tail;
}

void Authenticate(Tail& tail, const KeyOfSession& key_of_session) {
  std::map<Hash, ledger::MacChain> chains;
  const auto chain_at = [&](const Hash& session, std::uint64_t number) -> ledger::MacChain* {
    auto at = chains.find(session);
    if (at == chains.end()) {
      const auto key = key_of_session(session);
      if (!key) return nullptr;
      at = chains.emplace(session, ledger::MacChain(session, *key)).first;
    }
    return at->second.AdvanceTo(number) ? &at->second : nullptr;
  };
  if (tail.fresh || tail.closed) return;
  const ledger::MacChain* chain = chain_at(tail.superblock.session, tail.superblock.session_block);
  bool good = chain != nullptr && chain->Mac(ledger::kSuperblockMacLabel, tail.superblock_mac_digest) == tail.superblock.mac;
  if (!good) {
    tail.damaged = true;
    tail.detail = "unit " + std::to_string(tail.unit) + ": the superblock is not authenticated";
  }
  for (std::size_t i = 0; i < tail.blocks.size(); ++i) {
    const ledger::BlockHeader& header = tail.blocks[i].header;
    chain = chain_at(header.session, header.session_block);
    good = chain != nullptr && chain->Mac(ledger::kBlockMacLabel, tail.blocks[i].mac_digest) == header.mac;
    if (good) continue;
    tail.quarantined_records = tail.size() - header.first_sequence;
    std::uint64_t to = tail.end_bytes;
    if (!tail.abandons.empty() && tail.abandons.back().unit == tail.unit) {
      to = tail.abandons.back().to;
      tail.abandons.pop_back();
    }
    tail.abandons.push_back({tail.unit, header.offset_bytes, to});
    tail.end_bytes = to;
    tail.sealed = false;
    tail.detail = "unit " + std::to_string(tail.unit) + " offset " + std::to_string(header.offset_bytes) +
                  ": not written by this appliance; quarantined";
    tail.blocks.resize(i);
    return;
  }
}

Result<void> MakeDurable(DeviceShelf& shelf, const Tail& tail) {
  if (tail.fresh) return {};
  STELE_TRY(const auto device, shelf.Open(tail.unit, false));
  return device->Sync();
}

Result<std::unique_ptr<Store>> Store::Open(DeviceShelf& shelf, Clock& clock, const StoreOptions& options, const Tail& tail,
                                           const Hash& log_id, ledger::MacChain mac) {
  auto store = std::unique_ptr<Store>(new Store(shelf, clock, options, std::move(mac)));  // NOLINT  // private constructor
  store->log_id_ = log_id;
  store->abandons_ = tail.abandons;
  store->next_unit_ = tail.next_unit;
  for (const std::uint32_t unit : tail.spares) {
    auto device = shelf.Create(unit, options.segment_bytes);  // made again: its room may not have been taken
    if (!device) {
      store->next_unit_ = unit;  // it and those above are tried again when they are needed
      break;
    }
    store->spares_.push_back({unit, std::move(*device)});
  }
  if (tail.fresh) {
    STELE_TRY_VOID(store->OpenUnit(0, log_id, {}));
    return store;
  }
  store->landmarks_ = tail.landmarks();
  const bool unit_usable = !tail.sealed && !tail.closed && tail.next_unit == tail.unit + 1 + tail.spares.size() && !tail.damaged;
  auto device = unit_usable ? shelf.Open(tail.unit, true) : Fail(Code::kDenied, "the unit is not continued");
  if (!device) {
    if (device.error().code != Code::kDenied) return tl::unexpected(std::move(device.error()));
    STELE_TRY_VOID(store->OpenUnit(tail.size(), tail.head(), tail.frontier().Hashes()));
    return store;
  }
  store->device_ = std::move(*device);
  // The page cache may hold what the disk does not: whatever recovery adopted becomes durable before anything follows it.
  STELE_TRY_VOID(store->device_->Sync());
  store->unit_ = tail.unit;
  store->position_bytes_ = tail.end_bytes;
  return store;
}

Result<void> Store::OpenUnit(std::uint64_t size, const Hash& head, const std::vector<Hash>& frontier) {
  if (abandons_.size() > kSuperblockAbandonsMax) {
    return Fail(Code::kCorrupt, "store: more units were given up in a row than a superblock can name");
  }
  if (spares_.empty()) STELE_TRY_VOID(MakeSpare());
  Spare& next = spares_.front();
  Superblock superblock;
  superblock.unit = next.unit;
  superblock.size_bytes = next.device->size_bytes();
  superblock.log_id = log_id_;
  superblock.first_sequence = size;
  superblock.head = head;
  superblock.created_wall_ns = clock_.WallNs();
  superblock.landmarks = landmarks_;
  superblock.frontier = frontier;
  superblock.abandons = abandons_;
  // A write for which there was no room leaves a unit that was never begun, and it is tried again: a full disk must not eat unit
  // numbers. Any other failure ends it.
  auto written = next.device->Write(0, EncodeSuperblock(superblock, mac_));
  if (!written && written.error().detail == ENOSPC) return written;
  auto device = std::move(next.device);
  spares_.pop_front();
  if (written) written = device->Sync();
  if (!written) {
    abandons_.push_back({superblock.unit, 0, device->size_bytes()});
    return written;
  }
  abandons_.clear();
  device_ = std::move(device);
  unit_ = superblock.unit;
  position_bytes_ = kSectorBytes;
  unit_dead_ = false;
  return {};
}

Result<void> Store::MakeSpare() {
  STELE_TRY(auto device, shelf_.Create(next_unit_, options_.segment_bytes));
  spares_.push_back({next_unit_, std::move(device)});
  ++next_unit_;
  return {};
}

std::uint64_t Store::RoomBytes() const {
  const std::uint64_t taken = kSectorBytes + ReserveBytes();
  std::uint64_t room = unit_dead_ ? 0 : RoomInUnitBytes();
  for (const Spare& spare : spares_) {
    room += spare.device->size_bytes() > taken ? spare.device->size_bytes() - taken : 0;
  }
  return room;
}

Result<void> Store::Prepare(std::uint64_t room_bytes) {
  while (RoomBytes() < room_bytes && spares_.size() < kSparesMax) STELE_TRY_VOID(MakeSpare());
  return {};
}

Result<void> Store::PrepareRoll() {
  if (spares_.empty()) STELE_TRY_VOID(MakeSpare());
  return {};
}

std::uint64_t Store::RoomInUnitBytes() const {
  const std::uint64_t used = position_bytes_ + ReserveBytes();
  return device_->size_bytes() > used ? device_->size_bytes() - used : 0;
}

std::size_t Store::PadCount(std::uint64_t size) {
  return static_cast<std::size_t>((kTileLeaves - size % kTileLeaves) % kTileLeaves);
}

std::size_t Store::Fits(const ledger::Batch& batch, std::uint64_t size) const {
  const std::uint64_t room = RoomInUnitBytes();
  if (ledger::BlockEncoder::SizeBound(batch.size(), batch.payloads.size(), batch.salt_runs.size()) <= room) {
    return batch.size();
  }
  // The largest prefix that fits and ends on a tile boundary.
  std::size_t best = 0;
  std::size_t payload_bytes = 0;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    payload_bytes += batch.lengths[i];
    if (ledger::BlockEncoder::SizeBound(i + 1, payload_bytes, batch.salt_runs.size()) > room) break;
    if ((size + i + 1) % kTileLeaves == 0) best = i + 1;
  }
  return best;
}

Result<void> Store::Roll(std::uint64_t size, const Hash& head, const ledger::Frontier& frontier) {
  STELE_TRY_VOID(PrepareRoll());
  if (!unit_dead_) {
    ledger::BlockPlace place{unit_, position_bytes_, clock_.WallNs(), landmarks_, abandons_};
    auto sealed = Apply(encoder_.EncodeSeal(size, head, frontier.Hashes(), place, mac_));
    if (sealed) (void)device_->MakeReadOnly();  // where the kernel cannot, the chain still tells
    unit_dead_ = true;                          // nothing goes behind a seal, even if the next unit cannot be opened now
  }
  return OpenUnit(size, head, frontier.Hashes());
}

// The commit point: one write, one sync. On failure the unit is dead from position_bytes_ on.
Result<void> Store::Apply(ByteView block) {
  auto written = device_->Write(position_bytes_, block);
  if (written) written = device_->Sync();
  if (!written) {
    unit_dead_ = true;
    abandons_.push_back({unit_, position_bytes_, device_->size_bytes()});
    return written;
  }
  position_bytes_ += block.size();
  abandons_.clear();
  return {};
}

Result<void> Store::Commit(const ledger::SequencedBatch& batch, const ledger::Landmarks& landmarks) {
  const auto encode = [&] {
    const ledger::BlockPlace place{unit_, position_bytes_, clock_.WallNs(), landmarks, abandons_};
    return encoder_.Encode(batch, place, options_.codec, mac_);
  };
  if (!unit_dead_) {
    auto applied = Apply(encode());
    if (applied) {
      landmarks_ = landmarks;
      return {};
    }
  }
  auto frontier = batch.first_frontier;
  STELE_TRY_VOID(OpenUnit(batch.first_sequence, batch.previous_head, frontier));
  STELE_TRY_VOID(Apply(encode()));
  landmarks_ = landmarks;
  return {};
}

}  // namespace stele::store
