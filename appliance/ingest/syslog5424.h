// RFC 5424, for display: the header, the structured data and where the message begins.
#pragma once

#include <string_view>

#include "appliance/ingest/message.h"

namespace stele::ingest {

// Whether what follows `<PRI>` is meant as RFC 5424: VERSION SP and then a NILVALUE or four digits and a '-'. A device that
// writes "1 Oct 11" after its PRI is not.
[[nodiscard]] bool LooksLike5424(std::string_view after_priority);

// Parses what follows `<PRI>` (at `offset` of `payload`) into `message`. Total: after a fault the fields already read stay,
// the rest is the message, and `problems` says what was wrong.
void ParseSyslog5424(std::string_view payload, std::size_t offset, ParsedMessage& message);

}  // namespace stele::ingest
