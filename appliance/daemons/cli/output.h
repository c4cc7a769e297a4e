// What the commands print. Whatever came from a log is escaped, on a terminal and in a pipe alike: no byte below 0x20 but
// the newline, no 0x7f, no bidi control. Only --raw prints bytes as they are.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "appliance/base/bytes.h"

namespace stele::daemons::cli {

void Print(std::string_view text);                 // already safe
void PrintJson(const nlohmann::json& value);       // pure ASCII, indented, one object
void PrintJsonLine(const nlohmann::json& value);   // the same on one line
[[nodiscard]] std::string Safe(std::string_view hostile);

// Lines "name   value", the names padded to one width.
void PrintPairs(const std::vector<std::pair<std::string, std::string>>& pairs);

// Members of an answer, escaped; "" when absent or of another type. Numbers become decimal text.
[[nodiscard]] std::string TextOf(const nlohmann::json& object, const char* name);
[[nodiscard]] std::int64_t NumberOf(const nlohmann::json& object, const char* name, std::int64_t otherwise = 0);
[[nodiscard]] const nlohmann::json& ObjectOf(const nlohmann::json& object, const char* name);  // {} when absent

// One line for one ROW of docs/api.md: sequence, time, severity, host, application, message.
[[nodiscard]] std::string RowLine(const nlohmann::json& row);
[[nodiscard]] std::string FlagsText(const nlohmann::json& row);  // "truncated restamped", empty when there are none
[[nodiscard]] const char* SeverityWord(std::int64_t severity);  // RFC 5424 table 2: EMERG ... DEBUG, "-" when unknown

[[nodiscard]] std::string SizeText(std::uint64_t size_bytes);      // "1.5 MiB"
[[nodiscard]] std::string DurationText(std::int64_t duration_ms);  // "850 ms", "3.2 s", "5 min 20 s", "2 d 3 h"

}  // namespace stele::daemons::cli
