// What is said and done about rules that are not those in force. Each look at the rules goes in; alarms come out, at
// most a few at once and then one a minute, with how many went unsaid. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "netfilter/drift.h"

namespace stele::limits {

inline constexpr unsigned kDriftAlarms = 8;                    // at once
inline constexpr std::int64_t kDriftAlarmNs = 60'000'000'000;  // until one more
inline constexpr std::size_t kDriftDifferences = 16;           // named in one alarm
inline constexpr std::size_t kForeignTables = 64;              // remembered

}  // namespace stele::limits

namespace stele::guard {

// Some at once, then one every interval.
class Pace {
 public:
  Pace(unsigned at_once, std::int64_t interval_ns) : most_(at_once), interval_ns_(interval_ns), left_(at_once) {}
  [[nodiscard]] bool Take(std::int64_t now_ns);

 private:
  unsigned most_;
  std::int64_t interval_ns_;
  unsigned left_;
  std::int64_t since_ns_ = 0;  // when the next one began to grow
};

// One look at the rules.
struct Look {
  std::vector<std::string> differences;         // from those in force
  std::vector<std::string> foreign;             // other tables: "ip filter"
  std::vector<netfilter::RulesChange> changes;  // by others, since the last look
};

class DriftTracker {
 public:
  explicit DriftTracker(bool restore) : restore_(restore) {}

  struct Outcome {
    std::vector<std::string> alarms;  // payloads of entries
    bool restore = false;             // put the rules back, then say Restored()
  };
  [[nodiscard]] Outcome Observe(const Look& look, std::int64_t now_ns);
  // How the restoring went. An alarm where there is one to be said; empty: none.
  [[nodiscard]] std::string Restored(const std::string& problem, std::int64_t now_ns);
  // What went unsaid, when its time has come; empty: nothing.
  [[nodiscard]] std::string Tick(std::int64_t now_ns);
  void Forget();  // other rules are in force now

  // {"state":"none"|"found","found":N,"restored":N,"differences":[...],"program","process","text"}
  [[nodiscard]] nlohmann::json Status() const;

 private:
  struct Found {
    std::string what;
    std::vector<std::string> differences;
    std::string program;
    std::uint32_t process = 0;
  };
  [[nodiscard]] static Found Describe(const Look& look);
  [[nodiscard]] std::string Say(const Found& found, std::int64_t now_ns);
  [[nodiscard]] std::string Alarm(const Found& found, std::uint64_t count) const;

  bool restore_;
  Pace pace_{limits::kDriftAlarms, limits::kDriftAlarmNs};
  std::vector<std::string> told_;  // differences that stand
  std::set<std::string> foreign_;
  Found last_;
  std::uint64_t unsaid_ = 0;
  bool last_said_ = false;
  std::uint64_t found_ = 0;
  std::uint64_t restored_ = 0;
};

}  // namespace stele::guard
