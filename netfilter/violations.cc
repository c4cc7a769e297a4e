#include "netfilter/violations.h"

#include <algorithm>
#include <array>
#include <limits>

namespace stele::netfilter {
namespace {

constexpr std::int64_t kNsPerS = 1'000'000'000;
constexpr std::int64_t kHourNs = 3'600 * kNsPerS;
constexpr std::size_t kReasons = kDropReasons.size();
constexpr std::size_t kNoReason = kReasons;  // in keys: not known, or several
constexpr std::size_t kNoTarget = 0;
constexpr std::uint8_t kScanVictims = 8;  // looked at for the one that makes room

// What a door's own limits refuse is no probing.
bool IsProbe(DropReason reason) {
  return reason != DropReason::kRate && reason != DropReason::kConnections && reason != DropReason::kDatagrams;
}

bool IsIcmp(std::uint8_t protocol) { return protocol == kIcmp || protocol == kIcmp6; }

// Into a sorted list without repetition, as long as there is room.
template <typename T>
void Note(std::vector<T>& list, const T& value, std::size_t most) {
  const auto at = std::lower_bound(list.begin(), list.end(), value);
  if (list.size() < most && (at == list.end() || *at != value)) list.insert(at, value);
}

}  // namespace

struct Violations::Count {
  std::uint64_t packets = 0;
  std::uint64_t folded = 0;
  std::int64_t from_ns = std::numeric_limits<std::int64_t>::max();
  std::int64_t to_ns = 0;

  void Add(std::int64_t wall_ns) {
    ++packets;
    from_ns = std::min(from_ns, wall_ns);
    to_ns = std::max(to_ns, wall_ns);
  }
  // `other` stands for itself, or for the rows that it was made of.
  void Fold(const Count& other) {
    packets += other.packets;
    folded += std::max<std::uint64_t>(1, other.folded);
    from_ns = std::min(from_ns, other.from_ns);
    to_ns = std::max(to_ns, other.to_ns);
  }
  void Into(ViolationRow& row) const {
    row.packets = packets;
    row.folded = folded;
    row.from_ns = from_ns;
    row.to_ns = to_ns;
  }
};

namespace {

struct ReasonKey {
  std::size_t reason = kNoReason;
  std::size_t target = kNoTarget;  // 1 + its place among the guarded zones
  auto operator<=>(const ReasonKey&) const = default;
};
struct SourceKey {
  ReasonKey reason;
  IpAddress source{};
  auto operator<=>(const SourceKey&) const = default;
};
struct RowKey {
  ReasonKey reason;
  PacketHeaders headers;
  auto operator<=>(const RowKey&) const = default;
};

}  // namespace

struct Violations::Zone {
  // What one source tried within the window, or since its scan began.
  struct Tracker {
    IpAddress source{};
    std::vector<std::uint32_t> ports;  // protocol << 16 | port
    std::vector<IpAddress> addresses;
    std::int64_t window_ns = 0;
    std::int64_t last_ns = 0;
    bool scanning = false;
    std::array<std::uint64_t, kReasons> by_reason{};  // of the packets that no row was taken of
    Count count;
  };

  std::string name;
  bool ingest = false;
  std::map<RowKey, Count> rows;
  std::map<SourceKey, Count> by_source;
  std::map<ReasonKey, Count> by_reason;  // bounded by what keys there are
  std::vector<Tracker> trackers;
  std::map<IpAddress, std::size_t> tracked;
  std::size_t next_victim = 0;

  Tracker& Watch(const PacketHeaders& headers, std::int64_t wall_ns);
  Tracker& Fresh(const IpAddress& source);
  [[nodiscard]] ViolationRow TakeRow(Tracker& tracker) const;
  void FoldScan(Tracker& tracker);
  void FoldRow(const RowKey& key, const Count& count);
  void FoldSource(const SourceKey& key, const Count& count) { by_reason[key.reason].Fold(count); }
  void GatherScans();
  void EndScans(std::int64_t wall_ns);
};

// A place for a source that is new: a free one, or that of one of the next few, the one that tried least.
Violations::Zone::Tracker& Violations::Zone::Fresh(const IpAddress& source) {
  if (trackers.size() < limits::kScanSources) {
    tracked[source] = trackers.size();
    return trackers.emplace_back();
  }
  std::size_t victim = next_victim;
  const auto worth = [this](std::size_t at) {
    return (trackers[at].scanning ? limits::kScanPortsCounted : 0) + trackers[at].ports.size() +
           trackers[at].addresses.size();
  };
  for (std::uint8_t i = 0; i < kScanVictims; ++i) {
    if (worth(next_victim) < worth(victim)) victim = next_victim;
    next_victim = (next_victim + 1) % trackers.size();
  }
  FoldScan(trackers[victim]);
  tracked.erase(trackers[victim].source);
  tracked[source] = victim;
  return trackers[victim] = Tracker();
}

Violations::Zone::Tracker& Violations::Zone::Watch(const PacketHeaders& headers, std::int64_t wall_ns) {
  const auto at = tracked.find(headers.source);
  Tracker& tracker = at != tracked.end() ? trackers[at->second] : Fresh(headers.source);
  tracker.source = headers.source;
  const bool window_over =
      wall_ns - tracker.window_ns > limits::kScanWindowS * kNsPerS || wall_ns < tracker.window_ns;  // or set back
  if (!tracker.scanning && window_over) {
    tracker.ports.clear();
    tracker.addresses.clear();
    tracker.window_ns = wall_ns;
  }
  tracker.last_ns = wall_ns;
  if (headers.port && !IsIcmp(headers.protocol)) {
    Note(tracker.ports, std::uint32_t{headers.protocol} << 16U | *headers.port, limits::kScanPortsCounted);
  }
  Note(tracker.addresses, headers.destination, limits::kScanAddressesCounted);
  tracker.scanning = tracker.scanning || tracker.ports.size() >= limits::kScanPorts ||
                     tracker.addresses.size() >= limits::kScanAddresses;
  return tracker;
}

ViolationRow Violations::Zone::TakeRow(Tracker& tracker) const {
  ViolationRow row;
  row.kind = RowKind::kScan;
  row.zone = name;
  row.source = tracker.source;
  row.ports = tracker.ports.size();
  row.addresses = tracker.addresses.size();
  tracker.count.Into(row);
  row.folded = 0;
  for (std::size_t reason = 0; reason < kReasons; ++reason) {
    if (tracker.by_reason[reason] == row.packets) row.reason = static_cast<DropReason>(reason);
  }
  tracker.by_reason = {};
  tracker.count = Count();
  return row;
}

// Its packets keep their reasons; times are those of all of them.
void Violations::Zone::FoldScan(Tracker& tracker) {
  for (std::size_t reason = 0; reason < kReasons; ++reason) {
    if (tracker.by_reason[reason] == 0) continue;
    by_reason[{reason, kNoTarget}].Fold({tracker.by_reason[reason], 1, tracker.count.from_ns, tracker.count.to_ns});
  }
  tracker.by_reason = {};
  tracker.count = Count();
}

void Violations::Zone::FoldRow(const RowKey& key, const Count& count) {
  const SourceKey coarser{key.reason, key.headers.source};
  const auto at = by_source.find(coarser);
  if (at != by_source.end()) {
    at->second.Fold(count);
  } else if (by_source.size() < limits::kViolationSources) {
    by_source[coarser].Fold(count);
  } else {
    FoldSource(coarser, count);
  }
}

// What a scanning source did before it was known for one.
void Violations::Zone::GatherScans() {
  for (auto at = rows.begin(); at != rows.end();) {
    const auto source = tracked.find(at->first.headers.source);
    const bool scan = source != tracked.end() && trackers[source->second].scanning &&
                      at->first.reason.target == kNoTarget && IsProbe(static_cast<DropReason>(at->first.reason.reason));
    if (!scan) {
      ++at;
      continue;
    }
    Tracker& tracker = trackers[source->second];
    tracker.by_reason[at->first.reason.reason] += at->second.packets;
    tracker.count.Fold(at->second);
    at = rows.erase(at);
  }
}

// A scan is over when its source was quiet for a window.
void Violations::Zone::EndScans(std::int64_t wall_ns) {
  for (Tracker& tracker : trackers) {
    if (!tracker.scanning || tracker.count.packets != 0 || wall_ns - tracker.last_ns <= limits::kScanWindowS * kNsPerS)
      continue;
    tracker.scanning = false;
    tracker.window_ns = 0;
  }
}

Crossings CrossingsOf(const Policy& policy) {
  Crossings out;
  for (const netfilter::Zone& zone : policy.zones) {
    if (zone.kind == ZoneKind::kIngest) out.ingest_zones.insert(zone.name);
    if (zone.kind != ZoneKind::kOperator && zone.kind != ZoneKind::kManagement) continue;
    Guarded guarded{zone.name, zone.sources, {}};
    for (const IpAddress& address : zone.addresses) guarded.networks.push_back({address, 128});
    for (const Door& door : zone.doors) guarded.ports.push_back(door.port);
    out.guarded.push_back(std::move(guarded));
  }
  return out;
}

Violations::Violations(Crossings crossings) : crossings_(std::move(crossings)) {}
Violations::~Violations() = default;
Violations::Violations(Violations&&) noexcept = default;
Violations& Violations::operator=(Violations&&) noexcept = default;

// `name`: of the prefix, "a+b" where the packet fits none of the interface's zones. Those beyond kViolationZones share
// the one without a name.
Violations::Zone& Violations::ZoneOf(std::string_view name) {
  const auto at = zones_.find(name);
  if (at != zones_.end()) return *at->second;
  const std::string key(zones_.size() < limits::kViolationZones ? name : "");
  std::unique_ptr<Zone>& place = zones_[key];
  if (place) return *place;
  place = std::make_unique<Zone>();
  Zone& zone = *place;
  zone.name = key;
  for (std::string_view rest = name; !rest.empty() && !key.empty();) {
    const std::size_t plus = std::min(rest.find('+'), rest.size());
    zone.ingest = zone.ingest || crossings_.ingest_zones.contains(rest.substr(0, plus));
    rest.remove_prefix(std::min(plus + 1, rest.size()));
  }
  return zone;
}

std::size_t Violations::TargetOf(const Zone& zone, DropReason reason, const PacketHeaders& headers) const {
  if (!zone.ingest || !IsProbe(reason) || reason == DropReason::kEgress) return kNoTarget;
  for (std::size_t i = 0; i < crossings_.guarded.size(); ++i) {
    const Guarded& guarded = crossings_.guarded[i];
    const bool host = std::any_of(guarded.networks.begin(), guarded.networks.end(),
                                  [&](const IpPrefix& network) { return network.Contains(headers.destination); });
    const bool port =
        headers.port && std::any_of(guarded.ports.begin(), guarded.ports.end(), [&](const Port& one) {
          return static_cast<std::uint8_t>(one.protocol) == headers.protocol && one.number == *headers.port;
        });
    if (host || port) return i + 1;
  }
  return kNoTarget;
}

void Violations::Add(std::string_view prefix, ByteView packet, std::int64_t wall_ns) {
  ++pending_;
  const auto parsed = ParseLogPrefix(prefix);
  Zone& zone = ZoneOf(parsed ? std::string_view(parsed->zones) : "");
  const auto headers = ParsePacketHeaders(packet);
  if (!parsed || !headers) {
    zone.by_reason[{parsed ? static_cast<std::size_t>(parsed->reason) : kNoReason, kNoTarget}].Add(wall_ns);
    return;
  }
  const std::size_t reason = static_cast<std::size_t>(parsed->reason);
  const std::size_t target = TargetOf(zone, parsed->reason, *headers);
  if (IsProbe(parsed->reason)) {
    Zone::Tracker& tracker = zone.Watch(*headers, wall_ns);
    if (tracker.scanning && target == kNoTarget) {
      ++tracker.by_reason[reason];
      tracker.count.Add(wall_ns);
      return;
    }
  }
  const RowKey key{{reason, target}, *headers};
  const auto row = zone.rows.find(key);
  if (row != zone.rows.end()) {
    row->second.Add(wall_ns);
  } else if (zone.rows.size() < limits::kViolationRows) {
    zone.rows[key].Add(wall_ns);
  } else {
    zone.FoldRow(key, {1, 1, wall_ns, wall_ns});
  }
}

void Violations::AddUncounted(std::string_view zone, std::string_view cause, std::uint64_t packets,
                              std::int64_t wall_ns, std::uint64_t perhaps_before) {
  if (packets == 0) return;
  pending_ += packets;
  std::pair<std::string, std::string> key(zone, cause);
  if (!uncounted_.contains(key) && uncounted_.size() >= limits::kUncountedRows) key.first.clear();
  ViolationRow& row = uncounted_[key];
  if (row.packets == 0) {
    row.kind = RowKind::kUncounted;
    row.zone = key.first;
    row.cause = key.second;
    row.from_ns = wall_ns;
  }
  row.packets += packets;
  row.perhaps_before += perhaps_before;
  row.to_ns = wall_ns;
}

namespace {

// The first of each zone, then the second of each, until there are `most`.
template <typename Item>
std::vector<Item> InTurn(const std::vector<std::vector<Item>>& by_zone, std::size_t most) {
  std::vector<Item> out;
  for (std::size_t i = 0; out.size() < most; ++i) {
    const std::size_t before = out.size();
    for (const std::vector<Item>& zone : by_zone) {
      if (i < zone.size() && out.size() < most) out.push_back(zone[i]);
    }
    if (out.size() == before) break;
  }
  return out;
}

}  // namespace

// One Take(): kinds of rows in their order, each with its share of what is left, or with everything when all fit.
class Violations::Collection {
 public:
  Collection(Violations& of, std::size_t most) : of_(of), most_(most) {
    all_ = of_.uncounted_.size();
    for (auto& [name, zone] : of_.zones_) {
      zone->GatherScans();
      all_ += zone->rows.size() + zone->by_source.size() + zone->by_reason.size();
      for (const Zone::Tracker& tracker : zone->trackers) all_ += tracker.count.packets != 0 ? 1U : 0U;
    }
  }

  void Uncounted() {
    const std::size_t room = std::max<std::size_t>(Share(4), 1);
    while (!of_.uncounted_.empty() && out_.size() < room) {
      out_.push_back(std::move(of_.uncounted_.extract(of_.uncounted_.begin()).mapped()));
    }
  }

  void Scans(std::int64_t wall_ns) {
    std::vector<std::vector<Zone::Tracker*>> places;
    for (auto& [name, zone] : of_.zones_) {
      auto& here = places.emplace_back();
      for (Zone::Tracker& tracker : zone->trackers) {
        if (tracker.count.packets != 0) here.push_back(&tracker);
      }
      std::stable_sort(here.begin(), here.end(),
                       [](const auto* a, const auto* b) { return a->count.packets > b->count.packets; });
    }
    const auto chosen = InTurn(places, Share(4));
    for (auto& [name, zone] : of_.zones_) {
      for (Zone::Tracker& tracker : zone->trackers) {
        if (std::find(chosen.begin(), chosen.end(), &tracker) != chosen.end()) out_.push_back(zone->TakeRow(tracker));
        zone->FoldScan(tracker);
      }
      zone->EndScans(wall_ns);
    }
  }

  void FullRows() {
    using Place = std::pair<Zone*, std::map<RowKey, Count>::iterator>;
    const auto before = [](const Place& a, const Place& b) {  // what is named first, then the largest
      const bool named_a = a.second->first.reason.target != kNoTarget;
      const bool named_b = b.second->first.reason.target != kNoTarget;
      return named_a != named_b ? named_a : a.second->second.packets > b.second->second.packets;
    };
    for (const auto& [zone, at] : Chosen<Place>(&Zone::rows, before)) {
      ViolationRow& row = Begin(*zone, at->first.reason, at->second);
      row.source = at->first.headers.source;
      row.destination = at->first.headers.destination;
      row.protocol = at->first.headers.protocol;
      row.port = at->first.headers.port;
      zone->rows.erase(at);
    }
    for (auto& [name, zone] : of_.zones_) {
      for (const auto& [key, count] : zone->rows) zone->FoldRow(key, count);
      zone->rows.clear();
    }
  }

  void RowsBySource() {
    using Place = std::pair<Zone*, std::map<SourceKey, Count>::iterator>;
    const auto before = [](const Place& a, const Place& b) {
      return a.second->second.packets > b.second->second.packets;
    };
    for (const auto& [zone, at] : Chosen<Place>(&Zone::by_source, before)) {
      Begin(*zone, at->first.reason, at->second).source = at->first.source;
      zone->by_source.erase(at);
    }
    for (auto& [name, zone] : of_.zones_) {
      for (const auto& [key, count] : zone->by_source) zone->FoldSource(key, count);
      zone->by_source.clear();
    }
  }

  // Who has waited longest comes first, so that nothing waits for ever. `reserve`: rows to be left free.
  void RowsByReason(std::size_t reserve) {
    std::vector<std::pair<Zone*, std::map<ReasonKey, Count>::iterator>> places;
    for (auto& [name, zone] : of_.zones_) {
      for (auto at = zone->by_reason.begin(); at != zone->by_reason.end(); ++at) places.emplace_back(zone.get(), at);
    }
    std::stable_sort(places.begin(), places.end(),
                     [](const auto& a, const auto& b) { return a.second->second.from_ns < b.second->second.from_ns; });
    if (places.size() <= Left()) reserve = 0;
    for (std::size_t i = 0; i < places.size() && Left() > reserve; ++i) {
      const auto& [zone, at] = places[i];
      Begin(*zone, at->first, at->second);
      zone->by_reason.erase(at);
    }
  }

  // Everything that is still there, in one row.
  void Rest() {
    Count rest;
    for (auto& [name, zone] : of_.zones_) {
      for (const auto& [key, count] : zone->by_reason) rest.Fold(count);
      zone->by_reason.clear();
    }
    for (const auto& [key, row] : of_.uncounted_) rest.Fold({row.packets, 1, row.from_ns, row.to_ns});
    of_.uncounted_.clear();
    if (rest.packets == 0) return;
    if (Left() == 0) {  // the last row is part of the rest
      rest.Fold({out_.back().packets, out_.back().folded, out_.back().from_ns, out_.back().to_ns});
      out_.pop_back();
    }
    rest.Into(out_.emplace_back());
  }

  std::vector<ViolationRow> Done() {
    for (const ViolationRow& row : out_) of_.pending_ -= row.packets;
    return std::move(out_);
  }

 private:
  [[nodiscard]] std::size_t Left() const { return most_ - out_.size(); }
  [[nodiscard]] std::size_t Share(std::size_t part) const { return all_ <= most_ ? Left() : Left() / part; }

  template <typename Place, typename Rows, typename Before>
  std::vector<Place> Chosen(Rows Zone::*rows, const Before& before) {
    std::vector<std::vector<Place>> places;
    for (auto& [name, zone] : of_.zones_) {
      auto& here = places.emplace_back();
      for (auto at = (*zone.*rows).begin(); at != (*zone.*rows).end(); ++at) here.emplace_back(zone.get(), at);
      std::stable_sort(here.begin(), here.end(), before);
    }
    return InTurn(places, Share(2));
  }

  ViolationRow& Begin(const Zone& zone, const ReasonKey& key, const Count& count) {
    ViolationRow& row = out_.emplace_back();
    row.zone = zone.name;
    if (key.reason != kNoReason) row.reason = static_cast<DropReason>(key.reason);
    if (key.target != kNoTarget) {
      row.kind = RowKind::kCrossing;
      row.target = of_.crossings_.guarded[key.target - 1].zone;
    }
    count.Into(row);
    return row;
  }

  Violations& of_;
  std::size_t most_;
  std::size_t all_ = 0;
  std::vector<ViolationRow> out_;
};

std::vector<ViolationRow> Violations::Take(std::size_t most, std::int64_t wall_ns) {
  if (most == 0) return {};
  Collection collection(*this, most);
  collection.Uncounted();
  collection.Scans(wall_ns);
  collection.FullRows();
  collection.RowsBySource();
  collection.RowsByReason(0);
  return collection.Done();
}

std::vector<ViolationRow> Violations::TakeAll(std::size_t most, std::int64_t wall_ns) {
  Collection collection(*this, std::max<std::size_t>(1, most));
  collection.Uncounted();
  collection.Scans(wall_ns);
  collection.FullRows();
  collection.RowsBySource();
  collection.RowsByReason(1);
  collection.Rest();
  return collection.Done();
}

EntryBudget::EntryBudget(std::size_t per_interval, std::size_t per_hour, std::int64_t now_ns)
    : per_interval_(per_interval),
      half_hourly_(std::max<std::int64_t>(1, static_cast<std::int64_t>(per_hour) / 2)),
      tokens_ns_(kHourNs),
      last_ns_(now_ns) {}

std::size_t EntryBudget::Available(std::int64_t now_ns) {
  tokens_ns_ = std::min(kHourNs, tokens_ns_ + std::max<std::int64_t>(0, now_ns - last_ns_));
  last_ns_ = now_ns;
  return std::min(per_interval_, static_cast<std::size_t>(tokens_ns_ / (kHourNs / half_hourly_)));
}

void EntryBudget::Spend(std::size_t count) {
  tokens_ns_ -= static_cast<std::int64_t>(count) * (kHourNs / half_hourly_);
}

}  // namespace stele::netfilter
