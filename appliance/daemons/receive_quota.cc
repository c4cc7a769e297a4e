#include "appliance/daemons/receive_quota.h"

namespace stele::receive {
namespace {

constexpr std::int64_t kNsPerSecond = 1'000'000'000;
constexpr std::int64_t kDebtMaxNs = 3'600 * kNsPerSecond;

}  // namespace

std::int64_t SourceQuotas::Later(std::int64_t full_ns, std::int64_t now_ns, std::uint64_t amount, std::uint64_t per_s) {
  if (per_s == 0) return full_ns;
  const double cost_ns = static_cast<double>(amount) * static_cast<double>(kNsPerSecond) / static_cast<double>(per_s);
  const auto capped = static_cast<std::int64_t>(std::min(cost_ns, static_cast<double>(kDebtMaxNs)));
  return std::min(std::max(full_ns, now_ns) + capped, now_ns + kDebtMaxNs);
}

std::int64_t SourceQuotas::WaitNs(std::uint32_t source, std::int64_t now_ns) const {
  if (source >= buckets_.size()) return 0;
  const Bucket& bucket = buckets_[source];
  return std::max<std::int64_t>(0, std::max(bucket.records_full_ns, bucket.bytes_full_ns) - now_ns - kBurstNs);
}

void SourceQuotas::Charge(std::uint32_t source, std::uint64_t bytes, std::int64_t now_ns) {
  if (!limited()) return;
  if (source >= buckets_.size()) buckets_.resize(std::size_t{source} + 1);
  Bucket& bucket = buckets_[source];
  bucket.records_full_ns = Later(bucket.records_full_ns, now_ns, 1, limits_.records_per_s);
  bucket.bytes_full_ns = Later(bucket.bytes_full_ns, now_ns, bytes, limits_.bytes_per_s);
}

bool SourceQuotas::Take(std::uint32_t source, std::uint64_t bytes, std::int64_t now_ns) {
  if (!limited()) return true;
  if (WaitNs(source, now_ns) > 0) return false;
  Charge(source, bytes, now_ns);
  return true;
}

}  // namespace stele::receive
