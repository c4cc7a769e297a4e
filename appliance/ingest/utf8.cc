#include "appliance/ingest/utf8.h"

#include <simdjson.h>

namespace stele::ingest {

bool IsUtf8(std::string_view text) { return text.empty() || simdjson::validate_utf8(text.data(), text.size()); }

}  // namespace stele::ingest
