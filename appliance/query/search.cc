#include "appliance/query/search.h"

#include <algorithm>

namespace stele::query {
namespace {

constexpr std::size_t kRecordsBetweenChecks = 1'024;  // between looks at the clock
constexpr std::size_t kNamesMax = 65'536;

RecordView ViewOf(const store::StoredRecord& stored) {
  return {stored.sequence, stored.kind, stored.flags, stored.source, stored.receive_wall_ns, stored.peer, stored.payload};
}

}  // namespace

struct Scanner::State {
  const ScanRange& range;
  Order order;
  const Matcher& matcher;
  const ScanLimits& limits;
  const OnHit& on_hit;
  ScanOutcome outcome;
};

Scanner::Scanner(store::LogReader& reader, Clock& clock) : reader_(reader), clock_(clock) {
  sources_ = [this](std::uint32_t source, std::uint64_t sequence) -> const SourceNames* {
    const store::SourceInfo* info = reader_.SourceOf(source, sequence);
    if (info == nullptr) return nullptr;
    const auto known = names_.find(info->declared_sequence);
    if (known != names_.end()) return &known->second;
    if (names_.size() >= kNamesMax) names_.clear();
    return &names_.emplace(info->declared_sequence, ParseSourceNames(source, info->description_json)).first->second;
  };
}

bool Scanner::MustStop(State& state) const {
  if (state.limits.cancelled != nullptr && state.limits.cancelled->load(std::memory_order_relaxed)) {
    state.outcome.ended = Ended::kCancelled;
    return true;
  }
  if (clock_.BoottimeNs() >= state.limits.deadline_boottime_ns) {
    state.outcome.ended = Ended::kTimeBox;
    return true;
  }
  return false;
}

// False: the scan is over.
Result<bool> Scanner::ScanBlock(const store::BlockInfo& info, const ledger::DecodedBlock& block, State& state) {
  const bool backwards = state.order == Order::kNewestFirst;
  const std::uint64_t first = std::max(info.first_sequence, state.range.first);
  const std::uint64_t end = std::min(info.first_sequence + info.record_count, state.range.end);
  for (std::uint64_t step = 0; step < end - first; ++step) {
    const std::uint64_t sequence = backwards ? end - 1 - step : first + step;
    if (step % kRecordsBetweenChecks == kRecordsBetweenChecks - 1 && MustStop(state)) return false;
    const auto index = static_cast<std::size_t>(sequence - info.first_sequence);
    ++state.outcome.scanned_records;
    state.outcome.resume_at = backwards ? sequence : sequence + 1;
    const std::int64_t time_ns = block.wall_ns[index];
    if (time_ns < state.range.from_ns || time_ns >= state.range.to_ns) continue;
    const RecordView record = ViewOf(store::LogReader::RecordAt(block, index));
    RecordFields fields(record, sources_, scratch_);
    if (!state.matcher.Matches(fields)) continue;
    STELE_TRY(const bool more, state.on_hit(fields));
    if (!more) {
      state.outcome.ended = Ended::kCaller;
      return false;
    }
  }
  return true;
}

// The part of a unit that is in the range. False: the scan is over.
Result<bool> Scanner::ScanUnit(const Span& here, State& state) {
  const bool backwards = state.order == Order::kNewestFirst;
  const auto first = reader_.BlockIndexOf(here.first);
  const auto last = first ? reader_.BlockIndexOf(here.end - 1) : first;
  if (!last) {  // its headers cannot be read
    state.outcome.unreadable.push_back(here);
    return true;
  }
  for (std::size_t step = 0; step <= *last - *first; ++step) {
    if (MustStop(state)) return false;
    const std::size_t at = backwards ? *last - step : *first + step;
    STELE_TRY(const store::BlockInfo info, reader_.BlockAt(at));
    const std::uint64_t end_sequence = info.first_sequence + info.record_count;
    if (info.wall_ns_max >= state.range.from_ns && info.wall_ns_min < state.range.to_ns) {
      const auto block = reader_.Block(at);
      if (block) {
        STELE_TRY(const bool more, ScanBlock(info, **block, state));
        if (!more) return false;
      } else {
        state.outcome.unreadable.push_back({info.first_sequence, end_sequence});
      }
    }
    state.outcome.resume_at = backwards ? std::max(info.first_sequence, here.first) : std::min(end_sequence, here.end);
  }
  return true;
}

Result<ScanOutcome> Scanner::Scan(const ScanRange& range, Order order, const Matcher& matcher, const ScanLimits& limits,
                                  const OnHit& on_hit) {
  ScanRange bounded = range;
  bounded.end = std::min(range.end, reader_.size());
  State state{bounded, order, matcher, limits, on_hit, {}};
  const bool backwards = order == Order::kNewestFirst;
  state.outcome.resume_at = backwards ? bounded.end : bounded.first;
  if (bounded.first >= bounded.end) return std::move(state.outcome);
  const std::vector<store::UnitInfo>& units = reader_.units();
  for (std::size_t step = 0; step < units.size(); ++step) {
    const store::UnitInfo& unit = units[backwards ? units.size() - 1 - step : step];
    const Span here{std::max(unit.first_sequence, bounded.first), std::min(unit.end_sequence, bounded.end)};
    if (here.first >= here.end || unit.expired) continue;
    if (MustStop(state)) return std::move(state.outcome);
    if (unit.wall_ns_max >= bounded.from_ns && unit.wall_ns_min < bounded.to_ns) {
      STELE_TRY(const bool more, ScanUnit(here, state));
      if (!more) return std::move(state.outcome);
    }
    state.outcome.resume_at = backwards ? here.first : here.end;
  }
  return std::move(state.outcome);
}

Result<Scanner::One> Scanner::RecordAt(std::uint64_t sequence) {
  if (sequence >= reader_.size()) return Fail(Code::kNotFound, "no such record");
  STELE_TRY(const std::size_t at, reader_.BlockIndexOf(sequence));
  One one;
  STELE_TRY(one.block, reader_.Block(at));
  one.record = ViewOf(store::LogReader::RecordAt(*one.block, static_cast<std::size_t>(sequence - one.block->header.first_sequence)));
  return one;
}

}  // namespace stele::query
