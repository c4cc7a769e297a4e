// What the ledger notices by itself: a clock that was set, sources that fall silent or are heard again.
#include <algorithm>

#include "appliance/daemons/ledger_service.h"

namespace stele::ledger_daemon {
namespace {

using channel::Role;
using nlohmann::json;
using record::Kind;

constexpr std::int64_t kNsPerMs = 1'000'000;
constexpr std::int64_t kClockStepNs = 1'000'000'000;
constexpr std::int64_t kSourcesWatchNs = 1'000'000'000;

}  // namespace

// REALTIME against BOOTTIME: a step of more than a second is an event of its own.
void Service::WatchClock() {
  const std::int64_t boottime = clock_.BoottimeNs();
  const std::int64_t wall = clock_.WallNs();
  const std::int64_t moved = wall - boottime - clock_offset_ns_;
  if (moved > -kClockStepNs && moved < kClockStepNs) return;
  clock_offset_ns_ = wall - boottime;
  (void)AppendOwn(
      Kind::kClock,
      json{{"reason", "step"}, {"realtime_ns", wall}, {"boottime_ns", boottime}, {"moved_ns", moved}}.dump());
  const std::string size = std::to_string((moved < 0 ? -moved : moved) / kNsPerMs);
  (void)AppendOwn(Kind::kAlarm, json{{"alarm", "clock_step"},
                                     {"text", "the clock was set " + size + " ms " + (moved < 0 ? "back" : "forward")},
                                     {"moved_ns", moved}}
                                    .dump());
}

// Once a second: who has fallen silent, who is heard again. The time in which nobody could be heard does not count.
void Service::WatchSources() {
  const std::int64_t now = clock_.BoottimeNs();
  const bool listening = store_error_.empty() && HasRoom() &&
                         std::any_of(appenders_.begin(), appenders_.end(),
                                     [](const auto& one) { return one.second.role == Role::kReceive; });
  sources_.Advance(now, listening);
  if (now - sources_watched_ns_ < kSourcesWatchNs || stopping_ || !listening) return;
  sources_watched_ns_ = now;
  for (const SourceAlarm& alarm : sources_.TakeAlarms(clock_.WallNs())) {
    if (alarm.source != 0 && sources_.MustDeclare(alarm.source)) {
      (void)AppendOwn(Kind::kSource, sources_.EntryOf(alarm.source), alarm.source);
    }
    (void)AppendOwn(Kind::kAlarm, alarm.payload, alarm.source);
  }
}

// At a stop: the last unit shall know the numbers of everybody, whoever it was that spoke since it began.
void Service::CarrySources() {
  const std::size_t room = gathering_.batch.size() + 1'024 < limits::kBlockRecords
                               ? limits::kBlockRecords - 1'024 - gathering_.batch.size()
                               : 0;
  for (const std::uint32_t number : sources_.Carry(std::min(room, limits::kSourcesCarried))) {
    (void)AppendOwn(Kind::kSource, sources_.EntryOf(number), number);
  }
}

}  // namespace stele::ledger_daemon
