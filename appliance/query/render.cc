#include "appliance/query/render.h"

#include "appliance/base/limits.h"
#include "appliance/base/text.h"

namespace stele::query {
namespace {

using Json = nlohmann::json;

void PutText(Json& object, const char* name, std::string_view hostile) {
  if (!hostile.empty()) object[name] = ToUtf8(AsBytes(hostile.substr(0, kMemberBytesMax)));
}

Json FlagsJson(std::uint16_t flags) {
  Json names = Json::array();
  const std::string joined = record::FlagNames(flags);
  for (std::size_t begin = 0; begin < joined.size();) {
    const std::size_t comma = std::min(joined.find(',', begin), joined.size());
    names.push_back(joined.substr(begin, comma - begin));
    begin = comma + 1;
  }
  return names;
}

const char* FormatOf(RecordFields& fields) {
  if (const auto* parsed = fields.syslog()) return ingest::FormatName(parsed->format);
  if (fields.record().kind != record::Kind::kJson) return "internal";
  return (fields.record().flags & record::kFlagUnparsed) != 0 ? "raw" : "json";
}

Json SourceJson(const SourceNames& source) {
  Json out = {{"id", source.id},
              {"transport", source.transport},
              {"peer", source.peer},
              {"listener", source.listener},
              {"zone", source.zone}};
  if (!source.target.empty()) out["target"] = source.target;
  PutIdentity(source, out);
  if (!source.name.empty()) out["name"] = source.name;
  return out;
}

void PutParsed(RecordFields& fields, Json& out) {
  if (const auto severity = fields.severity()) out["severity"] = *severity;
  if (const auto facility = fields.facility()) out["facility"] = *facility;
  PutText(out, "host", fields.host());
  PutText(out, "app", fields.app());
  PutText(out, "pid", fields.pid());
  PutText(out, "msgid", fields.msgid());
  const auto* parsed = fields.syslog();
  if (parsed != nullptr && parsed->claimed_ns) out["claimed_time"] = FormatTime(*parsed->claimed_ns);
}

void Flatten(const simdjson::dom::element& element, const std::string& path, int depth, Json& out) {
  if (out.size() >= kFlattenedMax) return;
  simdjson::dom::object object;
  simdjson::dom::array array;
  if (depth < kFlattenedDepthMax && element.get_object().get(object) == simdjson::SUCCESS && object.size() > 0) {
    for (const auto member : object) {
      const std::string name = path.empty() ? std::string(member.key) : path + "." + std::string(member.key);
      Flatten(member.value, name.substr(0, kMemberBytesMax), depth + 1, out);
    }
    return;
  }
  if (depth < kFlattenedDepthMax && element.get_array().get(array) == simdjson::SUCCESS && array.size() > 0) {
    std::size_t index = 0;
    for (const simdjson::dom::element item : array) Flatten(item, path + "." + std::to_string(index++), depth + 1, out);
    return;
  }
  std::string_view text;
  const std::string value = element.get_string().get(text) == simdjson::SUCCESS ? std::string(text) : simdjson::minify(element);
  out[ToUtf8(AsBytes(path))] = ToUtf8(AsBytes(std::string_view(value).substr(0, kMemberBytesMax)));
}

Json StructuredData(const ingest::ParsedMessage& parsed) {
  Json out = Json::object();
  std::size_t count = 0;
  for (const ingest::Element& element : parsed.elements) {
    Json& parameters = out[ToUtf8(AsBytes(element.id))];
    if (parameters.is_null()) parameters = Json::object();
    for (std::uint32_t i = 0; i < element.parameter_count && ++count <= kFlattenedMax; ++i) {
      const ingest::Parameter& parameter = parsed.parameters[element.parameter_first + i];
      const std::string value = ingest::Unescape(parameter.value.substr(0, kMemberBytesMax));
      parameters[ToUtf8(AsBytes(parameter.name))] = ToUtf8(AsBytes(value));
    }
    if (count > kFlattenedMax) break;
  }
  return out;
}

}  // namespace

void PutIdentity(const SourceNames& source, Json& out) {
  if (source.identity.empty()) return;
  Json object = source.identity.front() == '{' ? Json::parse(source.identity, nullptr, /*allow_exceptions=*/false) : Json();
  out["identity"] = object.is_object() ? std::move(object) : Json(source.identity);
}

Json RowJson(RecordFields& fields, const RowProof* proof) {
  const RecordView& record = fields.record();
  const ByteView preview = record.payload.first(std::min(record.payload.size(), limits::kPreviewBytes));
  const std::string_view message = fields.message();
  Json row = {{"seq", record.sequence},
              {"time", FormatTime(record.receive_wall_ns)},
              {"time_ns", std::to_string(record.receive_wall_ns)},
              {"kind", record::KindName(record.kind)},
              {"flags", FlagsJson(record.flags)},
              {"peer", record::PeerText(record.peer)},
              {"peer_b64", Base64Of(record.peer)},
              {"message", {{"offset", message.data() - fields.payload().data()}, {"length", message.size()}}},
              {"size", record.payload.size()},
              {"payload_b64", Base64Of(preview)},
              {"payload_whole", preview.size() == record.payload.size()},
              {"format", FormatOf(fields)}};
  if (message.data() == nullptr) row["message"] = {{"offset", 0}, {"length", 0}};
  const SourceNames* source = fields.source();
  row["source"] = source != nullptr ? SourceJson(*source) : Json{{"id", record.source}};
  PutParsed(fields, row);
  if (proof != nullptr) {
    row["entry_b64"] = Base64Of(proof->entry);
    row["salt_b64"] = Base64Of(proof->salt);
    row["proof"] = HashesJson(proof->path);
  }
  return row;
}

Json FieldsJson(RecordFields& fields) {
  Json out = Json::object();
  PutParsed(fields, out);
  if (const auto* parsed = fields.syslog()) {
    PutText(out, "time_text", parsed->time_text);
    PutText(out, "sequence", parsed->sequence);
    PutText(out, "problems", ingest::ProblemNames(parsed->problems));
    if (!parsed->elements.empty()) out["sd"] = StructuredData(*parsed);
  }
  if (const auto object = fields.json()) {
    Json members = Json::object();
    Flatten(*object, "", 0, members);
    out["json"] = std::move(members);
  }
  return out;
}

Json CheckpointJson(const CheckpointInfo* checkpoint) {
  if (checkpoint == nullptr) return nullptr;
  return {{"size", checkpoint->size},
          {"root", checkpoint->root},
          {"time", FormatTime(checkpoint->time_ns)},
          {"note", checkpoint->note},
          {"seq", checkpoint->sequence}};
}

Json HashesJson(const std::vector<Hash>& hashes) {
  Json out = Json::array();
  for (const Hash& hash : hashes) out.push_back(HexOf(hash));
  return out;
}

Json ErrorJson(std::string_view code, std::string_view message) {
  return {{"error", {{"code", code}, {"message", ToUtf8(AsBytes(message))}}}};
}

std::string Dump(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace stele::query
