// RFC 6587 framing on arbitrary streams. Oracle: a slow framer that sees the whole stream delivers the same messages, and how
// reads cut the stream changes nothing.
#include <cstdint>

#include "appliance/base/result.h"
#include "tests/unit/ingest/reference_framer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace stele;
  using namespace stele::ingest;
  if (size < 3) return 0;
  StreamFramer::Options options;
  options.framing = static_cast<Framing>(data[0] % 3);
  options.nul_ends_line = (data[0] & 0x80U) != 0;
  options.message_bytes_max = kMessageBytesMin + data[1] % 16U;
  const auto reason = static_cast<EndReason>((data[0] >> 4U) % 3U);
  const std::size_t piece = 1 + data[2] % 32U;
  const std::string_view stream(reinterpret_cast<const char*>(data) + 3, size - 3);

  const auto expected = ReferenceFrames(stream, options, reason);
  STELE_CHECK(FastFrames(stream, options, reason, {}) == expected);
  STELE_CHECK(SameButForTheRest(expected, FastFrames(stream, options, reason, {1})));
  STELE_CHECK(SameButForTheRest(expected, FastFrames(stream, options, reason, {piece, 2})));
  return 0;
}
