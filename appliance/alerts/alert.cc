#include "appliance/alerts/alert.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "appliance/base/limits.h"
#include "appliance/base/text.h"

namespace stele::alerts {
namespace {

using nlohmann::json;

constexpr unsigned kFacilityLogAudit = 13;  // RFC 5424, table 1
constexpr unsigned kSeverityAlert = 1;      // table 2
constexpr unsigned kSeverityWarning = 4;
constexpr unsigned kSeverityNotice = 5;
constexpr unsigned kSeverityInformational = 6;
constexpr std::size_t kHostBytesMax = 255;
// Alarms that end another one.
constexpr std::array<std::string_view, 3> kGoodNews{"source_recovered", "time_synchronised", "alerts_delivered"};

json PayloadOf(const Alert& alert) {
  json object = json::parse(AsText(alert.payload), nullptr, /*allow_exceptions=*/false);
  return object.is_object() ? object : json::object();
}

std::string TextIn(const json& object, const char* name) {
  const auto at = object.find(name);
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

unsigned PriorityOf(const Alert& alert, const std::string& word) {
  if (alert.kind == "alarm") {
    const bool good = std::find(kGoodNews.begin(), kGoodNews.end(), word) != kGoodNews.end();
    return kFacilityLogAudit * 8 + (good ? kSeverityNotice : kSeverityAlert);
  }
  if (alert.kind == "loss") return kFacilityLogAudit * 8 + kSeverityWarning;
  const unsigned facility = alert.facility && *alert.facility <= 23 ? *alert.facility : kFacilityLogAudit;
  const unsigned severity = alert.severity && *alert.severity <= 7 ? *alert.severity : kSeverityInformational;
  return facility * 8 + severity;
}

//= RFC 5424 section 6.3.3
//# Inside PARAM-VALUE, the characters '"' (ABNF %d34), '\' (ABNF %d92),
//# and ']' (ABNF %d93) MUST be escaped.
std::string Parameter(std::string_view name, std::string_view hostile) {
  std::string out = " " + std::string(name) + "=\"";
  for (const char c : ToUtf8(AsBytes(hostile))) {
    if (c == '"' || c == '\\' || c == ']') out += '\\';
    out += c;
  }
  return out + '"';
}

// HOSTNAME is printable ASCII without spaces, or the nil value.
std::string HostOf(const Origin& origin) {
  std::string host;
  for (const char c : origin.host.substr(0, kHostBytesMax)) host += c > ' ' && c <= '~' ? c : '_';
  return host.empty() ? "-" : host;
}

//= RFC 5425 section 4.3
//# SYSLOG-FRAME = MSG-LEN SP SYSLOG-MSG
std::string Framed(const std::string& message) { return std::to_string(message.size()) + " " + message; }

std::string Head(unsigned priority, std::int64_t time_ns, const Origin& origin, std::string_view msgid) {
  return "<" + std::to_string(priority) + ">1 " + FormatTime(time_ns) + " " + HostOf(origin) + " stele - " +
         std::string(msgid) + " [stele@32473" + Parameter("log", origin.log_id);
}

Result<Alert> ParseRow(const json& row) {
  const auto wrong = [] { return Fail(Code::kInvalid, "a row of the feed is not one"); };
  const auto number = [&row](const char* name) { return row.contains(name) && row[name].is_number_unsigned(); };
  const auto payload = ParseBase64(TextIn(row, "payload_b64"), limits::kMessageBytesCeiling);
  const bool timed = row.contains("time_ns") && row["time_ns"].is_number_integer();
  if (!number("seq") || !number("size") || !timed || !payload) return wrong();
  Alert alert;
  alert.sequence = row["seq"].get<std::uint64_t>();
  alert.time_ns = row["time_ns"].get<std::int64_t>();
  alert.kind = TextIn(row, "kind");
  alert.zone = TextIn(row, "zone");
  alert.source = TextIn(row, "source");
  alert.payload = *payload;
  alert.payload_bytes = row["size"].get<std::uint64_t>();
  if (number("severity")) alert.severity = row["severity"].get<unsigned>();
  if (number("facility")) alert.facility = row["facility"].get<unsigned>();
  if (alert.zone.empty()) alert.zone = TextIn(PayloadOf(alert), "zone");
  return alert;
}

}  // namespace

Result<FeedSlice> ParseFeed(std::string_view text) {
  const json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto wrong = [] { return Fail(Code::kInvalid, "stele-query answered no feed"); };
  if (!object.is_object()) return wrong();
  FeedSlice slice;
  slice.log_id = TextIn(object, "log_id");
  for (const auto& [name, out] :
       {std::pair{"size", &slice.size}, std::pair{"next", &slice.next}, std::pair{"unreadable", &slice.unreadable}}) {
    const auto at = object.find(name);
    if (at == object.end() || !at->is_number_unsigned()) return wrong();
    *out = at->get<std::uint64_t>();
  }
  const auto rows = object.find("rows");
  if (slice.log_id.empty() || rows == object.end() || !rows->is_array()) return wrong();
  for (const json& row : *rows) {
    if (!row.is_object()) return wrong();
    STELE_TRY(Alert alert, ParseRow(row));
    slice.rows.push_back(std::move(alert));
  }
  if (std::string note = TextIn(object, "checkpoint"); !note.empty()) slice.checkpoint = std::move(note);
  return slice;
}

std::string SyslogFrame(const Alert& alert, const Origin& origin) {
  const bool own = alert.kind == "alarm" || alert.kind == "loss";
  const std::string word = alert.kind == "alarm" ? TextIn(PayloadOf(alert), "alarm") : std::string();
  std::string message = Head(PriorityOf(alert, word), alert.time_ns, origin, own ? alert.kind : "record") +
                        Parameter("seq", std::to_string(alert.sequence)) + Parameter("kind", alert.kind);
  if (alert.kind == "alarm") message += Parameter("alarm", word);
  message += Parameter("zone", alert.zone);
  if (!alert.source.empty()) message += Parameter("source", alert.source);
  if (alert.payload_bytes > alert.payload.size()) message += Parameter("size", std::to_string(alert.payload_bytes));
  message += "] ";
  message += AsText(alert.payload);
  return Framed(message);
}

std::string ReceiptFrame(std::string_view note, std::int64_t time_ns, const Origin& origin) {
  const std::string text =
      json{{"checkpoint", note}}.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace);
  return Framed(Head(kFacilityLogAudit * 8 + kSeverityInformational, time_ns, origin, "checkpoint") + "] " + text);
}

std::string WebhookBody(const Alert& alert, const Origin& origin, const std::optional<std::string>& note) {
  const std::string sequence = std::to_string(alert.sequence);
  json body = {{"version", 1},
               {"log_id", origin.log_id},
               {"origin", origin.origin},
               {"seq", alert.sequence},
               {"time", FormatTime(alert.time_ns)},
               {"time_ns", std::to_string(alert.time_ns)},
               {"kind", alert.kind},
               {"zone", alert.zone},
               {"payload_b64", Base64Of(alert.payload)},
               {"record_url", origin.viewer + "/api/v1/record/" + sequence},
               {"proof_url", origin.viewer + "/api/v1/proof/" + sequence}};
  body[alert.kind] = PayloadOf(alert);
  if (note) body["checkpoint"] = *note;
  return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<AlertKey> AlertKeyOf(ByteView seed) { return AlertKey::FromSeed("stele.invalid/alerts", seed); }

std::string PublicKeyPem(const AlertKey& key) {
  // RFC 8410 section 4: SEQUENCE { SEQUENCE { id-Ed25519 }, BIT STRING }.
  Bytes encoded = *ParseHex("302a300506032b6570032100");
  Append(encoded, key.verify_key().public_key);
  return "-----BEGIN PUBLIC KEY-----\n" + Base64Of(encoded) + "\n-----END PUBLIC KEY-----\n";
}

std::string WebhookFields(std::string_view body, const AlertKey& key) {
  return "Content-Type: application/json\r\nStele-Signature-Ed25519: " + Base64Of(key.SignMessage(AsBytes(body))) +
         "\r\n";
}

}  // namespace stele::alerts
