// The main thread of stele-ledger: reads the channels, gathers batches, hands them to the writer, acknowledges what is
// durable, asks the anchor for checkpoints, answers the status.
//
// Group rule: when somebody waits for an acknowledgement, commit as soon as the writer is free and the channels are empty,
// never by a timer; otherwise gather up to limits::kCommitGatherBytes or the commit window.
#pragma once

#include <deque>
#include <map>
#include <nlohmann/json.hpp>

#include "appliance/base/limits.h"
#include "appliance/base/system.h"
#include "appliance/channel/anchor_messages.h"
#include "appliance/channel/append_messages.h"
#include "appliance/channel/attest_messages.h"
#include "appliance/channel/control.h"
#include "appliance/daemons/ledger_sources.h"
#include "appliance/daemons/ledger_tally.h"
#include "appliance/daemons/ledger_turns.h"
#include "appliance/daemons/ledger_writer.h"
#include "appliance/ledger/frame_packer.h"
#include "appliance/store/admission.h"
#include "appliance/store/expiry.h"
#include "appliance/store/medium.h"
#include "appliance/store/reclaim.h"
#include "appliance/store/source_table.h"

namespace stele::ledger_daemon {

struct Settings {
  store::MediumPlace place;
  store::PartitionShelf* partitions = nullptr;  // the store, where it is raw partitions
  std::uint64_t segment_bytes = limits::kSegmentBytesDefault;
  std::uint64_t reserve_bytes = 0;  // of the store's room, for access entries and Stele's own (appliance/store/admission.h)
  std::string genesis_payload;
  // The newest epoch of a log that has been continued on another TPM state (appliance/anchor/epochs.h); size 0: none.
  struct Epoch {
    std::uint64_t size = 0;  // of the log before its entry
    Hash root{};
    std::string payload;
  };
  Epoch epoch;
  std::int64_t checkpoint_interval_ms = limits::kCheckpointIntervalMs;
  std::int64_t heartbeat_interval_ms = limits::kHeartbeatIntervalMs;
  std::int64_t commit_window_ms = limits::kCommitWindowMs;
  std::string config_sha256;
  std::optional<ledger::Codec> codec;  // none: zstd, LZ4 under pressure
  channel::SourceRules sources;
  struct Retention {
    std::int64_t keep_s = 0;  // 0: nothing expires
    std::vector<store::Hold> holds;
    std::uint64_t epoch = 0;
    std::vector<std::uint32_t> ordered;    // units that go at the next start
    std::vector<std::uint32_t> reclaimed;  // units that went at this one
  };
  Retention retention;
};

// What start-up learned; the service goes on from here.
struct Recovered {
  bool fresh = false;
  std::uint32_t unit = 0;     // that the store goes on in
  bool unit_begins = false;   // with this start
  bool epoch_begins = false;  // the first start in an epoch: its entry comes before anything else
  Hash log_id{};
  std::uint64_t size = 0;
  std::vector<Hash> frontier;
  ledger::Landmarks landmarks;
  std::optional<ledger::CompactRange> unsigned_range;  // [what the anchor signed last, size); absent: checkpoints impossible
  std::uint64_t signed_size = 0;
  std::uint64_t quarantined_records = 0;
  std::uint64_t adopted_records = 0;  // on their MAC alone
  std::uint64_t abandoned_stretches = 0;
  std::string detail;
  channel::Verdict verdict;
  std::vector<store::DeclaredSource> sources;  // of the last unit: their numbers are kept
};

class Service {
 public:
  // `shelf` is for look-ups only; the writer owns the store.
  Service(Settings settings, Recovered recovered, std::unique_ptr<Writer> writer, DeviceShelf& shelf, Clock& clock,
          Entropy& entropy);

  void AddChannel(const channel::TakeChannel& what, UniqueFd descriptor);
  // Serves until told to stop; true when everything accepted is durable and the last anchor was tried.
  bool Run();

 private:
  struct Appender {
    std::uint64_t id = 0;
    UniqueFd fd;
    channel::Role role = channel::Role::kReceive;
    std::string name;                                // of a receiver: its zone
    std::map<std::uint32_t, std::uint32_t> sources;  // local -> global
    // A record that spans frames, while its parts arrive.
    std::optional<channel::LargePart> large;
    Bytes large_payload;
  };
  struct OpenFrame {  // a frame whose records are in a batch
    std::uint64_t appender = 0;  // 0: our own entry
    std::uint64_t frame_id = 0;
    std::size_t first = 0;       // in its batch
    std::uint32_t count = 0;
    bool wants_leaves = false;
    Tallies::Shares shares = {};  // of records nobody waits for
  };
  struct Gathered {
    ledger::Batch batch;
    std::vector<OpenFrame> frames;
    std::optional<std::size_t> anchored_intent;
    bool somebody_waits = false;
    std::int64_t oldest_boottime_ns = 0;
    std::uint64_t ordinary_records = 0;  // neither checkpoint nor anchor entries
    std::optional<std::size_t> intent;   // index of our checkpoint entry
    std::optional<std::size_t> receipt;  // index of our anchor entry
    struct Own {
      std::size_t index = 0;
      record::Kind kind = record::Kind::kLifecycle;
      std::string payload;
    };
    std::map<std::size_t, std::uint32_t> tombstones;  // index -> unit
    std::vector<Own> own;  // to be appended again should the commit fail
  };

  // channels
  void HandleControl();
  bool ReadFrame(std::uint64_t id);
  bool HandleFrame(Appender& appender, const channel::FrameView& frame);
  void DropAppender(std::uint64_t id, std::string_view why);
  void HandleNotice(ByteView body);
  void Reconfigure(ByteView body);
  void AnswerSettled();

  // appending
  [[nodiscard]] bool HasRoom() const;
  // The disk (ledger_room.cc)
  [[nodiscard]] bool Admits(store::Need need, std::size_t records, std::size_t payload_bytes);
  void RefuseFrame(Appender& appender, std::uint64_t frame_id, std::uint32_t count);
  [[nodiscard]] std::uint64_t PrepareBytes() const;
  [[nodiscard]] bool PrepareDue() const;
  void NoteRoom(const WriteDone& done);
  void NoteRefusing(bool refusing);
  [[nodiscard]] std::int64_t CheckpointIntervalMs() const;
  [[nodiscard]] std::int64_t HeartbeatIntervalMs() const;
  Result<void> AppendRecords(Appender& appender, ByteView body);
  Result<void> AppendLarge(Appender& appender, ByteView body);
  Result<void> DeclareSource(Appender& appender, ByteView body);
  Result<std::uint32_t> GlobalSource(Appender& appender, std::uint32_t local);
  [[nodiscard]] std::uint32_t ListenerOf(std::uint32_t source) const;
  std::size_t AppendOwn(record::Kind kind, std::string_view payload, std::uint32_t source = 0);
  void AppendReceipt(const std::string& payload);
  void NoteAlarm(std::string_view payload);
  void AppendOne(record::Kind kind, std::uint16_t flags, std::uint32_t source, std::int64_t wall_ns, const record::Peer& peer,
                 const Hash& commitment, ByteView payload);
  std::pair<std::int64_t, std::uint16_t> Stamp(std::int64_t wall_ns);
  [[nodiscard]] static Result<void> CheckMayAppend(const Appender& appender, record::Kind kind, ByteView payload);
  void WatchClock();
  void WatchSources();
  void CarrySources();

  // what expires (ledger_retention.cc)
  void DeclareRetention(bool begins);
  [[nodiscard]] std::optional<std::uint64_t> TpmClockMs() const;
  void NoteReceiptClock(const std::string& payload);
  void WatchRetention();
  Result<void> BuryWhatExpired();
  void NoteTombstones(const Gathered& gathered, std::size_t committed, const WriteDone& done);
  void OrderReclaim(const std::string& receipt);

  // committing
  void MaybeCommit();
  [[nodiscard]] bool Pressed() const;
  void HandleDone(WriteDone done);
  void Refuse(const Gathered& gathered, std::size_t committed, const Error& error);
  void HandleFailure(const Gathered& gathered, std::size_t committed, const Error& error);
  void TakeRange(const WriteDone& done);
  [[nodiscard]] std::int64_t StoreRetryInNs() const;  // 0: the store may be tried now
  void Announce();
  void SendPosition();
  void Acknowledge(const Gathered& gathered, std::size_t committed, const WriteDone& done);
  void PublishNote();

  // checkpoints (ledger_checkpoints.cc)
  void MaybeCheckpoint();
  void RequestCheckpoint();
  void HandleAnchor();
  void HandleAnchorAnswer(const channel::AnchorAnswer& answer);
  void SendAnchor(const channel::AnchorRequest& request);
  void NoteStatus(const std::string& status_json);
  [[nodiscard]] nlohmann::json UnanchoredSince() const;
  void LoseAnchor(std::string_view why);
  void MeetAnchor();

  // an auditor's nonces (ledger_attest.cc)
  void TakeAttest(const Appender& appender, const channel::AttestQuestion& question);
  void MaybeAttest();
  void AnswerAttest(bool granted, std::string_view text);

  // status (ledger_status.cc)
  std::string StatusJson();
  void TellDisk(nlohmann::json& store);
  void AlarmOfPartitions(const char* alarm, const std::string& words, const std::vector<std::string>& sentences);
  void TellListeners(nlohmann::json& status) const;

  int WaitMs() const;
  [[nodiscard]] bool StopDone() const;

  Settings settings_;
  Recovered recovered_;
  std::unique_ptr<Writer> writer_;
  DeviceShelf& shelf_;
  Clock& clock_;
  Entropy& entropy_;
  UniqueFd epoll_;

  std::map<std::uint64_t, Appender> appenders_;
  Turns turns_;
  std::uint64_t next_appender_ = 16;  // smaller numbers are the event descriptors
  Bytes receive_buffer_;
  channel::RecordsFrame records_frame_;

  Gathered gathering_;
  ledger::Batch spare_;  // the grown buffers of the batch before last
  ledger::CodecChoice codec_choice_;
  ledger::Codec codec_ = ledger::Codec::kZstd;  // of the frames that are packed while a batch grows
  ledger::FramePacker packer_;
  std::int64_t submitted_boottime_ns_ = 0;      // to the writer, the last time
  std::int64_t done_boottime_ns_ = 0;           // by it
  std::optional<Gathered> writing_;
  SourceRegistry sources_;
  std::int64_t sources_watched_ns_ = 0;
  Tallies tallies_;
  std::map<std::uint32_t, std::uint32_t> source_listeners_;  // global number -> the tallies' number of its listener
  std::uint32_t unit_ = 0;

  std::uint64_t size_ = 0;  // committed
  std::int64_t announced_boottime_ns_ = 0;
  bool announcement_due_ = false;
  std::vector<Hash> frontier_;
  ledger::Landmarks landmarks_;
  std::uint64_t position_bytes_ = 0;
  std::optional<std::uint64_t> store_bytes_;   // of the segments that were there when it was measured
  std::uint64_t measured_segments_ = 0;
  std::uint64_t measured_room_bytes_ = 0;
  std::string store_error_;
  std::uint64_t room_bytes_ = 0;         // after the last commit
  std::uint64_t writing_bytes_ = 0;      // at most, of the batch being written
  bool disk_full_ = false;               // no further unit can be had
  bool refusing_ = false;                // payload is refused
  std::int64_t next_prepare_boottime_ns_ = 0;
  bool cannot_begin_ = false;            // the first commit of a fresh log failed
  std::int64_t clock_offset_ns_ = 0;
  std::int64_t started_boottime_ns_ = 0;

  enum class Flow : std::uint8_t { kIdle, kCutting, kAsked, kIntentWriting, kConfirmed, kReceiptWriting, kAttesting };
  Flow flow_ = Flow::kIdle;
  UniqueFd anchor_fd_;
  bool want_anchor_ = false;        // the next checkpoint shall carry an anchor
  bool demand_anchor_ = false;      // the same for an auditor: asked for once, and refused when the TPM's wear says so
  struct Attest {
    std::uint64_t appender = 0;
    channel::AttestQuestion question;
    std::uint64_t checkpoint = 0;   // the checkpoint that must have been asked for before
    std::int64_t deadline_boottime_ns = 0;
  };
  std::deque<Attest> attests_;
  std::uint64_t checkpoints_asked_ = 0;
  bool asked_while_stopping_ = false;  // the request under way was made after the stop was asked for
  bool cut_wanted_ = false;
  bool rebuild_range_ = false;      // a fresh anchor said where it stands: recompute the range from the store
  std::int64_t asked_wall_ns_ = 0;         // when the anchor was asked what it has not yet answered, or was lost
  std::int64_t asked_boottime_ns_ = 0;
  std::string refusal_;             // the last one, so that each is said once
  bool anchor_judged_ = true;       // false between a fresh anchor's channel and its verdict
  std::optional<ledger::CompactRange> unsigned_range_;
  std::uint64_t signed_size_ = 0;
  std::uint64_t size_of_request_ = 0;
  std::uint64_t ordinary_total_ = 0;          // committed ordinary records since start
  std::uint64_t ordinary_at_request_ = 0;
  std::uint64_t ordinary_signed_ = 0;
  std::int64_t last_checkpoint_boottime_ns_ = 0;
  std::int64_t retry_boottime_ns_ = 0;
  std::optional<channel::Intent> intent_;
  std::string receipt_payload_;               // of the receipt being written
  std::string note_;                          // the newest checkpoint that is in the log, as text
  std::string intent_payload_;                // of the newest checkpoint, for the status
  std::int64_t checkpoint_wall_ns_ = 0;
  nlohmann::json anchor_status_ = nlohmann::json::object();

  struct TpmTime {
    std::uint64_t clock_ms = 0;
    std::int64_t boottime_ns = 0;  // when it was read
  };
  std::optional<TpmTime> tpm_time_;       // of the newest receipt since the start
  std::uint64_t receipted_size_ = 0;
  std::int64_t next_expiry_boottime_ns_ = 0;
  std::map<std::uint32_t, store::UnitFacts> unit_facts_;
  struct Burial {
    std::uint64_t tombstone = ledger::kNoSequence;  // its sequence number, when it is committed
    bool ordered = false;
  };
  std::map<std::uint32_t, Burial> buried_;
  std::size_t ordered_ = 0;  // units that go at the next start, since this one

  bool stopping_ = false;
  std::int64_t stop_boottime_ns_ = 0;
  std::map<std::string, nlohmann::json> processes_;
  std::map<std::string, nlohmann::json> listeners_;  // by receiver
  std::deque<nlohmann::json> alarms_;
  std::map<std::string, nlohmann::json> told_by_others_;  // members of the status: their last words
  std::uint64_t refused_records_ = 0;
};

}  // namespace stele::ledger_daemon
