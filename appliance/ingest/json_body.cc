#include "appliance/ingest/json_body.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "appliance/ingest/http_answer.h"
#include "appliance/ingest/jws.h"

namespace stele::ingest {
namespace {

bool IsSpace(std::byte b) { return b == std::byte{' '} || b == std::byte{'\t'} || b == std::byte{'\n'} || b == std::byte{'\r'}; }

}  // namespace

JsonBody::JsonBody(Kind kind, JsonChecker& checker, std::size_t events_max)
    : mode_(kind == Kind::kLines ? Mode::kLines : kind == Kind::kWhole ? Mode::kWhole : Mode::kUndecided), checker_(checker), events_max_(events_max) {}

Result<void> JsonBody::Append(ByteView part) {
  stele::Append(body_, part);
  while (mode_ != Mode::kWhole && scanned_ < body_.size()) {
    const void* found = std::memchr(body_.data() + scanned_, '\n', body_.size() - scanned_);
    if (found == nullptr) {
      scanned_ = body_.size();
      break;
    }
    const auto end = static_cast<std::size_t>(static_cast<const std::byte*>(found) - body_.data());
    STELE_TRY_VOID(TakeLine(line_start_, end));
    if (mode_ == Mode::kWhole) break;
    line_start_ = end + 1;
    scanned_ = end + 1;
    ++line_;
  }
  return {};
}

Result<void> JsonBody::Finish() {
  if (mode_ != Mode::kWhole && line_start_ < body_.size()) STELE_TRY_VOID(TakeLine(line_start_, body_.size()));
  if (mode_ != Mode::kWhole) return {};
  std::size_t end = body_.size();
  while (end > line_start_ && IsSpace(body_[end - 1])) --end;
  std::size_t start = line_start_;
  while (start < end && IsSpace(body_[start])) ++start;
  if (start == end) return {};
  return AddEvent(start, end, checker_.IsJson(ByteView(body_).subspan(start, end - start)));
}

Result<void> JsonBody::TakeLine(std::size_t start, std::size_t end) {
  const ByteView event = EventOfLine(ByteView(body_).subspan(start, end - start));
  if (event.empty()) return {};
  const bool parsed = checker_.IsJson(event);
  if (mode_ == Mode::kUndecided) {
    const auto first = std::find_if_not(event.begin(), event.end(), IsSpace);
    if (first != event.end() && *first == std::byte{'['}) return Fail(Code::kInvalid, "an array is not an event: send one object per line");
    mode_ = parsed ? Mode::kLines : Mode::kWhole;
    if (mode_ == Mode::kWhole) {
      line_start_ = start;
      return {};
    }
  }
  return AddEvent(start, start + event.size(), parsed);
}

Result<void> JsonBody::AddEvent(std::size_t start, std::size_t end, bool parsed) {
  if (events_.size() == events_max_) return Fail(Code::kUnavailable, "too many events in one body");
  const auto flags = SignatureFlags(ByteView(body_).subspan(start, end - start), checker_.keys());
  events_.push_back(JsonSlice{static_cast<std::uint32_t>(start), static_cast<std::uint32_t>(end - start), line_, parsed, flags});
  if (parsed) return {};
  ++unparsed_count_;
  if (unparsed_lines_.size() < limits::kHttpUnparsedListed) unparsed_lines_.push_back(line_);
  return {};
}

std::string JsonBody::Answer(const JsonOutcome& outcome, std::int64_t) const {
  return CommittedText(outcome, unparsed_lines_, unparsed_count_);
}

}  // namespace stele::ingest
