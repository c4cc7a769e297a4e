#include "appliance/ingest/message.h"

#include <algorithm>
#include <array>

#include "appliance/ingest/syslog3164.h"
#include "appliance/ingest/syslog5424.h"

namespace stele::ingest {
namespace {

constexpr std::uint8_t kUserFacility = 1;    // PRI 13
constexpr std::uint8_t kNoticeSeverity = 5;
constexpr unsigned kPriorityMax = 191;
constexpr std::size_t kPriorityDigitsRead = 5;  // "<1234>" is a wrong PRI, "<1234567>" is text
constexpr std::string_view kBom = "\xef\xbb\xbf";

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

struct NamedProblem {
  std::uint32_t bit;
  const char* name;
};
constexpr std::array kProblemNames{
    NamedProblem{kNoPriority, "no_priority"},
    NamedProblem{kBadPriority, "bad_priority"},
    NamedProblem{kPriorityZeros, "priority_zeros"},
    NamedProblem{kBadVersion, "bad_version"},
    NamedProblem{kBadTime, "bad_time"},
    NamedProblem{kBadHeader, "bad_header"},
    NamedProblem{kBadStructuredData, "bad_structured_data"},
    NamedProblem{kDuplicateId, "duplicate_id"},
    NamedProblem{kNotUtf8, "not_utf8"},
    NamedProblem{kUnlisted, "unlisted"},
    NamedProblem{kLeadingBom, "leading_bom"},
    NamedProblem{kNoTime, "no_time"},
    NamedProblem{kNoZone, "no_zone"},
    NamedProblem{kYearGuessed, "year_guessed"},
    NamedProblem{kClockUnsynchronised, "clock_unsynchronised"},
    NamedProblem{kUptime, "uptime"},
};

//= RFC 5424 section 6.2.1
//# The PRI part MUST have three, four, or five characters and will be bound with angle brackets as the first and last
//# characters.
Priority ParsePriority(std::string_view text) {
  Priority priority;
  if (text.empty() || text.front() != '<') {
    priority.facility = kUserFacility;
    priority.severity = kNoticeSeverity;
    priority.problems = kNoPriority;
    return priority;
  }
  unsigned value = 0;
  std::size_t at = 1;
  for (; at < text.size() && IsDigit(text[at]) && at <= kPriorityDigitsRead; ++at) {
    value = value * 10 + static_cast<unsigned>(text[at] - '0');
  }
  const std::size_t digits = at - 1;
  if (digits == 0 || at == text.size() || text[at] != '>') {
    priority.problems = kBadPriority;
    return priority;
  }
  priority.length_bytes = at + 1;
  if (value > kPriorityMax || digits > 3) {
    priority.problems = kBadPriority;
    return priority;
  }
  if (digits > 1 && text[1] == '0') priority.problems = kPriorityZeros;
  priority.facility = static_cast<std::uint8_t>(value / 8);
  priority.severity = static_cast<std::uint8_t>(value % 8);
  return priority;
}

std::size_t BomBytes(std::string_view text) { return text.substr(0, kBom.size()) == kBom ? kBom.size() : 0; }

// Devices end a message with NUL, CR, LF or several of them; none is worth showing.
std::string_view WithoutTail(std::string_view text) {
  while (!text.empty() && (text.back() == '\0' || text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

// "< 13>Oct 11 ...", "<1a>Oct 11 ...": what stands in the brackets is no PRI, but a time stamp after them shows a header.
// Zero when there is none.
std::size_t WrongPriorityBytes(std::string_view text) {
  const auto close = text.substr(0, kPriorityDigitsRead + 2).find('>');
  return close == std::string_view::npos ? 0 : close + 1;
}

}  // namespace

const char* FormatName(Format format) {
  switch (format) {
    case Format::kRfc5424:
      return "rfc5424";
    case Format::kRfc3164:
      return "rfc3164";
    case Format::kRaw:
      break;
  }
  return "raw";
}

std::string ProblemNames(std::uint32_t problems) {
  std::string names;
  for (const auto& problem : kProblemNames) {
    if ((problems & problem.bit) == 0) continue;
    if (!names.empty()) names += ',';
    names += problem.name;
  }
  return names;
}

ParsedMessage ParseSyslog(ByteView payload, std::int64_t receive_wall_ns) {
  const std::string_view whole = AsText(payload);
  const std::size_t bom = BomBytes(whole);
  const Priority priority = ParsePriority(whole.substr(bom));

  ParsedMessage message;
  message.problems = priority.problems | (bom != 0 ? kLeadingBom : 0U);
  message.facility = priority.facility;
  message.severity = priority.severity;
  const std::size_t start = bom + priority.length_bytes;
  if (priority.length_bytes != 0 && LooksLike5424(whole.substr(start))) {
    ParseSyslog5424(whole, start, message);
    return message;
  }

  const std::string_view text = WithoutTail(whole);
  const std::size_t begin = std::min(start, text.size());
  if (priority.length_bytes == 0 && (priority.problems & kBadPriority) != 0) {
    const std::size_t skip = WrongPriorityBytes(text.substr(begin));
    ParsedMessage attempt = message;
    if (skip != 0 && ParseSyslog3164(text, begin + skip, receive_wall_ns, attempt) && !attempt.time_text.empty()) return attempt;
  }
  if (!ParseSyslog3164(text, begin, receive_wall_ns, message) && priority.length_bytes == 0) message.format = Format::kRaw;
  return message;
}

std::string Unescape(std::string_view value) {
  std::string plain;
  plain.reserve(value.size());
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (value[i] == '\\' && i + 1 < value.size() && (value[i + 1] == '"' || value[i + 1] == '\\' || value[i + 1] == ']')) ++i;
    plain += value[i];
  }
  return plain;
}

Priority PeekPriority(ByteView payload) {
  const std::string_view whole = AsText(payload);
  const std::size_t bom = BomBytes(whole);
  Priority priority = ParsePriority(whole.substr(bom));
  if (bom != 0) priority.problems |= kLeadingBom;
  if (priority.length_bytes != 0) priority.length_bytes += bom;
  return priority;
}

std::string_view PeekHost(ByteView payload, std::int64_t receive_wall_ns) {
  const std::string_view whole = AsText(payload);
  const std::size_t bom = BomBytes(whole);
  const Priority priority = ParsePriority(whole.substr(bom));
  std::string_view rest = whole.substr(bom + priority.length_bytes);
  if (priority.length_bytes == 0 || !LooksLike5424(rest)) return ParseSyslog(payload, receive_wall_ns).host;
  for (int field = 0; field < 2; ++field) {  // VERSION and TIMESTAMP
    const std::size_t space = rest.find(' ');
    if (space == std::string_view::npos) return {};
    rest.remove_prefix(space + 1);
  }
  const std::string_view host = rest.substr(0, rest.find(' '));
  return host == "-" ? std::string_view() : host;
}

}  // namespace stele::ingest
