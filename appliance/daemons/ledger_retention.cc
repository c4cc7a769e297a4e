// Which units go: their records have expired. A tombstone entry says so; when a checkpoint that covers it is anchored,
// the supervisor is told, and the next start reclaims them (appliance/store/reclaim.h). Until then nothing is gone.
#include <algorithm>

#include "appliance/daemons/ledger_service.h"

namespace stele::ledger_daemon {
namespace {

using nlohmann::json;
using record::Kind;

constexpr std::int64_t kNsPerMs = 1'000'000;
constexpr std::int64_t kNsPerSecond = 1'000'000'000;
constexpr std::size_t kOrdersAtOnce = 256;  // of one notice; the rest with the next receipt
constexpr std::int64_t kExpiryLookNsMax = 3'600 * kNsPerSecond;
constexpr std::int64_t kExpiryLookNsMin = kNsPerSecond;

}  // namespace

// As the newest receipt has it, and the time since.
std::optional<std::uint64_t> Service::TpmClockMs() const {
  if (!tpm_time_) return std::nullopt;
  const std::int64_t since_ns = std::max<std::int64_t>(0, clock_.BoottimeNs() - tpm_time_->boottime_ns);
  return tpm_time_->clock_ms + static_cast<std::uint64_t>(since_ns / kNsPerMs);
}

// What is promised from here on; the start of each unit says it.
void Service::DeclareRetention(bool begins) {
  store::RetentionEntry entry;
  entry.unit = unit_;
  entry.begins = begins;
  entry.retention_s = settings_.retention.keep_s;
  entry.holds = settings_.retention.holds;
  entry.epoch = settings_.retention.epoch;
  entry.clock_ms = TpmClockMs();
  (void)AppendOwn(Kind::kPolicy, store::EncodeRetention(entry));
}

void Service::NoteReceiptClock(const std::string& payload) {
  const json receipt = json::parse(payload, nullptr, false);
  if (!receipt.is_object() || receipt.value("late", json()) == true) return;  // a late one was made before this start
  const json clock_ms = receipt.value("clock_ms", json());
  if (clock_ms.is_number_unsigned()) tpm_time_ = {clock_ms.get<std::uint64_t>(), clock_.BoottimeNs()};
}

void Service::WatchRetention() {
  if (settings_.retention.keep_s <= 0 || !tpm_time_ || receipted_size_ == 0 || stopping_) return;
  const std::int64_t now = clock_.BoottimeNs();
  if (now < next_expiry_boottime_ns_ || !store_error_.empty()) return;
  next_expiry_boottime_ns_ =
      now + std::clamp(settings_.retention.keep_s * kNsPerSecond / 10, kExpiryLookNsMin, kExpiryLookNsMax);
  if (const auto done = BuryWhatExpired(); !done)
    LogWarning("what has expired cannot be told: " + Describe(done.error()));
}

Result<void> Service::BuryWhatExpired() {
  STELE_TRY(const std::vector<std::uint32_t> units, shelf_.List());
  std::vector<store::UnitFacts> facts;
  for (const std::uint32_t unit : units) {
    if (unit > unit_) break;  // spare
    auto known = unit_facts_.find(unit);
    if (known == unit_facts_.end()) {
      auto read = store::FactsOf(shelf_, unit);
      if (!read) continue;                // given up, or its superblock is lost: it stays
      const bool settled = unit < unit_;  // the newest one may still say more
      if (!settled) {
        facts.push_back(std::move(*read));
        continue;
      }
      known = unit_facts_.emplace(unit, std::move(*read)).first;
    }
    facts.push_back(known->second);
  }
  store::RetentionNow now;
  now.wall_ns = clock_.WallNs();
  now.clock_ms = TpmClockMs();
  now.epoch = settings_.retention.epoch;
  now.retention_s = settings_.retention.keep_s;
  now.holds = settings_.retention.holds;
  now.anchored_size = receipted_size_;
  const auto said = [this](std::uint32_t unit) {
    const auto& ordered = settings_.retention.ordered;
    return buried_.contains(unit) || std::find(ordered.begin(), ordered.end(), unit) != ordered.end();
  };
  const auto end_of = [&](std::uint32_t unit) -> Result<store::UnitEnd> {
    if (said(unit)) return Fail(Code::kDenied, "said already");
    return store::EndOf(shelf_, unit);
  };
  for (const store::Tombstone& tombstone : store::WhatExpired(facts, now, end_of)) {
    if (said(tombstone.unit)) continue;
    if (!Admits(store::Need::kClosing, 1, 1'024) || gathering_.batch.size() + 1'024 > limits::kBlockRecords) break;
    gathering_.tombstones[AppendOwn(Kind::kTombstone, store::EncodeTombstone(tombstone))] = tombstone.unit;
    buried_[tombstone.unit] = {};
    want_anchor_ = true;  // nothing goes before its receipt, and a full log has no other reason for one
  }
  return {};
}

void Service::NoteTombstones(const Gathered& gathered, std::size_t committed, const WriteDone& done) {
  for (const auto& [index, unit] : gathered.tombstones) {
    if (index < committed) {
      buried_[unit].tombstone = done.first_sequence + index;
    } else {
      buried_.erase(unit);  // said again
    }
  }
}

// A receipt is in the log: the tombstones below its checkpoint are as certain as anything.
void Service::OrderReclaim(const std::string& receipt) {
  const json object = json::parse(receipt, nullptr, false);
  const json size = object.is_object() ? object.value("size", json()) : json();
  if (!size.is_number_unsigned()) return;
  receipted_size_ = std::max(receipted_size_, size.get<std::uint64_t>());
  std::vector<store::ReclaimOrder> orders;
  for (const auto& [unit, burial] : buried_) {
    if (burial.ordered || burial.tombstone >= receipted_size_ || orders.size() == kOrdersAtOnce) continue;
    orders.push_back({unit, burial.tombstone, landmarks_.anchor_checkpoint, landmarks_.anchor});
  }
  if (orders.empty()) return;
  const std::string notice = json{{"event", "reclaim"}, {"orders", json::parse(store::EncodeOrders(orders))}}.dump();
  if (const auto sent = channel::Send(channel::kControlFd, channel::Type::kNotice, AsBytes(notice)); !sent) {
    LogWarning("the supervisor does not hear what goes at the next start: " + Describe(sent.error()));
    return;  // the next receipt is another try
  }
  for (const store::ReclaimOrder& order : orders) buried_[order.unit].ordered = true;
  ordered_ += orders.size();
  LogInfo(std::to_string(ordered_) + " units have expired and go at the next start");
}

}  // namespace stele::ledger_daemon
