#include "appliance/channel/api_messages.h"

#include <nlohmann/json.hpp>

namespace stele::channel {
namespace {

using Json = nlohmann::json;

// Text from the network may hold any byte; JSON may not. What is not UTF-8 becomes U+FFFD (and then names nothing).
Bytes Serialised(const Json& object) {
  const std::string text = object.dump(-1, ' ', false, Json::error_handler_t::replace);
  return ToBytes(AsBytes(text));
}

Result<Json> ParsedObject(ByteView body, const char* what) {
  Json object = Json::parse(AsText(body), nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return Fail(Code::kInvalid, std::string(what) + ": not a JSON object");
  return object;
}

// A missing member keeps its default; one of the wrong type makes the whole message invalid.
bool TakeText(const Json& object, const char* name, std::string& out) {
  const auto at = object.find(name);
  if (at == object.end()) return true;
  if (!at->is_string()) return false;
  out = at->get_ref<const std::string&>();
  return true;
}

bool TakeMap(const Json& object, const char* name, std::map<std::string, std::string>& out) {
  const auto at = object.find(name);
  if (at == object.end()) return true;
  if (!at->is_object()) return false;
  for (const auto& [key, value] : at->items()) {
    if (!value.is_string()) return false;
    out[key] = value.get_ref<const std::string&>();
  }
  return true;
}

bool TakeId(const Json& object, std::uint64_t& out) {
  const auto at = object.find("id");
  if (at == object.end() || !at->is_number_unsigned()) return false;
  out = at->get<std::uint64_t>();
  return true;
}

}  // namespace

Bytes EncodeApiRequest(const ApiRequest& request) {
  return Serialised(Json{{"id", request.id},
                         {"method", request.method},
                         {"path", request.path},
                         {"query", request.query},
                         {"headers", request.headers},
                         {"session_token", request.session_token},
                         {"certificate_sha256", request.certificate_sha256},
                         {"certificate_name", request.certificate_name},
                         {"peer", request.peer},
                         {"body", request.body}});
}

Result<ApiRequest> DecodeApiRequest(ByteView body) {
  STELE_TRY(const Json object, ParsedObject(body, "API request"));
  ApiRequest request;
  const bool ok = TakeId(object, request.id) && TakeText(object, "method", request.method) &&
                  TakeText(object, "path", request.path) && TakeMap(object, "query", request.query) &&
                  TakeMap(object, "headers", request.headers) &&
                  TakeText(object, "session_token", request.session_token) &&
                  TakeText(object, "certificate_sha256", request.certificate_sha256) &&
                  TakeText(object, "certificate_name", request.certificate_name) &&
                  TakeText(object, "peer", request.peer) && TakeText(object, "body", request.body);
  if (!ok) return Fail(Code::kInvalid, "API request: a member is missing or has the wrong type");
  return request;
}

Bytes EncodeApiResponse(const ApiResponse& response) {
  return Serialised(Json{{"id", response.id},
                         {"status", response.status},
                         {"content_type", response.content_type},
                         {"headers", response.headers}});
}

Result<ApiResponse> DecodeApiResponse(ByteView body) {
  STELE_TRY(const Json object, ParsedObject(body, "API response"));
  ApiResponse response;
  const auto status = object.find("status");
  if (status == object.end() || !status->is_number_unsigned() || status->get<std::uint64_t>() < 100 ||
      status->get<std::uint64_t>() > 599) {
    return Fail(Code::kInvalid, "API response: no HTTP status");
  }
  response.status = status->get<int>();
  if (!TakeId(object, response.id) || !TakeText(object, "content_type", response.content_type) ||
      !TakeMap(object, "headers", response.headers)) {
    return Fail(Code::kInvalid, "API response: a member is missing or has the wrong type");
  }
  return response;
}

Bytes EncodeApiBody(const ApiBody& part) {
  Bytes out;
  out.reserve(sizeof(std::uint64_t) + 1 + part.bytes.size());
  Writer writer(out);
  writer.Int(part.id);
  writer.Int(static_cast<std::uint8_t>(part.end ? 1 : 0));
  writer.Raw(part.bytes);
  return out;
}

Result<ApiBody> DecodeApiBody(ByteView body) {
  Reader reader(body);
  ApiBody part;
  part.id = reader.Int<std::uint64_t>();
  const auto end = reader.Int<std::uint8_t>();
  if (!reader.ok() || end > 1) return Fail(Code::kInvalid, "API body: short, or neither end nor more");
  part.end = end == 1;
  part.bytes = reader.Raw(reader.left_bytes());
  return part;
}

Bytes EncodeApiTaken(const ApiTaken& taken) {
  Bytes body;
  Writer writer(body);
  writer.Int(taken.id);
  writer.Int(taken.bytes);
  return body;
}

Result<ApiTaken> DecodeApiTaken(ByteView body) {
  Reader in(body);
  ApiTaken taken;
  taken.id = in.Int<std::uint64_t>();
  taken.bytes = in.Int<std::uint64_t>();
  if (!in.AtEnd()) return Fail(Code::kInvalid, "api taken: wrong length");
  return taken;
}

Bytes EncodeApiCancel(std::uint64_t id) {
  Bytes out;
  Writer(out).Int(id);
  return out;
}

Result<std::uint64_t> DecodeApiCancel(ByteView body) {
  Reader reader(body);
  const auto id = reader.Int<std::uint64_t>();
  if (!reader.AtEnd()) return Fail(Code::kInvalid, "API cancel: wrong length");
  return id;
}

}  // namespace stele::channel
