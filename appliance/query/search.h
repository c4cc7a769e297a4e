// Scanning the log: newest first for people, oldest first for tails, over whole blocks, without an index: nothing that
// matches is ever missed. Blocks outside the time range are not read; a damaged block is skipped and reported.
#pragma once

#include <atomic>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <vector>

#include "appliance/query/matcher.h"
#include "appliance/store/log_reader.h"

namespace stele::query {

struct ScanRange {
  std::uint64_t first = 0;  // sequences [first, end)
  std::uint64_t end = 0;
  std::int64_t from_ns = std::numeric_limits<std::int64_t>::min();  // receive times [from, to)
  std::int64_t to_ns = std::numeric_limits<std::int64_t>::max();
};

enum class Order { kNewestFirst, kOldestFirst };
enum class Ended { kDone, kCaller, kTimeBox, kCancelled };

struct Span {
  std::uint64_t first = 0;
  std::uint64_t end = 0;
};

struct ScanOutcome {
  Ended ended = Ended::kDone;
  std::uint64_t scanned_records = 0;
  // Where a later scan goes on: newest first it is the next `end`, oldest first the next `first`.
  std::uint64_t resume_at = 0;
  std::vector<Span> unreadable;  // damaged blocks
};

// Says when to stop.
struct ScanLimits {
  std::int64_t deadline_boottime_ns = std::numeric_limits<std::int64_t>::max();
  const std::atomic<bool>* cancelled = nullptr;
};

// One thread each.
class Scanner {
 public:
  Scanner(store::LogReader& reader, Clock& clock);

  // Calls `on_hit` for every record of the range that matches; it returns false to end the scan (that record counts as
  // seen). The fields are valid during the call only. Errors from `on_hit`, and when a unit becomes unreadable under
  // the scan.
  using OnHit = std::function<Result<bool>(RecordFields& fields)>;
  [[nodiscard]] Result<ScanOutcome> Scan(const ScanRange& range, Order order, const Matcher& matcher,
                                         const ScanLimits& limits, const OnHit& on_hit);

  // One record; kNotFound beyond the log's end. The block is kept alive by the result.
  struct One {
    std::shared_ptr<const ledger::DecodedBlock> block;
    RecordView record;
  };
  [[nodiscard]] Result<One> RecordAt(std::uint64_t sequence);

  [[nodiscard]] const SourceLookup& sources() const { return sources_; }
  [[nodiscard]] JsonScratch& scratch() { return scratch_; }
  [[nodiscard]] store::LogReader& reader() { return reader_; }
  [[nodiscard]] Clock& clock() { return clock_; }

 private:
  struct State;
  [[nodiscard]] Result<bool> ScanUnit(const Span& here, State& state);
  [[nodiscard]] Result<bool> ScanBlock(const store::BlockInfo& info, const ledger::DecodedBlock& block, State& state);
  [[nodiscard]] bool MustStop(State& state) const;

  store::LogReader& reader_;
  Clock& clock_;
  JsonScratch scratch_;
  std::map<std::uint64_t, SourceNames> names_;  // by the sequence of the declaring entry
  SourceLookup sources_;
};

}  // namespace stele::query
