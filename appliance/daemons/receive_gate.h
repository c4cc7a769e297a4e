// Whose messages are taken (sources.unknown in stele.toml, allowed_sources of the zone), and the account of those that
// are not: every refused message is counted, and becomes part of a loss entry with the cause `refused_source` and the
// peer's address. Bounded: so many addresses per listener get an entry of their own, the rest share one without an
// address. Thread safety: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "appliance/base/limits.h"
#include "appliance/channel/source_rules.h"

namespace stele::receive {

// In place of a source's number: what is added under it is counted and dropped.
inline constexpr std::uint32_t kRefusedSource = 0xffffffffU;

class SourceGate {
 public:
  void Use(channel::SourceRules rules) { rules_ = std::move(rules); }
  // The zone that the entries name, and the prefixes its sources must come from (none: from anywhere).
  void UseZone(std::string zone, std::vector<IpPrefix> allowed);
  [[nodiscard]] bool Accepts(const record::Peer& peer, std::string_view identity) const {
    return (allowed_.empty() || Allows(channel::AddressOf(peer))) &&
           (!rules_.refuse_unknown || rules_.Accepts(channel::AddressOf(peer), identity));
  }

  void Refuse(const std::string& listener, const record::Peer& peer, std::uint64_t count, std::int64_t now_ns);
  // The loss entries that are due: at once after a quiet time, then once in limits::kRefusedEntryIntervalMs; all when `last`.
  [[nodiscard]] std::vector<std::string> TakeEntries(std::int64_t now_ns, bool last);

 private:
  struct Account {
    std::uint64_t count = 0;
    std::int64_t from_ns = 0;
    std::int64_t to_ns = 0;
    void Add(std::uint64_t more, std::int64_t now_ns);
  };
  struct Refused {
    std::map<IpAddress, Account> by_address;
    Account others;
  };

  [[nodiscard]] bool Allows(const IpAddress& address) const;

  channel::SourceRules rules_;
  std::string zone_;
  std::vector<IpPrefix> allowed_;
  std::map<std::string, Refused> refused_;  // by listener
  std::int64_t last_entries_ns_ = 0;
};

}  // namespace stele::receive
