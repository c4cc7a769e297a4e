#include "tests/relay/meddling.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace stele::tpm::test {
namespace {

struct Named {
  std::string_view name;
  std::uint32_t value;
};

// TPM 2.0 Library, Part 2, table "Definition of (UINT32) TPM_CC Constants": those that Stele and its tests send.
constexpr std::array<Named, 34> kCommands = {{
    {"EvictControl", 0x120},
    {"HierarchyControl", 0x121},
    {"NV_UndefineSpace", 0x122},
    {"Clear", 0x126},
    {"ClearControl", 0x127},
    {"HierarchyChangeAuth", 0x129},
    {"NV_DefineSpace", 0x12a},
    {"CreatePrimary", 0x131},
    {"NV_Increment", kCcNvIncrement},
    {"NV_Extend", kCcNvExtend},
    {"NV_Write", 0x137},
    {"SetPrimaryPolicy", 0x12e},
    {"Startup", 0x144},
    {"Shutdown", 0x145},
    {"ActivateCredential", 0x147},
    {"GetSessionAuditDigest", 0x14d},
    {"NV_Read", kCcNvRead},
    {"PolicySecret", 0x151},
    {"Create", 0x153},
    {"Load", 0x157},
    {"Quote", kCcQuote},
    {"Unseal", 0x15e},
    {"PolicySigned", 0x160},
    {"FlushContext", 0x165},
    {"NV_ReadPublic", 0x169},
    {"PolicyCommandCode", 0x16c},
    {"ReadPublic", kCcReadPublic},
    {"StartAuthSession", 0x176},
    {"GetCapability", kCcGetCapability},
    {"PCR_Read", kCcPcrRead},
    {"ReadClock", 0x181},
    {"PCR_Extend", kCcPcrExtend},
    {"NV_Certify", kCcNvCertify},
    {"PolicyNvWritten", 0x18f},
}};

// Part 2, section 6.6.3: warnings.
constexpr std::array<Named, 4> kAnswers = {
    {{"NV_RATE", 0x920}, {"LOCKOUT", 0x921}, {"RETRY", 0x922}, {"NV_UNAVAILABLE", 0x923}}};

constexpr std::array<std::pair<std::string_view, Act>, 5> kActs = {{{"answer", Act::kAnswer},
                                                                    {"drop-command", Act::kDropCommand},
                                                                    {"drop-reply", Act::kDropReply},
                                                                    {"cut-before", Act::kCutBefore},
                                                                    {"cut-after", Act::kCutAfter}}};

constexpr std::chrono::milliseconds kExtendMs{20};
constexpr std::chrono::milliseconds kNvWriteMs{80};
constexpr std::chrono::milliseconds kSignMs{70};

std::vector<std::string_view> WordsOf(std::string_view line) {
  std::vector<std::string_view> words;
  while (!line.empty()) {
    const std::size_t begin = line.find_first_not_of(" \t\r\n");
    if (begin == std::string_view::npos) break;
    const std::size_t end = std::min(line.find_first_of(" \t\r\n", begin), line.size());
    words.push_back(line.substr(begin, end - begin));
    line.remove_prefix(end);
  }
  return words;
}

Result<std::uint64_t> NumberOf(std::string_view word) {
  const bool hex = word.size() > 2 && word.substr(0, 2) == "0x";
  const std::string_view digits = hex ? word.substr(2) : word;
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, hex ? 16 : 10);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return Fail(Code::kInvalid, fmt::format("'{}' is not a number", word));
  }
  return value;
}

Result<std::vector<std::uint32_t>> CommandsOf(std::string_view word) {
  if (word == "any") return std::vector<std::uint32_t>{};
  if (word == "nv") return std::vector<std::uint32_t>{kCcNvExtend, kCcNvIncrement};
  for (const Named& one : kCommands) {
    if (one.name == word) return std::vector<std::uint32_t>{one.value};
  }
  return Fail(Code::kInvalid, fmt::format("'{}' is not a command", word));
}

Result<std::uint32_t> AnswerOf(std::string_view word) {
  for (const Named& one : kAnswers) {
    if (one.name == word) return one.value;
  }
  STELE_TRY(const std::uint64_t number, NumberOf(word));
  return static_cast<std::uint32_t>(number);
}

// words: ACT COMMAND [RC] ["times" N] ["after" N]
Result<Rule> RuleOf(Act act, const std::vector<std::string_view>& words) {
  Rule rule;
  rule.act = act;
  if (words.size() < 2) return Fail(Code::kInvalid, "which command?");
  STELE_TRY(rule.commands, CommandsOf(words[1]));
  std::size_t at = 2;
  if (act == Act::kAnswer) {
    if (words.size() < 3) return Fail(Code::kInvalid, "which answer?");
    STELE_TRY(rule.answer, AnswerOf(words[at++]));
  }
  for (; at + 1 < words.size(); at += 2) {
    STELE_TRY(const std::uint64_t number, NumberOf(words[at + 1]));
    if (words[at] == "times") {
      rule.times = number;
    } else if (words[at] == "after") {
      rule.after = number;
    } else {
      return Fail(Code::kInvalid, fmt::format("'{}' is neither times nor after", words[at]));
    }
  }
  if (at != words.size()) return Fail(Code::kInvalid, fmt::format("'{}' needs a number", words[at]));
  return rule;
}

}  // namespace

Result<std::string> Meddling::Obey(std::string_view line) {
  const std::vector<std::string_view> words = WordsOf(line);
  if (words.empty()) return Fail(Code::kInvalid, "an empty line");
  for (const auto& [name, act] : kActs) {
    if (words[0] != name) continue;
    STELE_TRY(Rule rule, RuleOf(act, words));
    Add(std::move(rule));
    return std::string("ok");
  }
  if (words[0] == "clear" && words.size() == 1) {
    Clear();
    return std::string("ok");
  }
  if (words[0] == "count" && words.size() == 2) {
    STELE_TRY(const auto commands, CommandsOf(words[1]));
    int count = commands.empty() ? Count(0) : 0;
    for (const std::uint32_t command : commands) count += Count(command);
    return std::to_string(count);
  }
  const std::scoped_lock lock(mutex_);
  if (words[0] == "lack" && words.size() == 2) {
    STELE_TRY(const auto commands, CommandsOf(words[1]));
    lacking_.insert(lacking_.end(), commands.begin(), commands.end());
    return std::string("ok");
  }
  if (words[0] == "profile" && words.size() == 2 && (words[1] == "slow-chip" || words[1] == "none")) {
    delays_.clear();
    if (words[1] == "slow-chip") {
      delays_ = {{kCcPcrExtend, kExtendMs},
                 {kCcNvExtend, kNvWriteMs},
                 {kCcNvIncrement, kNvWriteMs},
                 {kCcQuote, kSignMs},
                 {kCcNvCertify, kSignMs}};
    }
    return std::string("ok");
  }
  if (words[0] == "delay" && words.size() == 3) {
    STELE_TRY(const auto commands, CommandsOf(words[1]));
    STELE_TRY(const std::uint64_t number, NumberOf(words[2]));
    const std::chrono::milliseconds delay{static_cast<std::int64_t>(number)};
    if (commands.empty()) {
      for (const Named& one : kCommands) delays_[one.value] = delay;
    }
    for (const std::uint32_t command : commands) delays_[command] = delay;
    return std::string("ok");
  }
  return Fail(Code::kInvalid, fmt::format("'{}' is not a line of the relay's language", line));
}

void Meddling::Add(Rule rule) {
  const std::scoped_lock lock(mutex_);
  rules_.push_back(std::move(rule));
}

void Meddling::Clear() {
  const std::scoped_lock lock(mutex_);
  rules_.clear();
}

int Meddling::Count(std::uint32_t command) const {
  const std::scoped_lock lock(mutex_);
  if (command == 0) return count_;
  const auto at = counts_.find(command);
  return at == counts_.end() ? 0 : at->second;
}

bool Meddling::Lacks(std::uint32_t command) const {
  const std::scoped_lock lock(mutex_);
  return std::find(lacking_.begin(), lacking_.end(), command) != lacking_.end();
}

Plan Meddling::Next(std::uint32_t command) {
  const std::scoped_lock lock(mutex_);
  ++count_;
  ++counts_[command];
  Plan plan;
  if (const auto delay = delays_.find(command); delay != delays_.end()) plan.delay = delay->second;
  for (Rule& rule : rules_) {
    const bool matches =
        rule.commands.empty() || std::find(rule.commands.begin(), rule.commands.end(), command) != rule.commands.end();
    if (!matches || rule.times == 0) continue;
    if (rule.after > 0) {
      --rule.after;
      continue;
    }
    if (rule.times != UINT64_MAX) --rule.times;
    plan.act = rule.act;
    plan.answer = rule.answer;
    break;
  }
  return plan;
}

std::string NameOfCommand(std::uint32_t code) {
  for (const Named& one : kCommands) {
    if (one.value == code) return std::string(one.name);
  }
  return fmt::format("0x{:x}", code);
}

std::string_view NameOfAct(Act act) {
  for (const auto& [name, value] : kActs) {
    if (value == act) return name;
  }
  return "pass";
}

}  // namespace stele::tpm::test
