// RFC 3164 and its relatives (Cisco IOS, NX-OS and ASA, AIX, syslog daemons that write RFC 3339 stamps), for display.
//
//   [":" SP] *(SEQUENCE ":" SP) [HOST ":" SP] *(SEQUENCE ":" SP) ["*" | "."] (TIME | UPTIME) [":"]     Cisco
//   TIME [":"] SP [HOST] [SP ":"] SP [TAG ["[" PID "]"] [":"]] SP MESSAGE                              BSD
//
// Order of attempts after the PRI: Cisco's prefix, if a time stamp, an uptime or a '%' follows it; else a time stamp; else a
// tag that ends in ':'. What comes after is the message. RFC 3164 has no invalid message, only guesses: each doubtful
// one is a bit of `problems`.
#pragma once

#include <string_view>

#include "appliance/ingest/message.h"

namespace stele::ingest {

// Parses what follows the PRI (at `offset` of `payload`, which ends where the message ends) into `message`. False when there
// was neither a time stamp nor a tag: the whole is message.
bool ParseSyslog3164(std::string_view payload, std::size_t offset, std::int64_t receive_wall_ns, ParsedMessage& message);

}  // namespace stele::ingest
