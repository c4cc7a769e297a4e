// The read API between its fronts (stele-web, the command line) and stele-query: one request, one answer in parts.
//
//   kApiRequest  := JSON, see ApiRequest; a body over the frame size is refused by the front with 413
//   kApiResponse := JSON {"id","status","content_type","headers":{...}}
//   kApiBody     := id:u64 end:u8 bytes
//   kApiCancel   := id:u64                       the front's client is gone
//   kApiTaken    := id:u64 bytes:u64             of a download: so much was handed to the client, more may come
//
// A response is one kApiResponse, then kApiBody frames until end = 1. A live tail stays open until cancelled.
#pragma once

#include <map>
#include <string>

#include "appliance/base/bytes.h"

namespace stele::channel {

struct ApiRequest {
  std::uint64_t id = 0;            // chosen by the front, unique on its channel while open
  std::string method;              // GET, HEAD, POST
  std::string path;                // decoded, without the query
  std::map<std::string, std::string> query;  // decoded
  std::map<std::string, std::string> headers;  // lower-case names, only: last-event-id, content-type, origin
  std::string session_token;       // the cookie's value, opaque to the front; empty when none
  std::string certificate_sha256;  // hex digest of the verified client certificate; empty when none
  std::string certificate_name;    // its subject's CN
  std::string peer;                // address of the HTTP client, or "uid:N" on the local socket
  std::string body;
};

struct ApiResponse {
  std::uint64_t id = 0;
  int status = 200;
  std::string content_type = "application/json";
  std::map<std::string, std::string> headers;  // set-session: token, clear-session: 1, retry-after, content-disposition
};

struct ApiBody {
  std::uint64_t id = 0;
  bool end = false;
  ByteView bytes;
};

[[nodiscard]] Bytes EncodeApiRequest(const ApiRequest& request);
[[nodiscard]] Result<ApiRequest> DecodeApiRequest(ByteView body);
[[nodiscard]] Bytes EncodeApiResponse(const ApiResponse& response);
[[nodiscard]] Result<ApiResponse> DecodeApiResponse(ByteView body);
[[nodiscard]] Bytes EncodeApiBody(const ApiBody& part);
[[nodiscard]] Result<ApiBody> DecodeApiBody(ByteView body);
[[nodiscard]] Bytes EncodeApiCancel(std::uint64_t id);
[[nodiscard]] Result<std::uint64_t> DecodeApiCancel(ByteView body);
struct ApiTaken {
  std::uint64_t id = 0;
  std::uint64_t bytes = 0;
};
[[nodiscard]] Bytes EncodeApiTaken(const ApiTaken& taken);
[[nodiscard]] Result<ApiTaken> DecodeApiTaken(ByteView body);

}  // namespace stele::channel
