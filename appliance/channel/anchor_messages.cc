#include "appliance/channel/anchor_messages.h"

#include <nlohmann/json.hpp>

namespace stele::channel {
namespace {

using nlohmann::json;

Bytes Dump(const json& object) { return ToBytes(AsBytes(object.dump(-1, ' ', false, json::error_handler_t::replace))); }

json HexList(const std::vector<Hash>& hashes) {
  json list = json::array();
  for (const Hash& hash : hashes) list.push_back(HexOf(hash));
  return list;
}

// Reads members of one object. After the first member that is absent or of another type ok() is false, as in Reader.
class Fields {
 public:
  explicit Fields(const json& object) : object_(object), ok_(object.is_object()) {}

  [[nodiscard]] std::string Text(const char* name) {
    const json* member = Find(name);
    if (member == nullptr || !member->is_string()) return Bad<std::string>();
    return member->get<std::string>();
  }
  [[nodiscard]] std::optional<std::string> OptionalText(const char* name) {
    const json* member = Find(name);
    if (member != nullptr && member->is_null()) return std::nullopt;
    if (member == nullptr || !member->is_string()) return Bad<std::optional<std::string>>();
    return member->get<std::string>();
  }
  [[nodiscard]] std::uint64_t Unsigned(const char* name) {
    const json* member = Find(name);
    if (member == nullptr || !member->is_number_unsigned()) return Bad<std::uint64_t>();
    return member->get<std::uint64_t>();
  }
  [[nodiscard]] std::int64_t Signed(const char* name) {
    const json* member = Find(name);
    if (member == nullptr || !member->is_number_integer()) return Bad<std::int64_t>();
    if (member->is_number_unsigned() && member->get<std::uint64_t>() > std::uint64_t{INT64_MAX})
      return Bad<std::int64_t>();
    return member->get<std::int64_t>();
  }
  [[nodiscard]] bool Boolean(const char* name) {
    const json* member = Find(name);
    if (member == nullptr || !member->is_boolean()) return Bad<bool>();
    return member->get<bool>();
  }
  [[nodiscard]] Hash Digest(const char* name) {
    const auto hash = ParseHash(Text(name));
    return hash ? *hash : Bad<Hash>();
  }
  [[nodiscard]] std::vector<Hash> Digests(const char* name) {
    std::vector<Hash> hashes;
    for (const std::string& text : Texts(name)) {
      const auto hash = ParseHash(text);
      if (!hash) return Bad<std::vector<Hash>>();
      hashes.push_back(*hash);
    }
    return hashes;
  }
  [[nodiscard]] std::vector<std::string> Texts(const char* name) {
    const json* member = Find(name);
    if (member == nullptr || !member->is_array()) return Bad<std::vector<std::string>>();
    std::vector<std::string> texts;
    for (const json& element : *member) {
      if (!element.is_string()) return Bad<std::vector<std::string>>();
      texts.push_back(element.get<std::string>());
    }
    return texts;
  }
  void Require(bool condition) { ok_ = ok_ && condition; }
  [[nodiscard]] bool ok() const { return ok_; }

 private:
  const json* Find(const char* name) const {
    if (!object_.is_object()) return nullptr;
    const auto member = object_.find(name);
    return member == object_.end() ? nullptr : &*member;
  }
  template <typename T>
  T Bad() {
    ok_ = false;
    return T{};
  }

  const json& object_;
  bool ok_;
};

json OptionalJson(const std::optional<std::string>& text) { return text ? json(*text) : json(nullptr); }

json StateJson(const LogState& state) {
  return {{"log_id", HexOf(state.log_id)},
          {"size", state.size},
          {"root", HexOf(state.root)},
          {"frontier", HexList(state.frontier)},
          {"last_receipt", OptionalJson(state.last_receipt)},
          {"intents", state.intents},
          {"bytes_valid", state.bytes_valid},
          {"tail_records", state.tail_records},
          {"tail_since_wall_ns", state.tail_since_wall_ns}};
}

LogState TakeState(Fields& fields) {
  LogState state;
  state.log_id = fields.Digest("log_id");
  state.size = fields.Unsigned("size");
  state.root = fields.Digest("root");
  state.frontier = fields.Digests("frontier");
  state.last_receipt = fields.OptionalText("last_receipt");
  state.intents = fields.Texts("intents");
  state.bytes_valid = fields.Boolean("bytes_valid");
  state.tail_records = fields.Unsigned("tail_records");
  state.tail_since_wall_ns = fields.Signed("tail_since_wall_ns");
  return state;
}

json VerdictJson(const Verdict& verdict) {
  return {{"word", verdict.word},
          {"qualifiers", verdict.qualifiers},
          {"detail", verdict.detail},
          {"may_anchor", verdict.may_anchor},
          {"late_receipt", OptionalJson(verdict.late_receipt)}};
}

Verdict TakeVerdict(Fields& fields) {
  Verdict verdict;
  verdict.word = fields.Text("word");
  verdict.qualifiers = fields.Texts("qualifiers");
  verdict.detail = fields.Text("detail");
  verdict.may_anchor = fields.Boolean("may_anchor");
  verdict.late_receipt = fields.OptionalText("late_receipt");
  return verdict;
}

}  // namespace

Bytes EncodeAnchorRequest(const AnchorRequest& request) {
  json object = {{"op", request.op}};
  if (request.op == "keys") {
    object["sessions"] = HexList(request.keys.sessions);
    object["new_session"] = HexOf(request.keys.new_session);
  } else if (request.op == "recovered") {
    object.update(StateJson(request.state));
  } else if (request.op == "checkpoint") {
    object["size"] = request.checkpoint.size;
    object["root"] = HexOf(request.checkpoint.root);
    object["range_begin"] = request.checkpoint.range_begin;
    object["range_hashes"] = HexList(request.checkpoint.range_hashes);
    object["want_anchor"] = request.checkpoint.want_anchor;
  } else if (request.op == "attest") {
    object["nonce"] = HexOf(request.attest.nonce);
    object["demanded"] = request.attest.demanded;
  } else {
    object["number"] = request.number;
  }
  return Dump(object);
}

Result<AnchorRequest> DecodeAnchorRequest(ByteView body) {
  const json object = json::parse(AsText(body), nullptr, false);
  Fields fields(object);
  AnchorRequest request;
  request.op = fields.Text("op");
  if (request.op == "keys") {
    request.keys.sessions = fields.Digests("sessions");
    request.keys.new_session = fields.Digest("new_session");
  } else if (request.op == "recovered") {
    request.state = TakeState(fields);
  } else if (request.op == "checkpoint") {
    request.checkpoint.size = fields.Unsigned("size");
    request.checkpoint.root = fields.Digest("root");
    request.checkpoint.range_begin = fields.Unsigned("range_begin");
    request.checkpoint.range_hashes = fields.Digests("range_hashes");
    request.checkpoint.want_anchor = fields.Boolean("want_anchor");
  } else if (request.op == "attest") {
    request.attest.nonce = fields.Digest("nonce");
    request.attest.demanded = fields.Boolean("demanded");
  } else {
    fields.Require(request.op == "confirmed" || request.op == "receipt");
    request.number = fields.Unsigned("number");
  }
  if (!fields.ok())
    return Fail(Code::kInvalid, "anchor request: unknown op, or a member is missing or of another type");
  return request;
}

Bytes EncodeAnchorAnswer(const AnchorAnswer& answer) {
  json object = {{"op", answer.op}};
  if (answer.op == "keys") {
    object["keys"] = HexList(answer.keys.keys);
    object["new_key"] = HexOf(answer.keys.new_key);
  } else if (answer.op == "verdict") {
    object.update(VerdictJson(answer.verdict));
    object["signed_size"] = answer.signed_size;
  } else if (answer.op == "intent") {
    object["payload"] = answer.intent.payload;
    object["number"] = answer.intent.number;
    object["anchor"] = answer.intent.anchor;
  } else if (answer.op == "extended") {
    object["number"] = answer.extended.number;
    object["receipt"] = OptionalJson(answer.extended.receipt);
    object["status_json"] = answer.extended.status_json;
  } else if (answer.op == "attested") {
    object["attest_json"] = answer.attest_json;
    object["refusal"] = answer.refusal;
  } else if (answer.op == "refused") {
    object["refusal"] = answer.refusal;
    object["signed_size"] = answer.signed_size;
  } else {
    object["status_json"] = answer.status_json;
    object["alarm"] = answer.alarm;
  }
  return Dump(object);
}

Result<AnchorAnswer> DecodeAnchorAnswer(ByteView body) {
  const json object = json::parse(AsText(body), nullptr, false);
  Fields fields(object);
  AnchorAnswer answer;
  answer.op = fields.Text("op");
  if (answer.op == "keys") {
    answer.keys.keys = fields.Digests("keys");
    answer.keys.new_key = fields.Digest("new_key");
  } else if (answer.op == "verdict") {
    answer.verdict = TakeVerdict(fields);
    answer.signed_size = fields.Unsigned("signed_size");
  } else if (answer.op == "intent") {
    answer.intent.payload = fields.Text("payload");
    answer.intent.number = fields.Unsigned("number");
    answer.intent.anchor = fields.Unsigned("anchor");
  } else if (answer.op == "extended") {
    answer.extended.number = fields.Unsigned("number");
    answer.extended.receipt = fields.OptionalText("receipt");
    answer.extended.status_json = fields.Text("status_json");
  } else if (answer.op == "attested") {
    answer.attest_json = fields.Text("attest_json");
    answer.refusal = fields.Text("refusal");
  } else if (answer.op == "refused") {
    answer.refusal = fields.Text("refusal");
    answer.signed_size = fields.Unsigned("signed_size");
  } else {
    fields.Require(answer.op == "status");
    answer.status_json = fields.Text("status_json");
    answer.alarm = fields.Text("alarm");
  }
  if (!fields.ok()) return Fail(Code::kInvalid, "anchor answer: unknown op, or a member is missing or of another type");
  return answer;
}

}  // namespace stele::channel
