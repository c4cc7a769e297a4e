// RFC 5424 on arbitrary bytes behind a good beginning. Oracle: every view lies inside the payload, and a message that is valid
// can be written again from its fields and then reads the same.
#include <cstdint>
#include <string>

#include "tests/fuzz/message_oracle.h"

namespace {

using namespace stele::ingest;  // NOLINT(google-build-using-namespace)  // a fuzz target is one file

std::string Or(std::string_view field) { return field.empty() ? "-" : std::string(field); }

std::string Write(std::string_view payload, const ParsedMessage& message) {
  std::string out = "<" + std::to_string(*message.facility * 8 + *message.severity) + ">1 " + Or(message.time_text) + " " + Or(message.host) + " " +
                    Or(message.app) + " " + Or(message.pid) + " " + Or(message.msgid) + " ";
  if (message.elements.empty()) out += '-';
  for (const auto& element : message.elements) {
    out += "[" + std::string(element.id);
    for (std::uint32_t i = 0; i < element.parameter_count; ++i) {
      const auto& parameter = message.parameters[element.parameter_first + i];
      out += " " + std::string(parameter.name) + "=\"" + std::string(parameter.value) + "\"";
    }
    out += ']';
  }
  if (message.has_message) {
    const bool bom = message.message_offset >= 3 && payload.substr(message.message_offset - 3, 3) == "\xef\xbb\xbf";
    out += bom ? " \xef\xbb\xbf" : " ";
    out += message.Message(stele::AsBytes(payload));
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string raw(reinterpret_cast<const char*>(data), size);
  for (const std::string& payload : {raw, "<34>1 - " + raw, "<34>1 - h a p m [x a=\"" + raw}) {
    const auto message = ParseSyslog(stele::AsBytes(payload), 0);
    CheckMessage(payload, message);
    if (message.format != Format::kRfc5424 || (message.problems & (kInvalid5424 | kUnlisted)) != 0) continue;
    STELE_CHECK(Write(payload, message) == payload);
  }
  return 0;
}
