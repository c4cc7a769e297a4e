// One flow: entries are fetched a batch at a time, handed to the receiver, and fetched on once they have arrived. At
// least once: the cursor is durable after they have arrived, so what was under way when the process died is sent again,
// with the same sequence numbers. Memory is one batch, however long the receiver is away. A receiver that stays away
// longer than configured is one alarm, however often it fails, and one more when it is back; the alarm is an entry like
// others and goes out when it can. Thread safety: Step() by one thread; StatusJson() by any.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <mutex>
#include <span>

#include "appliance/alerts/alert.h"
#include "appliance/base/seams.h"

namespace stele::alerts {

// Where a flow is, on disk. `next`: the first sequence number that has not been dealt with.
struct Cursor {
  std::string log_id;
  std::uint64_t next = 0;
  bool alarmed = false;
};
[[nodiscard]] std::string FormatCursor(const Cursor& cursor);
[[nodiscard]] Result<Cursor> ParseCursor(std::string_view text);

// How many of a batch have arrived, counted from its first, and why not the rest.
struct Arrival {
  std::size_t count = 0;
  std::optional<Error> error;
};

struct FlowAlarm {
  std::string name;  // alerts_undelivered, alerts_delivered, alerts_cursor_ahead
  std::string text;
};

struct FlowSettings {
  std::string name;
  std::string to;  // for people
  std::filesystem::path cursor_file;
  std::int64_t alarm_after_ms = 0;
  std::int64_t retry_ms_max = 0;
};

class Flow {
 public:
  static constexpr std::chrono::milliseconds kPoll{1'000};   // for new entries
  static constexpr std::chrono::milliseconds kCatchUp{100};  // between two looks at what is there already
  static constexpr std::int64_t kRetryMsMin = 1'000;
  static constexpr std::uint64_t kUnsavedMax =
      1'000'000;  // entries looked at and not wanted, before the cursor is saved

  // Nothing: the flow has never asked before.
  using Ask = std::function<Result<FeedSlice>(std::optional<std::uint64_t> from)>;
  using Deliver = std::function<Arrival(std::span<const Alert>, const std::optional<std::string>& note)>;
  using Raise = std::function<void(const FlowAlarm&)>;
  Flow(FlowSettings settings, Clock& clock, Ask ask, Deliver deliver, Raise raise);

  // Fetches what is new, or delivers what is not delivered yet. How long to wait before the next step.
  [[nodiscard]] std::chrono::milliseconds Step();

  // {"name","to","state":"waiting"|"delivered"|"failing","delivered","next","last_seq","failing_since",
  // "failing_since_s","text"}; `next`: the first entry that is not looked at, or not delivered.
  [[nodiscard]] std::string StatusJson() const;

 private:
  void Load();
  void Save();
  [[nodiscard]] bool Fetch();  // false: nothing to deliver
  [[nodiscard]] std::chrono::milliseconds Failed(const Error& error);
  void Recovered();
  void Tell();  // where the flow is, for the status

  FlowSettings settings_;
  Clock& clock_;
  Ask ask_;
  Deliver deliver_;
  Raise raise_;
  bool loaded_ = false;
  bool begun_ = false;  // the cursor says where
  Cursor cursor_;
  std::uint64_t saved_ = 0;  // cursor_.next as it is on disk
  std::vector<Alert> batch_;
  std::uint64_t after_batch_ = 0;
  std::optional<std::string> note_;
  bool behind_ = false;  // there is more in the log than was looked at
  std::int64_t retry_ms_ = kRetryMsMin;

  mutable std::mutex mutex_;  // of what the status shows
  std::uint64_t delivered_ = 0;
  std::uint64_t unreadable_ = 0;
  std::optional<std::uint64_t> last_sequence_;
  std::optional<std::uint64_t> next_;  // none before the flow has begun
  std::optional<std::int64_t> failing_since_ns_;  // BOOTTIME
  std::int64_t failing_since_wall_ns_ = 0;
  std::string text_;
};

}  // namespace stele::alerts
