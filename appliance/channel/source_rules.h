// What the operator says about sources: names for addresses and identities, how long each may be silent, and whether strangers
// are heard at all. Part of the configuration that stele-receive and stele-ledger are given ("sources", one JSON object):
//
//   {"named":[{"name":"core-switch","addresses":["192.0.2.1","198.51.100.0/24"],"identity":"","silence_s":600}],
//    "unknown":"accept"|"refuse","silence_factor":10,"silence_min_s":300,"silence_messages":100}
#pragma once

#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "appliance/base/ip_prefix.h"
#include "appliance/record/entry.h"

namespace stele::channel {

struct NamedSource {
  std::string name;
  std::vector<IpPrefix> addresses;         // empty: any, then there is an identity
  std::string identity;                    // of its certificate; empty: any
  std::optional<std::int64_t> silence_s;   // 0: never an alarm; absent: by habit
  bool operator==(const NamedSource&) const = default;
};

class SourceRules {
 public:
  bool refuse_unknown = false;
  // Silent for longer than max(silence_min_s, silence_factor x its mean interval), once it has sent silence_messages.
  std::int64_t silence_factor = 10;
  std::int64_t silence_min_s = 300;
  std::int64_t silence_messages = 100;

  // The name a peer goes by; nullptr: a stranger. Its identity decides before its address, a longer prefix before a shorter.
  [[nodiscard]] const NamedSource* Find(const IpAddress& address, std::string_view identity) const;
  [[nodiscard]] bool Accepts(const IpAddress& address, std::string_view identity) const {
    return !refuse_unknown || Find(address, identity) != nullptr;
  }

  void SetNamed(std::vector<NamedSource> named);
  [[nodiscard]] const std::vector<NamedSource>& named() const { return named_; }

 private:
  struct AddressHash {
    std::size_t operator()(const IpAddress& address) const;
  };
  using ByAddress = std::unordered_multimap<IpAddress, std::size_t, AddressHash>;
  std::vector<NamedSource> named_;
  std::map<unsigned, ByAddress, std::greater<>> by_prefix_;  // by length, longest first
  std::map<std::string, std::size_t, std::less<>> by_identity_;
};

// What is wrong with a named source in one clause, where anything is: name, bounds of the lists.
[[nodiscard]] std::optional<std::string> ProblemOf(const NamedSource& source);

[[nodiscard]] std::string EncodeSourceRules(const SourceRules& rules);
[[nodiscard]] Result<SourceRules> DecodeSourceRules(std::string_view json_text);  // an empty text: the defaults

[[nodiscard]] inline IpAddress AddressOf(const record::Peer& peer) {
  IpAddress address;
  std::copy_n(peer.begin(), address.size(), address.begin());
  return address;
}

}  // namespace stele::channel
