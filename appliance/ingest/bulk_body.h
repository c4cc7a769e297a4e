// The body of Elastic's _bulk: lines in pairs, an action and its document; each pair is one event.
//
//   body  := (action LF document LF)*     action := {"create":{...}} | {"index":{...}}
//   event := action LF document           the bytes of both lines as they came: the index and pipeline are in the first
//
// `update` and `delete` are not done, said so in the answer, and not stored (an update's document neither): a log has
// nothing to change. What is no action ends the request with 400. A document that is not JSON is stored, flagged
// `unparsed`. Thread safety: one body = one thread.
#pragma once

#include "appliance/base/limits.h"
#include "appliance/ingest/events.h"
#include "appliance/ingest/ndjson.h"

namespace stele::ingest {

class BulkBody final : public EventBody {
 public:
  // `default_index`: of the request's path, for actions that name none.
  BulkBody(std::string_view default_index, JsonChecker& checker, std::size_t actions_max = limits::kBulkActions);

  [[nodiscard]] Result<void> Append(ByteView part) override;
  [[nodiscard]] Result<void> Finish() override;
  [[nodiscard]] std::size_t held_bytes() const override { return body_.size() + items_.size() * sizeof(Item); }
  [[nodiscard]] Bytes TakeBody() override { return std::move(body_); }
  [[nodiscard]] std::vector<JsonSlice> TakeEvents() override { return std::move(events_); }
  [[nodiscard]] std::string Answer(const JsonOutcome& outcome, std::int64_t took_ms) const override;
  [[nodiscard]] std::uint64_t actions_refused() const { return refused_; }

  enum class Action : std::uint8_t { kCreate, kIndex, kUpdate, kDelete };

 private:
  struct Item {
    std::uint32_t index = 0;  // into index_literals_
    Action action = Action::kCreate;
    bool parsed = true;
  };
  [[nodiscard]] Result<void> TakeLine(std::size_t start, std::size_t end);
  [[nodiscard]] Result<void> TakeAction(std::size_t start, std::size_t end);
  [[nodiscard]] Result<void> ReadAction(std::string_view line);
  void TakeDocument(std::size_t start, std::size_t end);

  JsonChecker& checker_;
  std::size_t actions_max_;
  Bytes body_;
  std::vector<JsonSlice> events_;
  std::vector<Item> items_;
  std::vector<std::string> index_literals_;  // JSON strings, quotes included; 0: of the path
  std::string last_action_;                  // agents repeat one line: it is read once
  Item current_;
  std::size_t action_start_ = 0;
  bool wants_document_ = false;
  std::uint64_t refused_ = 0;
  std::size_t line_start_ = 0;
  std::size_t scanned_ = 0;
  std::uint32_t line_ = 1;
};

// The document of an event as this door stores it, for readers; any other payload as a whole.
[[nodiscard]] std::string_view BulkDocumentOf(std::string_view payload);

}  // namespace stele::ingest
