// JSON events over HTTPS, answered only after the commit. The doors (docs/protocols.md):
//
//   POST /v1/events, /api/v1/events      application/x-ndjson: one event per line; application/json: one object, or one per line
//   POST /v1/logs                        OpenTelemetry logs, JSON encoding; one event per log record
//   POST /_bulk, /<index>/_bulk          Elastic bulk: create and index; GET /, /_cluster/health, /_license for its clients
//   POST /, /webhook/<name>              any JSON body as one event
//
//   200 {"ranges":[[first,last],...],"unparsed":[line,...],"unparsed_count":N,"leaves":[hex,...] if asked,"checkpoint":null or text}
//       or in the shape of the door's protocol
//   400 401 404 405 411 413 415 417 431 503(+ Retry-After): {"error":{"code","message"}}; nothing of the body was kept
//
// TLS 1.2 or 1.3, no renegotiation, no early data, HTTP/1.1 only. Anything ambiguous in a request (two lengths, two hosts, an
// encoding nobody agreed on) is refused and the connection closed. Bounds: appliance/base/limits.h.
// Thread safety: everything runs on the io_context, which one thread runs.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "appliance/base/bytes.h"
#include "appliance/base/fd.h"
#include "appliance/base/limits.h"
#include "appliance/base/seams.h"
#include "appliance/ingest/events.h"
#include "appliance/ingest/jws.h"
#include "appliance/ingest/senders.h"

namespace stele::ingest {

struct HttpJsonOptions {
  std::string certificate_pem;      // chain, own certificate first
  std::string key_pem;
  std::vector<std::string> tokens;  // bearer tokens without a name
  std::vector<Sender> senders;      // and senders with one; neither: everybody may send
  std::shared_ptr<const SourceKeys> keys;  // of signed events; null: none. Shared with the sink
  std::size_t body_bytes_max = limits::kHttpBodyBytes;
  std::size_t bodies_bytes_max = limits::kHttpBodiesBytes;
  std::size_t connections_max = limits::kHttpConnections;
  std::size_t connections_per_address_max = limits::kConnectionsPerAddress;
  std::int64_t handshake_ms = limits::kTlsHandshakeMs;
  std::int64_t idle_ms = limits::kHttpIdleMs;
  std::int64_t body_stall_ms = limits::kHttpBodyStallMs;
  std::int64_t body_ms = limits::kHttpBodyMs;
};

struct HttpJsonCounters {
  std::uint64_t connections = 0;          // accepted
  std::uint64_t connections_refused = 0;  // over a limit, closed at once
  std::uint64_t handshakes_failed = 0;
  std::uint64_t requests_refused = 0;     // answered 4xx
  std::uint64_t events_received = 0;      // submitted
  std::uint64_t events_committed = 0;
  std::uint64_t events_refused = 0;       // answered 503
  std::uint64_t signatures_invalid = 0;   // among events_received
  std::uint64_t connections_open = 0;
};

class HttpJsonServer {
 public:
  // `listener`: a TCP socket that already listens. kInvalid: certificate or key unusable; kIo: not such a socket.
  [[nodiscard]] static Result<std::unique_ptr<HttpJsonServer>> Make(boost::asio::io_context& context, UniqueFd listener,
                                                                    HttpJsonOptions options, EventSink& sink, Clock& clock);
  ~HttpJsonServer();  // closes every connection
  HttpJsonServer(const HttpJsonServer&) = delete;
  HttpJsonServer& operator=(const HttpJsonServer&) = delete;

  void Start();
  void Stop();  // no new connections, the open ones are closed
  // A new certificate for connections from now on; on error the old one stays.
  [[nodiscard]] Result<void> Reload(const std::string& certificate_pem, const std::string& key_pem);
  // Who may send, for requests from now on, and whose signatures are known. Whether a client certificate is asked for
  // follows at the next Reload().
  void UseSenders(SenderSet senders, std::shared_ptr<const SourceKeys> keys);
  [[nodiscard]] const HttpJsonCounters& counters() const;

 private:
  class Implementation;
  explicit HttpJsonServer(std::shared_ptr<Implementation> implementation);
  std::shared_ptr<Implementation> implementation_;  // shared with pending accepts, which outlive the server by one turn
};

}  // namespace stele::ingest
