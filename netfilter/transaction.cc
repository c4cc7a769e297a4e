#include "netfilter/transaction.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <string_view>
#include <vector>

namespace stele::netfilter {
namespace {

constexpr const char* kTable = "table inet stele";
constexpr const char* kIn = " inet stele ";

template <typename Part>
std::map<std::string_view, const Part*> ByName(const std::vector<std::pair<std::string, Part>>& parts) {
  std::map<std::string_view, const Part*> out;
  for (const auto& [name, part] : parts) out.emplace(name, &part);
  return out;
}

bool SameKind(const SetSpec& a, const SetSpec& b) {
  return a.map == b.map && a.type == b.type && a.flags == b.flags && a.size == b.size && a.timeout == b.timeout;
}

std::vector<std::string> Sorted(std::vector<std::string> all) {
  std::sort(all.begin(), all.end());
  return all;
}

// Members of `a` that are not in `b`, both sorted.
std::vector<std::string> Missing(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::vector<std::string> out;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(out));
  return out;
}

class Transaction {
 public:
  Transaction(const Ruleset& current, const Ruleset& meant)
      : meant_(meant),
        old_sets_(ByName(current.sets)),
        new_sets_(ByName(meant.sets)),
        old_chains_(ByName(current.chains)),
        new_chains_(ByName(meant.chains)) {}

  std::string Text() {
    for (const auto& [name, chain] : old_chains_) {
      const auto other = new_chains_.find(name);
      const std::string hook = other == new_chains_.end() ? std::string() : other->second->hook;
      if (chain->hook != hook) return ReplacementText(meant_);
    }
    Sets();
    Chains();
    return flush_ + remove_elements_ + remove_sets_ + remove_chains_ + add_sets_ + add_chains_ + add_elements_ +
           add_rules_;
  }

 private:
  static void Elements(std::string& out, const char* verb, std::string_view set,
                       const std::vector<std::string>& elements) {
    if (elements.empty()) return;
    out += std::string(verb) + " element" + kIn + std::string(set) + " { ";
    for (std::size_t i = 0; i < elements.size(); ++i) out += (i == 0 ? "" : ", ") + elements[i];
    out += " }\n";
  }

  void Sets() {
    for (const auto& [name, set] : old_sets_) {
      const auto other = new_sets_.find(name);
      if (other != new_sets_.end() && SameKind(*set, *other->second)) {
        const auto before = Sorted(set->elements);
        const auto after = Sorted(other->second->elements);
        Elements(remove_elements_, "delete", name, Missing(before, after));
        Elements(add_elements_, "add", name, Missing(after, before));
        continue;
      }
      remade_.insert("@" + std::string(name));
      remove_sets_ += std::string("delete ") + (set->map ? "map" : "set") + kIn + std::string(name) + "\n";
    }
    for (const auto& [name, set] : meant_.sets) {
      const auto other = old_sets_.find(name);
      if (other != old_sets_.end() && SameKind(*other->second, set)) continue;
      SetSpec empty = set;
      empty.elements.clear();
      add_sets_ += RulesetText({{{name, empty}}, {}});
      Elements(add_elements_, "add", name, set.elements);
    }
  }

  // A rule that names a set which is made anew has to go before it.
  bool NamesRemade(const Chain& chain) const {
    if (remade_.empty()) return false;
    return std::any_of(chain.rules.begin(), chain.rules.end(), [this](const std::string& rule) {
      for (std::size_t at = rule.find('@'); at != std::string::npos; at = rule.find('@', at + 1)) {
        if (remade_.contains(rule.substr(at, std::min(rule.find(' ', at), rule.size()) - at))) return true;
      }
      return false;
    });
  }

  void Chains() {
    for (const auto& [name, chain] : old_chains_) {
      const auto other = new_chains_.find(name);
      const bool stays = other != new_chains_.end() && *other->second == *chain && !NamesRemade(*chain);
      if (stays) continue;
      flush_ += std::string("flush chain") + kIn + std::string(name) + "\n";
      if (other == new_chains_.end()) {
        remove_chains_ += std::string("delete chain") + kIn + std::string(name) + "\n";
      } else {
        Rules(name, *other->second);
      }
    }
    for (const auto& [name, chain] : meant_.chains) {
      if (old_chains_.contains(name)) continue;
      add_chains_ +=
          std::string("add chain") + kIn + name + (chain.hook.empty() ? "" : " { " + chain.hook + " }") + "\n";
      Rules(name, chain);
    }
  }

  void Rules(std::string_view name, const Chain& chain) {
    for (const std::string& rule : chain.rules)
      add_rules_ += std::string("add rule") + kIn + std::string(name) + " " + rule + "\n";
  }

  const Ruleset& meant_;
  std::map<std::string_view, const SetSpec*> old_sets_, new_sets_;
  std::map<std::string_view, const Chain*> old_chains_, new_chains_;
  std::set<std::string> remade_;  // sets, with their @
  std::string flush_, remove_elements_, remove_sets_, remove_chains_, add_sets_, add_chains_, add_elements_, add_rules_;
};

}  // namespace

std::string TransactionText(const Ruleset& current, const Ruleset& meant) { return Transaction(current, meant).Text(); }

std::string ReplacementText(const Ruleset& meant) {
  return std::string(kTable) + "\ndelete " + kTable + "\n" + RulesetText(meant);
}

}  // namespace stele::netfilter
