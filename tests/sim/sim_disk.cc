#include "tests/sim/sim_disk.h"

#include <algorithm>

namespace stele::sim {
namespace {

using limits::kSectorBytes;

void CopySector(const Bytes& from, Bytes& to, std::uint64_t sector) {
  const auto at = static_cast<std::ptrdiff_t>(sector * kSectorBytes);
  std::copy_n(from.begin() + at, kSectorBytes, to.begin() + at);
}

class SimDevice final : public Device {
 public:
  SimDevice(SimShelf& shelf, std::shared_ptr<DiskUnit> unit) : shelf_(shelf), unit_(std::move(unit)) {}

  std::uint64_t size_bytes() const override { return unit_->volatile_image.size(); }

  Result<void> Write(std::uint64_t offset_bytes, ByteView data) override {
    const DiskFault fault = Begin("write");
    if (fault == DiskFault::kError) return Failed("simulated write error");
    if (unit_->read_only) return Fail(Code::kIo, "simulated write to a read-only unit", 1);
    if (offset_bytes + data.size() > size_bytes()) return Fail(Code::kIo, "simulated write beyond the end", 28);
    std::copy(data.begin(), data.end(), unit_->volatile_image.begin() + static_cast<std::ptrdiff_t>(offset_bytes));
    for (std::uint64_t at = offset_bytes; at < offset_bytes + data.size(); at += kSectorBytes) {
      unit_->dirty_sectors.insert(at / kSectorBytes);
    }
    if (fault == DiskFault::kCrashAfter) throw SimCrash();
    if (fault == DiskFault::kErrorDone) return Failed("simulated write error after the write");
    return {};
  }

  Result<void> Zero(std::uint64_t offset_bytes, std::uint64_t size_bytes) override {
    if (!shelf_.can_zero) return Device::Zero(offset_bytes, size_bytes);
    STELE_TRY_VOID(Write(offset_bytes, Bytes(size_bytes)));
    shelf_.zeroed_bytes += size_bytes;
    return {};
  }

  Result<void> Sync() override {
    const DiskFault fault = Begin("sync");
    if (fault == DiskFault::kNotDone) return {};
    std::uint64_t turn = 0;
    for (const std::uint64_t sector : unit_->dirty_sectors) {
      if (fault != DiskFault::kError || turn++ % 2 == 0) CopySector(unit_->volatile_image, unit_->durable, sector);
    }
    unit_->dirty_sectors.clear();  // after an error too: the kernel marks the pages clean, they are in memory only, for ever
    if (fault == DiskFault::kError) return Failed("simulated sync error");
    if (fault == DiskFault::kCrashAfter) throw SimCrash();
    if (fault == DiskFault::kErrorDone) return Failed("simulated sync error after the sync");
    return {};
  }

  Result<void> Read(std::uint64_t offset_bytes, MutableBytes out) override {
    if (offset_bytes + out.size() > size_bytes()) return Fail(Code::kIo, "simulated read beyond the end", 5);
    std::copy_n(unit_->durable.begin() + static_cast<std::ptrdiff_t>(offset_bytes), out.size(), out.begin());
    // A direct read first writes back what is dirty, so it sees it.
    for (auto sector = unit_->dirty_sectors.lower_bound(offset_bytes / kSectorBytes); sector != unit_->dirty_sectors.end(); ++sector) {
      const std::uint64_t from = std::max(offset_bytes, *sector * kSectorBytes);
      const std::uint64_t to = std::min(offset_bytes + out.size(), (*sector + 1) * kSectorBytes);
      if (from >= to) break;
      std::copy_n(unit_->volatile_image.begin() + static_cast<std::ptrdiff_t>(from), to - from,
                  out.begin() + static_cast<std::ptrdiff_t>(from - offset_bytes));
    }
    return {};
  }

  Result<void> MakeReadOnly() override {
    if (!shelf_.can_refuse_writes) return Fail(Code::kUnavailable, "simulated: no immutable flag here");
    unit_->read_only = true;
    return {};
  }

 private:
  DiskFault Begin(std::string_view operation) {
    if (failed_) shelf_.NoteMisuse();
    const DiskFault fault = shelf_.Fault(operation);
    if (fault == DiskFault::kCrashBefore) throw SimCrash();
    return fault;
  }
  tl::unexpected<Error> Failed(const char* text) {
    failed_ = true;
    return Fail(Code::kIo, text, 5);
  }

  SimShelf& shelf_;
  std::shared_ptr<DiskUnit> unit_;
  bool failed_ = false;
};

}  // namespace

Result<std::vector<std::uint32_t>> SimShelf::List() {
  std::vector<std::uint32_t> numbers;
  for (const auto& [number, unit] : units_) numbers.push_back(number);
  return numbers;
}

Result<std::unique_ptr<Device>> SimShelf::Open(std::uint32_t unit, bool /*writable*/) {
  const auto at = units_.find(unit);
  if (at == units_.end()) return Fail(Code::kNotFound, "segment " + std::to_string(unit) + " is missing");
  return std::unique_ptr<Device>(std::make_unique<SimDevice>(*this, at->second));
}

Result<std::unique_ptr<Device>> SimShelf::Create(std::uint32_t unit, std::uint64_t size_bytes) {
  const DiskFault fault = Fault("create");
  if (fault == DiskFault::kCrashBefore) throw SimCrash();
  if (fault == DiskFault::kError) return Fail(Code::kIo, "simulated create error", 28);
  if (const auto at = units_.find(unit); at != units_.end()) {
    const auto zero = [](std::byte b) { return b == std::byte{0}; };
    const Bytes& image = at->second->volatile_image;
    if (!std::all_of(image.begin(), image.begin() + kSectorBytes, zero)) return Fail(Code::kIo, "simulated create: exists", 17);
    if (fault == DiskFault::kCrashAfter) throw SimCrash();
    return Open(unit, true);
  }
  if (units_.size() >= units_max) {
    ++refused_for_room_;
    return Fail(Code::kIo, "simulated: no room", 28);
  }
  auto made = std::make_shared<DiskUnit>();
  made->durable.assign(size_bytes, std::byte{0});
  made->volatile_image = made->durable;
  units_[unit] = made;
  if (fault == DiskFault::kCrashAfter) throw SimCrash();
  return Open(unit, true);
}

std::vector<std::uint32_t> SimShelf::Expired() {
  std::vector<std::uint32_t> numbers;
  for (const auto& [number, bytes] : spines) numbers.push_back(number);
  return numbers;
}

Result<Bytes> SimShelf::Spine(std::uint32_t unit) {
  const auto at = spines.find(unit);
  if (at == spines.end()) return Fail(Code::kNotFound, "spine " + std::to_string(unit) + " is missing");
  return at->second;
}

Result<void> SimShelf::KeepSpine(std::uint32_t unit, ByteView spine) {
  const DiskFault fault = Fault("spine");
  if (fault == DiskFault::kCrashBefore) throw SimCrash();
  if (fault == DiskFault::kError) return Fail(Code::kIo, "simulated spine error", 5);
  spines[unit] = ToBytes(spine);
  if (fault == DiskFault::kCrashAfter) throw SimCrash();
  return {};
}

Result<void> SimShelf::Clear(std::uint32_t unit) {
  const DiskFault fault = Fault("clear");
  if (fault == DiskFault::kCrashBefore) throw SimCrash();
  if (fault == DiskFault::kError) return Fail(Code::kIo, "simulated clear error", 5);
  units_.erase(unit);
  if (fault == DiskFault::kCrashAfter) throw SimCrash();
  return {};
}

void SimShelf::Crash(std::mt19937_64& random) {
  for (auto& [number, unit] : units_) {
    for (const std::uint64_t sector : unit->dirty_sectors) {
      if ((random() & 1U) != 0) CopySector(unit->volatile_image, unit->durable, sector);
    }
    unit->dirty_sectors.clear();
    unit->volatile_image = unit->durable;
  }
}

std::map<std::uint32_t, Bytes> SimShelf::Snapshot() const {
  std::map<std::uint32_t, Bytes> snapshot;
  for (const auto& [number, unit] : units_) snapshot[number] = unit->durable;
  return snapshot;
}

void SimShelf::Restore(const std::map<std::uint32_t, Bytes>& snapshot) {
  units_.clear();
  for (const auto& [number, bytes] : snapshot) {
    auto unit = std::make_shared<DiskUnit>();
    unit->durable = bytes;
    unit->volatile_image = bytes;
    units_[number] = std::move(unit);
  }
}

}  // namespace stele::sim
