// JSON lines in stele-receive: one event per line, answered after the commit (ingest/json_lines.h has the words).
// Thread safety: the io_context's one thread.
#pragma once

#include "appliance/daemons/receive_json.h"
#include "appliance/daemons/receive_link.h"
#include "appliance/daemons/receive_stream.h"

namespace stele::receive {

struct JsonLinesOptions {
  std::size_t message_bytes_max = limits::kMessageBytesDefault;
  std::shared_ptr<const JsonTrust> trust =
      std::make_shared<JsonTrust>();  // a peer with a verified certificate needs no token
  SignatureAlarms* alarms = nullptr;
  std::size_t listener_index = 0;
};

// Everything given outlives the sessions.
[[nodiscard]] StreamFactory JsonLinesFactory(LedgerLink& link, Entropy& entropy, StreamBudget& budget,
                                             Listener& listener, JsonLinesOptions options);

}  // namespace stele::receive
