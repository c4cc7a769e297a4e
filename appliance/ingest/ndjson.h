// Newline-delimited JSON: a body is cut at LF into events; each is checked, none is changed.
//
//   body := line ((LF | CRLF) line)*        blank lines (spaces and tabs only) are no events
//
// An event's bytes are the line without its LF and one CR before it. An event that is not one JSON value within the bounds
// below, or not UTF-8, is kept all the same and flagged `unparsed`. Thread safety: one splitter = one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "appliance/base/bytes.h"
#include "appliance/base/limits.h"

namespace stele::ingest {

inline constexpr std::size_t kJsonDepthMax = 64;                          // nesting of arrays and objects that hold something
inline constexpr std::size_t kJsonCheckedBytesMax = limits::kMessageBytesDefault;  // a longer line is kept unparsed

struct JsonEvent {
  ByteView bytes;          // inside the body
  std::uint64_t line = 0;  // from 1, as an editor counts
  bool parsed = false;
};

class SourceKeys;

// Says whether bytes are one JSON value, and nothing else, within the bounds. Reuses its buffers.
class JsonChecker {
 public:
  JsonChecker();
  ~JsonChecker();
  JsonChecker(const JsonChecker&) = delete;
  JsonChecker& operator=(const JsonChecker&) = delete;
  [[nodiscard]] bool IsJson(ByteView text);
  // Keys of signed events, for the bodies that use this checker; never null.
  void UseKeys(std::shared_ptr<const SourceKeys> keys) { keys_ = std::move(keys); }
  [[nodiscard]] const SourceKeys& keys() const { return *keys_; }

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
  std::shared_ptr<const SourceKeys> keys_;
};

// The event a line (without its LF) holds: one CR at its end removed; empty when the line is blank.
[[nodiscard]] ByteView EventOfLine(ByteView line);

// Cuts a whole body. O(1) work per byte.
class NdjsonSplitter {
 public:
  NdjsonSplitter(ByteView body, JsonChecker& checker) : rest_(body), checker_(checker) {}
  [[nodiscard]] bool Next(JsonEvent& event);

 private:
  ByteView rest_;
  std::uint64_t line_ = 0;
  JsonChecker& checker_;
};

}  // namespace stele::ingest
