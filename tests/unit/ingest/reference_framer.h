// A slow RFC 6587 framer that sees the whole stream at once, written from docs/protocols.md and not from the fast one: the
// oracle of the framing tests and of the fuzz target.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "appliance/ingest/framing.h"

namespace stele::ingest {

struct ReferenceMessage {
  std::string bytes;
  bool counted = false;
  bool truncated = false;
  bool incomplete = false;
  bool framing_error = false;
  Foreign foreign = Foreign::kNone;
  std::uint64_t full_length = 0;
  Hash whole_hash{};
  [[nodiscard]] bool operator==(const ReferenceMessage&) const = default;
};

[[nodiscard]] std::vector<ReferenceMessage> ReferenceFrames(std::string_view stream, const StreamFramer::Options& options,
                                                            EndReason reason);

// The fast framer over the same stream, handed over in pieces whose sizes `piece` gives (0 = everything at once).
[[nodiscard]] std::vector<ReferenceMessage> FastFrames(std::string_view stream, const StreamFramer::Options& options,
                                                       EndReason reason, const std::vector<std::size_t>& pieces);

// Equal, but for a last framing error: there, how much of the stream had been read is the only difference allowed.
[[nodiscard]] bool SameButForTheRest(const std::vector<ReferenceMessage>& whole, const std::vector<ReferenceMessage>& pieces);

}  // namespace stele::ingest
