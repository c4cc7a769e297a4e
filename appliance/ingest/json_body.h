// The body of a JSON request, taken in parts as they arrive, cut into events and checked on the way, so that a large body
// never stops the receiver for longer than one part.
//
// kLines: newline-delimited JSON (ndjson.h). kObjectOrLines (`application/json`): when the first line that is not blank is JSON by
// itself, the same; else the whole body, without white space around it, is one event. Neither takes an array at the top of the
// first line in kObjectOrLines: nobody could say whether it is one event or many.
// Thread safety: one body = one thread.
#pragma once

#include <cstdint>
#include <vector>

#include "appliance/base/bytes.h"
#include "appliance/base/limits.h"
#include "appliance/ingest/ndjson.h"

namespace stele::ingest {

struct JsonSlice {
  std::uint32_t offset_bytes = 0;
  std::uint32_t length_bytes = 0;
  std::uint32_t line = 0;  // from 1
  bool parsed = false;
};

class JsonBody {
 public:
  enum class Kind : std::uint8_t { kLines, kObjectOrLines };

  JsonBody(Kind kind, JsonChecker& checker, std::size_t events_max = limits::kHttpEvents);

  // kInvalid: an array where an object or lines were announced. kUnavailable: more events than events_max. Nothing can be added
  // after an error.
  [[nodiscard]] Result<void> Append(ByteView part);
  [[nodiscard]] Result<void> Finish();

  [[nodiscard]] std::size_t size_bytes() const { return body_.size(); }
  [[nodiscard]] const std::vector<JsonSlice>& events() const { return events_; }
  [[nodiscard]] Bytes TakeBody() { return std::move(body_); }
  [[nodiscard]] std::vector<JsonSlice> TakeEvents() { return std::move(events_); }

 private:
  enum class Mode : std::uint8_t { kUndecided, kLines, kWhole };
  [[nodiscard]] Result<void> TakeLine(std::size_t start, std::size_t end);
  [[nodiscard]] Result<void> AddEvent(std::size_t start, std::size_t end, bool parsed);

  Mode mode_;
  JsonChecker& checker_;
  std::size_t events_max_;
  Bytes body_;
  std::vector<JsonSlice> events_;
  std::size_t line_start_ = 0;
  std::size_t scanned_ = 0;  // no LF before it in the current line
  std::uint32_t line_ = 1;
};

}  // namespace stele::ingest
