// One HTTPS connection of the JSON way in: handshake, requests one after the other, answers after the commit.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <memory>

#include "appliance/base/seams.h"
#include "appliance/ingest/http_json.h"
#include "appliance/ingest/http_request.h"

namespace stele::ingest {

// What the sessions of one server share; outlives them all.
struct HttpShared {
  HttpShared(HttpJsonOptions shared_options, EventSink& shared_sink, Clock& shared_clock)
      : options(std::move(shared_options)), senders(options.tokens, options.senders), sink(shared_sink), clock(shared_clock) {
    if (options.keys) checker.UseKeys(options.keys);
  }
  HttpJsonOptions options;
  SenderSet senders;
  EventSink& sink;
  Clock& clock;
  JsonChecker checker;
  HttpJsonCounters counters;
  std::size_t bodies_bytes = 0;  // of all sessions: being read, or submitted and not yet answered
};

class HttpSession {
 public:
  virtual ~HttpSession() = default;
  virtual void Run() = 0;
  virtual void Close() = 0;  // at once; `closed` is not called any more

  // `closed` is called once, when the connection is over. A shared_ptr, because pending operations own the session too.
  [[nodiscard]] static std::shared_ptr<HttpSession> Make(boost::asio::ip::tcp::socket socket, boost::asio::ssl::context& tls,
                                                         std::shared_ptr<HttpShared> shared, const record::Peer& peer,
                                                         std::function<void()> closed);
};

}  // namespace stele::ingest
