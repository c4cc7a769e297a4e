// A slow RELP server that sees the whole stream at once, written from docs/protocols.md and not from the fast one: the
// oracle of the RELP tests and of the fuzz target.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/ingest/relp.h"

namespace stele::ingest {

struct ReferenceRelpEvent {
  RelpEvent::Kind kind = RelpEvent::Kind::kMessage;
  std::uint32_t txnr = 0;
  bool answerable = false;
  std::string payload;
  bool incomplete = false;
  bool framing_error = false;
  bool truncated = false;
  std::uint64_t full_length = 0;
  Hash whole_hash{};
  [[nodiscard]] bool operator==(const ReferenceRelpEvent&) const = default;
};

struct RelpRun {
  std::vector<ReferenceRelpEvent> events;
  std::string answers;  // all octets sent back, every message judged
  bool closing = false;
  [[nodiscard]] bool operator==(const RelpRun&) const = default;
};

std::ostream& operator<<(std::ostream& out, const RelpRun& run);  // for failing tests

// The text of the refusal of a message that begins with this octet in the runs below; all others are committed.
inline constexpr char kRefusedOctet = 'R';
inline constexpr std::string_view kRefusedReason = "no room";

[[nodiscard]] RelpRun ReferenceRelp(std::string_view stream, const RelpServer::Options& options, EndReason reason);

// The fast server over the same stream, handed over in pieces of these sizes, over and over (0 = everything at once).
// Messages are judged in an order that `seed` chooses, some while others still arrive.
[[nodiscard]] RelpRun FastRelp(std::string_view stream, const RelpServer::Options& options, EndReason reason,
                               const std::vector<std::size_t>& pieces, std::uint64_t seed);

// Equal, but for how much of a broken session had been read.
[[nodiscard]] bool SameButForTheRest(const RelpRun& whole, const RelpRun& pieces);

}  // namespace stele::ingest
