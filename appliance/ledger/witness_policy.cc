#include "appliance/ledger/witness_policy.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace stele::ledger {
namespace {

constexpr std::string_view kNone = "none";

//= c2sp.org/tlog-policy, "Character set"
//# the allowed octet values are 0x09 (tab), 0x0A (newline), 0x20-0x7E, and 0x80-0xFF.
bool IsPolicyText(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    const auto octet = static_cast<unsigned char>(c);
    return octet == 0x09 || octet == 0x0a || (octet >= 0x20 && octet != 0x7f);
  });
}

std::vector<std::string_view> ItemsOf(std::string_view line) {
  std::vector<std::string_view> items;
  std::size_t at = 0;
  while ((at = line.find_first_not_of(" \t", at)) != std::string_view::npos) {
    const std::size_t end = std::min(line.find_first_of(" \t", at), line.size());
    items.push_back(line.substr(at, end - at));
    at = end;
  }
  return items;
}

// One policy being read, line after line.
class PolicyReader {
 public:
  Result<void> Line(const std::vector<std::string_view>& items) {
    if (items[0] == "log") return Log(items);
    if (items[0] == "witness") return Witness(items);
    if (items[0] == "group") return Group(items);
    if (items[0] == "quorum") return Quorum(items);
    return Fail(Code::kInvalid, "not log, witness, group or quorum");
  }

  Result<WitnessPolicy> Finish() {
    if (policy_.quorum.empty()) return Fail(Code::kInvalid, "there is no quorum line");
    return std::move(policy_);
  }

 private:
  Result<void> Log(const std::vector<std::string_view>& items) {
    if (items.size() < 2 || items.size() > 3) return Fail(Code::kInvalid, "expected: log <vkey> [<url>]");
    if (policy_.logs.size() == kPolicyItemsMax) return Fail(Code::kInvalid, "too many logs");
    STELE_TRY(VerifyKey key, ParseVkey(items[1]));
    for (const WitnessPolicy::Log& log : policy_.logs) {
      if (log.key.public_key == key.public_key) return Fail(Code::kInvalid, "the key of this log is there twice");
    }
    policy_.logs.push_back({std::move(key), items.size() == 3 ? std::string(items[2]) : std::string()});
    return {};
  }

  Result<void> Witness(const std::vector<std::string_view>& items) {
    if (items.size() < 3 || items.size() > 4) return Fail(Code::kInvalid, "expected: witness <name> <vkey> [<url>]");
    if (policy_.witnesses.size() == kPolicyItemsMax) return Fail(Code::kInvalid, "too many witnesses");
    STELE_TRY(CosignerKey key, ParseCosignerVkey(items[2]));
    for (const WitnessPolicy::Witness& witness : policy_.witnesses) {
      if (witness.key.public_key == key.public_key)
        return Fail(Code::kInvalid, "the key of this witness is there twice");
    }
    STELE_TRY_VOID(Define(items[1]));
    policy_.witnesses.push_back(
        {std::string(items[1]), std::move(key), items.size() == 4 ? std::string(items[3]) : std::string()});
    return {};
  }

  Result<void> Group(const std::vector<std::string_view>& items) {
    if (items.size() < 4) return Fail(Code::kInvalid, "expected: group <name> all|any|<k> <name>...");
    if (policy_.groups.size() == kPolicyItemsMax) return Fail(Code::kInvalid, "too many groups");
    WitnessPolicy::Group group;
    group.name = std::string(items[1]);
    for (std::size_t i = 3; i < items.size(); ++i) {
      if (defined_.find(items[i]) == defined_.end())
        return Fail(Code::kInvalid, "a member is not defined on an earlier line");
      //= c2sp.org/tlog-policy, "Defining a witness group"
      //# Each defined name can be listed as a group member at most once.
      if (!members_.insert(std::string(items[i])).second)
        return Fail(Code::kInvalid, "a member is already in this or another group");
      group.members.emplace_back(items[i]);
    }
    STELE_TRY(group.threshold, Threshold(items[2], group.members.size()));
    STELE_TRY_VOID(Define(items[1]));
    policy_.groups.push_back(std::move(group));
    return {};
  }

  static Result<std::size_t> Threshold(std::string_view word, std::size_t members) {
    if (word == "all") return members;
    if (word == "any") return std::size_t{1};
    std::size_t threshold = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), threshold);
    if (error != std::errc{} || end != word.data() + word.size() || threshold < 1 || threshold > members)
      return Fail(Code::kInvalid, "the threshold is not all, any or a number from 1 to the number of members");
    return threshold;
  }

  Result<void> Quorum(const std::vector<std::string_view>& items) {
    if (items.size() != 2) return Fail(Code::kInvalid, "expected: quorum <name>");
    if (!policy_.quorum.empty()) return Fail(Code::kInvalid, "a second quorum line");
    if (items[1] != kNone && defined_.find(items[1]) == defined_.end())
      return Fail(Code::kInvalid, "the quorum is not defined on an earlier line");
    policy_.quorum = std::string(items[1]);
    return {};
  }

  Result<void> Define(std::string_view name) {
    if (name == kNone) return Fail(Code::kInvalid, "the name none is taken");
    if (!defined_.insert(std::string(name)).second) return Fail(Code::kInvalid, "this name is already defined");
    return {};
  }

  WitnessPolicy policy_;
  std::set<std::string, std::less<>> defined_;
  std::set<std::string, std::less<>> members_;  // of any group
};

}  // namespace

bool WitnessPolicy::QuorumMet(const std::set<std::string, std::less<>>& cosigned) const {
  if (quorum == kNone) return true;
  std::set<std::string, std::less<>> met;
  for (const Witness& witness : witnesses) {
    if (cosigned.count(witness.name) != 0) met.insert(witness.name);
  }
  for (const Group& group : groups) {  // members stand on earlier lines, so one pass decides
    const auto count = std::count_if(group.members.begin(), group.members.end(),
                                     [&met](const std::string& member) { return met.count(member) != 0; });
    if (static_cast<std::size_t>(count) >= group.threshold) met.insert(group.name);
  }
  return met.count(quorum) != 0;
}

Result<WitnessPolicy> ParseWitnessPolicy(std::string_view text) {
  if (text.size() > kPolicyBytesMax) return Fail(Code::kInvalid, "policy: too long");
  if (!IsPolicyText(text)) return Fail(Code::kInvalid, "policy: a control character");
  if (!text.empty() && text.back() != '\n') return Fail(Code::kInvalid, "policy: the last line is cut");
  PolicyReader reader;
  std::size_t number = 0;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const auto items = ItemsOf(text.substr(0, end));
    text.remove_prefix(end + 1);
    ++number;
    if (items.empty() || items[0].front() == '#') continue;
    if (const auto read = reader.Line(items); !read)
      return Fail(Code::kInvalid, std::to_string(number) + ": " + read.error().context);
  }
  auto policy = reader.Finish();
  if (!policy) return Fail(Code::kInvalid, std::to_string(number) + ": " + policy.error().context);
  return policy;
}

Result<WitnessReport> CheckWitnesses(const WitnessPolicy& policy, const Note& note) {
  WitnessReport report;
  const std::string_view origin = std::string_view(note.text).substr(0, note.text.find('\n'));
  for (std::size_t i = 0; i < policy.logs.size(); ++i) {
    const auto verified = VerifyNote(note, policy.logs[i].key);
    if (!verified && verified.error().code == Code::kDenied) return tl::unexpected(verified.error());
    if (verified && policy.logs[i].key.name == origin && !report.log) report.log = i;
  }
  if (!policy.logs.empty() && !report.log) return Fail(Code::kDenied, "checkpoint: signed by no log of the policy");
  std::set<std::string, std::less<>> cosigned;
  for (const WitnessPolicy::Witness& witness : policy.witnesses) {
    const auto time_s = VerifyCosignature(note, witness.key);
    if (!time_s && time_s.error().code == Code::kDenied) return tl::unexpected(time_s.error());
    if (time_s) cosigned.insert(witness.name);
    report.witnesses.push_back({witness.name, time_s ? std::optional(*time_s) : std::nullopt});
  }
  report.quorum_met = policy.QuorumMet(cosigned);
  return report;
}

}  // namespace stele::ledger
