#include "appliance/ingest/timestamp.h"

#include <array>
#include <cstdlib>

namespace stele::ingest {
namespace {

constexpr std::int64_t kNsPerSecond = 1'000'000'000;
constexpr std::int64_t kSecondsPerDay = 86'400;
constexpr std::size_t kFractionDigitsKept = 9;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// A place in a text; every read is bounded.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}
  [[nodiscard]] std::size_t at() const { return at_; }
  [[nodiscard]] bool AtEnd() const { return at_ == text_.size(); }
  [[nodiscard]] char Peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  [[nodiscard]] std::string_view Rest() const { return text_.substr(at_); }
  void Back(std::size_t to) { at_ = to; }
  void Skip(std::size_t octets) { at_ += octets; }
  bool Literal(char c) {
    if (Peek() != c || AtEnd()) return false;
    ++at_;
    return true;
  }
  // Exactly `digits` digits.
  std::optional<unsigned> Number(std::size_t digits) {
    unsigned value = 0;
    for (std::size_t i = 0; i < digits; ++i) {
      if (!IsDigit(Peek(i))) return std::nullopt;
      value = value * 10 + static_cast<unsigned>(Peek(i) - '0');
    }
    at_ += digits;
    return value;
  }
  // The digits of a fraction as nanoseconds; what is finer is skipped.
  std::int64_t Fraction(std::size_t& digits) {
    std::int64_t value = 0;
    for (digits = 0; IsDigit(Peek()); ++digits, ++at_) {
      if (digits < kFractionDigitsKept) value = value * 10 + (Peek() - '0');
    }
    for (std::size_t i = digits; i < kFractionDigitsKept; ++i) value *= 10;
    return value;
  }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
};

struct TimeOfDay {
  unsigned hour = 0;
  unsigned minute = 0;
  unsigned second = 0;
  std::int64_t fraction_ns = 0;
};

// hh:mm:ss; `second_max` is 60 where leap seconds are let through.
std::optional<TimeOfDay> TakeClock(Cursor& cursor, unsigned second_max) {
  TimeOfDay time;
  const auto hour = cursor.Number(2);
  if (!hour || *hour > 23 || !cursor.Literal(':')) return std::nullopt;
  const auto minute = cursor.Number(2);
  if (!minute || *minute > 59 || !cursor.Literal(':')) return std::nullopt;
  const auto second = cursor.Number(2);
  if (!second || *second > second_max) return std::nullopt;
  time.hour = *hour;
  time.minute = *minute;
  time.second = *second;
  return time;
}

std::int64_t Join(std::int64_t days, const TimeOfDay& time, std::int64_t offset_minutes) {
  const std::int64_t seconds = days * kSecondsPerDay + time.hour * 3'600LL + time.minute * 60LL + time.second - offset_minutes * 60;
  return seconds * kNsPerSecond + time.fraction_ns;
}

// Years that nanoseconds since 1970 can hold in 64 bits, with room for a zone.
bool Representable(std::int64_t year) { return year >= 1678 && year <= 2261; }

struct Zone {
  std::string_view name;
  int offset_minutes;
  bool disputed;
};
constexpr std::array kZones{
    Zone{"UTC", 0, false},     Zone{"GMT", 0, false},     Zone{"Z", 0, false},       Zone{"WET", 0, false},
    Zone{"WEST", 60, false},   Zone{"CET", 60, false},    Zone{"CEST", 120, false},  Zone{"MET", 60, false},
    Zone{"MEST", 120, false},  Zone{"EET", 120, false},   Zone{"EEST", 180, false},  Zone{"MSK", 180, false},
    Zone{"JST", 540, false},   Zone{"KST", 540, false},   Zone{"HKT", 480, false},   Zone{"AEST", 600, false},
    Zone{"AEDT", 660, false},  Zone{"NZST", 720, false},  Zone{"NZDT", 780, false},  Zone{"EST", -300, false},
    Zone{"EDT", -240, false},  Zone{"CDT", -300, false},  Zone{"MST", -420, false},  Zone{"MDT", -360, false},
    Zone{"PST", -480, false},  Zone{"PDT", -420, false},  Zone{"AKST", -540, false}, Zone{"AKDT", -480, false},
    Zone{"HST", -600, false},  Zone{"CST", 0, true},      Zone{"IST", 0, true},      Zone{"BST", 0, true},
    Zone{"SGT", 480, false},   Zone{"BRT", -180, false},
};

// A space, the end, or a colon of Cisco's; not the colon of an IPv6 address, which may begin like a year ("2001:db8::7").
bool EndsStamp(const Cursor& cursor) {
  if (cursor.AtEnd() || cursor.Peek() == ' ') return true;
  return cursor.Peek() == ':' && (cursor.Rest().size() == 1 || cursor.Peek(1) == ' ' || cursor.Peek(1) == '%');
}

struct Place {
  std::int64_t offset_minutes = 0;
  bool known = false;
};

// SP ZONE; leaves the cursor where it was when there is none.
std::optional<Place> TakeZoneName(Cursor& cursor) {
  if (cursor.Peek() != ' ') return std::nullopt;
  std::size_t length = 0;
  while (cursor.Peek(1 + length) >= 'A' && cursor.Peek(1 + length) <= 'Z' && length < 5) ++length;
  const auto name = cursor.Rest().substr(1, length);
  for (const auto& zone : kZones) {
    if (zone.name != name) continue;
    const std::size_t start = cursor.at();
    cursor.Skip(1 + length);
    if (EndsStamp(cursor)) return Place{zone.offset_minutes, !zone.disputed};
    cursor.Back(start);
  }
  return std::nullopt;
}

// SP YYYY, a plausible year only.
std::optional<std::int64_t> TakeYearAfter(Cursor& cursor) {
  const std::size_t start = cursor.at();
  if (cursor.Literal(' ')) {
    const auto year = cursor.Number(4);
    if (year && *year >= 1970 && *year <= 2199 && EndsStamp(cursor)) return *year;
  }
  cursor.Back(start);
  return std::nullopt;
}

std::optional<unsigned> TakeMonth(Cursor& cursor) {
  constexpr std::string_view kMonths = "janfebmaraprmayjunjulaugsepoctnovdec";
  std::array<char, 3> name{};
  for (std::size_t i = 0; i < name.size(); ++i) {
    const char c = cursor.Peek(i);
    name[i] = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  for (std::size_t i = 0; i < 12; ++i) {
    if (kMonths.substr(i * 3, 3) != std::string_view(name.data(), name.size())) continue;
    cursor.Skip(3);
    return static_cast<unsigned>(i + 1);
  }
  return std::nullopt;
}

void TakeFraction(Cursor& cursor, TimeOfDay& time) {
  if (cursor.Peek() != '.' && cursor.Peek() != ',') return;
  cursor.Skip(1);
  std::size_t digits = 0;
  time.fraction_ns = cursor.Fraction(digits);
}

//   [YYYY SP] Mmm SP [SP] D[D] SP [YYYY SP] hh:mm:ss ...
std::optional<FoundTime> FindBsdTime(std::string_view text, std::int64_t receive_wall_ns) {
  Cursor cursor(text);
  std::optional<std::int64_t> year;
  if (IsDigit(cursor.Peek())) {
    const auto before = cursor.Number(4);
    if (!before || !cursor.Literal(' ')) return std::nullopt;
    year = *before;
  }
  const auto month = TakeMonth(cursor);
  if (!month || !cursor.Literal(' ')) return std::nullopt;
  (void)cursor.Literal(' ');  // a day below ten may be padded
  auto day = cursor.Number(2);
  if (!day) day = cursor.Number(1);
  if (!day || !cursor.Literal(' ')) return std::nullopt;
  if (!year && IsDigit(cursor.Peek(2))) {  // Cisco ASA: the year before the time
    const auto between = cursor.Number(4);
    if (!between || !cursor.Literal(' ')) return std::nullopt;
    year = *between;
  }
  auto time = TakeClock(cursor, 60);
  if (!time) return std::nullopt;
  TakeFraction(cursor, *time);
  if (!EndsStamp(cursor)) return std::nullopt;

  if (!year) year = TakeYearAfter(cursor);
  const auto place = TakeZoneName(cursor);
  if (!year && place) year = TakeYearAfter(cursor);

  FoundTime found;
  found.length_bytes = cursor.at();
  found.no_zone = !place || !place->known;
  const std::int64_t offset = place ? place->offset_minutes : 0;
  if (year) {
    const auto days = DaysOf(*year, *month, *day);
    if (!days || !Representable(*year)) return std::nullopt;
    found.claimed_ns = Join(*days, *time, offset);
    return found;
  }
  found.year_guessed = true;
  const std::int64_t receive_year = YearOf(receive_wall_ns);
  std::optional<std::int64_t> best;
  // Four years each way: 29 February exists in one of them.
  for (std::int64_t candidate = receive_year - 4; candidate <= receive_year + 4; ++candidate) {
    const auto days = DaysOf(candidate, *month, *day);
    if (!days || !Representable(candidate)) continue;
    const std::int64_t guess = Join(*days, *time, offset);
    const auto distance = [&](std::int64_t ns) { return std::abs(ns / kNsPerSecond - receive_wall_ns / kNsPerSecond); };
    if (!best || distance(guess) < distance(*best)) best = guess;
  }
  if (!best) return std::nullopt;
  found.claimed_ns = *best;
  return found;
}

// "Z", "+hh:mm", "+hhmm"; absent when what is there is none of them.
std::optional<std::int64_t> TakeOffset(Cursor& cursor) {
  if (cursor.Literal('Z') || cursor.Literal('z')) return 0;
  const char sign = cursor.Peek();
  if (sign != '+' && sign != '-') return std::nullopt;
  cursor.Skip(1);
  const auto hours = cursor.Number(2);
  if (!hours || *hours > 23) return std::nullopt;
  (void)cursor.Literal(':');
  const auto minutes = cursor.Number(2);
  if (!minutes || *minutes > 59) return std::nullopt;
  const std::int64_t offset = static_cast<std::int64_t>(*hours) * 60 + *minutes;
  return sign == '-' ? -offset : offset;
}

std::optional<FoundTime> FindIsoTime(std::string_view text) {
  Cursor cursor(text);
  const auto year = cursor.Number(4);
  if (!year || !cursor.Literal('-')) return std::nullopt;
  const auto month = cursor.Number(2);
  if (!month || !cursor.Literal('-')) return std::nullopt;
  const auto day = cursor.Number(2);
  if (!day || (!cursor.Literal('T') && !cursor.Literal(' ') && !cursor.Literal('t'))) return std::nullopt;
  auto time = TakeClock(cursor, 60);
  if (!time) return std::nullopt;
  TakeFraction(cursor, *time);
  const auto days = DaysOf(*year, *month, *day);
  if (!days || !Representable(*year)) return std::nullopt;

  FoundTime found;
  std::int64_t offset = 0;
  if (EndsStamp(cursor)) {
    const auto place = TakeZoneName(cursor);
    found.no_zone = !place || !place->known;
    if (place) offset = place->offset_minutes;
  } else {
    const auto taken = TakeOffset(cursor);
    if (!taken || !EndsStamp(cursor)) return std::nullopt;
    offset = *taken;
  }
  found.length_bytes = cursor.at();
  found.claimed_ns = Join(*days, *time, offset);
  return found;
}

}  // namespace

std::optional<std::int64_t> DaysOf(std::int64_t year, unsigned month, unsigned day) {
  constexpr std::array<unsigned, 12> kDays{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (month < 1 || month > 12 || day < 1) return std::nullopt;
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  if (day > kDays[month - 1] + (month == 2 && leap ? 1U : 0U)) return std::nullopt;
  // Years begin in March, so that the leap day is the last; 400 years are an era of 146,097 days.
  const std::int64_t shifted = month <= 2 ? year - 1 : year;
  const std::int64_t era = (shifted >= 0 ? shifted : shifted - 399) / 400;
  const std::int64_t year_of_era = shifted - era * 400;
  const std::int64_t month_from_march = (month + 9) % 12;
  const std::int64_t day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
  const std::int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146'097 + day_of_era - 719'468;
}

std::int64_t YearOf(std::int64_t wall_ns) {
  std::int64_t year = 1970 + wall_ns / kNsPerSecond / kSecondsPerDay / 366;
  while (*DaysOf(year, 1, 1) * kSecondsPerDay > wall_ns / kNsPerSecond) --year;
  while (*DaysOf(year + 1, 1, 1) * kSecondsPerDay <= wall_ns / kNsPerSecond) ++year;
  return year;
}

std::optional<FoundTime> FindTime(std::string_view text, std::int64_t receive_wall_ns) {
  if (auto iso = FindIsoTime(text)) return iso;
  return FindBsdTime(text, receive_wall_ns);
}

std::optional<std::int64_t> ParseTime5424(std::string_view token) {
  Cursor cursor(token);
  const auto year = cursor.Number(4);
  if (!year || !cursor.Literal('-')) return std::nullopt;
  const auto month = cursor.Number(2);
  if (!month || !cursor.Literal('-')) return std::nullopt;
  const auto day = cursor.Number(2);
  if (!day || !cursor.Literal('T')) return std::nullopt;
  auto time = TakeClock(cursor, 59);
  if (!time) return std::nullopt;
  if (cursor.Literal('.')) {
    std::size_t digits = 0;
    time->fraction_ns = cursor.Fraction(digits);
    if (digits < 1 || digits > 6) return std::nullopt;
  }
  if (cursor.Peek() == 'z') return std::nullopt;
  const bool numeric = cursor.Peek() != 'Z';
  if (numeric && cursor.Peek(3) != ':') return std::nullopt;
  const auto offset = TakeOffset(cursor);
  const auto days = DaysOf(*year, *month, *day);
  if (!offset || !cursor.AtEnd() || !days || !Representable(*year)) return std::nullopt;
  return Join(*days, *time, *offset);
}

}  // namespace stele::ingest
