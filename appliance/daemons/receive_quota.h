// How much one source may send: records and octets a second, each with a burst of one second
// (ingest.source_records_per_s, ingest.source_bytes_per_s). A datagram above it is refused and counted; a stream above
// it is not read until its time has come.
//
// A bucket is one number: the time at which it will be full again. Pure; one thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace stele::receive {

class SourceQuotas {
 public:
  struct Limits {
    std::uint64_t records_per_s = 0;  // 0: none
    std::uint64_t bytes_per_s = 0;
  };
  void Limit(const Limits& limits) { limits_ = limits; }
  [[nodiscard]] bool limited() const { return limits_.records_per_s != 0 || limits_.bytes_per_s != 0; }

  // 0: this source may be read now. Otherwise how long it must wait. `now_ns`: BOOTTIME.
  [[nodiscard]] std::int64_t WaitNs(std::uint32_t source, std::int64_t now_ns) const;
  // Enters what was read from a source, whether it was within its quota or not: the debt delays the next read.
  void Charge(std::uint32_t source, std::uint64_t bytes, std::int64_t now_ns);
  // True, and charged, when the source may send one record now.
  [[nodiscard]] bool Take(std::uint32_t source, std::uint64_t bytes, std::int64_t now_ns);

 private:
  static constexpr std::int64_t kBurstNs = 1'000'000'000;
  struct Bucket {
    std::int64_t records_full_ns = 0;
    std::int64_t bytes_full_ns = 0;
  };
  static std::int64_t Later(std::int64_t full_ns, std::int64_t now_ns, std::uint64_t amount, std::uint64_t per_s);

  Limits limits_;
  std::vector<Bucket> buckets_;  // by local source number
};

}  // namespace stele::receive
