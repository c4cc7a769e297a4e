#include "appliance/store/partition_shelf.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>

#include "appliance/base/text.h"
#include "firmware/guard/seal_mark.h"

namespace stele::store {
namespace {

using limits::kSectorBytes;
constexpr std::uint64_t kHeadBytes = limits::kMiB;          // read whole before a partition counts as empty
constexpr std::uint64_t kWrittenAtOnce = limits::kMiB;      // of zeros
constexpr std::uint64_t kZeroedAtOnce = 64 * limits::kMiB;  // by the drive itself: a call cannot be interrupted
constexpr std::uint64_t kTailBytes = 64 * limits::kKiB;     // likewise
constexpr std::uint64_t kSamples = 256;                     // blocks in between
constexpr std::string_view kSuperblockMagic = "STELESEG";
constexpr std::string_view kRemainsMagic = "STELECLR";  // instead of a superblock: the rest is being made zero
static_assert(guard::kSealMarkBytes == kSectorBytes);

bool AllZero(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

std::uint64_t UnitBytes(std::uint64_t partition_bytes) { return guard::SealMarkAt(partition_bytes).value_or(0); }

Result<bool> ZeroBetween(Device& device, std::uint64_t from, std::uint64_t to) {
  Bytes part(to - from);
  STELE_TRY_VOID(device.Read(from, part));
  return AllZero(part);
}

// Cheap whatever the size: about 2 MiB are read. What it may overlook is found at the next start, as bytes behind the end of the log.
Result<bool> SeemsEmpty(Device& device) {
  const std::uint64_t size = device.size_bytes();
  const std::uint64_t head = std::min(size, kHeadBytes);
  const std::uint64_t tail = std::max(head, size - std::min(size, kTailBytes));
  STELE_TRY(const bool head_zero, ZeroBetween(device, 0, head));
  STELE_TRY(const bool tail_zero, ZeroBetween(device, tail, size));
  if (!head_zero || !tail_zero) return false;
  const std::uint64_t blocks = (tail - head) / kSectorBytes;
  const std::uint64_t step = std::max<std::uint64_t>(1, blocks / kSamples);
  for (std::uint64_t block = step / 2; block < blocks; block += step) {
    const std::uint64_t at = head + block * kSectorBytes;
    STELE_TRY(const bool zero, ZeroBetween(device, at, at + kSectorBytes));
    if (!zero) return false;
  }
  return true;
}

// A unit whose superblock is lost still says in its first block which one it is.
Result<std::optional<std::uint32_t>> UnitOfFirstBlock(Device& device) {
  Bytes sector(kSectorBytes);
  STELE_TRY_VOID(device.Read(kSectorBytes, sector));
  const auto header = ledger::DecodeBlockHeader(sector);
  if (!header || header->offset_bytes != kSectorBytes) return std::optional<std::uint32_t>();
  return std::optional(header->unit);
}

}  // namespace

struct PartitionShelf::Slot {
  std::string name;
  std::shared_ptr<Device> device;
  bool writable = false;
  Holds holds = Holds::kNothing;
  std::uint32_t unit = 0;        // kUnit; kNothing once it was given out
  bool given_out = false;
  std::optional<Superblock> superblock;  // kUnit, unless it is lost
  std::string refused;            // kOther
  std::string unmarked;           // kUnit
  std::atomic<bool> read_only = false;  // these two are told by the thread that writes
  std::atomic<bool> failed = false;     // nothing more is written to it, not even its seal

  [[nodiscard]] bool HasUnit() const { return holds == Holds::kUnit || given_out; }
  [[nodiscard]] bool MayGetOne() const { return holds == Holds::kNothing && !given_out && writable; }
};

// One partition without its last block.
class PartitionShelf::Unit final : public Device {
 public:
  // `begins`: its superblock is not written yet.
  Unit(PartitionShelf& shelf, std::shared_ptr<Slot> slot, bool begins)
      : shelf_(shelf), slot_(std::move(slot)), size_bytes_(UnitBytes(slot_->device->size_bytes())), begins_(begins) {}

  std::uint64_t size_bytes() const override { return size_bytes_; }
  Result<void> Write(std::uint64_t offset_bytes, ByteView data) override {
    if (!slot_->writable || slot_->read_only) return Fail(Code::kDenied, slot_->name + " may not be written", EROFS);
    if (offset_bytes + data.size() > size_bytes_) return Fail(Code::kInvalid, slot_->name + ": write beyond the unit");
    used_bytes_ = offset_bytes + data.size();
    return Noted(slot_->device->Write(offset_bytes, data));
  }
  Result<void> Sync() override {
    auto synced = Noted(slot_->device->Sync());
    if (synced && begins_ && used_bytes_) {
      begins_ = false;
      const std::lock_guard lock(shelf_.mutex_);
      shelf_.SealBelow(slot_->unit);
    }
    return synced;
  }
  Result<void> Read(std::uint64_t offset_bytes, MutableBytes out) override {
    if (offset_bytes + out.size() > size_bytes_) return Fail(Code::kCorrupt, slot_->name + ": read beyond the unit");
    return slot_->device->Read(offset_bytes, out);
  }
  Result<void> MakeReadOnly() override { return Seal(*slot_, used_bytes_.value_or(size_bytes_)); }

  // The mark first: it is what seals the partition at the next start. The kernel's refusal follows at once.
  static Result<void> Seal(Slot& slot, std::uint64_t used_bytes) {
    if (slot.read_only) return {};
    if (!slot.writable) return Fail(Code::kUnavailable, slot.name + " may not be written");
    const std::uint64_t mark_at = UnitBytes(slot.device->size_bytes());
    Bytes mark(guard::kSealMarkBytes);
    STELE_TRY_VOID(slot.device->Read(mark_at, mark));
    if (!slot.failed && AllZero(mark)) {
      const auto encoded = guard::EncodeSealMark(used_bytes);
      auto marked = slot.device->Write(mark_at, encoded);
      if (marked) marked = slot.device->Sync();
      if (!marked) slot.failed = true;  // the seal of the kernel follows all the same
    }
    STELE_TRY_VOID(slot.device->MakeReadOnly());
    slot.read_only = true;
    return {};
  }

 private:
  Result<void> Noted(Result<void> result) {
    if (!result) slot_->failed = true;
    return result;
  }
  PartitionShelf& shelf_;
  std::shared_ptr<Slot> slot_;
  std::uint64_t size_bytes_;
  bool begins_;
  std::optional<std::uint64_t> used_bytes_;
};

// A number without a partition: nothing of it reached a medium, and its successor says so.
class PartitionShelf::GivenUp final : public Device {
 public:
  std::uint64_t size_bytes() const override { return 0; }
  Result<void> Write(std::uint64_t, ByteView) override { return Fail(Code::kInvalid, "a unit that was given up"); }
  Result<void> Sync() override { return {}; }
  Result<void> Read(std::uint64_t, MutableBytes out) override {
    if (out.empty()) return {};
    return Fail(Code::kCorrupt, "a unit that was given up");
  }
  Result<void> MakeReadOnly() override { return {}; }
};

PartitionShelf::PartitionShelf(std::vector<Partition> partitions, std::optional<Hash> log_id, std::uint64_t partition_bytes_min)
    : log_id_(log_id), partition_bytes_min_(partition_bytes_min) {
  for (Partition& partition : partitions) {
    auto slot = std::make_shared<Slot>();
    slot->name = std::move(partition.name);
    slot->device = std::move(partition.device);
    slot->writable = partition.writable;
    slots_.push_back(std::move(slot));
  }
}

Result<std::unique_ptr<PartitionShelf>> PartitionShelf::Open(std::vector<Partition> partitions, std::optional<Hash> log_id,
                                                             std::uint64_t partition_bytes_min) {
  auto shelf = std::unique_ptr<PartitionShelf>(  // NOLINT  // private constructor
      new PartitionShelf(std::move(partitions), log_id, partition_bytes_min));
  for (const auto& slot : shelf->slots_) STELE_TRY_VOID(shelf->Look(*slot));
  STELE_TRY_VOID(shelf->Judge());
  STELE_TRY_VOID(shelf->LookForMarks());
  return shelf;
}

void PartitionShelf::Refuse(Slot& slot, std::string why) {
  slot.holds = Holds::kOther;
  slot.refused = slot.name + ": " + std::move(why);
}

// One partition by itself.
Result<void> PartitionShelf::Look(Slot& slot) {
  Device& device = *slot.device;
  slot.refused.clear();
  if (device.size_bytes() < partition_bytes_min_) {
    Refuse(slot, "its " + std::to_string(device.size_bytes()) + " bytes are too few for a unit, which takes at least " +
                     std::to_string(partition_bytes_min_));
    return {};
  }
  Bytes sector(kSectorBytes);
  STELE_TRY_VOID(device.Read(0, sector));
  auto superblock = DecodeSuperblock(sector);
  if (superblock) {
    slot.holds = Holds::kUnit;
    slot.unit = superblock->unit;
    slot.superblock = std::move(*superblock);
    return {};
  }
  if (AsText(sector).starts_with(kRemainsMagic)) {
    slot.holds = Holds::kRemains;
    slot.unit = LoadLittle<std::uint32_t>(sector.data() + kRemainsMagic.size());
    slot.refused = slot.name + ": it is being emptied; the next start goes on with that";
    return {};
  }
  STELE_TRY(const bool empty, SeemsEmpty(device));
  if (empty) {
    slot.holds = Holds::kNothing;
    return {};
  }
  STELE_TRY(const auto unit, UnitOfFirstBlock(device));
  if (unit) {
    slot.holds = Holds::kUnit;
    slot.unit = *unit;
    return {};
  }
  if (AsText(sector).starts_with(kSuperblockMagic)) {
    Refuse(slot, "its superblock was never finished or is damaged (" + superblock.error().context + "): it is not used");
  } else {
    Refuse(slot, "it holds something that is not Stele's, or was not zeroed: it is not used");
  }
  return {};
}

// All of them together.
Result<void> PartitionShelf::Judge() {
  if (!log_id_) {
    const Slot* lowest = nullptr;
    for (const auto& slot : slots_) {
      if (slot->superblock && (lowest == nullptr || slot->unit < lowest->unit)) lowest = slot.get();
    }
    if (lowest != nullptr) log_id_ = lowest->superblock->log_id;
  }
  const Slot* foreign = nullptr;
  for (const auto& slot : slots_) {
    if (!slot->superblock || slot->superblock->log_id == log_id_) continue;
    foreign = slot.get();
    Refuse(*slot, "it belongs to another log (" + HexOf(slot->superblock->log_id).substr(0, 16) + "): it is not used");
    slot->superblock.reset();
  }
  bool ours = false;
  for (const auto& slot : slots_) {
    if (slot->holds != Holds::kUnit) continue;
    ours = true;
    for (const auto& other : slots_) {
      if (other == slot || other->holds != Holds::kUnit || other->unit != slot->unit) continue;
      if (slot->superblock && other->superblock) {
        return Fail(Code::kDenied, "unit " + std::to_string(slot->unit) + " of the log is there twice, in " + slot->name + " and in " +
                                       other->name + ": one is a copy; take it away");
      }
      if (!slot->superblock) Refuse(*slot, "its superblock is lost, and another partition is unit " + std::to_string(slot->unit));
    }
    if (!slot->superblock) continue;
    for (const ledger::Abandon& abandon : slot->superblock->abandons) {
      if (abandon.from == 0) given_up_.insert(abandon.unit);
    }
  }
  if (foreign != nullptr && !ours) return Fail(Code::kDenied, "no partition belongs to this log. " + foreign->refused);
  return {};
}

Result<void> PartitionShelf::LookForMarks() {
  const Slot* last = nullptr;
  for (const auto& slot : slots_) {
    if (slot->holds == Holds::kUnit && slot->superblock && (last == nullptr || slot->unit > last->unit)) last = slot.get();
  }
  if (last == nullptr) return {};
  for (const auto& slot : slots_) {
    if (slot->holds != Holds::kUnit || slot->unit >= last->unit) continue;
    std::array<std::byte, guard::kSealMarkBytes> mark{};
    STELE_TRY_VOID(slot->device->Read(UnitBytes(slot->device->size_bytes()), mark));
    if (guard::DecodeSealMark(mark)) continue;
    slot->unmarked = slot->name + ": it holds unit " + std::to_string(slot->unit) + ", the log has gone on to unit " + std::to_string(last->unit) +
                     ", and it bears no seal mark: a crash came before the mark, or somebody took it away";
  }
  return {};
}

// Another process, the ledger, may have begun a unit where nothing was.
Result<void> PartitionShelf::LookWhereNothingWas() {
  bool found = false;
  for (const auto& slot : slots_) {
    if (slot->HasUnit() || slot->device->size_bytes() < partition_bytes_min_) continue;
    Bytes sector(kSectorBytes);
    STELE_TRY_VOID(slot->device->Read(0, sector));
    const auto superblock = DecodeSuperblock(sector);
    if (!superblock || (log_id_ && superblock->log_id != *log_id_) || SlotOf(superblock->unit) != nullptr) continue;
    slot->holds = Holds::kUnit;
    slot->refused.clear();
    slot->unit = superblock->unit;
    slot->superblock = *superblock;
    found = true;
  }
  return found ? Judge() : Result<void>();
}

std::shared_ptr<PartitionShelf::Slot> PartitionShelf::SlotOf(std::uint32_t unit) const {
  const auto at = std::find_if(slots_.begin(), slots_.end(), [unit](const auto& slot) { return slot->HasUnit() && slot->unit == unit; });
  return at == slots_.end() ? nullptr : *at;
}

Result<std::vector<std::uint32_t>> PartitionShelf::List() {
  const std::lock_guard lock(mutex_);
  STELE_TRY_VOID(LookWhereNothingWas());
  std::set<std::uint32_t> units = given_up_;
  for (const auto& slot : slots_) {
    if (slot->HasUnit()) units.insert(slot->unit);
  }
  return std::vector<std::uint32_t>(units.begin(), units.end());
}

Result<std::unique_ptr<Device>> PartitionShelf::Open(std::uint32_t unit, bool writable) {
  const std::lock_guard lock(mutex_);
  if (SlotOf(unit) == nullptr && !given_up_.contains(unit)) STELE_TRY_VOID(LookWhereNothingWas());
  if (auto slot = SlotOf(unit)) {
    if (writable && !slot->writable) return Fail(Code::kDenied, slot->name + " may not be written", EROFS);
    if (writable) SealBelow(unit);
    return std::unique_ptr<Device>(std::make_unique<Unit>(*this, std::move(slot), false));
  }
  if (given_up_.contains(unit)) return std::unique_ptr<Device>(std::make_unique<GivenUp>());
  return Fail(Code::kNotFound, "no partition holds unit " + std::to_string(unit), ENOENT);
}

Result<std::unique_ptr<Device>> PartitionShelf::Create(std::uint32_t unit, std::uint64_t /*size_bytes*/) {
  const std::lock_guard lock(mutex_);
  if (auto slot = SlotOf(unit)) {
    Bytes sector(kSectorBytes);
    STELE_TRY_VOID(slot->device->Read(0, sector));
    if (slot->holds == Holds::kUnit || !AllZero(sector)) return Fail(Code::kIo, "unit " + std::to_string(unit) + " is begun", EEXIST);
    return std::unique_ptr<Device>(std::make_unique<Unit>(*this, std::move(slot), true));
  }
  for (const auto& slot : slots_) {
    if (!slot->MayGetOne()) continue;
    STELE_TRY_VOID(Look(*slot));  // once more: two devices may be one medium
    if (slot->holds == Holds::kUnit) {
      slot->superblock.reset();
      Refuse(*slot, "it was empty and now holds unit " + std::to_string(slot->unit) + ": it is the medium of another one");
    }
    if (slot->holds != Holds::kNothing) continue;
    slot->unit = unit;
    slot->given_out = true;
    return std::unique_ptr<Device>(std::make_unique<Unit>(*this, slot, true));
  }
  return Fail(Code::kIo, "none of " + std::to_string(slots_.size()) + " partitions is empty", ENOSPC);
}

void PartitionShelf::SealBelow(std::uint32_t unit) {
  for (const auto& slot : slots_) {
    if (!slot->HasUnit() || slot->unit >= unit || !slot->writable) continue;
    (void)Unit::Seal(*slot, UnitBytes(slot->device->size_bytes()));  // where the kernel cannot, the chain still tells
  }
}

std::vector<std::uint32_t> PartitionShelf::Expired() {
  if (!spines_) return {};
  return {spines_->units().begin(), spines_->units().end()};
}

Result<Bytes> PartitionShelf::Spine(std::uint32_t unit) {
  if (!spines_) return Fail(Code::kNotFound, "no spine is kept here");
  return spines_->Read(unit);
}

Result<void> PartitionShelf::KeepSpine(std::uint32_t unit, ByteView spine) {
  if (!spines_) return Fail(Code::kUnavailable, "no spine is kept here");
  return spines_->Write(unit, spine);
}

namespace {
tl::unexpected<Error> SealedUntilTheNextStart(const std::string& name) {
  return Fail(Code::kDenied, name + " is sealed until the next start of the machine", EROFS);
}

// Where the first octet that is not zero lies, in steps of what is read at once; `to` when there is none.
Result<std::uint64_t> NotZeroFrom(Device& device, std::uint64_t from, std::uint64_t to) {
  Bytes part;
  for (std::uint64_t at = from; at < to; at += part.size()) {
    part.resize(std::min<std::uint64_t>(kWrittenAtOnce, to - at));
    STELE_TRY_VOID(device.Read(at, part));
    if (!AllZero(part)) return at;
  }
  return to;
}

Result<void> WriteZeros(Device& device, std::uint64_t from, std::uint64_t to) {
  const Bytes zeros(std::min<std::uint64_t>(kWrittenAtOnce, to - from));
  for (std::uint64_t at = from; at < to; at += zeros.size()) {
    STELE_TRY_VOID(device.Write(at, ByteView(zeros).first(std::min<std::uint64_t>(zeros.size(), to - at))));
  }
  return {};
}

// What is zero already, because it was never written or an earlier start came further, is only read.
Result<void> ZeroBehindHead(Device& device) {
  for (std::uint64_t at = kSectorBytes; at < device.size_bytes(); at += kZeroedAtOnce) {
    const std::uint64_t end = at + std::min<std::uint64_t>(kZeroedAtOnce, device.size_bytes() - at);
    STELE_TRY(const std::uint64_t from, NotZeroFrom(device, at, end));
    if (from == end) continue;
    auto zeroed = device.Zero(from, end - from);
    if (!zeroed && zeroed.error().code == Code::kUnavailable) zeroed = WriteZeros(device, from, end);
    STELE_TRY_VOID(zeroed);
  }
  return {};
}
}  // namespace

Result<void> PartitionShelf::MayClear(std::uint32_t unit) {
  const std::lock_guard lock(mutex_);
  const auto slot = SlotOf(unit);
  if (slot != nullptr && (!slot->writable || slot->read_only)) return SealedUntilTheNextStart(slot->name);
  return {};
}

Result<void> PartitionShelf::Empty(Slot& slot) {
  if (!slot.writable || slot.read_only) return SealedUntilTheNextStart(slot.name);
  Device& device = *slot.device;
  Bytes sector(kSectorBytes);
  STELE_TRY_VOID(device.Read(0, sector));
  Bytes mark = ToBytes(AsBytes(kRemainsMagic));
  Writer(mark).Int(slot.unit);
  // Only its first octets change: a drive that writes 512 at a time has the one or the other.
  std::copy(mark.begin(), mark.end(), sector.begin());
  STELE_TRY_VOID(device.Write(0, sector));
  STELE_TRY_VOID(device.Sync());
  STELE_TRY_VOID(ZeroBehindHead(device));
  mark.resize(kSectorBytes);
  STELE_TRY_VOID(device.Write(0, mark));
  STELE_TRY_VOID(device.Sync());
  STELE_TRY_VOID(device.Write(0, Bytes(kSectorBytes)));
  STELE_TRY_VOID(device.Sync());
  slot.holds = Holds::kNothing;
  slot.superblock.reset();
  slot.refused.clear();
  slot.unmarked.clear();
  return {};
}

Result<void> PartitionShelf::Clear(std::uint32_t unit) {
  const std::lock_guard lock(mutex_);
  const auto slot = SlotOf(unit);
  if (slot == nullptr) return Fail(Code::kNotFound, "no partition holds unit " + std::to_string(unit), ENOENT);
  return Empty(*slot);
}

Result<void> PartitionShelf::FinishClearing() {
  const std::lock_guard lock(mutex_);
  Result<void> all;
  for (const auto& slot : slots_) {  // without its spine nobody says that it may go
    const bool known = slot->holds == Holds::kRemains && spines_ && spines_->units().contains(slot->unit);
    if (!known || !slot->writable) continue;
    if (auto emptied = Empty(*slot); !emptied && all) all = std::move(emptied);
  }
  return all;
}

PartitionsUse PartitionShelf::Use() {
  const std::lock_guard lock(mutex_);
  PartitionsUse use;
  for (const auto& slot : slots_) {
    const std::uint64_t bytes = slot->device->size_bytes();
    const bool has_unit = slot->HasUnit();
    if (!slot->refused.empty()) use.refused.push_back(slot->refused);
    if (!slot->unmarked.empty()) use.unmarked.push_back(slot->unmarked);
    if (!has_unit && !slot->MayGetOne()) continue;
    use.unit_bytes_min = use.unit_bytes_min == 0 ? UnitBytes(bytes) : std::min(use.unit_bytes_min, UnitBytes(bytes));
    (has_unit ? use.taken_bytes : use.empty_bytes) += bytes;
    ++(has_unit ? use.taken : use.empty);
    if (has_unit && (slot->read_only || !slot->writable)) ++use.read_only;
  }
  return use;
}

}  // namespace stele::store
