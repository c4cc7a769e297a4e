// JSON lines on a stream, as far as they are text: the login line of a sender, and the lines that answer it. Cutting
// lines is StreamFramer's business (Framing::kLines), checking them JsonChecker's.
//
//   sender      {"auth":"token"}                     first line, where a token is asked for; not an event
//               one event per line
//   receiver    {"auth":"ok"}
//               {"ack":N,"ranges":[[first,last],...],"unparsed":[line,...],"unparsed_count":U}
//               {"nack":[A,B],"retry_after_s":5}
//               {"error":{"code","message"}}         and the connection is closed
//
// Events are numbered from 1 on each connection. Answers come in order and leave no event out: an ack covers the events
// since the answer before up to N, a nack the events A to B. `ranges` are sequence numbers in the log. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "appliance/base/bytes.h"
#include "appliance/base/limits.h"

namespace stele::ingest {

inline constexpr std::size_t kLoginLineBytes = 4 * limits::kKiB;
inline constexpr std::int64_t kRetryAfterS = 5;

// The token, when the line is an object with the one member "auth", a string.
[[nodiscard]] std::optional<std::string> ParseLogin(ByteView line);

struct LinesStored {
  std::uint64_t last_line = 0;  // N
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  std::vector<std::uint64_t> unparsed;  // as many as are named
  std::uint64_t unparsed_count = 0;
  // Frames committed one after the other are one range.
  void AddRange(std::uint64_t first_sequence, std::uint64_t count);
  void AddUnparsed(std::uint64_t line);
};

// Each ends with LF.
[[nodiscard]] std::string LoginText();
[[nodiscard]] std::string AckText(const LinesStored& stored);
[[nodiscard]] std::string NackText(std::uint64_t first_line, std::uint64_t last_line);
[[nodiscard]] std::string LineErrorText(std::string_view code, std::string_view message);

}  // namespace stele::ingest
