#include "tests/sim/sim_disk.h"

#include <algorithm>

namespace stele::sim {
namespace {

using limits::kSectorBytes;

class SimDevice final : public Device {
 public:
  SimDevice(SimShelf& shelf, std::shared_ptr<DiskUnit> unit) : shelf_(shelf), unit_(std::move(unit)) {}

  std::uint64_t size_bytes() const override { return unit_->volatile_image.size(); }

  Result<void> Write(std::uint64_t offset_bytes, ByteView data) override {
    const DiskFault fault = shelf_.Fault("write");
    if (fault == DiskFault::kCrashBefore) throw SimCrash();
    if (fault == DiskFault::kError) return Fail(Code::kIo, "simulated write error", 5);
    if (unit_->read_only) return Fail(Code::kIo, "simulated write to a read-only unit", 1);
    if (offset_bytes + data.size() > size_bytes()) return Fail(Code::kIo, "simulated write beyond the end", 28);
    std::copy(data.begin(), data.end(), unit_->volatile_image.begin() + static_cast<std::ptrdiff_t>(offset_bytes));
    for (std::uint64_t at = offset_bytes; at < offset_bytes + data.size(); at += kSectorBytes) {
      unit_->dirty_sectors.insert(at / kSectorBytes);
    }
    if (fault == DiskFault::kCrashAfter) throw SimCrash();
    if (fault == DiskFault::kErrorDone) return Fail(Code::kIo, "simulated write error after the write", 5);
    return {};
  }

  Result<void> Sync() override {
    const DiskFault fault = shelf_.Fault("sync");
    if (fault == DiskFault::kCrashBefore) throw SimCrash();
    if (fault == DiskFault::kError) {
      unit_->dirty_sectors.clear();  // the kernel marks the pages clean: they are in memory only, for ever
      return Fail(Code::kIo, "simulated sync error", 5);
    }
    unit_->durable = unit_->volatile_image;
    unit_->dirty_sectors.clear();
    if (fault == DiskFault::kCrashAfter) throw SimCrash();
    if (fault == DiskFault::kErrorDone) return Fail(Code::kIo, "simulated sync error after the sync", 5);
    return {};
  }

  Result<void> Read(std::uint64_t offset_bytes, MutableBytes out) override {
    if (offset_bytes + out.size() > size_bytes()) return Fail(Code::kIo, "simulated read beyond the end", 5);
    std::copy_n(unit_->volatile_image.begin() + static_cast<std::ptrdiff_t>(offset_bytes), out.size(), out.begin());
    return {};
  }

  Result<void> MakeReadOnly() override {
    unit_->read_only = true;
    return {};
  }

 private:
  SimShelf& shelf_;
  std::shared_ptr<DiskUnit> unit_;
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
  if (units_.count(unit) != 0) return Fail(Code::kIo, "simulated create: exists", 17);
  auto made = std::make_shared<DiskUnit>();
  made->durable.assign(size_bytes, std::byte{0});
  made->volatile_image = made->durable;
  units_[unit] = made;
  if (fault == DiskFault::kCrashAfter) throw SimCrash();
  return Open(unit, true);
}

void SimShelf::Crash(std::mt19937_64& random) {
  for (auto& [number, unit] : units_) {
    for (const std::uint64_t sector : unit->dirty_sectors) {
      if ((random() & 1U) == 0) continue;
      const auto at = static_cast<std::ptrdiff_t>(sector * kSectorBytes);
      std::copy_n(unit->volatile_image.begin() + at, kSectorBytes, unit->durable.begin() + at);
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
