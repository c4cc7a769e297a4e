#include "appliance/daemons/ledger_service.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

#include "appliance/base/text.h"
#include "appliance/channel/policy_messages.h"
#include "appliance/store/lookup.h"

namespace stele::ledger_daemon {
namespace {

using channel::Role;
using channel::Type;
using nlohmann::json;
using record::Kind;

constexpr std::int64_t kNsPerMs = 1'000'000;
constexpr std::int64_t kReceiverClockTrustNs = 5'000'000'000;
constexpr std::int64_t kStoreRetryNs = 1'000'000'000;  // between tries while the store cannot be written
constexpr std::int64_t kStopLimitNs = 20'000'000'000;
constexpr std::uint64_t kControlEvent = 1;
constexpr std::uint64_t kWriterEvent = 2;
constexpr std::uint64_t kAnchorEvent = 3;
constexpr std::size_t kFramesPerRound =
    64;  // of all channels, before the writer, the anchor and the supervisor are heard
constexpr std::size_t kAlarmsKept = 64;
constexpr std::int64_t kAnnounceNs = 2'000'000;  // between two positions told to stele-query: each wakes it
// Members of the status that other processes say: stele-courier, the supervisor, stele-guard, stele-guard-watch.
constexpr std::array<std::string_view, 5> kToldByOthers{"witnesses", "alerts", "zone_networks", "policy", "violations"};
constexpr std::size_t kOwnKept = 256;  // entries of our own that are appended again after a failed commit

// What is in a listener's balance; loss entries and alarms are about others.
bool Counts(Kind kind) { return kind == Kind::kSyslog || kind == Kind::kJson; }

// A number that no other start of the ledger had; never 0.
std::uint64_t EpochOf(Entropy& entropy) {
  std::array<std::byte, 8> random{};
  entropy.Fill(random);
  return LoadLittle<std::uint64_t>(random.data()) | 1U;
}

// Of the channels that append.
std::optional<Role> AppenderRole(std::string_view name) {
  if (name == "receive") return Role::kReceive;
  if (name == "query") return Role::kQuery;
  if (name == "guard") return Role::kGuard;
  if (name == "watch") return Role::kWatch;
  return std::nullopt;
}

// The kinds of entry that a channel may append, by its role.
bool MayAppend(Role role, Kind kind) {
  switch (role) {
    case Role::kReceive:
      return Counts(kind) || kind == Kind::kLoss || kind == Kind::kAlarm;
    case Role::kQuery:
      return kind == Kind::kAccess;
    case Role::kGuard:
      return kind == Kind::kPolicy || kind == Kind::kAlarm;
    case Role::kWatch:
      return kind == Kind::kAlarm;
    default:
      return false;
  }
}

}  // namespace

Service::Service(Settings settings, Recovered recovered, std::unique_ptr<Writer> writer, DeviceShelf& shelf, Clock& clock,
                 Entropy& entropy)
    : settings_(std::move(settings)), recovered_(std::move(recovered)), writer_(std::move(writer)), shelf_(shelf),
      clock_(clock), entropy_(entropy), epoll_(::epoll_create1(EPOLL_CLOEXEC)), receive_buffer_(limits::kChannelFrameBytes),
      sources_(recovered_.landmarks.next_source), tallies_(EpochOf(entropy)) {
  STELE_CHECK(epoll_.valid());
  size_ = recovered_.size;
  frontier_ = recovered_.frontier;
  landmarks_ = recovered_.landmarks;
  sources_.Use(settings_.sources);
  for (const store::DeclaredSource& one : recovered_.sources) sources_.Restore(one.number, one.description_json);
  signed_size_ = recovered_.signed_size;
  unsigned_range_ = std::move(recovered_.unsigned_range);
  codec_choice_ = ledger::CodecChoice(settings_.codec);
  codec_ = settings_.codec.value_or(codec_);
  started_boottime_ns_ = clock_.BoottimeNs();
  last_checkpoint_boottime_ns_ = started_boottime_ns_;
  unit_ = recovered_.unit;
  clock_offset_ns_ = clock_.WallNs() - started_boottime_ns_;
  want_anchor_ = true;  // the boot anchor
  const auto watch = [this](int fd, std::uint64_t tag) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = tag;
    STELE_CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0);
  };
  watch(channel::kControlFd, kControlEvent);
  watch(writer_->event_fd(), kWriterEvent);
  if (recovered_.fresh) (void)AppendOwn(Kind::kEpoch, settings_.genesis_payload);
  if (recovered_.epoch_begins) (void)AppendOwn(Kind::kEpoch, settings_.epoch.payload);
  json started = {{"event", "start"},
                  {"size", recovered_.size},
                  {"verdict", recovered_.verdict.word},
                  {"qualifiers", recovered_.verdict.qualifiers},
                  {"adopted_on_mac_alone", recovered_.adopted_records},
                  {"quarantined", recovered_.quarantined_records},
                  {"abandoned_stretches", recovered_.abandoned_stretches}};
  if (!recovered_.detail.empty()) started["detail"] = recovered_.detail;
  if (!recovered_.verdict.detail.empty()) started["verdict_detail"] = recovered_.verdict.detail;
  (void)AppendOwn(Kind::kLifecycle, started.dump(-1, ' ', false, json::error_handler_t::replace));
  (void)AppendOwn(Kind::kPolicy, json{{"config_sha256", settings_.config_sha256}}.dump());
  DeclareRetention(recovered_.unit_begins);
  if (!settings_.retention.reclaimed.empty()) {
    (void)AppendOwn(Kind::kLifecycle, json{{"event", "reclaimed"}, {"units", settings_.retention.reclaimed}}.dump());
  }
  if (settings_.partitions != nullptr) {
    const store::PartitionsUse partitions = settings_.partitions->Use();
    AlarmOfPartitions("partitions_refused", " partitions are left alone", partitions.refused);
    AlarmOfPartitions("seal_mark_missing", " full partitions bore no seal mark", partitions.unmarked);
  }
  if (recovered_.verdict.late_receipt) AppendReceipt(*recovered_.verdict.late_receipt);
}

void Service::AlarmOfPartitions(const char* alarm, const std::string& words, const std::vector<std::string>& sentences) {
  if (sentences.empty()) return;
  std::string text = std::to_string(sentences.size()) + words;
  for (const std::string& one : sentences) {
    LogWarning(one);
    if (text.size() < limits::kPreviewBytes) text += "; " + one;
  }
  (void)AppendOwn(Kind::kAlarm, json{{"alarm", alarm}, {"text", text}}.dump(-1, ' ', false, json::error_handler_t::replace));
}

void Service::AddChannel(const channel::TakeChannel& what, UniqueFd descriptor) {
  (void)channel::SetBlocking(descriptor.get(), false);  // a descriptor that cannot be set shows at its first use
  epoll_event event{};
  event.events = EPOLLIN;
  if (what.role == "anchor") {
    anchor_fd_ = std::move(descriptor);
    event.data.u64 = kAnchorEvent;
    STELE_CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, anchor_fd_.get(), &event) == 0);
    return;
  }
  const auto role = AppenderRole(what.role);
  if (!role) {
    LogWarning("a channel of the unknown role " + what.role + " was refused");
    return;
  }
  Appender appender;
  appender.id = next_appender_++;
  appender.role = *role;
  appender.name = what.name;
  appender.fd = std::move(descriptor);
  event.data.u64 = appender.id;
  STELE_CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, appender.fd.get(), &event) == 0);
  (void)channel::SendHello(appender.fd.get(), {Role::kLedger, static_cast<std::uint32_t>(limits::kChannelFrameBytes),
                                               limits::kChannelCredits});  // a dead peer shows as end of file
  if (appender.role == Role::kQuery) {
    (void)channel::Send(appender.fd.get(), Type::kPosition, channel::EncodePosition({size_}));  // likewise
  }
  if (appender.role == Role::kReceive && !note_.empty()) {
    (void)channel::Send(appender.fd.get(), Type::kCheckpointNote, AsBytes(note_));  // likewise
  }
  // The same role and name again: the peer was restarted. What a dead receiver had sent is still in its channel and is read to
  // the end; it is dropped then.
  for (auto at = appenders_.begin(); at != appenders_.end();) {
    const bool replaced = at->second.role != Role::kReceive && at->second.role == appender.role && at->second.name == appender.name;
    at = replaced ? appenders_.erase(at) : std::next(at);
  }
  if (appender.role == Role::kReceive) tallies_.Opened(appender.id, appender.name);
  appenders_.emplace(appender.id, std::move(appender));
}

bool Service::Run() {
  std::array<epoll_event, 64> events{};
  while (!StopDone()) {
    if (announcement_due_) Announce();
    MaybeAttest();
    MaybeCheckpoint();
    MaybeCommit();
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), WaitMs());
    WatchClock();
    WatchSources();
    WatchRetention();
    for (int i = 0; i < count; ++i) {
      const std::uint64_t tag = events[static_cast<std::size_t>(i)].data.u64;
      if (tag == kControlEvent) {
        HandleControl();
      } else if (tag == kWriterEvent) {
        if (auto done = writer_->TakeDone()) HandleDone(std::move(*done));
      } else if (tag == kAnchorEvent) {
        HandleAnchor();
      } else {
        turns_.Ready(tag);
      }
    }
    turns_.Serve(
        kFramesPerRound, [this] { return HasRoom(); }, [this](std::uint64_t id) { return ReadFrame(id); });
    // Level-triggered descriptors of appenders without room would spin; the writer's event ends this wait.
    if (!HasRoom() && (writer_->busy() || StoreRetryInNs() > 0)) {
      epoll_event one{};
      UniqueFd wait(::epoll_create1(EPOLL_CLOEXEC));
      one.events = EPOLLIN;
      if (wait.valid() && ::epoll_ctl(wait.get(), EPOLL_CTL_ADD, writer_->event_fd(), &one) == 0) {
        (void)::epoll_wait(wait.get(), &one, 1, writer_->busy() ? 1000 : 50);
      }
    }
  }
  return store_error_.empty();
}

int Service::WaitMs() const {
  const std::int64_t now = clock_.BoottimeNs();
  std::int64_t wait_ms = 200;
  if (const std::int64_t retry_ns = StoreRetryInNs(); retry_ns > 0) return static_cast<int>(retry_ns / kNsPerMs + 1);
  if (gathering_.batch.size() > 0 && !writer_->busy()) {
    if (gathering_.somebody_waits) return 0;
    const std::int64_t left = gathering_.oldest_boottime_ns + settings_.commit_window_ms * kNsPerMs - now;
    wait_ms = std::min(wait_ms, std::max<std::int64_t>(0, left / kNsPerMs + 1));
  }
  if (announcement_due_) {
    const std::int64_t left = announced_boottime_ns_ + kAnnounceNs - now;
    wait_ms = std::min(wait_ms, std::max<std::int64_t>(0, left / kNsPerMs + 1));
  }
  if (flow_ == Flow::kIdle && ordinary_total_ > ordinary_signed_) {
    const std::int64_t left = last_checkpoint_boottime_ns_ + CheckpointIntervalMs() * kNsPerMs - now;
    wait_ms = std::min(wait_ms, std::max<std::int64_t>(1, left / kNsPerMs + 1));
  }
  return static_cast<int>(wait_ms);
}

bool Service::StopDone() const {
  if (cannot_begin_) return true;
  if (!stopping_) return false;
  if (clock_.BoottimeNs() - stop_boottime_ns_ > kStopLimitNs) return true;
  const bool quiet = gathering_.batch.empty() && !writer_->busy() && flow_ == Flow::kIdle;
  if (!quiet) return false;
  return !want_anchor_ || !anchor_fd_.valid() || !unsigned_range_ || !store_error_.empty() || !recovered_.verdict.may_anchor;
}

void Service::HandleControl() {
  auto frame = channel::Receive(channel::kControlFd, false, true);
  if (!frame) {
    if (frame.error().code == Code::kUnavailable) return;
    frame = channel::Frame{Type::kStop, {}, {}};  // the supervisor is gone
  }
  if (frame->type == Type::kTakeChannel && frame->descriptors.size() == 1) {
    if (const auto what = channel::DecodeTakeChannel(frame->body)) {
      if (what->role == "anchor") LoseAnchor("restarted");
      AddChannel(*what, std::move(frame->descriptors[0]));
      if (what->role == "anchor") MeetAnchor();
    }
  } else if (frame->type == Type::kNotice) {
    HandleNotice(frame->body);
  } else if (frame->type == Type::kConfigure) {
    Reconfigure(frame->body);
  } else if (frame->type == Type::kStop && !stopping_) {
    stopping_ = true;
    stop_boottime_ns_ = clock_.BoottimeNs();
    CarrySources();
    (void)AppendOwn(Kind::kLifecycle, R"({"event":"stop"})");
    want_anchor_ = true;
    (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, channel::kControlFd, nullptr);  // its end of file would spin
  }
}

void Service::HandleNotice(ByteView body) {
  const json notice = json::parse(AsText(body), nullptr, false);
  if (notice.is_object() && notice.value("event", json()) == "alarm" && notice.contains("alarm")) {
    (void)AppendOwn(Kind::kAlarm, notice["alarm"].dump(-1, ' ', false, json::error_handler_t::replace));
    return;
  }
  if (notice.is_object() && notice.contains("event") && notice["event"].is_string()) {
    const auto& event = notice["event"].get_ref<const std::string&>();
    if (std::find(kToldByOthers.begin(), kToldByOthers.end(), event) != kToldByOthers.end()) {
      told_by_others_[event] = notice.value("detail", json());
      return;
    }
  }
  if (!notice.is_object() || !notice.contains("process") || !notice["process"].is_string()) return;
  processes_[notice["process"].get<std::string>()] = notice;
  if (notice.value("event", "") == "died") {
    json entry = {{"event", "process_died"}, {"process", notice["process"]}, {"text", notice.value("text", "")}};
    (void)AppendOwn(Kind::kLifecycle, entry.dump(-1, ' ', false, json::error_handler_t::replace));
  }
}

// The supervisor has read the configuration again: what may change while we run does, and the change is an entry.
void Service::Reconfigure(ByteView body) {
  const json object = json::parse(AsText(body), nullptr, false);
  auto rules = channel::DecodeSourceRules(object.is_object() ? object.value("sources", json::object()).dump() : "");
  if (!rules) {
    LogError("the new configuration is not used: " + Describe(rules.error()));
    return;
  }
  sources_.Use(std::move(*rules));
  json entry = {{"event", "reload"}, {"config_sha256", object.value("config_sha256", "")}};
  if (object.contains("at_next_start")) entry["at_next_start"] = object["at_next_start"];
  (void)AppendOwn(Kind::kPolicy, entry.dump(-1, ' ', false, json::error_handler_t::replace));
}

// False when there was none, or the appender is gone.
bool Service::ReadFrame(std::uint64_t id) {
  const auto at = appenders_.find(id);
  if (at == appenders_.end()) return false;
  const auto frame = channel::ReceiveInto(at->second.fd.get(), receive_buffer_, false);
  if (frame) return HandleFrame(at->second, *frame);
  if (frame.error().code == Code::kUnavailable) return false;
  // A peer that died with acknowledgements unread: the kernel says so once, and what it had sent is still to be read.
  if (frame.error().code == Code::kNotFound && frame.error().detail == ECONNRESET) return true;
  DropAppender(id, frame.error().code == Code::kNotFound ? "closed" : Describe(frame.error()));
  return false;
}

// False when the appender is gone.
bool Service::HandleFrame(Appender& appender, const channel::FrameView& frame) {
  Result<void> done;
  switch (frame.type) {
    case Type::kHello: {
      const auto hello = channel::DecodeHello(frame.body);
      if (!hello) done = tl::unexpected(hello.error());
      break;
    }
    case Type::kDeclareSource: done = DeclareSource(appender, frame.body); break;
    case Type::kRecords: done = AppendRecords(appender, frame.body); break;
    case Type::kLargeRecord: done = AppendLarge(appender, frame.body); break;
    case Type::kSettle: {
      const auto question = channel::DecodeSettle(frame.body);
      if (!question || appender.role != Role::kReceive) {
        done = Fail(Code::kInvalid, "settle: not a question for here");
        break;
      }
      tallies_.Ask(appender.id, *question);
      AnswerSettled();
      break;
    }
    case Type::kCounters: {
      json counters = json::parse(AsText(frame.body), nullptr, false);
      if (counters.is_object() && appender.role == Role::kReceive) listeners_[appender.name] = std::move(counters);
      break;
    }
    case Type::kAttestRequest: {
      const auto question = channel::DecodeAttestQuestion(frame.body);
      if (!question || appender.role != Role::kQuery) {
        done = Fail(Code::kInvalid, "attest: not a question for here");
        break;
      }
      TakeAttest(appender, *question);
      break;
    }
    case Type::kStatusRequest:
      if (appender.role == Role::kQuery) {
        const std::string status = StatusJson();
        (void)channel::Send(appender.fd.get(), Type::kStatusAnswer, AsBytes(status));  // a full channel: asked again
      }
      break;
    default: done = Fail(Code::kInvalid, "a frame of a type that has no business here"); break;
  }
  if (done) return true;
  const std::string why = Describe(done.error());
  (void)AppendOwn(Kind::kAlarm, json{{"alarm", "channel_closed"},
                                     {"text", "the channel to " + appender.name + " was closed: " + why},
                                     {"channel", appender.name}}.dump());
  DropAppender(appender.id, why);
  return false;
}

void Service::DropAppender(std::uint64_t id, std::string_view why) {
  const auto at = appenders_.find(id);
  if (at == appenders_.end()) return;
  if (why != "closed") LogWarning("channel to " + at->second.name + ": " + std::string(why));
  appenders_.erase(at);
  tallies_.Ended(id);
  AnswerSettled();
}

void Service::AnswerSettled() {
  while (const auto answer = tallies_.TakeAnswer()) {
    const auto at = appenders_.find(answer->channel);
    if (at == appenders_.end()) continue;
    const auto sent = channel::Send(at->second.fd.get(), Type::kSettled, channel::EncodeSettled(answer->settled));
    if (!sent) LogWarning("channel to " + at->second.name + ": " + Describe(sent.error()));  // its end of file follows
  }
}

bool Service::HasRoom() const {
  const std::uint64_t gather_bytes = std::min<std::uint64_t>(limits::kCommitGatherBytes, settings_.segment_bytes / 4);
  return gathering_.batch.payloads.size() < gather_bytes &&
         gathering_.batch.size() + limits::kChannelFrameRecords + 1024 <= limits::kBlockRecords;
}

// What a channel may append was fixed when it was made: its kinds by its role; a receiver speaks for its own zone only,
// and who watches the network's policy of nothing else.
Result<void> Service::CheckMayAppend(const Appender& appender, Kind kind, ByteView payload) {
  if (!MayAppend(appender.role, kind)) return Fail(Code::kInvalid, "records: a kind this channel may not append");
  if (Counts(kind) || kind == Kind::kAccess || appender.role == Role::kGuard) return {};
  const json entry = json::parse(AsText(payload), nullptr, false);
  if (appender.role == Role::kWatch) {
    const json name = entry.is_object() ? entry.value("alarm", json()) : json();
    if (name.is_string() && name.get<std::string>().starts_with("policy_")) return {};
    return Fail(Code::kInvalid, "records: an alarm that is not about the network's policy");
  }
  if (!entry.is_object() || entry.value("zone", json(appender.name)) != appender.name) {
    return Fail(Code::kInvalid, "records: an entry about a zone that is not this channel's");
  }
  return {};
}

// A receiver's clock that is more than 5 s off ours is not believed.
std::pair<std::int64_t, std::uint16_t> Service::Stamp(std::int64_t wall_ns) {
  const std::int64_t now = clock_.WallNs();
  if (wall_ns > now - kReceiverClockTrustNs && wall_ns < now + kReceiverClockTrustNs) return {wall_ns, 0};
  return {now, record::kFlagRestamped};
}

void Service::AppendOne(Kind kind, std::uint16_t flags, std::uint32_t source, std::int64_t wall_ns, const record::Peer& peer,
                        const Hash& commitment, ByteView payload) {
  if (gathering_.batch.empty()) gathering_.oldest_boottime_ns = clock_.BoottimeNs();
  gathering_.batch.Add(kind, flags, source, wall_ns, peer, commitment, payload);
  if (kind != Kind::kCheckpoint && kind != Kind::kAnchor) ++gathering_.ordinary_records;
}

Result<std::uint32_t> Service::GlobalSource(Appender& appender, std::uint32_t local) {
  if (local == 0) return std::uint32_t{0};
  const auto at = appender.sources.find(local);
  if (at == appender.sources.end()) return Fail(Code::kInvalid, "records: a source that was not declared");
  if (sources_.MustDeclare(at->second)) (void)AppendOwn(Kind::kSource, sources_.EntryOf(at->second), at->second);
  return at->second;
}

// The tallies' number of the listener a source came by.
std::uint32_t Service::ListenerOf(std::uint32_t source) const {
  const auto at = source_listeners_.find(source);
  return at == source_listeners_.end() ? 0 : at->second;
}

Result<void> Service::DeclareSource(Appender& appender, ByteView body) {
  STELE_TRY(const channel::DeclareSource declared, channel::DecodeDeclareSource(body));
  if (declared.local == 0) return Fail(Code::kInvalid, "declare source: not a description");
  if (appender.sources.size() > 16 * limits::kSourcesPerListener) return Fail(Code::kInvalid, "declare source: too many");
  const json description = json::parse(declared.description, nullptr, false);
  if (appender.role == Role::kReceive &&
      (!description.is_object() || description.value("zone", json()) != appender.name)) {
    return Fail(Code::kInvalid, "declare source: of a zone that is not this channel's");
  }
  STELE_TRY(const std::uint32_t number, sources_.NumberOf(declared.description));
  appender.sources[declared.local] = number;
  if (appender.role == Role::kReceive && !source_listeners_.contains(number)) {
    const auto listener = description.find("listener");
    const bool named = listener != description.end() && listener->is_string();
    source_listeners_[number] = named ? tallies_.ListenerOf(appender.name, listener->get<std::string>()) : 0;
  }
  return {};
}

Result<void> Service::AppendRecords(Appender& appender, ByteView body) {
  STELE_TRY_VOID(channel::DecodeRecords(body, records_frame_));
  const channel::RecordsFrame& frame = records_frame_;
  if (frame.records.empty()) return Fail(Code::kInvalid, "records: an empty frame");
  store::Need need = store::Need::kRoutine;
  std::size_t payload_bytes = 0;
  for (const channel::AppendRecord& r : frame.records) {
    STELE_TRY_VOID(CheckMayAppend(appender, r.kind, r.payload));
    if (r.kind == Kind::kAccess) need = store::Need::kAccess;
    if (Counts(r.kind)) need = store::Need::kPayload;
    payload_bytes += r.payload.size();
  }
  if (!Admits(need, frame.records.size(), payload_bytes)) {
    RefuseFrame(appender, frame.frame_id, static_cast<std::uint32_t>(frame.records.size()));
    return {};
  }
  // Sources first: their entries must not stand between the records of a frame.
  std::uint32_t last_local = 0;
  std::uint32_t last_global = 0;
  for (const channel::AppendRecord& r : frame.records) {
    if (r.source_local == last_local) continue;
    STELE_TRY(last_global, GlobalSource(appender, r.source_local));
    last_local = r.source_local;
  }
  const std::size_t first = gathering_.batch.size();
  const auto count = static_cast<std::uint32_t>(frame.records.size());
  last_local = 0;
  last_global = 0;
  std::int64_t last_stamp = 0;
  std::pair<std::int64_t, std::uint16_t> stamp;
  std::uint64_t run = 0;  // events of one source in a row
  const auto heard = [&] {
    if (last_global != 0 && run > 0) sources_.Heard(last_global, run, stamp.first);
    run = 0;
  };
  Tallies::Shares shares;
  std::uint32_t listener = 0;
  for (const channel::AppendRecord& r : frame.records) {
    if (r.source_local != last_local) {
      heard();
      STELE_TRY(last_global, GlobalSource(appender, r.source_local));
      last_local = r.source_local;
      listener = frame.wants_ack ? 0 : ListenerOf(last_global);
    }
    if (Counts(r.kind)) Tallies::Count(shares, listener, 1);
    if (r.receive_wall_ns != last_stamp || last_stamp == 0) stamp = Stamp(r.receive_wall_ns);
    last_stamp = r.receive_wall_ns;
    if (r.kind == Kind::kAlarm) NoteAlarm(AsText(r.payload));
    AppendOne(r.kind, r.flags | stamp.second, last_global, stamp.first, r.peer, r.commitment, r.payload);
    if (r.kind == Kind::kSyslog || r.kind == Kind::kJson) ++run;
  }
  heard();
  gathering_.batch.salt_runs.push_back({static_cast<std::uint32_t>(first), count, 0, frame.salt_key});
  gathering_.frames.push_back({appender.id, frame.frame_id, first, count, frame.wants_leaves, std::move(shares)});
  tallies_.FrameRead(appender.id);
  gathering_.somebody_waits = gathering_.somebody_waits || frame.wants_ack;
  packer_.PackComplete(gathering_.batch, codec_);
  return {};
}

Result<void> Service::AppendLarge(Appender& appender, ByteView body) {
  STELE_TRY(channel::LargePart part, channel::DecodeLargePart(body));
  if (part.offset == 0) {
    STELE_TRY_VOID(CheckMayAppend(appender, part.header.kind, part.header.payload));  // nobody's own words are so long
    appender.large_payload.clear();
    appender.large = part;
  }
  const bool continues = appender.large && appender.large->frame_id == part.frame_id &&
                         appender.large->total_length == part.total_length && part.offset == appender.large_payload.size();
  if (!continues) return Fail(Code::kInvalid, "large record: parts out of order");
  Append(appender.large_payload, part.header.payload);
  if (appender.large_payload.size() < part.total_length) return {};
  const channel::LargePart whole = *std::exchange(appender.large, std::nullopt);
  store::Need need = Counts(whole.header.kind) ? store::Need::kPayload : store::Need::kRoutine;
  if (whole.header.kind == Kind::kAccess) need = store::Need::kAccess;
  if (!Admits(need, 1, appender.large_payload.size())) {
    appender.large_payload = Bytes();
    RefuseFrame(appender, whole.frame_id, 1);
    return {};
  }
  STELE_TRY(const std::uint32_t source, GlobalSource(appender, whole.header.source_local));
  const std::size_t first = gathering_.batch.size();
  const auto [wall_ns, flag] = Stamp(whole.header.receive_wall_ns);
  AppendOne(whole.header.kind, whole.header.flags | flag, source, wall_ns, whole.header.peer, whole.header.commitment,
            appender.large_payload);
  if (source != 0 && whole.header.kind != Kind::kLoss) sources_.Heard(source, 1, wall_ns);
  gathering_.batch.salt_runs.push_back({static_cast<std::uint32_t>(first), 1, 0, whole.salt_key});
  gathering_.frames.push_back({appender.id, whole.frame_id, first, 1, whole.wants_leaves});
  if (!whole.wants_ack && Counts(whole.header.kind)) Tallies::Count(gathering_.frames.back().shares, ListenerOf(source), 1);
  tallies_.FrameRead(appender.id);
  gathering_.somebody_waits = gathering_.somebody_waits || whole.wants_ack;
  appender.large_payload = Bytes();
  return {};
}

// An entry of Stele's own; somebody always waits for it. Returns its index in the batch being gathered.
std::size_t Service::AppendOwn(Kind kind, std::string_view payload, std::uint32_t source) {
  const std::size_t index = gathering_.batch.size();
  record::SaltKey key;
  entropy_.Fill(key);
  const record::Peer nobody{};
  const Hash commitment = record::CommitPayload(record::DeriveSalt(key, 0), nobody, AsBytes(payload));
  AppendOne(kind, 0, source, clock_.WallNs(), nobody, commitment, AsBytes(payload));
  gathering_.batch.salt_runs.push_back({static_cast<std::uint32_t>(index), 1, 0, key});
  if (kind != Kind::kSource) gathering_.somebody_waits = true;
  const bool again = kind == Kind::kEpoch || kind == Kind::kLifecycle || kind == Kind::kPolicy || kind == Kind::kAlarm;
  if (again && gathering_.own.size() < kOwnKept) gathering_.own.push_back({index, kind, std::string(payload)});
  if (kind == Kind::kAlarm) NoteAlarm(payload);
  return index;
}

void Service::NoteAlarm(std::string_view payload) {
  json alarm = json::parse(payload, nullptr, false);
  if (alarm.is_object()) alarm["time"] = FormatTime(clock_.WallNs());
  alarms_.push_back(std::move(alarm));
  if (alarms_.size() > kAlarmsKept) alarms_.pop_front();
}

void Service::AppendReceipt(const std::string& payload) {
  receipt_payload_ = payload;
  NoteReceiptClock(payload);
  gathering_.receipt = AppendOwn(Kind::kAnchor, payload);
}

void Service::MaybeCommit() {
  if (writer_->busy() || StoreRetryInNs() > 0) return;
  const bool idle_cut = cut_wanted_ && gathering_.batch.empty();
  const bool prepare = PrepareDue();
  if (gathering_.batch.empty() && !idle_cut && !prepare) return;
  if (!idle_cut && !prepare && !gathering_.somebody_waits && HasRoom() && !cut_wanted_) {
    const std::int64_t age_ns = clock_.BoottimeNs() - gathering_.oldest_boottime_ns;
    if (age_ns < settings_.commit_window_ms * kNsPerMs && !stopping_) return;
  }
  WriteJob job;
  const ledger::Codec chosen = codec_choice_.Next(Pressed());
  job.codec = gathering_.batch.packed.frames.empty() ? chosen : gathering_.batch.packed.codec;
  codec_ = chosen;
  job.batch = std::move(gathering_.batch);
  job.anchored_intent = gathering_.anchored_intent;
  job.next_source = sources_.next_number();
  for (const OpenFrame& frame : gathering_.frames) {
    if (frame.wants_leaves) job.leaf_ranges.emplace_back(frame.first, frame.first + frame.count);
  }
  job.prepare_bytes = prepare ? PrepareBytes() : 0;
  writing_bytes_ = ledger::BlockEncoder::SizeBound(job.batch.size(), job.batch.payloads.size(), job.batch.salt_runs.size());
  job.cut_range = std::exchange(cut_wanted_, false);
  writing_ = std::move(gathering_);
  gathering_ = Gathered();
  gathering_.batch = std::exchange(spare_, {});
  submitted_boottime_ns_ = clock_.BoottimeNs();
  writer_->Submit(std::move(job));
}

// Records arrive faster than they can be written: the batch is full, or, where senders wait for their answers and so cannot
// fill one, the writer rests less than it works.
bool Service::Pressed() const {
  if (!HasRoom()) return true;
  const std::int64_t rest_ns = clock_.BoottimeNs() - done_boottime_ns_;
  return gathering_.somebody_waits && rest_ns < done_boottime_ns_ - submitted_boottime_ns_;
}

// Tells stele-query how far it may read; at once where that is news, and every two milliseconds under load.
void Service::Announce() {
  const std::int64_t now = clock_.BoottimeNs();
  announcement_due_ = now - announced_boottime_ns_ < kAnnounceNs;
  if (announcement_due_) return;
  announced_boottime_ns_ = now;
  SendPosition();
}

void Service::SendPosition() {
  const Bytes body = channel::EncodePosition({size_});
  for (auto& [id, appender] : appenders_) {
    if (appender.role == Role::kQuery) {
      (void)channel::Send(appender.fd.get(), Type::kPosition, body);  // a full channel: the next one says more
    }
  }
}

void Service::Acknowledge(const Gathered& gathered, std::size_t committed, const WriteDone& done) {
  std::size_t leaf = 0;
  for (const OpenFrame& frame : gathered.frames) {
    if (frame.first + frame.count > committed) break;  // in the order of the batch
    std::span<const Hash> leaves;
    if (frame.wants_leaves) {
      leaves = std::span(done.leaves).subspan(leaf, frame.count);
      leaf += frame.count;
    }
    tallies_.FrameDone(frame.appender, frame.frame_id, frame.shares, true);
    const auto at = appenders_.find(frame.appender);
    if (at == appenders_.end()) continue;
    const int fd = at->second.fd.get();
    Result<void> sent;
    for (const Bytes& part : channel::EncodeReceipts(frame.frame_id, leaves)) {
      if (sent) sent = channel::Send(fd, Type::kReceipt, part);
    }
    const channel::Committed answer{frame.frame_id, done.first_sequence + frame.first, frame.count};
    if (sent) sent = channel::Send(fd, Type::kCommitted, channel::EncodeCommitted(answer));
    // One that has died is dropped at the end of its channel, when all it had sent is read.
    if (!sent && sent.error().code == Code::kUnavailable) DropAppender(frame.appender, "does not take its acknowledgements");
  }
  AnswerSettled();
}

// The checkpoint's entry is in the log: senders may have the note.
void Service::PublishNote() {
  const json intent = json::parse(intent_payload_, nullptr, false);
  if (!intent.is_object() || !intent.contains("note") || !intent["note"].is_string()) return;
  note_ = intent["note"].get<std::string>();
  for (auto& [id, appender] : appenders_) {
    if (appender.role != Role::kReceive) continue;
    (void)channel::Send(appender.fd.get(), Type::kCheckpointNote, AsBytes(note_));  // a full channel: the next one says more
  }
}

void Service::Refuse(const Gathered& gathered, std::size_t committed, const Error& error) {
  for (const OpenFrame& frame : gathered.frames) {
    if (frame.first + frame.count <= committed) continue;
    const auto at = appenders_.find(frame.appender);
    refused_records_ += frame.count;
    tallies_.FrameDone(frame.appender, frame.frame_id, frame.shares, false);
    if (at == appenders_.end()) continue;
    (void)channel::Send(at->second.fd.get(), Type::kRefused,
                        channel::EncodeRefused({frame.frame_id, error.context}));  // a dead peer shows as end of file
  }
  AnswerSettled();
}

// Nothing of the batch behind `committed` counts. What others sent is refused; the anchor's own entries must get into the log all the same, or it
// would wait for them for ever: they are appended again.
void Service::HandleFailure(const Gathered& gathered, std::size_t committed, const Error& error) {
  if (store_error_.empty()) LogError("the store cannot be written: " + Describe(error));
  store_error_ = Describe(error);
  retry_boottime_ns_ = clock_.BoottimeNs() + kStoreRetryNs;
  Refuse(gathered, committed, error);
  cannot_begin_ = size_ == 0;
  for (const Gathered::Own& own : gathered.own) {
    if (own.index < committed) continue;
    (void)AppendOwn(own.kind, own.payload);
    if (own.kind == Kind::kAlarm) alarms_.pop_back();  // it is on the list already
  }
  if (flow_ == Flow::kCutting) flow_ = Flow::kIdle;
  if (gathered.intent && *gathered.intent >= committed && intent_) {
    gathering_.intent = AppendOwn(Kind::kCheckpoint, intent_->payload);
    if (intent_->anchor != 0) gathering_.anchored_intent = gathering_.intent;
  }
  if (gathered.receipt && *gathered.receipt >= committed) gathering_.receipt = AppendOwn(Kind::kAnchor, receipt_payload_);
}

std::int64_t Service::StoreRetryInNs() const {
  return store_error_.empty() ? 0 : std::max<std::int64_t>(0, retry_boottime_ns_ - clock_.BoottimeNs());
}

// What the writer cut since the last time, for the next request to the anchor.
void Service::TakeRange(const WriteDone& done) {
  if (!done.range) return;
  if (rebuild_range_) {
    rebuild_range_ = false;
    auto range = store::RangeOf(shelf_, signed_size_, done.size);
    if (!range) LogError("the anchor cannot be shown where the log stands: " + Describe(range.error()));
    unsigned_range_ = range ? std::optional(std::move(*range)) : std::nullopt;
  } else if (unsigned_range_ && !unsigned_range_->Extend(*done.range)) {
    unsigned_range_.reset();
  }
}

void Service::HandleDone(WriteDone done) {
  STELE_CHECK(writing_.has_value());
  const Gathered gathered = std::move(*writing_);
  writing_.reset();
  done_boottime_ns_ = clock_.BoottimeNs();
  size_ = done.size;
  frontier_ = done.frontier;
  landmarks_ = done.landmarks;
  position_bytes_ = done.position_bytes;
  writing_bytes_ = 0;
  NoteRoom(done);
  if (done.unit != unit_ || !done.result) {
    const bool begins = std::exchange(unit_, done.unit) != done.unit;
    sources_.NewUnit();  // a segment declares the sources it uses; what failed has declared none
    if (begins) DeclareRetention(true);
  }
  const std::size_t committed = done.result ? done.record_count : done.committed_count;
  if (!done.result) HandleFailure(gathered, committed, done.result.error());
  NoteTombstones(gathered, committed, done);
  TakeRange(done);  // whatever became of the batch: a range that is dropped would be missing in every later one
  if (!done.result && committed == 0) return;
  if (done.result && done.record_count > 0) store_error_.clear();
  if (done.spent.payloads.capacity() > spare_.payloads.capacity()) spare_ = std::move(done.spent);
  ordinary_total_ += gathered.ordinary_records;
  Acknowledge(gathered, committed, done);
  Announce();
  if (done.range && flow_ == Flow::kCutting) {
    ordinary_at_request_ = ordinary_total_;
    RequestCheckpoint();
  }
  if (gathered.intent && *gathered.intent < committed && intent_) {
    PublishNote();
    channel::AnchorRequest request;
    request.op = "confirmed";
    request.number = intent_->number;
    flow_ = Flow::kConfirmed;
    SendAnchor(request);
  }
  if (gathered.receipt && *gathered.receipt < committed) {
    channel::AnchorRequest request;
    request.op = "receipt";
    SendAnchor(request);
    OrderReclaim(receipt_payload_);
    if (flow_ == Flow::kReceiptWriting) flow_ = Flow::kIdle;
  }
}

}  // namespace stele::ledger_daemon
