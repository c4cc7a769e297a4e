// The checkpoint flow of stele-ledger, one at a time:
//   idle -> cutting (the writer reports size, frontier, compact range) -> asked -> intent being written -> confirmed
//        -> [receipt being written ->] idle
#include <algorithm>

#include "appliance/base/text.h"
#include "appliance/daemons/ledger_startup.h"

namespace stele::ledger_daemon {
namespace {

using nlohmann::json;
using record::Kind;
constexpr std::int64_t kNsPerMs = 1'000'000;
constexpr std::int64_t kSilentNs = 3'000 * kNsPerMs;  // an anchor on a slow chip answers in half a second
constexpr std::int64_t kRetryNs = 1'000 * kNsPerMs;  // after the anchor said not now

}  // namespace

void Service::MaybeCheckpoint() {
  if (flow_ != Flow::kIdle || !anchor_fd_.valid() || !unsigned_range_ || !anchor_judged_) return;
  if (!recovered_.verdict.may_anchor) return;
  const bool wanted = want_anchor_ || demand_anchor_;
  const std::int64_t now = clock_.BoottimeNs();
  if (now < retry_boottime_ns_) return;
  const bool news = ordinary_total_ > ordinary_signed_;
  const std::int64_t since_ns = now - last_checkpoint_boottime_ns_;
  const bool due = news && (since_ns >= CheckpointIntervalMs() * kNsPerMs || wanted);
  if (!due && !(wanted && !gathering_.batch.empty())) {
    // Sizes strictly increase: an idle heartbeat, or an anchor wanted while nothing happened, first appends a clock entry.
    const bool heartbeat = since_ns >= HeartbeatIntervalMs() * kNsPerMs;
    if (news || (!heartbeat && !wanted) || !gathering_.batch.empty() || writer_->busy()) return;
    if (!wanted && !Admits(store::Need::kRoutine, 1, 256)) return;
    (void)AppendOwn(Kind::kClock, json{{"reason", "heartbeat"},
                                       {"realtime_ns", clock_.WallNs()},
                                       {"boottime_ns", now},
                                       {"moved_ns", 0}}.dump());
    return;
  }
  if (!due) return;
  flow_ = Flow::kCutting;
  cut_wanted_ = true;
}

void Service::RequestCheckpoint() {
  flow_ = Flow::kIdle;
  last_checkpoint_boottime_ns_ = clock_.BoottimeNs();
  if (!unsigned_range_ || unsigned_range_->end() != size_ || size_ <= signed_size_) return;
  const auto edge = ledger::Frontier::FromHashes(0, size_, frontier_);
  STELE_CHECK(edge.has_value());
  channel::AnchorRequest request;
  request.op = "checkpoint";
  size_of_request_ = size_;
  request.checkpoint.size = size_;
  request.checkpoint.root = edge->Root();
  request.checkpoint.range_begin = unsigned_range_->begin();
  request.checkpoint.range_hashes = unsigned_range_->Hashes();
  request.checkpoint.want_anchor = want_anchor_ || demand_anchor_;
  demand_anchor_ = false;
  ++checkpoints_asked_;
  asked_while_stopping_ = stopping_;
  flow_ = Flow::kAsked;
  SendAnchor(request);
}

void Service::SendAnchor(const channel::AnchorRequest& request) {
  if (!anchor_fd_.valid()) return;
  asked_wall_ns_ = clock_.WallNs();
  asked_boottime_ns_ = clock_.BoottimeNs();
  const auto sent = channel::Send(anchor_fd_.get(), channel::Type::kAnchorRequest, channel::EncodeAnchorRequest(request));
  if (!sent) LoseAnchor(Describe(sent.error()));
}

// Without an anchor the log goes on; nothing new is signed, and the unanchored tail grows, until the supervisor brings one.
void Service::LoseAnchor(std::string_view why) {
  if (!anchor_fd_.valid()) return;
  if (!stopping_) LogWarning("the anchor is gone: " + std::string(why));
  asked_wall_ns_ = clock_.WallNs();
  anchor_fd_.reset();
  flow_ = Flow::kIdle;
  intent_.reset();
  unsigned_range_.reset();
  anchor_judged_ = false;
}

// A fresh anchor process: tell it where the log stands, as at start-up. Its verdict says what it signed last.
void Service::MeetAnchor() {
  anchor_judged_ = false;
  auto state = DescribeLog(shelf_, recovered_.log_id, size_, frontier_, landmarks_);
  if (!state) {
    LogError("the anchor cannot be told where the log stands: " + Describe(state.error()));
    return;
  }
  channel::AnchorRequest request;
  request.op = "recovered";
  request.state = std::move(*state);
  SendAnchor(request);
}

void Service::HandleAnchor() {
  while (anchor_fd_.valid()) {
    const auto frame = channel::Receive(anchor_fd_.get(), false);
    if (!frame) {
      if (frame.error().code == Code::kUnavailable) return;
      LoseAnchor(frame.error().code == Code::kNotFound ? "it ended" : Describe(frame.error()));
      return;
    }
    if (frame->type != channel::Type::kAnchorAnswer) continue;
    const auto answer = channel::DecodeAnchorAnswer(frame->body);
    if (!answer) {
      LoseAnchor(Describe(answer.error()));
      return;
    }
    HandleAnchorAnswer(*answer);
  }
}

void Service::HandleAnchorAnswer(const channel::AnchorAnswer& answer) {
  if (!answer.status_json.empty()) NoteStatus(answer.status_json);
  if (answer.op == "verdict") {
    recovered_.verdict = answer.verdict;
    signed_size_ = answer.signed_size;
    anchor_judged_ = true;
    rebuild_range_ = true;
    unsigned_range_ = ledger::CompactRange(size_);  // a stand-in until the writer's next cut
    cut_wanted_ = true;
    if (answer.verdict.late_receipt) {
      AppendReceipt(*answer.verdict.late_receipt);
      flow_ = Flow::kReceiptWriting;
    }
    (void)AppendOwn(Kind::kLifecycle, json{{"event", "recovered"},
                                           {"process", "stele-anchor"},
                                           {"verdict", answer.verdict.word},
                                           {"detail", answer.verdict.detail}}.dump(-1, ' ', false, json::error_handler_t::replace));
  } else if (answer.op == "intent" && flow_ == Flow::kAsked) {
    intent_ = answer.intent;
    signed_size_ = size_of_request_;
    ordinary_signed_ = ordinary_at_request_;
    unsigned_range_ = ledger::CompactRange(size_of_request_);
    gathering_.intent = AppendOwn(Kind::kCheckpoint, answer.intent.payload);
    if (answer.intent.anchor != 0) gathering_.anchored_intent = gathering_.intent;
    intent_payload_ = answer.intent.payload;
    checkpoint_wall_ns_ = clock_.WallNs();
    // A request that was under way when the stop came is not the last anchor yet.
    if (stopping_ ? asked_while_stopping_ : answer.intent.anchor != 0) want_anchor_ = false;
    flow_ = Flow::kIntentWriting;
  } else if (answer.op == "extended" && flow_ == Flow::kConfirmed) {
    flow_ = Flow::kIdle;
    intent_.reset();
    refusal_.clear();
    if (!answer.extended.status_json.empty()) NoteStatus(answer.extended.status_json);
    if (answer.extended.receipt) {
      AppendReceipt(*answer.extended.receipt);
      flow_ = Flow::kReceiptWriting;
    }
  } else if (answer.op == "attested" && flow_ == Flow::kAttesting) {
    flow_ = Flow::kIdle;
    AnswerAttest(!answer.attest_json.empty(), answer.attest_json.empty() ? answer.refusal : answer.attest_json);
  } else if (answer.op == "refused") {
    if (std::exchange(refusal_, answer.refusal) != answer.refusal) LogWarning("the anchor refused: " + answer.refusal);
    flow_ = Flow::kIdle;
    retry_boottime_ns_ = clock_.BoottimeNs() + kRetryNs;
    if (stopping_ && asked_while_stopping_) want_anchor_ = false;
    if (answer.signed_size != signed_size_) {
      signed_size_ = answer.signed_size;
      rebuild_range_ = true;
      cut_wanted_ = true;
    }
  }
  if (!answer.alarm.empty()) {
    (void)AppendOwn(Kind::kAlarm, json{{"alarm", "anchor"}, {"text", answer.alarm}}.dump(-1, ' ', false, json::error_handler_t::replace));
  }
}

void Service::NoteStatus(const std::string& status_json) {
  json status = json::parse(status_json, nullptr, false);
  if (!status.is_object()) return;
  anchor_status_ = std::move(status);
  // The anchor judges again when its TPM comes back, and while it runs.
  const std::string word = anchor_status_.value("verdict", "");
  if (!anchor_judged_ || word.empty() || word == recovered_.verdict.word) return;
  recovered_.verdict.word = word;
  recovered_.verdict.detail = anchor_status_.value("verdict_detail", "");
  recovered_.verdict.qualifiers = anchor_status_.value("verdict_qualifiers", std::vector<std::string>());
  recovered_.verdict.may_anchor = anchor_status_.value("may_anchor", false);
}

// The anchor says since when the TPM does not answer. While the anchor itself is silent or gone, we do.
json Service::UnanchoredSince() const {
  const json said = anchor_status_.value("unanchored_since_ns", json(nullptr));
  if (said.is_number_integer()) return FormatTime(said.get<std::int64_t>());
  const bool asked = flow_ == Flow::kAsked || flow_ == Flow::kConfirmed;
  const bool silent = asked && clock_.BoottimeNs() - asked_boottime_ns_ > kSilentNs;
  if ((silent || !anchor_fd_.valid() || !anchor_judged_) && asked_wall_ns_ > 0) return FormatTime(asked_wall_ns_);
  return nullptr;
}

}  // namespace stele::ledger_daemon
