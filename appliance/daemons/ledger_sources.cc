#include "appliance/daemons/ledger_sources.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "appliance/base/limits.h"
#include "appliance/base/text.h"

namespace stele::ledger_daemon {
namespace {

using nlohmann::json;

constexpr std::int64_t kNsPerSecond = 1'000'000'000;
constexpr std::int64_t kNsPerMs = 1'000'000;
constexpr std::int64_t kMinuteNs = 60 * kNsPerSecond;
constexpr std::int64_t kStepMaxNs = 2 * kNsPerSecond;  // longer between two looks: the appliance itself stood still

std::string Dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

std::string TextOf(const json& object, const char* name) {
  const auto at = object.find(name);
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

std::string DurationText(std::int64_t ns) {
  if (ns < kNsPerSecond) return std::to_string(ns / kNsPerMs) + " ms";
  const std::int64_t seconds = ns / kNsPerSecond;
  if (seconds < 120) return std::to_string(seconds) + " s";
  if (seconds < 2 * 3'600) return std::to_string(seconds / 60) + " min";
  if (seconds < 2 * 86'400) return std::to_string(seconds / 3'600) + " h";
  return std::to_string(seconds / 86'400) + " days";
}

// As text: a certificate's identity is an object.
std::string IdentityIn(const json& description) {
  const auto at = description.find("identity");
  return at != description.end() && at->is_object() ? Dump(*at) : TextOf(description, "identity");
}

IpAddress AddressIn(const json& description) {
  const auto prefix = ParseIpPrefix(TextOf(description, "peer"));
  return prefix ? prefix->address : IpAddress{};
}

}  // namespace

void SourceRegistry::Restore(std::uint32_t number, std::string_view entry_json) {
  json description = json::parse(entry_json, nullptr, false);
  if (!description.is_object() || number == 0) return;
  description.erase("source");
  description.erase("name");
  std::string key = Dump(description);
  Source source;
  source.description = key;
  Name(source);
  numbers_[std::move(key)] = number;
  sources_[number] = std::move(source);
  next_number_ = std::max(next_number_, number + 1);
}

void SourceRegistry::Name(Source& source) const {
  const json description = json::parse(source.description, nullptr, false);
  const channel::NamedSource* named =
      description.is_object() ? rules_.Find(AddressIn(description), IdentityIn(description)) : nullptr;
  source.name = named != nullptr ? named->name : std::string();
  source.silence_s = named != nullptr ? named->silence_s : std::nullopt;
}

void SourceRegistry::Use(channel::SourceRules rules) {
  rules_ = std::move(rules);
  for (auto& [number, source] : sources_) {
    const std::string before = source.name;
    Name(source);
    if (source.name != before) declared_.erase(number);
  }
  std::map<std::string, Watch> watches;
  for (const channel::NamedSource& named : rules_.named()) {
    if (named.silence_s.value_or(0) == 0) continue;
    Watch watch;
    if (const auto at = watches_.find(named.name); at != watches_.end()) {
      watch = at->second;
    } else {
      watch.last_ns = listening_ns_;  // its time begins now
    }
    watch.silence_ns = *named.silence_s * kNsPerSecond;
    watches[named.name] = watch;
  }
  watches_ = std::move(watches);
}

Result<std::uint32_t> SourceRegistry::NumberOf(std::string_view description_json) {
  json description = json::parse(description_json, nullptr, false);
  if (!description.is_object()) return Fail(Code::kInvalid, "declare source: not a description");
  description.erase("source");  // both are ours to give
  description.erase("name");
  std::string key = Dump(description);
  if (const auto at = numbers_.find(key); at != numbers_.end()) return at->second;
  Source source;
  source.description = key;
  Name(source);
  const std::uint32_t number = next_number_++;
  sources_.emplace(number, std::move(source));
  numbers_.emplace(std::move(key), number);
  return number;
}

std::string SourceRegistry::EntryOf(std::uint32_t number) const {
  const auto at = sources_.find(number);
  if (at == sources_.end()) return "{}";
  json entry = json::parse(at->second.description, nullptr, false);
  entry["source"] = number;
  if (!at->second.name.empty()) entry["name"] = at->second.name;
  return Dump(entry);
}

void SourceRegistry::NewUnit() { declared_.clear(); }

std::vector<std::uint32_t> SourceRegistry::Carry(std::size_t count) {
  std::vector<std::pair<std::int64_t, std::uint32_t>> waiting;
  for (const auto& [number, source] : sources_) {
    if (!declared_.contains(number)) waiting.emplace_back(-source.last_wall_ns, number);
  }
  const std::size_t taken = std::min(count, waiting.size());
  std::partial_sort(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(taken), waiting.end());
  std::vector<std::uint32_t> carried;
  for (std::size_t i = 0; i < taken; ++i) {
    carried.push_back(waiting[i].second);
    declared_.insert(waiting[i].second);
  }
  return carried;
}

void SourceRegistry::Advance(std::int64_t boottime_ns, bool listening) {
  const std::int64_t passed_ns = last_boottime_ns_ == 0 ? 0 : boottime_ns - last_boottime_ns_;
  last_boottime_ns_ = boottime_ns;
  if (listening) listening_ns_ += std::clamp<std::int64_t>(passed_ns, 0, kStepMaxNs);
}

void SourceRegistry::Heard(std::uint32_t number, std::uint64_t count, std::int64_t wall_ns) {
  const auto at = sources_.find(number);
  if (at == sources_.end()) return;
  Source& source = at->second;
  if (source.habit.messages == 0) ++heard_count_;
  if (source.silent) {
    recovered_.push_back(AlarmOf(number, source, false, wall_ns));
    source.silent = false;
  }
  source.habit.Heard(listening_ns_, count);
  source.last_wall_ns = std::max(source.last_wall_ns, wall_ns);
  if (watches_.empty() || source.silence_s.value_or(0) == 0) return;
  const auto watched = watches_.find(source.name);
  if (watched == watches_.end()) return;
  Watch& watch = watched->second;
  if (watch.silent) {
    watch.silent = false;
    const json alarm = {{"alarm", "source_recovered"},
                        {"text", source.name + " is heard again after " + DurationText(listening_ns_ - watch.last_ns)},
                        {"name", source.name},
                        {"last_ns", watch.last_wall_ns}};
    recovered_.push_back({number, Dump(alarm)});
  }
  watch.last_ns = listening_ns_;
  watch.last_wall_ns = wall_ns;
}

// 0: never. A name with a time of its own is watched as a whole.
std::int64_t SourceRegistry::SilenceNs(const Source& source) const {
  if (source.silence_s) return 0;
  return source.habit.SilenceNs(static_cast<std::uint64_t>(rules_.silence_messages), rules_.silence_factor,
                                rules_.silence_min_s * kNsPerSecond);
}

SourceAlarm SourceRegistry::AlarmOf(std::uint32_t number, const Source& source, bool silent,
                                    std::int64_t wall_ns) const {
  const json description = json::parse(source.description, nullptr, false);
  const std::string peer = TextOf(description, "peer");
  const std::string listener = TextOf(description, "listener");
  const std::string who = (source.name.empty() ? "" : source.name + ", ") + peer + " at " + listener;
  const std::string age = DurationText(listening_ns_ - source.habit.last_ns);
  json alarm = {{"alarm", silent ? "source_silent" : "source_recovered"},
                {"text", silent ? who + ": silent for " + age + ", it used to send every " +
                                      DurationText(source.habit.mean_interval_ns) + " on average"
                                : who + ": heard again after " + age},
                {"source", number},
                {"peer", peer},
                {"listener", listener},
                {"last_ns", source.last_wall_ns},
                {"now_ns", wall_ns},
                {"interval_ms", source.habit.mean_interval_ns / kNsPerMs}};
  if (!source.name.empty()) alarm["name"] = source.name;
  return {number, Dump(alarm)};
}

bool SourceRegistry::MayAlarm() {
  if (alarms_in_minute_ >= limits::kSourceAlarmsPerMinute) {
    ++untold_;
    return false;
  }
  ++alarms_in_minute_;
  return true;
}

std::vector<SourceAlarm> SourceRegistry::TakeAlarms(std::int64_t wall_ns) {
  std::vector<SourceAlarm> alarms;
  if (last_boottime_ns_ - minute_ns_ >= kMinuteNs) {
    minute_ns_ = last_boottime_ns_;
    alarms_in_minute_ = 0;
    if (untold_ > 0) {
      alarms.push_back(
          {0, Dump(json{{"alarm", "sources_silent"},
                        {"text", std::to_string(untold_) + " further sources fell silent or were heard again"},
                        {"count", untold_}})});
    }
    untold_ = 0;
  }
  for (SourceAlarm& alarm : recovered_) {
    if (MayAlarm()) alarms.push_back(std::move(alarm));
  }
  recovered_.clear();
  for (auto& [number, source] : sources_) {
    if (source.silent || source.habit.messages == 0) continue;
    const std::int64_t silence_ns = SilenceNs(source);
    if (silence_ns == 0 || listening_ns_ - source.habit.last_ns <= silence_ns) continue;
    source.silent = true;
    if (MayAlarm()) alarms.push_back(AlarmOf(number, source, true, wall_ns));
  }
  for (auto& [name, watch] : watches_) {
    if (watch.silent || listening_ns_ - watch.last_ns <= watch.silence_ns) continue;
    watch.silent = true;
    if (!MayAlarm()) continue;
    alarms.push_back({0, Dump(json{{"alarm", "source_silent"},
                                   {"text", name + ": " + (watch.last_wall_ns == 0 ? "not heard at all" : "silent") +
                                                " for " + DurationText(listening_ns_ - watch.last_ns)},
                                   {"name", name},
                                   {"last_ns", watch.last_wall_ns},
                                   {"now_ns", wall_ns},
                                   {"configured_s", watch.silence_ns / kNsPerSecond}})});
  }
  return alarms;
}

json SourceRegistry::ToJson() const {
  json list = json::array();
  json numbers = json::array();
  std::uint64_t silent = 0;
  const auto tell = [&](json one) {
    if (++silent <= limits::kSilentSourcesListed) list.push_back(std::move(one));
  };
  for (const auto& [number, source] : sources_) {
    const auto watched = source.name.empty() ? watches_.end() : watches_.find(source.name);
    const bool by_name = watched != watches_.end() && watched->second.silent;
    if ((source.silent || by_name) && numbers.size() < limits::kSilentNumbersListed) numbers.push_back(number);
    if (!source.silent) continue;
    const json description = json::parse(source.description, nullptr, false);
    tell({{"source", number},
          {"name", source.name},
          {"peer", TextOf(description, "peer")},
          {"listener", TextOf(description, "listener")},
          {"last_time", FormatTime(source.last_wall_ns)}});
  }
  for (const auto& [name, watch] : watches_) {
    if (!watch.silent) continue;
    json one = {{"name", name}, {"last_time", nullptr}};
    if (watch.last_wall_ns != 0) one["last_time"] = FormatTime(watch.last_wall_ns);
    tell(std::move(one));
  }
  return {{"known", sources_.size()},
          {"heard", heard_count_},
          {"silent", silent},
          {"silent_list", std::move(list)},
          {"silent_numbers", std::move(numbers)},
          {"named", rules_.named().size()},
          {"unknown", rules_.refuse_unknown ? "refuse" : "accept"},
          {"silence_factor", rules_.silence_factor},
          {"silence_min_s", rules_.silence_min_s},
          {"silence_messages", rules_.silence_messages}};
}

}  // namespace stele::ledger_daemon
