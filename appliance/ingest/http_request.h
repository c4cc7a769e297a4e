// What a request's header must say before its body is read: which door it wants, who sends, how the body is to be read.
// Pure.
#pragma once

#include <boost/beast/http/fields.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/status.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "appliance/ingest/json_body.h"
#include "appliance/ingest/senders.h"

namespace stele::ingest {

// The doors of the HTTPS listener. The last three take no body: what Elastic's clients ask before they send.
enum class Door : std::uint8_t { kEvents, kOtlpLogs, kBulk, kWebhook, kElasticRoot, kElasticHealth, kElasticLicense };

struct Request {
  Door door = Door::kEvents;
  JsonBody::Kind kind = JsonBody::Kind::kLines;  // of kEvents
  bool gzip = false;
  bool wants_leaves = false;
  bool is_head = false;
  std::string target;    // of the path: an index (kBulk), a webhook's name
  std::string identity;  // the sender's registered name
};

struct Refusal {
  boost::beast::http::status status = boost::beast::http::status::bad_request;
  const char* code = "bad_request";
  std::string message;
};

using RequestHeader = boost::beast::http::header<true, boost::beast::http::fields>;

// Absent when the request may go on. `request.door` is set as far as the path tells, also for a refusal: it decides the
// shape of the answer. `certificate`: SHA-256 of the client's certificate, where it showed one.
[[nodiscard]] std::optional<Refusal> CheckRequest(const RequestHeader& header, const SenderSet& senders,
                                                  const std::optional<Hash>& certificate, Request& request);

// The body reader of a door that takes a body.
[[nodiscard]] std::unique_ptr<EventBody> MakeBody(const Request& request, JsonChecker& checker);

// The answer of a door that takes none.
[[nodiscard]] std::string HandshakeText(Door door, bool ready);

// An error in the shape the door's clients read.
[[nodiscard]] std::string DoorErrorText(Door door, unsigned status, std::string_view code, std::string_view message);
[[nodiscard]] bool IsElastic(Door door);
[[nodiscard]] bool TakesBody(Door door);

}  // namespace stele::ingest
