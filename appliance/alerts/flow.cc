#include "appliance/alerts/flow.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "appliance/base/system.h"
#include "appliance/base/text.h"

namespace stele::alerts {
namespace {

using nlohmann::json;

constexpr std::size_t kCursorBytesMax = 4'096;
constexpr std::int64_t kNsPerMs = 1'000'000;
constexpr std::int64_t kNsPerSecond = 1'000 * kNsPerMs;
constexpr unsigned kCursorMode = 0600;

}  // namespace

std::string FormatCursor(const Cursor& cursor) {
  return json{{"log_id", cursor.log_id}, {"next", cursor.next}, {"alarmed", cursor.alarmed}}.dump() + "\n";
}

Result<Cursor> ParseCursor(std::string_view text) {
  const json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  const bool good = object.is_object() && object.contains("log_id") && object["log_id"].is_string() &&
                    object.contains("next") && object["next"].is_number_unsigned() && object.contains("alarmed") &&
                    object["alarmed"].is_boolean();
  if (!good) return Fail(Code::kCorrupt, "the file is no cursor");
  return Cursor{object["log_id"].get<std::string>(), object["next"].get<std::uint64_t>(),
                object["alarmed"].get<bool>()};
}

Flow::Flow(FlowSettings settings, Clock& clock, Ask ask, Deliver deliver, Raise raise)
    : settings_(std::move(settings)),
      clock_(clock),
      ask_(std::move(ask)),
      deliver_(std::move(deliver)),
      raise_(std::move(raise)) {}

// A cursor that cannot be read is none: the flow begins anew where the configuration came into force, and may repeat.
void Flow::Load() {
  loaded_ = true;
  const auto text = ReadFile(settings_.cursor_file, kCursorBytesMax);
  auto cursor = text ? ParseCursor(AsText(*text)) : Result<Cursor>(tl::unexpected(text.error()));
  if (!cursor) return;
  cursor_ = std::move(*cursor);
  saved_ = cursor_.next;
  begun_ = true;
}

void Flow::Save() {
  if (WriteFileDurably(settings_.cursor_file, AsBytes(FormatCursor(cursor_)), kCursorMode)) {
    saved_ = cursor_.next;
    return;
  }
  const std::lock_guard lock(mutex_);
  text_ = "the cursor cannot be written: after a restart the flow repeats itself";
}

bool Flow::Fetch() {
  auto slice = ask_(begun_ ? std::optional(cursor_.next) : std::nullopt);
  behind_ = false;
  if (!slice) return false;                         // stele-query is away: no fault of the receiver's
  if (begun_ && slice->log_id != cursor_.log_id) {  // another log in this directory: its flow has not begun
    cursor_ = {};
    begun_ = false;
    behind_ = true;
    return false;
  }
  if (begun_ && slice->size < cursor_.next) {
    raise_({"alerts_cursor_ahead", "flow " + settings_.name + " has delivered up to entry " +
                                       std::to_string(cursor_.next - 1) + ", but the log has " +
                                       std::to_string(slice->size) + " entries: it was rolled back"});
    cursor_.next = slice->size;
    Save();
    return false;
  }
  const bool fresh = !begun_;
  begun_ = true;
  cursor_.log_id = slice->log_id;
  behind_ = slice->next < slice->size;
  if (slice->unreadable != 0) {
    const std::lock_guard lock(mutex_);
    unreadable_ += slice->unreadable;
  }
  note_ = std::move(slice->checkpoint);
  batch_ = std::move(slice->rows);
  after_batch_ = slice->next;
  if (!batch_.empty()) {
    if (fresh) cursor_.next = batch_.front().sequence;
    return true;
  }
  cursor_.next = after_batch_;
  if (fresh || cursor_.next - saved_ > kUnsavedMax) Save();
  return false;
}

void Flow::Tell() {
  const std::lock_guard lock(mutex_);
  next_ = begun_ ? std::optional(cursor_.next) : std::nullopt;
}

std::chrono::milliseconds Flow::Step() {
  if (!loaded_) Load();
  const bool something = !batch_.empty() || Fetch();
  Tell();
  if (!something) return behind_ ? kCatchUp : kPoll;
  const Arrival arrival = deliver_(batch_, note_);
  if (const std::size_t count = std::min(arrival.count, batch_.size()); count != 0) {
    {
      const std::lock_guard lock(mutex_);
      delivered_ += count;
      last_sequence_ = batch_[count - 1].sequence;
    }
    batch_.erase(batch_.begin(), batch_.begin() + static_cast<std::ptrdiff_t>(count));
    cursor_.next = batch_.empty() ? after_batch_ : batch_.front().sequence;
    Tell();
    Save();
  }
  if (arrival.error) return Failed(*arrival.error);
  Recovered();
  if (!batch_.empty()) return std::chrono::milliseconds(0);
  return behind_ ? kCatchUp : kPoll;
}

std::chrono::milliseconds Flow::Failed(const Error& error) {
  const std::int64_t now_ns = clock_.BoottimeNs();
  std::int64_t since_ns = now_ns;
  {
    const std::lock_guard lock(mutex_);
    if (!failing_since_ns_) {
      failing_since_ns_ = now_ns;
      failing_since_wall_ns_ = clock_.WallNs();
      retry_ms_ = kRetryMsMin;
    }
    since_ns = *failing_since_ns_;
    text_ = error.context;
  }
  if (!cursor_.alarmed && now_ns - since_ns >= settings_.alarm_after_ms * kNsPerMs) {
    raise_({"alerts_undelivered", "flow " + settings_.name + " to " + settings_.to + " has not delivered for " +
                                      std::to_string((now_ns - since_ns) / kNsPerMs / 1'000) + " s: " + error.context});
    cursor_.alarmed = true;
    Save();
  }
  const std::int64_t wait_ms = std::min(retry_ms_, settings_.retry_ms_max);
  retry_ms_ = std::min(2 * retry_ms_, settings_.retry_ms_max);
  return std::chrono::milliseconds(wait_ms);
}

void Flow::Recovered() {
  {
    const std::lock_guard lock(mutex_);
    failing_since_ns_.reset();
    text_.clear();
  }
  if (!cursor_.alarmed) return;
  raise_({"alerts_delivered", "flow " + settings_.name + " to " + settings_.to + " delivers again"});
  cursor_.alarmed = false;
  Save();
}

std::string Flow::StatusJson() const {
  const std::lock_guard lock(mutex_);
  json status = {{"name", settings_.name}, {"to", settings_.to}, {"delivered", delivered_}, {"text", text_}};
  status["state"] = failing_since_ns_ ? "failing" : last_sequence_ ? "delivered" : "waiting";
  if (next_) status["next"] = *next_;
  if (last_sequence_) status["last_seq"] = *last_sequence_;
  if (failing_since_ns_) {
    status["failing_since"] = FormatTime(failing_since_wall_ns_);
    status["failing_since_s"] = failing_since_wall_ns_ / kNsPerSecond;
  }
  if (unreadable_ != 0) status["unreadable"] = unreadable_;
  return status.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace stele::alerts
