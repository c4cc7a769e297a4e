#include "appliance/ingest/otlp_body.h"

#include "appliance/ingest/json_grammar.h"
#include "appliance/ingest/json_walk.h"
#include "appliance/ingest/ndjson.h"

namespace stele::ingest {
namespace {

tl::unexpected<Error> NotOtlp(const std::string& why) {
  return Fail(Code::kInvalid, "not an ExportLogsServiceRequest: " + why);
}

// Members of one level. An escaped name could hide a list of records from us: such a request is refused, never read in
// part.
Result<void> Members(std::string_view object, const char* what,
                     const std::function<Result<void>(std::string_view, std::string_view)>& take) {
  Result<void> done;
  const bool walked = WalkObject(object, [&](std::string_view name, std::string_view value) {
    done =
        name.find('\\') == std::string_view::npos ? take(name, value) : Result<void>(NotOtlp("a name with an escape"));
    return done.has_value();
  });
  if (!done) return done;
  if (!walked) return NotOtlp(std::string(what) + " is not an object");
  return {};
}

Result<void> Elements(std::string_view list, const char* what,
                      const std::function<Result<void>(std::string_view)>& take) {
  if (list == "null") return {};  // the empty list, in protobuf's JSON
  Result<void> done;
  const bool walked = WalkArray(list, [&](std::string_view element) {
    done = take(element);
    return done.has_value();
  });
  if (!done) return done;
  if (!walked) return NotOtlp(std::string(what) + " is not an array");
  return {};
}

bool IsSet(std::string_view value) { return !value.empty() && value != "null" && value != "\"\""; }

void PutMember(Bytes& out, std::string_view quoted_name, std::string_view value) {
  if (!IsSet(value)) return;
  if (out.back() != std::byte{'{'}) out.push_back(std::byte{','});
  Append(out, AsBytes(quoted_name));
  out.push_back(std::byte{':'});
  Append(out, AsBytes(value));
}

}  // namespace

Result<void> OtlpBody::Append(ByteView part) {
  if (body_.size() + part.size() > limits::kOtlpBodyBytes)
    return Fail(Code::kUnavailable, "the request is too large; nothing of it was kept");
  stele::Append(body_, part);
  return {};
}

Result<void> OtlpBody::Finish() {
  const std::string_view text = TrimJson(AsText(body_));
  if (!IsJsonText(text, kJsonDepthMax)) return NotOtlp("not JSON");
  STELE_TRY_VOID(Members(text, "it", [this](std::string_view name, std::string_view value) -> Result<void> {
    if (name != "resourceLogs" && name != "resource_logs") return {};
    return Elements(value, "resourceLogs", [this](std::string_view element) { return TakeResource(element); });
  }));
  Bytes().swap(body_);
  return {};
}

Result<void> OtlpBody::TakeResource(std::string_view element) {
  Group group;
  STELE_TRY_VOID(Members(element, "a member of resourceLogs",
                         [&group](std::string_view name, std::string_view value) -> Result<void> {
                           if (name == "resource") group.resource = value;
                           if (name == "schemaUrl" || name == "schema_url") group.resource_schema = value;
                           return {};
                         }));
  return Members(element, "a member of resourceLogs",
                 [this, &group](std::string_view name, std::string_view value) -> Result<void> {
                   if (name != "scopeLogs" && name != "scope_logs") return {};
                   return Elements(value, "scopeLogs",
                                   [this, &group](std::string_view scope) { return TakeScope(scope, group); });
                 });
}

Result<void> OtlpBody::TakeScope(std::string_view element, Group group) {
  STELE_TRY_VOID(Members(element, "a member of scopeLogs",
                         [&group](std::string_view name, std::string_view value) -> Result<void> {
                           if (name == "scope") group.scope = value;
                           if (name == "schemaUrl" || name == "schema_url") group.scope_schema = value;
                           return {};
                         }));
  return Members(element, "a member of scopeLogs",
                 [this, &group](std::string_view name, std::string_view value) -> Result<void> {
                   if (name != "logRecords" && name != "log_records") return {};
                   return Elements(value, "logRecords",
                                   [this, &group](std::string_view record) { return TakeRecord(record, group); });
                 });
}

Result<void> OtlpBody::TakeRecord(std::string_view record, const Group& group) {
  constexpr std::size_t kNamesBytes = 128;  // of all names, colons and braces together
  const std::size_t parts = record.size() + group.resource.size() + group.resource_schema.size() + group.scope.size() +
                            group.scope_schema.size();
  if (built_.size() + parts + kNamesBytes > built_bytes_max_) {
    return Fail(Code::kUnavailable,
                "the records with their resources are too large; nothing was kept: send fewer at once");
  }
  if (events_.size() == events_max_) return Fail(Code::kUnavailable, "too many records in one request");
  const std::size_t begin = built_.size();
  built_.push_back(std::byte{'{'});
  PutMember(built_, "\"resource\"", group.resource);
  PutMember(built_, "\"resourceSchemaUrl\"", group.resource_schema);
  PutMember(built_, "\"scope\"", group.scope);
  PutMember(built_, "\"scopeSchemaUrl\"", group.scope_schema);
  if (built_.back() != std::byte{'{'}) built_.push_back(std::byte{','});
  stele::Append(built_, AsBytes("\"logRecord\":"));
  stele::Append(built_, AsBytes(record));
  built_.push_back(std::byte{'}'});
  const std::size_t length = built_.size() - begin;
  // Its parts were checked with the whole request; only what searches would not look into is called unparsed.
  events_.push_back(JsonSlice{static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(length),
                              static_cast<std::uint32_t>(events_.size() + 1), length <= kJsonCheckedBytesMax, 0});
  return {};
}

}  // namespace stele::ingest
