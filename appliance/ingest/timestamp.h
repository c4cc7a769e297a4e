// The time stamps senders write, as nanoseconds since the Unix epoch, UTC. Pure, total, no locale.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace stele::ingest {

// Days since 1970-01-01 of a date in the proleptic Gregorian calendar; absent when there is no such day.
[[nodiscard]] std::optional<std::int64_t> DaysOf(std::int64_t year, unsigned month, unsigned day);
// The year of an instant.
[[nodiscard]] std::int64_t YearOf(std::int64_t wall_ns);

// RFC 5424 section 6.2.3, exactly: upper-case T and Z, 1 to 6 digits of fraction, no leap second.
[[nodiscard]] std::optional<std::int64_t> ParseTime5424(std::string_view token);

// What was found at the beginning of a text.
struct FoundTime {
  std::int64_t claimed_ns = 0;
  std::size_t length_bytes = 0;
  bool no_zone = false;
  bool year_guessed = false;
};

// The forms of RFC 3164 and its relatives; absent when the text does not begin with one.
//
//   [YYYY SP] Mmm SP [SP] D[D] SP [YYYY SP] hh:mm:ss [("." | ",") *DIGIT] [SP YYYY] [SP ZONE [SP YYYY]]
//   YYYY-MM-DD ("T" | SP) hh:mm:ss [("." | ",") *DIGIT] ["Z" | ("+" | "-") hh [":"] mm | SP ZONE]
//
// ZONE is a name whose offset is not disputed (UTC, CET, PDT, ...), or a disputed one (CST, IST, BST): then no_zone.
// The stamp ends before a space, the end of the text, or a colon with a space, a '%' or the end behind it. The year of a stamp without one is the nearest to
// receive_wall_ns.
[[nodiscard]] std::optional<FoundTime> FindTime(std::string_view text, std::int64_t receive_wall_ns);

}  // namespace stele::ingest
