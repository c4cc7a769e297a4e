// The registry of sources: their numbers, their names, how often they speak, and who has fallen silent. Bounded by what the
// receivers may declare; knows no file, no clock and no channel. Thread safety: one thread.
//
// A source is a description (zone, listener, transport, peer, identity); its number is fixed as long as the last unit or a stop
// remembers it. The name is the operator's (channel::SourceRules) and may change: then its entry is written again.
//
// Silence is measured in *listening time*, which the owner advances and which stands still while nobody listens (the appliance
// was suspended, the store takes nothing, the receiver is being started again): that is not the source's silence.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "appliance/base/seams.h"
#include "appliance/channel/source_rules.h"
#include "appliance/record/habit.h"

namespace stele::ledger_daemon {

// One alarm entry to be written, in the log's own order.
struct SourceAlarm {
  std::uint32_t source = 0;  // 0: about none in particular
  std::string payload;       // {"alarm":"source_silent"|"source_recovered"|"sources_silent","text":...}
};

class SourceRegistry {
 public:
  explicit SourceRegistry(std::uint32_t next_number) : next_number_(std::max<std::uint32_t>(1, next_number)) {}

  // A source entry of an earlier run, as it stands in the log; what is not one is left out.
  void Restore(std::uint32_t number, std::string_view entry_json);
  // New rules: names are given afresh; an entry whose name has changed must be written again.
  void Use(channel::SourceRules rules);

  // The number of a described source, a new one at first sight. kInvalid: not a description.
  [[nodiscard]] Result<std::uint32_t> NumberOf(std::string_view description_json);
  [[nodiscard]] std::uint32_t next_number() const { return next_number_; }

  // Each unit declares the sources it uses. True once per unit and source (and again when its entry has changed): then its
  // entry must be written before anything of it.
  [[nodiscard]] bool MustDeclare(std::uint32_t number) { return declared_.insert(number).second; }
  [[nodiscard]] std::string EntryOf(std::uint32_t number) const;  // {"source":3,"name":"core-switch","zone":...}
  void NewUnit();
  // Sources heard of but not yet declared in this unit, the most recent first, at most `count`; they count as declared now. So
  // a unit that is the last one when the appliance stops remembers the numbers.
  [[nodiscard]] std::vector<std::uint32_t> Carry(std::size_t count);

  void Advance(std::int64_t boottime_ns, bool listening);
  void Heard(std::uint32_t number, std::uint64_t count, std::int64_t wall_ns);
  // Who fell silent and who was heard again since the last call. At most limits::kSourceAlarmsPerMinute; beyond, one alarm a
  // minute says how many more.
  [[nodiscard]] std::vector<SourceAlarm> TakeAlarms(std::int64_t wall_ns);

  // For the status: {"known","heard","silent","silent_list":[...],"unknown","silence_factor",...}
  [[nodiscard]] nlohmann::json ToJson() const;

 private:
  struct Source {
    std::string description;  // canonical JSON, without number and name
    std::string name;
    std::optional<std::int64_t> silence_s;
    record::Habit habit;      // in listening time
    std::int64_t last_wall_ns = 0;
    bool silent = false;
  };
  // A name with a time of its own: any of its sources will do, and one that was never heard is missed too.
  struct Watch {
    std::int64_t silence_ns = 0;
    std::int64_t last_ns = 0;  // listening time
    std::int64_t last_wall_ns = 0;
    bool silent = false;
  };

  void Name(Source& source) const;
  [[nodiscard]] std::int64_t SilenceNs(const Source& source) const;
  [[nodiscard]] SourceAlarm AlarmOf(std::uint32_t number, const Source& source, bool silent, std::int64_t wall_ns) const;
  bool MayAlarm();

  channel::SourceRules rules_;
  std::uint32_t next_number_ = 1;
  std::map<std::string, std::uint32_t, std::less<>> numbers_;  // by description
  std::unordered_map<std::uint32_t, Source> sources_;
  std::set<std::uint32_t> declared_;
  std::map<std::string, Watch> watches_;  // by name
  std::vector<SourceAlarm> recovered_;
  std::uint64_t heard_count_ = 0;

  std::int64_t listening_ns_ = 0;
  std::int64_t last_boottime_ns_ = 0;
  std::int64_t minute_ns_ = 0;      // boottime at which the budget of alarms began
  std::size_t alarms_in_minute_ = 0;
  std::uint64_t untold_ = 0;
};

}  // namespace stele::ledger_daemon
