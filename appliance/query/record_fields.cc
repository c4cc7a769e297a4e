#include "appliance/query/record_fields.h"

#include <nlohmann/json.hpp>

#include "appliance/ingest/bulk_body.h"
#include "appliance/query/language.h"
#include "appliance/query/text_test.h"

namespace stele::query {
namespace {

std::optional<unsigned> SeverityOfText(std::string_view text) {
  if (const auto number = ParseNumber(text); number && *number >= 0 && *number < 8) return static_cast<unsigned>(*number);
  struct Name {
    std::string_view text;
    unsigned severity;
  };
  constexpr std::array<Name, 10> kOther = {{{"error", 3}, {"warn", 4}, {"critical", 2}, {"fatal", 2}, {"panic", 0},
                                            {"emergency", 0}, {"information", 6}, {"informational", 6}, {"trace", 7}, {"verbose", 7}}};
  for (const Name& name : kOther) {
    if (EqualFolded(name.text, text)) return name.severity;
  }
  for (unsigned i = 0; i < 8; ++i) {
    if (EqualFolded(SeverityName(i), text)) return i;
  }
  return std::nullopt;
}

// OpenTelemetry records, as the door of /v1/logs builds them (appliance/ingest/otlp_body.h).
bool IsOtlp(const simdjson::dom::element& object) { return object.at_key("logRecord").is_object(); }

// Log data model, "Field: SeverityNumber": 1-4 trace, 5-8 debug, 9-12 info, 13-16 warn, 17-20 error, 21-24 fatal.
std::optional<unsigned> OtlpSeverity(const simdjson::dom::element& object) {
  constexpr std::array<unsigned, 6> kSeverities = {7, 7, 6, 4, 3, 2};
  std::uint64_t number = 0;
  if (object.at_key("logRecord").at_key("severityNumber").get_uint64().get(number) != simdjson::SUCCESS) return std::nullopt;
  if (number < 1 || number > 24) return std::nullopt;
  return kSeverities[(number - 1) / 4];
}

std::string_view OtlpAttribute(const simdjson::dom::element& object, std::string_view wanted) {
  simdjson::dom::array attributes;
  if (object.at_key("resource").at_key("attributes").get_array().get(attributes) != simdjson::SUCCESS) return {};
  for (const simdjson::dom::element attribute : attributes) {
    std::string_view key;
    std::string_view text;
    if (attribute.at_key("key").get_string().get(key) != simdjson::SUCCESS || key != wanted) continue;
    if (attribute.at_key("value").at_key("stringValue").get_string().get(text) == simdjson::SUCCESS) return text;
  }
  return {};
}

// Numbers beyond 64 bits or the range of a double are JSON all the same: with every number in quotes the rest can be read,
// and a quoted number still compares as one.
std::string WithQuotedNumbers(std::string_view json) {
  std::string out;
  out.reserve(json.size() + json.size() / 4);
  bool in_string = false;
  bool in_number = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    const bool number = !in_string && ((c >= '0' && c <= '9') || c == '-' || (in_number && (c == '.' || c == '+' || c == 'e' || c == 'E')));
    if (number != in_number) out += '"';
    in_number = number;
    if (in_string && c == '\\' && i + 1 < json.size()) {
      out += c;
      out += json[++i];
      continue;
    }
    if (c == '"') in_string = !in_string;
    out += c;
  }
  return out;
}

}  // namespace

SourceNames ParseSourceNames(std::uint32_t id, std::string_view description_json) {
  SourceNames names;
  names.id = id;
  const auto object = nlohmann::json::parse(description_json, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return names;
  const auto take = [&object](const char* member, std::string& out) {
    const auto at = object.find(member);
    if (at != object.end() && at->is_string()) out = at->get<std::string>();
  };
  take("zone", names.zone);
  take("listener", names.listener);
  take("transport", names.transport);
  take("peer", names.peer);
  take("identity", names.identity);
  take("target", names.target);
  take("name", names.name);
  if (const auto at = object.find("identity"); at != object.end() && at->is_object()) {
    names.identity = at->dump();
    if (const auto sender = at->find("sender"); sender != at->end() && sender->is_string()) names.sender = sender->get<std::string>();
  }
  return names;
}

std::optional<simdjson::dom::element> JsonScratch::ParseObject(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '{') return std::nullopt;  // saves the copy and the parse
  simdjson::dom::element element;
  auto error = parser_.parse(text.data(), text.size()).get(element);
  if (error == simdjson::NUMBER_ERROR) error = parser_.parse(WithQuotedNumbers(text)).get(element);
  if (error != simdjson::SUCCESS || !element.is_object()) return std::nullopt;
  return element;
}

const SourceNames* RecordFields::source() {
  return record_.source == 0 || !sources_ ? nullptr : sources_(record_.source, record_.sequence);
}

const ingest::ParsedMessage* RecordFields::syslog() {
  if (record_.kind != record::Kind::kSyslog) return nullptr;
  if (!parsed_) parsed_ = ingest::ParseSyslog(record_.payload, record_.receive_wall_ns);
  return &*parsed_;
}

std::optional<simdjson::dom::element> RecordFields::json() {
  if (!json_tried_) {
    json_tried_ = true;
    object_ = scratch_.ParseObject(message());
  }
  return object_;
}

std::string_view RecordFields::JsonText(std::initializer_list<std::string_view> names) {
  const auto object = json();
  if (!object) return {};
  for (const std::string_view name : names) {
    std::string_view text;
    if (object->at_key(name).get_string().get(text) == simdjson::SUCCESS) return text;
  }
  return {};
}

std::optional<unsigned> RecordFields::severity() {
  if (record_.kind == record::Kind::kSyslog) {
    const auto severity = ingest::PeekPriority(record_.payload).severity;
    return severity ? std::optional<unsigned>(*severity) : std::nullopt;
  }
  if (record_.kind != record::Kind::kJson || !json()) return std::nullopt;
  std::uint64_t number = 0;
  if (object_->at_key("severity").get_uint64().get(number) == simdjson::SUCCESS && number < 8) return static_cast<unsigned>(number);
  if (IsOtlp(*object_)) return OtlpSeverity(*object_);
  return SeverityOfText(JsonText({"severity", "level"}));
}

std::optional<unsigned> RecordFields::facility() {
  if (record_.kind == record::Kind::kSyslog) {
    const auto facility = ingest::PeekPriority(record_.payload).facility;
    return facility ? std::optional<unsigned>(*facility) : std::nullopt;
  }
  if (record_.kind != record::Kind::kJson || !json()) return std::nullopt;
  std::uint64_t number = 0;
  if (object_->at_key("facility").get_uint64().get(number) == simdjson::SUCCESS && number < 24) return static_cast<unsigned>(number);
  return std::nullopt;
}

std::string_view RecordFields::host() {
  if (const auto* parsed = syslog()) return parsed->host;
  if (record_.kind != record::Kind::kJson) return {};
  if (json() && IsOtlp(*object_)) return OtlpAttribute(*object_, "host.name");
  return JsonText({"host", "hostname"});
}

std::string_view RecordFields::app() {
  if (const auto* parsed = syslog()) return parsed->app;
  if (record_.kind != record::Kind::kJson) return {};
  if (json() && IsOtlp(*object_)) return OtlpAttribute(*object_, "service.name");
  return JsonText({"app", "program", "service"});
}

std::string_view RecordFields::pid() {
  if (const auto* parsed = syslog()) return parsed->pid;
  return record_.kind == record::Kind::kJson ? JsonText({"pid"}) : std::string_view{};
}

std::string_view RecordFields::msgid() {
  const auto* parsed = syslog();
  return parsed != nullptr ? parsed->msgid : std::string_view{};
}

std::string_view RecordFields::message() {
  const auto* parsed = syslog();
  if (parsed != nullptr) return parsed->Message(record_.payload);
  return record_.kind == record::Kind::kJson ? ingest::BulkDocumentOf(payload()) : payload();
}

}  // namespace stele::query
