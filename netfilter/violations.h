// Dropped packets, put together into rows of which an entry each is written: bounded memory, a bounded number of rows,
// and totals that stay exact whatever comes. Pure: knows no kernel and no log.
//
// A packet belongs to exactly one row. Full rows have zone, reason, addresses, protocol and port; what finds no room
// there is counted by source, then by zone and reason, then in one row for everything else. A zone has room of its own:
// a flood in one takes none from another. Two things are named, and what belongs to them is in no other row:
//   scan      a source that tries kScanPorts ports or kScanAddresses addresses within kScanWindowS
//   crossing  from an ingest zone to what is the operators' or the management's: their hosts, their ports
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "netfilter/log_prefix.h"
#include "netfilter/packet_headers.h"
#include "netfilter/policy.h"

namespace stele::limits {

inline constexpr std::size_t kViolationZones = 64;     // told apart, by their names in the prefix; further ones share
inline constexpr std::size_t kViolationRows = 256;     // full rows of one zone
inline constexpr std::size_t kViolationSources = 256;  // rows of one zone by source
inline constexpr std::size_t kScanSources = 32;        // sources of one zone watched for a scan: 12 KiB each at most
inline constexpr std::size_t kScanPorts = 16;          // of one source within the window
inline constexpr std::size_t kScanAddresses = 16;
inline constexpr std::int64_t kScanWindowS = 60;
inline constexpr std::size_t kScanPortsCounted = 2'048;  // above: that many or more
inline constexpr std::size_t kScanAddressesCounted = 256;
inline constexpr std::size_t kUncountedRows = 1'024;

}  // namespace stele::limits

namespace stele::netfilter {

// What an ingest zone has no business with.
struct Guarded {
  std::string zone;  // "operator", "management"
  std::vector<IpPrefix> networks;
  std::vector<Port> ports;
};
struct Crossings {
  std::set<std::string, std::less<>> ingest_zones;
  std::vector<Guarded> guarded;
};
[[nodiscard]] Crossings CrossingsOf(const Policy& policy);

enum class RowKind : std::uint8_t { kViolation, kScan, kCrossing, kUncounted };

// What is not the same for all packets of the row is empty.
struct ViolationRow {
  RowKind kind = RowKind::kViolation;
  std::string zone;  // "-": of none. Empty: not known, or several
  std::optional<DropReason> reason;
  std::optional<IpAddress> source;
  std::optional<IpAddress> destination;
  std::optional<std::uint8_t> protocol;  // IANA
  std::optional<std::uint16_t> port;     // of ICMP: the type
  std::string target;                    // of a crossing: the zone it was meant for
  std::size_t ports = 0;                 // of a scan: distinct protocols and ports, distinct addresses, since it began
  std::size_t addresses = 0;
  std::string cause;                 // why packets are uncounted
  std::uint64_t perhaps_before = 0;  // uncounted packets that may have been in an entry all the same
  std::uint64_t folded = 0;          // rows that this one stands for; 0: it is a row of its own
  std::uint64_t packets = 0;
  std::int64_t from_ns = 0;
  std::int64_t to_ns = 0;
};

class Violations {
 public:
  explicit Violations(Crossings crossings);
  ~Violations();
  Violations(Violations&&) noexcept;
  Violations& operator=(Violations&&) noexcept;

  // One dropped packet: the prefix as the kernel has it, and its beginning. Any bytes.
  void Add(std::string_view prefix, ByteView packet, std::int64_t wall_ns);
  // Packets that nobody saw. `zone` empty: not known.
  void AddUncounted(std::string_view zone, std::string_view cause, std::uint64_t packets, std::int64_t wall_ns,
                    std::uint64_t perhaps_before = 0);

  // Takes at most `most` rows, the finest that fit; what does not fit is folded, and what is left stays for the next
  // time. Time is that of Add().
  [[nodiscard]] std::vector<ViolationRow> Take(std::size_t most, std::int64_t wall_ns);
  // The same for the last time: everything, in at most `most` rows (one at least).
  [[nodiscard]] std::vector<ViolationRow> TakeAll(std::size_t most, std::int64_t wall_ns);

  [[nodiscard]] std::uint64_t pending() const { return pending_; }  // packets of rows that were not taken

 private:
  struct Count;
  struct Zone;
  class Collection;
  Zone& ZoneOf(std::string_view name);
  [[nodiscard]] std::size_t TargetOf(const Zone& zone, DropReason reason, const PacketHeaders& headers) const;

  Crossings crossings_;
  std::map<std::string, std::unique_ptr<Zone>, std::less<>> zones_;
  std::map<std::pair<std::string, std::string>, ViolationRow> uncounted_;
  std::uint64_t pending_ = 0;
};

// How many rows may become entries: at most `per_interval` at a time, and at most `per_hour` in any hour.
class EntryBudget {
 public:
  EntryBudget(std::size_t per_interval, std::size_t per_hour, std::int64_t now_ns);
  [[nodiscard]] std::size_t Available(std::int64_t now_ns);
  void Spend(std::size_t count);

 private:
  std::size_t per_interval_;
  std::int64_t half_hourly_;  // half of an hour's entries at once, the other half spread over the hour
  std::int64_t tokens_ns_;    // an entry costs the nanoseconds in which one comes back
  std::int64_t last_ns_;
};

}  // namespace stele::netfilter
