// Boot event logs in the TCG's crypto-agile form, written by hand: not with the encoder that is tested.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "appliance/base/bytes.h"
#include "appliance/base/hash.h"
#include "firmware/measure/event_log.h"

namespace stele::measure {

inline constexpr std::uint16_t kSha1 = 4;
inline constexpr std::uint16_t kSha256 = 11;

inline constexpr std::uint32_t kMadeRegisters = 8;  // that every boot extends

class LogWriter {
 public:
  explicit LogWriter(const std::vector<std::pair<std::uint16_t, std::uint16_t>>& algorithms = {{kSha1, 20},
                                                                                               {kSha256, 32}}) {
    Bytes id;
    Writer event(id);
    event.Raw(AsBytes(std::string_view("Spec ID Event03\0", 16)));
    event.Int(std::uint32_t{0});
    for (const int one : {0, 2, 2, 2}) event.Int(static_cast<std::uint8_t>(one));
    event.Int(static_cast<std::uint32_t>(algorithms.size()));
    for (const auto& [algorithm, size] : algorithms) {
      event.Int(algorithm);
      event.Int(size);
    }
    event.Int(std::uint8_t{0});
    Writer out(log);
    out.Int(std::uint32_t{0});
    out.Int(kNoAction);
    out.Raw(Bytes(20));
    out.Sized(id);
  }
  void Add(std::uint32_t pcr, std::uint32_t type, std::string_view data, bool with_sha256 = true) {
    Writer out(log);
    out.Int(pcr);
    out.Int(type);
    out.Int(std::uint32_t{with_sha256 ? 2U : 1U});
    out.Int(kSha1);
    out.Raw(Bytes(20));
    if (with_sha256) {
      out.Int(kSha256);
      out.Raw(Sha256Of(AsBytes(data)));
    }
    out.Sized(AsBytes(data));
  }
  Bytes log;
};

// A boot: a start at locality 3, two events of PCR 0, one each of the others, one of PCR 9.
inline Bytes ABoot(std::string_view loader = "loader") {
  LogWriter log;
  log.Add(0, kNoAction, std::string_view("StartupLocality\0\3", 17));
  log.Add(0, 8, "version");
  for (std::uint32_t pcr = 0; pcr < kMadeRegisters; ++pcr) log.Add(pcr, kSeparator, pcr == 4 ? loader : "separator");
  log.Add(9, 13, "initrd");
  return log.log;
}

}  // namespace stele::measure
