// Goal: each log record of an OpenTelemetry request becomes one event of the sender's own bytes. Method: any bytes as a
// request; the walker alone on any bytes. Oracle: another parser (nlohmann/json) finds the same records with the same
// resource and scope, and every part of an event is found in the request byte for byte.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "appliance/ingest/json_walk.h"
#include "appliance/ingest/otlp_body.h"

namespace {

using namespace stele;
using namespace stele::ingest;
using nlohmann::json;

// Object members twice make the two parsers differ by design.
bool HasTwice(std::string_view text) {
  std::vector<std::vector<std::string>> names;
  bool twice = false;
  const json::parser_callback_t see = [&](int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) names.emplace_back();
    if (event == json::parse_event_t::object_end) names.pop_back();
    if (event == json::parse_event_t::key) {
      const auto name = parsed.get<std::string>();
      for (const auto& other : names.back()) twice = twice || other == name;
      names.back().push_back(name);
    }
    return true;
  };
  (void)json::parse(text, see, false);
  return twice;
}

const json* Member(const json& object, const char* camel, const char* snake) {
  if (const auto at = object.find(camel); at != object.end()) return &*at;
  if (const auto at = object.find(snake); at != object.end()) return &*at;
  return nullptr;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input(reinterpret_cast<const std::byte*>(data), size);
  const std::string_view text = AsText(input);
  (void)WalkObject(text, [&](std::string_view name, std::string_view value) {
    STELE_CHECK(name.empty() || (name.data() >= text.data() && name.data() + name.size() <= text.data() + text.size()));
    STELE_CHECK(value.empty() ||
                (value.data() >= text.data() && value.data() + value.size() <= text.data() + text.size()));
    return true;
  });
  OtlpBody body(1U << 20U);
  if (!body.Append(input) || !body.Finish()) return 0;
  const auto events = body.TakeEvents();
  const Bytes built = body.TakeBody();
  std::size_t end = 0;
  for (const auto& event : events) {
    STELE_CHECK(event.offset_bytes == end);
    end += event.length_bytes;
    const std::string_view one = AsText(ByteView(built).subspan(event.offset_bytes, event.length_bytes));
    STELE_CHECK(WalkObject(one, [&](std::string_view, std::string_view part) {
      STELE_CHECK(text.find(part) != std::string_view::npos);
      return true;
    }));
  }
  STELE_CHECK(end == built.size());

  const json whole = json::parse(text, nullptr, false);
  if (whole.is_discarded() || HasTwice(text)) return 0;  // numbers beyond a double
  std::size_t index = 0;
  const json* resources = Member(whole, "resourceLogs", "resource_logs");
  if (whole.contains("resourceLogs") && whole.contains("resource_logs")) return 0;  // both spellings: all are read
  if (resources == nullptr || resources->is_null()) {
    STELE_CHECK(events.empty());
    return 0;
  }
  for (const json& resource : *resources) {
    if (resource.contains("scopeLogs") && resource.contains("scope_logs")) return 0;
    const json* scopes = Member(resource, "scopeLogs", "scope_logs");
    if (scopes == nullptr || scopes->is_null()) continue;
    for (const json& scope : *scopes) {
      if (scope.contains("logRecords") && scope.contains("log_records")) return 0;
      const json* records = Member(scope, "logRecords", "log_records");
      if (records == nullptr || records->is_null()) continue;
      for (const json& record : *records) {
        STELE_CHECK(index < events.size());
        const auto& slice = events[index++];
        const json event = json::parse(AsText(ByteView(built).subspan(slice.offset_bytes, slice.length_bytes)));
        STELE_CHECK(event.at("logRecord") == record);
        if (event.contains("resource")) STELE_CHECK(event["resource"] == resource.at("resource"));
        if (event.contains("scope")) STELE_CHECK(event["scope"] == scope.at("scope"));
      }
    }
  }
  STELE_CHECK(index == events.size());
  return 0;
}
