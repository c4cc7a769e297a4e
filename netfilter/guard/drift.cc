#include "netfilter/guard/drift.h"

#include <algorithm>

namespace stele::guard {
namespace {

using nlohmann::json;

constexpr std::size_t kClauseBytes = 300;

std::string Dump(const json& object) { return object.dump(-1, ' ', false, json::error_handler_t::replace); }

std::vector<std::string> Short(const std::vector<std::string>& differences) {
  std::vector<std::string> out;
  for (const std::string& one : differences) {
    if (out.size() == limits::kDriftDifferences) break;
    out.push_back(one.size() > kClauseBytes ? one.substr(0, kClauseBytes) + " ..." : one);
  }
  return out;
}

std::string WhoText(const std::string& program, std::uint32_t process) {
  return program.empty() ? "somebody who was not seen" : program + " (process " + std::to_string(process) + ")";
}

}  // namespace

bool Pace::Take(std::int64_t now_ns) {
  if (since_ns_ == 0) since_ns_ = now_ns;
  const std::int64_t grown = (now_ns - since_ns_) / interval_ns_;
  since_ns_ += grown * interval_ns_;
  left_ = static_cast<unsigned>(std::min<std::int64_t>(most_, left_ + grown));
  if (left_ == 0) return false;
  if (left_ == most_) since_ns_ = now_ns;
  --left_;
  return true;
}

DriftTracker::Found DriftTracker::Describe(const Look& look) {
  Found found;
  found.differences = Short(look.differences);
  for (const netfilter::RulesChange& change : look.changes) {
    if (change.program.empty()) continue;
    found.program = change.program;  // the last one: what it left is what is there
    found.process = change.process;
  }
  return found;
}

std::string DriftTracker::Alarm(const Found& found, std::uint64_t count) const {
  std::string text = WhoText(found.program, found.process) + " " + found.what;
  if (count > 1) text += "; " + std::to_string(count) + " times since this was last said";
  return Dump({{"alarm", "policy_drift"},
               {"text", text},
               {"differences", found.differences},
               {"program", found.program},
               {"process", found.process},
               {"count", count}});
}

std::string DriftTracker::Say(const Found& found, std::int64_t now_ns) {
  ++found_;
  last_ = found;
  last_said_ = pace_.Take(now_ns);
  if (!last_said_) {
    ++unsaid_;
    return {};
  }
  return Alarm(found, 1 + std::exchange(unsaid_, 0));
}

DriftTracker::Outcome DriftTracker::Observe(const Look& look, std::int64_t now_ns) {
  Outcome outcome;
  const auto say = [&outcome](std::string alarm) {
    if (!alarm.empty()) outcome.alarms.push_back(std::move(alarm));
  };
  Found found = Describe(look);
  std::set<std::string> foreign;
  Found strange = found;
  strange.differences.clear();
  for (const std::string& table : look.foreign) {
    if (foreign.size() == limits::kForeignTables) break;
    foreign.insert(table);
    if (!foreign_.contains(table)) strange.differences.push_back("table " + table + " is not Stele's");
  }
  foreign_ = std::move(foreign);
  if (!strange.differences.empty()) {
    strange.differences = Short(strange.differences);
    strange.what =
        "made rules in another table, which may override those of the policy: " + strange.differences.front();
    say(Say(strange, now_ns));
  }
  if (look.differences.empty()) {
    if (told_.empty()) return outcome;
    told_.clear();
    ++restored_;
    if (!pace_.Take(now_ns)) return outcome;
    say(Dump({{"alarm", "policy_restored"},
              {"text", "the rules are those of the policy in force again: " + WhoText(found.program, found.process)},
              {"program", found.program},
              {"process", found.process}}));
    return outcome;
  }
  outcome.restore = restore_;
  if (look.differences == told_ && !restore_) return outcome;
  told_ = look.differences;
  found.what = "changed the rules: " + found.differences.front();
  if (found.differences.size() > 1) found.what += ", and " + std::to_string(look.differences.size() - 1) + " more";
  say(Say(found, now_ns));
  return outcome;
}

std::string DriftTracker::Restored(const std::string& problem, std::int64_t now_ns) {
  if (!problem.empty()) {
    Found found = last_;
    found.what = "changed the rules, and they cannot be put back: " + problem;
    return Say(found, now_ns);
  }
  told_.clear();
  ++restored_;
  if (!last_said_) return {};
  last_said_ = false;
  return Dump({{"alarm", "policy_restored"},
               {"text", "the rules of the policy in force are back"},
               {"program", last_.program},
               {"process", last_.process}});
}

std::string DriftTracker::Tick(std::int64_t now_ns) {
  if (unsaid_ == 0 || !pace_.Take(now_ns)) return {};
  return Alarm(last_, std::exchange(unsaid_, 0));
}

void DriftTracker::Forget() { told_.clear(); }

json DriftTracker::Status() const {
  json status = {{"state", told_.empty() ? "none" : "found"},
                 {"found", found_},
                 {"restored", restored_},
                 {"differences", told_.empty() ? json::array() : json(Short(told_))},
                 {"foreign_tables", foreign_}};
  if (found_ > 0) {
    status["program"] = last_.program;
    status["process"] = last_.process;
    status["text"] = WhoText(last_.program, last_.process) + " " + last_.what;
  }
  return status;
}

}  // namespace stele::guard
