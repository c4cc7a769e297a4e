// The body of a JSON request, taken in parts as they arrive, cut into events and checked on the way, so that a large
// body never stops the receiver for longer than one part.
//
// kLines: newline-delimited JSON (ndjson.h). kObjectOrLines (`application/json`): when the first line that is not blank
// is JSON by itself, the same; else the whole body, without white space around it, is one event. Neither takes an array
// at the top of the first line in kObjectOrLines: nobody could say whether it is one event or many. kWhole: all of it
// is one event, arrays too. Thread safety: one body = one thread.
#pragma once

#include "appliance/base/limits.h"
#include "appliance/ingest/events.h"
#include "appliance/ingest/ndjson.h"

namespace stele::ingest {

class JsonBody final : public EventBody {
 public:
  enum class Kind : std::uint8_t { kLines, kObjectOrLines, kWhole };

  JsonBody(Kind kind, JsonChecker& checker, std::size_t events_max = limits::kHttpEvents);

  // kInvalid: an array where an object or lines were announced. kUnavailable: more events than events_max.
  [[nodiscard]] Result<void> Append(ByteView part) override;
  [[nodiscard]] Result<void> Finish() override;

  [[nodiscard]] std::size_t held_bytes() const override { return body_.size(); }
  [[nodiscard]] const std::vector<JsonSlice>& events() const { return events_; }
  [[nodiscard]] Bytes TakeBody() override { return std::move(body_); }
  [[nodiscard]] std::vector<JsonSlice> TakeEvents() override { return std::move(events_); }
  [[nodiscard]] std::string Answer(const JsonOutcome& outcome, std::int64_t took_ms) const override;

 private:
  enum class Mode : std::uint8_t { kUndecided, kLines, kWhole };
  [[nodiscard]] Result<void> TakeLine(std::size_t start, std::size_t end);
  [[nodiscard]] Result<void> AddEvent(std::size_t start, std::size_t end, bool parsed);

  Mode mode_;
  JsonChecker& checker_;
  std::size_t events_max_;
  Bytes body_;
  std::vector<JsonSlice> events_;
  std::vector<std::uint32_t> unparsed_lines_;  // the first limits::kHttpUnparsedListed
  std::uint64_t unparsed_count_ = 0;
  std::size_t line_start_ = 0;
  std::size_t scanned_ = 0;  // no LF before it in the current line
  std::uint32_t line_ = 1;
};

}  // namespace stele::ingest
