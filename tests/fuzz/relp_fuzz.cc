// RELP on arbitrary streams. Oracle: a slow server that sees the whole stream gives the same events and the same
// answers, in the order of the transactions; neither how reads cut the stream nor the order in which messages are
// judged changes anything.
#include <cstdint>

#include "appliance/base/result.h"
#include "tests/unit/ingest/reference_relp.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace stele;
  using namespace stele::ingest;
  if (size < 3) return 0;
  RelpServer::Options options;
  options.message_bytes_max = kMessageBytesMin + data[1] % 16U;
  if ((data[0] & 0x80U) != 0) options.first_txnr = 999'999'999 - (data[0] >> 5U) % 4U;
  const auto reason = static_cast<EndReason>(data[0] % 3U);
  const std::size_t piece = 1 + data[2] % 64U;
  // Most mutations of a good stream die at its first frame; a session that is open already lets them go further.
  std::string stream;
  if ((data[0] & 0x10U) != 0)
    stream = std::to_string(options.first_txnr) + " open 30 relp_version=0\ncommands=syslog\n";
  stream.append(reinterpret_cast<const char*>(data) + 3, size - 3);

  const RelpRun expected = ReferenceRelp(stream, options, reason);
  STELE_CHECK(FastRelp(stream, options, reason, {}, 0) == expected);
  STELE_CHECK(SameButForTheRest(expected, FastRelp(stream, options, reason, {1}, data[2])));
  STELE_CHECK(SameButForTheRest(expected, FastRelp(stream, options, reason, {piece, 3}, 1U + data[1])));
  return 0;
}
