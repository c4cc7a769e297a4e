// A syslog message taken apart for display and search. The payload is the evidence; this is derived, total and bounded:
// any bytes give a ParsedMessage, and every view lies inside the payload.
//
// Order of attempts (docs/protocols.md): RFC 5424 when `<PRI>VERSION SP` is followed by a NILVALUE or a year; else RFC 3164
// and its relatives; what has neither PRI nor time stamp nor tag is `raw`, all message. Parsing never decides whether a
// message is kept. Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/base/bytes.h"

namespace stele::ingest {

enum class Format : std::uint8_t { kRaw, kRfc3164, kRfc5424 };
[[nodiscard]] const char* FormatName(Format format);  // "raw", "rfc3164", "rfc5424"

// Bits of ParsedMessage::problems.
inline constexpr std::uint32_t kNoPriority = 1U << 0U;         // none sent: 13 (user.notice) assumed, RFC 3164 section 4.3.3
inline constexpr std::uint32_t kBadPriority = 1U << 1U;        // out of range, not a number, unclosed
inline constexpr std::uint32_t kPriorityZeros = 1U << 2U;      // leading zeros
inline constexpr std::uint32_t kBadVersion = 1U << 3U;         // RFC 5424 with a version other than 1
inline constexpr std::uint32_t kBadTime = 1U << 4U;            // the place of the time stamp holds something else
inline constexpr std::uint32_t kBadHeader = 1U << 5U;          // empty, over-long, missing or non-ASCII header field
inline constexpr std::uint32_t kBadStructuredData = 1U << 6U;  // RFC 5424 section 6.3 broken; the message begins where it is
inline constexpr std::uint32_t kDuplicateId = 1U << 7U;        // an SD-ID twice, which section 6.3.2 forbids
inline constexpr std::uint32_t kNotUtf8 = 1U << 8U;            // claimed to be UTF-8 and is not
inline constexpr std::uint32_t kUnlisted = 1U << 9U;           // more structured data than the bounds below: read, not listed
inline constexpr std::uint32_t kLeadingBom = 1U << 10U;        // a byte order mark before the PRI
inline constexpr std::uint32_t kNoTime = 1U << 11U;            // no time stamp where RFC 3164 wants one
// What is not a fault but a doubt about the claimed time:
inline constexpr std::uint32_t kNoZone = 1U << 12U;            // no zone or one without a known offset: read as UTC
inline constexpr std::uint32_t kYearGuessed = 1U << 13U;       // no year: the one nearest to the receive time
inline constexpr std::uint32_t kClockUnsynchronised = 1U << 14U;  // Cisco's '*' or '.', RFC 5424's isSynced="0"
inline constexpr std::uint32_t kUptime = 1U << 15U;            // time since boot instead of a time of day: no claimed time
// RFC 5424: any of these and the message is not valid.
inline constexpr std::uint32_t kInvalid5424 = kNoPriority | kBadPriority | kPriorityZeros | kBadVersion | kBadTime |
                                              kBadHeader | kBadStructuredData | kDuplicateId | kNotUtf8 | kLeadingBom;
[[nodiscard]] std::string ProblemNames(std::uint32_t problems);  // comma-separated, empty when none

inline constexpr std::size_t kElementsListedMax = 1'024;
inline constexpr std::size_t kParametersListedMax = 4'096;

struct Parameter {
  std::string_view name;
  std::string_view value;  // as sent, escapes and all: see Unescape()
};

struct Element {
  std::string_view id;
  std::uint32_t parameter_first = 0;  // index into ParsedMessage::parameters
  std::uint32_t parameter_count = 0;
};

struct ParsedMessage {
  Format format = Format::kRaw;
  std::uint32_t problems = 0;
  std::optional<std::uint8_t> facility;  // absent when the PRI is wrong
  std::optional<std::uint8_t> severity;
  std::uint16_t version = 0;             // RFC 5424
  std::optional<std::int64_t> claimed_ns;
  std::string_view time_text;            // as sent, empty when none
  std::string_view host;                 // empty = NILVALUE or none, here and below
  std::string_view app;                  // RFC 3164: TAG
  std::string_view pid;
  std::string_view msgid;
  std::string_view sequence;             // Cisco's sequence number
  std::vector<Element> elements;
  std::vector<Parameter> parameters;
  bool has_message = false;              // RFC 5424 tells "no MSG" from "empty MSG"
  std::size_t message_offset = 0;        // inside the payload; the byte order mark and trailing CR, LF, NUL are not in it
  std::size_t message_length = 0;

  [[nodiscard]] bool Has(std::uint32_t problem) const { return (problems & problem) != 0; }
  [[nodiscard]] std::string_view Message(ByteView payload) const {
    return AsText(payload).substr(message_offset, message_length);
  }
};

// receive_wall_ns only helps to guess a missing year.
[[nodiscard]] ParsedMessage ParseSyslog(ByteView payload, std::int64_t receive_wall_ns);

// PARAM-VALUE without its escapes (RFC 5424 section 6.3.3): \" \\ \] lose the backslash, any other backslash stays.
[[nodiscard]] std::string Unescape(std::string_view value);

struct Priority {
  std::optional<std::uint8_t> facility;
  std::optional<std::uint8_t> severity;
  std::size_t length_bytes = 0;  // of `<PRI>`; 0 when there is none
  std::uint32_t problems = 0;
};
// The PRI alone, in constant work: the same facility and severity that ParseSyslog() gives.
[[nodiscard]] Priority PeekPriority(ByteView payload);

// The host alone: the same that ParseSyslog() gives, without listing anything (RFC 5424 costs two searches for a space).
[[nodiscard]] std::string_view PeekHost(ByteView payload, std::int64_t receive_wall_ns);

}  // namespace stele::ingest
