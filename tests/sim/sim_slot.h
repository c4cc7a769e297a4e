// A state slot in memory, with the faults of storage.
#pragma once

#include <optional>
#include <utility>

#include "appliance/base/seams.h"

namespace stele::sim {

enum class SlotFault {
  kNone,
  kLost,             // nothing written, reported as failed
  kWrittenReported,  // written whole, reported as failed
  kTorn,             // half of it written, reported as failed
};

class SimSlot final : public StateSlot {
 public:
  void FailNext(SlotFault fault) { fault_ = fault; }
  [[nodiscard]] const std::optional<Bytes>& bytes() const { return bytes_; }
  void Set(std::optional<Bytes> bytes) { bytes_ = std::move(bytes); }

  [[nodiscard]] Result<Bytes> Load() override {
    if (!bytes_) return Fail(Code::kNotFound, "never stored");
    return *bytes_;
  }
  [[nodiscard]] Result<void> Store(ByteView data) override {
    const SlotFault fault = std::exchange(fault_, SlotFault::kNone);
    if (fault == SlotFault::kLost) return Fail(Code::kIo, "simulated: not written");
    bytes_ = ToBytes(fault == SlotFault::kTorn ? data.first(data.size() / 2) : data);
    if (fault != SlotFault::kNone) return Fail(Code::kIo, "simulated: write failed");
    return {};
  }

 private:
  std::optional<Bytes> bytes_;
  SlotFault fault_ = SlotFault::kNone;
};

}  // namespace stele::sim
