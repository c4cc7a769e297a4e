// Events that came together in one request, from the door that read them to the ledger and back: what every HTTP door
// shares.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "appliance/base/bytes.h"
#include "appliance/base/seams.h"
#include "appliance/record/entry.h"

namespace stele::ingest {

struct JsonSlice {
  std::uint32_t offset_bytes = 0;
  std::uint32_t length_bytes = 0;
  std::uint32_t line = 0;  // from 1; of bodies without lines: which event, from 1
  bool parsed = false;
  std::uint16_t signature_flags = 0;  // record::kFlagSignature*: at most one
};

struct JsonBatch {
  Bytes body;                     // owns what the events point into
  std::vector<JsonSlice> events;  // in the order of the body, at least one
  record::Peer peer{};
  std::string identity;              // the sender's registered name; empty: none
  std::string target;                // what the request's path named: an index, a webhook
  bool wants_leaves = false;         // the answer shall carry the events' leaf hashes
  std::int64_t receive_wall_ns = 0;  // the clock when the body was complete

  [[nodiscard]] ByteView EventBytes(const JsonSlice& event) const {
    return ByteView(body).subspan(event.offset_bytes, event.length_bytes);
  }
};

struct JsonOutcome {
  bool committed = false;                                       // false: nothing was stored, try again later
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;  // sequence numbers, first and last, in order
  std::optional<std::string> checkpoint;                        // the newest signed note
  std::int64_t retry_after_s = 5;
  std::vector<Hash> leaves;  // one per event where they were wanted
};

class EventSink {
 public:
  virtual ~EventSink() = default;
  // Takes the batch; calls `done` exactly once, from the io_context's thread, at once or later. `done` outlives the
  // connection and the server, and is then without effect.
  virtual void Submit(JsonBatch batch, std::function<void(JsonOutcome)> done) = 0;
  [[nodiscard]] virtual bool Ready() const { return true; }  // could a batch be stored now? For senders that ask first
};

// A body while it is read: cut into events as it arrives, so that a large one never stops the receiver for longer than
// a part.
class EventBody {
 public:
  virtual ~EventBody() = default;
  // kInvalid: not such a body (400). kUnavailable: too large in some way (413). Nothing can be added after an error.
  [[nodiscard]] virtual Result<void> Append(ByteView part) = 0;
  [[nodiscard]] virtual Result<void> Finish() = 0;
  [[nodiscard]] virtual std::size_t held_bytes() const = 0;  // what it counts against the budget of all bodies
  [[nodiscard]] virtual Bytes TakeBody() = 0;                // after Finish()
  [[nodiscard]] virtual std::vector<JsonSlice> TakeEvents() = 0;
  // The text of the answer after a commit (of no event too).
  [[nodiscard]] virtual std::string Answer(const JsonOutcome& outcome, std::int64_t took_ms) const = 0;
};

}  // namespace stele::ingest
