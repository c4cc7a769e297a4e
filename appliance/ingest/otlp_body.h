// OpenTelemetry logs over HTTP with JSON: an ExportLogsServiceRequest cut into one event per logRecord.
//
//   event := {"resource":R,"resourceSchemaUrl":U,"scope":S,"scopeSchemaUrl":U,"logRecord":L}
//
// What was not sent is left out.
//
// Each part is the sender's own bytes; nothing is re-serialised. Of a member that stands twice the last counts for
// resource, scope and schemaUrl; of the lists all are read. Names are read in both spellings (resourceLogs,
// resource_logs); other members of the outline are ignored, as the protocol demands. Thread safety: one body = one
// thread.
#pragma once

#include "appliance/base/limits.h"
#include "appliance/ingest/events.h"

namespace stele::ingest {

class OtlpBody final : public EventBody {
 public:
  explicit OtlpBody(std::size_t built_bytes_max = limits::kHttpBodyBytes, std::size_t events_max = limits::kHttpEvents)
      : built_bytes_max_(built_bytes_max), events_max_(events_max) {}

  // kInvalid: not such a request. kUnavailable: above limits::kOtlpBodyBytes, or its events (each with its resource)
  // above built_bytes_max or events_max.
  [[nodiscard]] Result<void> Append(ByteView part) override;
  [[nodiscard]] Result<void> Finish() override;
  [[nodiscard]] std::size_t held_bytes() const override { return body_.size() + built_.size(); }
  [[nodiscard]] Bytes TakeBody() override { return std::move(built_); }
  [[nodiscard]] std::vector<JsonSlice> TakeEvents() override { return std::move(events_); }
  [[nodiscard]] std::string Answer(const JsonOutcome&, std::int64_t) const override { return "{}"; }

 private:
  struct Group {  // what the records of one list share
    std::string_view resource, resource_schema, scope, scope_schema;
  };
  [[nodiscard]] Result<void> TakeResource(std::string_view element);
  [[nodiscard]] Result<void> TakeScope(std::string_view element, Group group);
  [[nodiscard]] Result<void> TakeRecord(std::string_view record, const Group& group);

  std::size_t built_bytes_max_;
  std::size_t events_max_;
  Bytes body_;
  Bytes built_;
  std::vector<JsonSlice> events_;
};

}  // namespace stele::ingest
