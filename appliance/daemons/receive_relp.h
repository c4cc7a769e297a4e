// RELP in stele-receive: `200 OK` for a message when the ledger has said that it is durable, never before
// (ingest/relp.h has the protocol, receive_resent.h what happens after a reconnect). Thread safety: everything on the
// io_context's one thread.
#pragma once

#include "appliance/daemons/receive_link.h"
#include "appliance/daemons/receive_resent.h"
#include "appliance/daemons/receive_stream.h"

namespace stele::receive {

class SignedSyslog;

// What a client hears of messages that the ledger refused (a full store).
enum class RelpRefusal : std::uint8_t {
  kClose,   // nothing, and the session ends: the client keeps them and sends them again. librelp gives up what is
            // answered with 500
  kAnswer,  // 500: it may give them up, or do something else about it
};

struct RelpOptions {
  std::size_t message_bytes_max = limits::kMessageBytesDefault;
  RelpRefusal refusal = RelpRefusal::kClose;
  SignedSyslog* signed_syslog = nullptr;  // null: no keys are registered
};

// Everything given outlives the sessions.
[[nodiscard]] StreamFactory RelpFactory(LedgerLink& link, Entropy& entropy, StreamBudget& budget, ResentMemory& resent,
                                        Listener& listener, RelpOptions options);

}  // namespace stele::receive
