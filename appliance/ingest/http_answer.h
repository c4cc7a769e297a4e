// The bodies of the answers of the HTTP doors. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "appliance/ingest/events.h"

namespace stele::ingest {

[[nodiscard]] std::string ErrorText(std::string_view code, std::string_view message);
[[nodiscard]] std::string CommittedText(const JsonOutcome& outcome, const std::vector<std::uint32_t>& unparsed_lines,
                                        std::uint64_t unparsed_count);

// The sequence number of each event of a batch, in order, out of the answer's ranges.
class SequenceNumbers {
 public:
  explicit SequenceNumbers(const JsonOutcome& outcome) : ranges_(outcome.ranges) {}
  [[nodiscard]] std::uint64_t Next();  // 0 beyond the last

 private:
  const std::vector<std::pair<std::uint64_t, std::uint64_t>>& ranges_;
  std::size_t range_ = 0;
  std::uint64_t used_ = 0;  // of the range
};

// A JSON string literal of hostile text.
void AppendQuoted(std::string& out, std::string_view hostile);

}  // namespace stele::ingest
