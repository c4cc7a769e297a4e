// RFC 3164 and its relatives on arbitrary bytes behind several beginnings. Oracle: every view lies inside the payload, fields do
// not overlap the message, and the CR, LF and NUL that devices add at the end change nothing.
#include <cstdint>
#include <string>

#include "tests/fuzz/message_oracle.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace stele;
  using namespace stele::ingest;
  constexpr std::int64_t kReceived = 1'768'478'400'000'000'000;
  const std::string raw(reinterpret_cast<const char*>(data), size);
  for (const std::string& payload : {raw, "<13>" + raw, "<13>Jan  2 10:11:56 " + raw, "<190>12: h: *Mar  1 " + raw}) {
    const auto message = ParseSyslog(AsBytes(payload), kReceived);
    CheckMessage(payload, message);
    if (message.format == Format::kRfc5424) continue;
    for (const auto view : {message.time_text, message.host, message.pid, message.sequence}) {
      STELE_CHECK(view.empty() || view.data() + view.size() <= payload.data() + message.message_offset);
    }
    for (const char end : {'\n', '\r', '\0'}) {
      const std::string longer = payload + end;
      const auto again = ParseSyslog(AsBytes(longer), kReceived);
      if (again.format == Format::kRfc5424) continue;
      STELE_CHECK(again.host == message.host);
      STELE_CHECK(again.app == message.app);
      STELE_CHECK(again.problems == message.problems);
      STELE_CHECK(again.claimed_ns == message.claimed_ns);
      STELE_CHECK(again.message_offset == message.message_offset);
      STELE_CHECK(again.message_length == message.message_length);
    }
  }
  return 0;
}
