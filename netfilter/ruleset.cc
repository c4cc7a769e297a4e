#include "netfilter/ruleset.h"

#include <algorithm>
#include <charconv>
#include <map>

namespace stele::netfilter {
namespace {

constexpr std::string_view kHead = "table inet stele {";
constexpr std::string_view kBlank = " \t";

std::string_view Trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return "";
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

void AppendSet(std::string& out, const std::string& name, const SetSpec& set) {
  out += std::string("\t") + (set.map ? "map " : "set ") + name + " {\n\t\ttype " + set.type + "\n";
  if (set.size != 0) out += "\t\tsize " + std::to_string(set.size) + "\n";
  if (!set.flags.empty()) out += "\t\tflags " + set.flags + "\n";
  if (!set.timeout.empty()) out += "\t\ttimeout " + set.timeout + "\n";
  for (std::size_t i = 0; i < set.elements.size(); ++i) {
    out += (i == 0 ? "\t\telements = { " : ",\n\t\t\t     ") + set.elements[i];
  }
  out += set.elements.empty() ? "\t}\n\n" : " }\n\t}\n\n";
}

void AppendChain(std::string& out, const std::string& name, const Chain& chain) {
  out += "\tchain " + name + " {\n";
  if (!chain.hook.empty()) out += "\t\t" + chain.hook + "\n";
  for (const std::string& rule : chain.rules) out += "\t\t" + rule + "\n";
  out += "\t}\n\n";
}

class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {}

  Result<Ruleset> Parse() {
    if (Next() != kHead) return Wrong("does not begin with \"table inet stele {\"");
    Ruleset out;
    while (true) {
      const std::string_view line = Next();
      if (line == "}") break;
      const auto [kind, name] = Opening(line);
      if (name.empty()) return Wrong("is no set, map or chain");
      if (kind == "chain") {
        STELE_TRY(Chain chain, ParseChain());
        out.chains.emplace_back(name, std::move(chain));
      } else {
        STELE_TRY(SetSpec set, ParseSet(kind == "map"));
        out.sets.emplace_back(name, std::move(set));
      }
    }
    while (!rest_.empty()) {
      if (!Next().empty()) return Wrong("is behind the table");
    }
    return out;
  }

 private:
  // The next line that is not empty; empty at the end.
  std::string_view Next() {
    std::string_view line;
    while (line.empty() && !rest_.empty()) {
      const std::size_t end = std::min(rest_.find('\n'), rest_.size());
      line = Trimmed(rest_.substr(0, end));
      rest_.remove_prefix(std::min(end + 1, rest_.size()));
      ++number_;
    }
    return line;
  }

  [[nodiscard]] tl::unexpected<Error> Wrong(const std::string& what) const {
    return Fail(Code::kInvalid, "ruleset line " + std::to_string(number_) + " " + what);
  }

  static std::pair<std::string, std::string> Opening(std::string_view line) {
    for (const std::string_view kind : {"set", "map", "chain"}) {
      if (!line.starts_with(kind) || !line.ends_with(" {") || line.size() < kind.size() + 4) continue;
      return {std::string(kind), std::string(Trimmed(line.substr(kind.size(), line.size() - kind.size() - 2)))};
    }
    return {};
  }

  Result<Chain> ParseChain() {
    Chain chain;
    for (std::string_view line = Next(); line != "}"; line = Next()) {
      if (line.empty()) return Wrong("ends within a chain");
      if (line.starts_with("type ") && chain.rules.empty() && chain.hook.empty()) {
        chain.hook = line;
      } else {
        chain.rules.emplace_back(line);
      }
    }
    return chain;
  }

  Result<SetSpec> ParseSet(bool map) {
    SetSpec set;
    set.map = map;
    for (std::string_view line = Next(); line != "}"; line = Next()) {
      const std::size_t space = line.find(' ');
      if (space == std::string_view::npos) return Wrong("says nothing of a set");
      const std::string_view key = line.substr(0, space);
      const std::string_view value = Trimmed(line.substr(space));
      if (key == "type") {
        set.type = value;
      } else if (key == "flags") {
        set.flags = value;
      } else if (key == "timeout") {
        set.timeout = value;
      } else if (key == "size") {
        const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), set.size);
        if (error != std::errc() || end != value.data() + value.size()) return Wrong("is no size");
      } else if (key == "elements") {
        STELE_TRY_VOID(ParseElements(line, set.elements));
      } else {
        return Wrong("is unknown in a set");
      }
    }
    if (set.flags.find("dynamic") != std::string::npos) set.elements.clear();
    return set;
  }

  // elements = { A, B,
  //              C }
  Result<void> ParseElements(std::string_view line, std::vector<std::string>& out) {
    const std::size_t open = line.find('{');
    if (open == std::string_view::npos) return Wrong("has no elements");
    line.remove_prefix(open + 1);
    while (true) {
      const bool last = line.ends_with("}");
      if (last) line.remove_suffix(1);
      while (!(line = Trimmed(line)).empty()) {
        const std::size_t comma = std::min(line.find(','), line.size());
        out.emplace_back(Trimmed(line.substr(0, comma)));
        line.remove_prefix(std::min(comma + 1, line.size()));
      }
      if (last) return {};
      line = Next();
      if (line.empty()) return Wrong("ends within a set");
    }
  }

  std::string_view rest_;
  std::size_t number_ = 0;
};

// Newer versions of nft have another word for the same.
std::string Canonical(std::string rule) {
  constexpr std::string_view kNewer = "oif missing";
  if (const std::size_t at = rule.find(kNewer); at != std::string::npos) rule.replace(at, kNewer.size(), "oif 0");
  return rule;
}

class Comparison {
 public:
  explicit Comparison(std::size_t most) : most_(most) {}

  void Sets(const std::string& name, const SetSpec& meant, const SetSpec& found) {
    SetSpec ours = meant;
    SetSpec theirs = found;
    ours.elements.clear();
    theirs.elements.clear();
    if (ours != theirs) Say("set " + name + " is of another kind");
    Unordered("set " + name, meant.elements, found.elements);
  }

  void Chains(const std::string& name, const Chain& meant, const Chain& found) {
    if (meant.hook != found.hook) Say("chain " + name + " hooks as \"" + found.hook + "\"");
    for (std::size_t i = 0; i < std::max(meant.rules.size(), found.rules.size()); ++i) {
      const std::string ours = i < meant.rules.size() ? meant.rules[i] : "";
      const std::string theirs = i < found.rules.size() ? Canonical(found.rules[i]) : "";
      if (ours == theirs) continue;
      Say("chain " + name + ", rule " + std::to_string(i + 1) + ": \"" + theirs + "\" instead of \"" + ours + "\"");
      return;  // what follows is shifted
    }
  }

  template <typename Part, typename Compare>
  void Named(const char* what, const std::vector<std::pair<std::string, Part>>& meant,
             const std::vector<std::pair<std::string, Part>>& found, Compare compare) {
    std::map<std::string_view, const Part*> theirs;
    for (const auto& [name, part] : found) theirs.emplace(name, &part);
    for (const auto& [name, part] : meant) {
      const auto at = theirs.find(name);
      if (at == theirs.end()) {
        Say(std::string(what) + " " + name + " is gone");
        continue;
      }
      compare(name, part, *at->second);
      theirs.erase(at);
    }
    for (const auto& [name, part] : theirs) Say(std::string(what) + " " + std::string(name) + " is new");
  }

  std::vector<std::string> Take() { return std::move(out_); }

 private:
  void Unordered(const std::string& where, const std::vector<std::string>& meant,
                 const std::vector<std::string>& found) {
    std::vector<std::string> ours = meant;
    std::vector<std::string> theirs = found;
    std::sort(ours.begin(), ours.end());
    std::sort(theirs.begin(), theirs.end());
    if (ours == theirs) return;
    const auto each = [&](const std::vector<std::string>& a, const std::vector<std::string>& b, const char* what) {
      for (const std::string& element : a) {
        if (out_.size() >= most_) return;
        if (!std::binary_search(b.begin(), b.end(), element)) Say(where + ": " + element + what);
      }
    };
    each(ours, theirs, " is gone");
    each(theirs, ours, " is new");
  }

  void Say(std::string text) {
    if (out_.size() < most_) out_.push_back(std::move(text));
  }

  std::size_t most_;
  std::vector<std::string> out_;
};

}  // namespace

std::string RulesetText(const Ruleset& ruleset) {
  std::string out = std::string(kHead) + "\n";
  for (const auto& [name, set] : ruleset.sets) AppendSet(out, name, set);
  for (const auto& [name, chain] : ruleset.chains) AppendChain(out, name, chain);
  return out + "}\n";
}

Result<Ruleset> ParseRuleset(std::string_view text) { return Parser(text).Parse(); }

std::vector<std::string> DifferencesOf(const Ruleset& meant, const Ruleset& found, std::size_t most) {
  Comparison comparison(most);
  comparison.Named("set", meant.sets, found.sets,
                   [&](const std::string& name, const SetSpec& a, const SetSpec& b) { comparison.Sets(name, a, b); });
  comparison.Named("chain", meant.chains, found.chains,
                   [&](const std::string& name, const Chain& a, const Chain& b) { comparison.Chains(name, a, b); });
  return comparison.Take();
}

}  // namespace stele::netfilter
