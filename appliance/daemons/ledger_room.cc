// The room of the store: spare units are made ahead; when no more can be had, what is left is a reserve, and who may
// still write is decided here (appliance/store/admission.h). Nothing is ever overwritten; when room returns the log
// goes on by itself.
#include "appliance/base/text.h"
#include "appliance/daemons/ledger_service.h"

namespace stele::ledger_daemon {
namespace {

using nlohmann::json;
using record::Kind;
constexpr std::int64_t kPrepareRetryNs = 1'000'000'000;
constexpr std::uint64_t kAheadBytesMin =
    8 * limits::kMiB;  // beyond the reserve: what may be committed while a unit is made
constexpr std::int64_t kHeartbeatFullFactor = 10;

}  // namespace

std::uint64_t Service::PrepareBytes() const {
  return settings_.reserve_bytes +
         std::max(settings_.reserve_bytes, std::min(kAheadBytesMin, settings_.segment_bytes / 2));
}

bool Service::PrepareDue() const {
  return room_bytes_ < PrepareBytes() && clock_.BoottimeNs() >= next_prepare_boottime_ns_;
}

void Service::NoteRoom(const WriteDone& done) {
  room_bytes_ = done.room_bytes;
  if (!done.prepared) return;
  const bool full = !*done.prepared;
  if (full && !disk_full_) LogWarning("no further segment can be made: " + Describe(done.prepared->error()));
  disk_full_ = full;
  next_prepare_boottime_ns_ = full ? clock_.BoottimeNs() + kPrepareRetryNs : 0;
  if (!full) NoteRefusing(false);
}

// Only a full disk refuses: as long as units can be made, the writer makes them.
bool Service::Admits(store::Need need, std::size_t records, std::size_t payload_bytes) {
  if (!disk_full_) return true;
  const ledger::Batch& batch = gathering_.batch;
  const std::uint64_t wanted =
      writing_bytes_ + ledger::BlockEncoder::SizeBound(batch.size() + records, batch.payloads.size() + payload_bytes,
                                                       batch.salt_runs.size() + 1);
  const bool admitted = store::Admits(need, room_bytes_, wanted, settings_.reserve_bytes);
  if (need == store::Need::kPayload && !admitted) NoteRefusing(true);
  return admitted;
}

void Service::RefuseFrame(Appender& appender, std::uint64_t frame_id, std::uint32_t count) {
  refused_records_ += count;
  (void)channel::Send(appender.fd.get(), channel::Type::kRefused,
                      channel::EncodeRefused({frame_id, "the store is full"}));  // a dead peer shows as end of file
}

void Service::NoteRefusing(bool refusing) {
  if (refusing_ == refusing) return;
  refusing_ = refusing;
  if (refusing) {
    LogError("the store is full: records are refused");
    (void)AppendOwn(Kind::kAlarm,
                    json{{"alarm", "store_full"},
                         {"text", "the disk is full: records are refused; " + std::to_string(room_bytes_) +
                                      " octets are kept for reading and for Stele's own entries"}}
                        .dump());
  } else {
    LogInfo("the store has room again: records are taken");
    (void)AppendOwn(Kind::kLifecycle, json{{"event", "store_has_room"}, {"room_bytes", room_bytes_}}.dump());
  }
}

// While records are refused the log writes as little of its own as it can: the reserve must last.
std::int64_t Service::CheckpointIntervalMs() const {
  return refusing_ ? std::max(settings_.checkpoint_interval_ms, settings_.heartbeat_interval_ms)
                   : settings_.checkpoint_interval_ms;
}
std::int64_t Service::HeartbeatIntervalMs() const {
  return refusing_ ? settings_.heartbeat_interval_ms * kHeartbeatFullFactor : settings_.heartbeat_interval_ms;
}

}  // namespace stele::ledger_daemon
