#include "tests/unit/netfilter/ruleset_machine.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <sstream>
#include <vector>

#include "netfilter/address_set.h"

namespace stele::netfilter {
namespace {

using Words = std::vector<std::string>;

[[noreturn]] void Unknown(const std::string& what) {
  std::fprintf(stderr, "the machine does not know: %s\n", what.c_str());
  std::abort();
}

Words WordsOf(const std::string& line) {
  std::istringstream in(line);
  Words words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

std::vector<std::string> SplitAt(const std::string& text, const std::string& separator) {
  std::vector<std::string> out;
  std::size_t from = 0;
  for (std::size_t at = text.find(separator); at != std::string::npos; at = text.find(separator, from)) {
    out.push_back(text.substr(from, at - from));
    from = at + separator.size();
  }
  out.push_back(text.substr(from));
  return out;
}

struct Element {
  std::vector<std::string> key;
  std::string value;
};

struct Table {
  std::map<std::string, std::vector<Element>> sets;
  std::map<std::string, std::vector<std::string>> chains;
};

// Reads the text by indentation, by its own means.
Table Load(std::string_view text) {
  Table table;
  std::istringstream in{std::string(text)};
  std::string line;
  std::string kind;
  std::string name;
  bool elements = false;
  while (std::getline(in, line)) {
    const Words words = WordsOf(line);
    if (words.empty() || words[0] == "table") continue;
    if (line.starts_with("\t") && !line.starts_with("\t\t")) {
      if (words[0] == "}") continue;
      kind = words[0];
      name = words[1];
      if (kind == "chain")
        table.chains[name];
      else
        table.sets[name];
      continue;
    }
    if (!line.starts_with("\t\t")) continue;
    std::string body = line.substr(line.find_first_not_of('\t'));
    if (kind == "chain") {
      table.chains[name].push_back(body);
      continue;
    }
    if (body.starts_with("elements = { ")) {
      elements = true;
      body = body.substr(std::string("elements = { ").size());
    }
    if (!elements) continue;
    body = body.substr(body.find_first_not_of(' '));
    if (body.ends_with(" }")) {
      elements = false;
      body.resize(body.size() - 2);
    }
    if (body.ends_with(",")) body.pop_back();
    const auto halves = SplitAt(body, " : ");
    table.sets[name].push_back({SplitAt(halves[0], " . "), halves.size() > 1 ? halves[1] : ""});
  }
  return table;
}

class Machine {
 public:
  Machine(const Table& table, const MachinePacket& packet) : table_(table), packet_(packet) {}

  // "accept", "drop", or nothing: the end of the chain.
  std::optional<std::string> Chain(const std::string& name) {
    const auto chain = table_.chains.find(name);
    if (chain == table_.chains.end()) Unknown("chain " + name);
    for (const std::string& line : chain->second) {
      if (line.starts_with("type ")) continue;
      const auto verdict = Rule(line);
      if (!verdict) continue;
      if (*verdict == "accept" || *verdict == "drop") return verdict;
      if (verdict->starts_with("goto ")) return Chain(verdict->substr(5));
      if (!verdict->starts_with("jump ")) Unknown("verdict " + *verdict);
      if (auto inner = Chain(verdict->substr(5))) return inner;
    }
    return std::nullopt;
  }

  std::string log_prefix;
  bool tracked = true;

 private:
  // A verdict, or nothing: the rule does not match, or says nothing.
  std::optional<std::string> Rule(const std::string& line) {
    words_ = WordsOf(line);
    at_ = 0;
    log_prefix.clear();
    while (at_ < words_.size()) {
      const std::string word = words_[at_];
      if (word == "counter") {
        ++at_;
      } else if (word == "log") {
        log_prefix = words_[at_ + 2].substr(1, words_[at_ + 2].size() - 2);
        at_ += 7;  // log prefix P group G snaplen S
      } else if (word == "accept" || word == "drop") {
        return word;
      } else if (word == "goto" || word == "jump") {
        return word + " " + words_[at_ + 1];
      } else if (word == "notrack") {
        tracked = false;
        return std::nullopt;
      } else if (word == "update" || word == "add") {
        if (!Limited()) return std::nullopt;
      } else if (word == "fib") {
        if (line.find("fib saddr . iif oif 0") == std::string::npos) Unknown(line);
        if (!packet_.spoofed) return std::nullopt;
        at_ += 6;
      } else if (word == "tcp" && words_[at_ + 1] == "flags") {
        if (line.find("tcp flags != syn / fin,syn,rst,ack") == std::string::npos) Unknown(line);
        if (packet_.l4proto != "tcp" || packet_.only_syn) return std::nullopt;
        at_ += 6;
      } else if (word == "meta" && words_[at_ + 1] == "mark" && words_[at_ + 2] == "set") {
        at_ += 3;
        if (!SetMark()) return std::nullopt;
      } else {
        std::optional<std::string> verdict;
        if (!Match(verdict)) return std::nullopt;
        if (verdict) return verdict;
      }
    }
    return std::nullopt;
  }

  bool Limited() {  // update @set { KEY limit ... } or { KEY ct count N }
    while (words_[at_] != "}") ++at_;
    ++at_;
    return !packet_.over_limit;
  }

  bool SetMark() {
    if (words_[at_].starts_with("0x")) {
      mark_ = words_[at_++];
      return true;
    }
    const auto key = Key();
    if (words_[at_] != "map") Unknown(words_[at_]);
    const std::string set = words_[at_ + 1].substr(1);
    at_ += 2;
    if (!key) return false;
    const Element* element = Find(set, *key);
    if (element != nullptr) mark_ = element->value;
    return element != nullptr;
  }

  bool Match(std::optional<std::string>& verdict) {
    const auto key = Key();
    std::string word = words_[at_++];
    if (word == "vmap") {
      const Element* element = key ? Find(words_[at_++].substr(1), *key) : nullptr;
      if (element == nullptr) return false;
      verdict = element->value;
      return true;
    }
    if (word.starts_with("@")) return key && Find(word.substr(1), *key) != nullptr;
    if (word != "{") return key && Fits(word, key->front());
    bool any = false;
    for (; words_[at_] != "}"; ++at_) {
      std::string member = words_[at_];
      if (member.ends_with(",")) member.pop_back();
      any = any || (key && Fits(member, key->front()));
    }
    ++at_;
    return any;
  }

  // FIELD . FIELD ...; nothing when the packet has no such field.
  std::optional<Words> Key() {
    Words key;
    bool whole = true;
    while (true) {
      const auto value = Field();
      whole = whole && value.has_value();
      key.push_back(value.value_or(""));
      if (at_ >= words_.size() || words_[at_] != ".") break;
      ++at_;
    }
    return whole ? std::optional(key) : std::nullopt;
  }

  std::optional<std::string> Field() {
    std::string field = words_[at_++];
    if (field != "iifname" && field != "oifname") field += " " + words_[at_++];
    const bool v4 = IsV4(packet_.saddr);
    const auto text = [](const IpAddress& address) { return IpPrefixText({address, 128}); };
    const auto when = [](bool has, std::string value) { return has ? std::optional(std::move(value)) : std::nullopt; };
    const bool ports = packet_.l4proto == "tcp" || packet_.l4proto == "udp";
    if (field == "iifname") return when(true, "\"" + packet_.iifname + "\"");
    if (field == "oifname") return when(true, "\"" + packet_.oifname + "\"");
    if (field == "ip saddr") return when(v4, text(packet_.saddr));
    if (field == "ip daddr") return when(v4, text(packet_.daddr));
    if (field == "ip6 saddr") return when(!v4, text(packet_.saddr));
    if (field == "ip6 daddr") return when(!v4, text(packet_.daddr));
    if (field == "ip6 hoplimit") return when(!v4, std::to_string(packet_.hoplimit));
    if (field == "meta mark") return mark_;
    if (field == "meta l4proto") return packet_.l4proto;
    if (field == "th dport") return when(ports, std::to_string(packet_.dport));
    if (field == "th sport") return when(ports, std::to_string(packet_.sport));
    if (field == "udp dport") return when(packet_.l4proto == "udp", std::to_string(packet_.dport));
    if (field == "icmp type") return when(packet_.l4proto == "icmp", packet_.icmp_type);
    if (field == "icmpv6 type") return when(packet_.l4proto == "ipv6-icmp", packet_.icmp_type);
    if (field == "ct state") return packet_.state;
    if (field == "ct direction")
      return when(packet_.state != "untracked" && packet_.state != "invalid", packet_.direction);
    Unknown("field " + field);
  }

  static bool Fits(const std::string& member, const std::string& value) {
    if (member == value) return true;
    const auto prefix = ParseIpPrefix(member);
    const auto address = ParseIpPrefix(value);
    return prefix && address && IsV4(*prefix) == IsV4(*address) && prefix->Contains(address->address);
  }

  const Element* Find(const std::string& set, const Words& key) {
    const auto at = table_.sets.find(set);
    if (at == table_.sets.end()) Unknown("set " + set);
    for (const Element& element : at->second) {
      bool fits = element.key.size() == key.size();
      for (std::size_t i = 0; fits && i < key.size(); ++i) fits = Fits(element.key[i], key[i]);
      if (fits) return &element;
    }
    return nullptr;
  }

  const Table& table_;
  const MachinePacket& packet_;
  Words words_;
  std::size_t at_ = 0;
  std::string mark_ = "0x00000000";
};

}  // namespace

MachineVerdict RunRuleset(std::string_view ruleset, std::string_view hook, const MachinePacket& packet) {
  static std::string last_text;  // loading is slow, and tests ask much of one text
  static Table table;
  if (last_text != ruleset) {
    last_text = ruleset;
    table = Load(ruleset);
  }
  Machine machine(table, packet);
  const std::string name(hook);
  const auto verdict = machine.Chain(name);
  MachineVerdict out;
  out.tracked = machine.tracked;
  bool drops = true;
  for (const std::string& line : table.chains[name]) {
    if (line.starts_with("type ")) drops = line.find("policy drop;") != std::string::npos;
  }
  out.accepted = verdict ? *verdict == "accept" : !drops;
  if (!out.accepted) out.log_prefix = machine.log_prefix;
  return out;
}

}  // namespace stele::netfilter
