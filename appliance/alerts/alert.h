// An entry of the log as it leaves the box. Pure: the same alert gives the same bytes.
//
//   SIEM     frame := length SP "<" pri ">1 " time SP host " stele - " msgid SP "[stele@32473" parameter* "] " message
//            parameter := " log" | " seq" | " kind" | " alarm" | " zone" | " source" | " size" with ="..."; RFC 5424,
//            RFC 5425 message := the entry's payload as it is in the log
//   webhook  one JSON object; its signature is Ed25519 (RFC 8032) over exactly these bytes
//
// docs/protocols.md, "Alerts out", says what each member means.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "appliance/base/bytes.h"
#include "appliance/ledger/note.h"

namespace stele::alerts {

struct Alert {
  std::uint64_t sequence = 0;
  std::int64_t time_ns = 0;
  std::string kind;  // alarm, loss; of a source's record syslog, json
  std::string zone;
  std::string source;  // the operator's name of it
  std::optional<unsigned> severity, facility;
  Bytes payload;
  std::uint64_t payload_bytes = 0;  // of the whole; more than `payload` has: it was cut
};

// What every alert of a log says about it.
struct Origin {
  std::string log_id;  // hexadecimal
  std::string origin;  // first line of its checkpoints
  std::string host;    // of the syslog header
  std::string viewer;  // https://host:port, without a slash at the end
};

// What stele-query says to a flow that asks from a sequence number on.
struct FeedSlice {
  std::string log_id;
  std::uint64_t size = 0;  // of the log
  std::uint64_t next = 0;  // where to go on after these
  std::uint64_t unreadable = 0;
  std::vector<Alert> rows;
  std::optional<std::string> checkpoint;  // the newest, as a signed note
};
// kInvalid: not a feed's answer.
[[nodiscard]] Result<FeedSlice> ParseFeed(std::string_view text);

[[nodiscard]] std::string SyslogFrame(const Alert& alert, const Origin& origin);
// The newest checkpoint, as a message of its own behind a batch.
[[nodiscard]] std::string ReceiptFrame(std::string_view note, std::int64_t time_ns, const Origin& origin);

[[nodiscard]] std::string WebhookBody(const Alert& alert, const Origin& origin, const std::optional<std::string>& note);

using AlertKey = ledger::SigningKey;
// kInvalid: the seed is not 32 bytes.
[[nodiscard]] Result<AlertKey> AlertKeyOf(ByteView seed);
// The public key as openssl reads it: SubjectPublicKeyInfo (RFC 8410) in PEM.
[[nodiscard]] std::string PublicKeyPem(const AlertKey& key);
// The header fields of a webhook's request: Content-Type, Stele-Signature-Ed25519 (base64 of the 64 bytes).
[[nodiscard]] std::string WebhookFields(std::string_view body, const AlertKey& key);

}  // namespace stele::alerts
