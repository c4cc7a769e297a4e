#include "netfilter/guard/log_link.h"

#include <algorithm>
#include <utility>

#include "appliance/base/limits.h"
#include "appliance/channel/append_messages.h"
#include "appliance/channel/policy_messages.h"

namespace stele::guard {
namespace {

using channel::Type;

constexpr std::int64_t kAgainNs = 1'000'000'000;  // after a refusal

}  // namespace

void LogLink::Use(UniqueFd fd) {
  Close();
  fd_ = std::move(fd);
  if (const auto set = channel::SetBlocking(fd_.get(), false); !set) return Close();
  (void)channel::SendHello(fd_.get(), {channel::Role::kGuard, static_cast<std::uint32_t>(limits::kChannelFrameBytes),
                                       limits::kChannelCredits});  // a dead peer shows as end of file
  for (const Waiting& entry : waiting_) Queue(entry, /*again=*/true);
}

// What was on the way may be in the log or not. Who cares until it is written has it sent again, flagged.
void LogLink::Close() {
  fd_.reset();
  frames_.clear();
  std::deque<Waiting> kept;
  for (Waiting& entry : waiting_) {
    if (entry.care == Care::kUntilWritten) {
      kept.push_back(std::move(entry));
    } else {
      outcomes_.push_back({entry.id, false, true, 0, "stele-ledger ended before it answered"});
    }
  }
  waiting_ = std::move(kept);
}

std::uint64_t LogLink::Append(record::Kind kind, std::string payload, Care care) {
  const std::uint64_t id = next_id_++;
  if (waiting_.size() >= limits::kGuardEntries && care == Care::kUntilWritten && kind == record::Kind::kAlarm) {
    ++lost_;
    return id;
  }
  if (!fd_.valid() && care == Care::kOnce) {
    outcomes_.push_back({id, false, false, 0, "stele-ledger is not there"});
    return id;
  }
  waiting_.push_back({id, kind, std::move(payload), care});
  if (fd_.valid()) Queue(waiting_.back(), /*again=*/false);
  return id;
}

void LogLink::Queue(const Waiting& entry, bool again) {
  record::SaltKey key{};
  entropy_.Fill(key);
  const std::uint16_t flags = again ? record::kFlagPossibleDuplicate : std::uint16_t{0};
  const ByteView payload = AsBytes(entry.payload);
  channel::FrameBuilder builder;
  builder.Start(entry.id, key);
  if (channel::FrameBuilder::FitsAlone(payload.size()) &&
      builder.Add(entry.kind, flags, 0, clock_.WallNs(), record::Peer{}, payload)) {
    frames_.push_back({Type::kRecords, builder.Finish(channel::kWantsAck)});
    return;
  }
  for (Bytes& part : channel::CutLargeRecord(entry.id, key, channel::kWantsAck, entry.kind, flags, 0, clock_.WallNs(),
                                             record::Peer{}, payload)) {
    frames_.push_back({Type::kLargeRecord, std::move(part)});
  }
}

void LogLink::SendFrames() {
  while (fd_.valid() && !frames_.empty()) {
    const auto sent = channel::Send(fd_.get(), frames_.front().type, frames_.front().body);
    if (!sent && sent.error().code == Code::kUnavailable) return;
    if (!sent) return Close();
    frames_.pop_front();
  }
}

// False when there is none.
bool LogLink::ReadAnswer() {
  const auto frame = channel::Receive(fd_.get(), /*wait=*/false);
  if (!frame && frame.error().code == Code::kUnavailable) return false;
  if (!frame) {
    Close();
    return false;
  }
  if (frame->type == Type::kCommitted) {
    if (const auto done = channel::DecodeCommitted(frame->body))
      Settle({done->frame_id, true, false, done->first_sequence, ""});
  } else if (frame->type == Type::kRefused) {
    if (const auto refused = channel::DecodeRefused(frame->body))
      Settle({refused->frame_id, false, false, 0, refused->reason});
  }
  return true;
}

void LogLink::Settle(const Outcome& outcome) {
  const auto at = std::find_if(waiting_.begin(), waiting_.end(),
                               [&outcome](const Waiting& entry) { return entry.id == outcome.id; });
  if (at == waiting_.end()) return;
  if (!outcome.written && at->care == Care::kUntilWritten) {
    refused_.push_back(std::move(*at));
    again_boottime_ns_ = clock_.BoottimeNs() + kAgainNs;
  } else {
    outcomes_.push_back(outcome);
  }
  waiting_.erase(at);
}

std::vector<LogLink::Outcome> LogLink::Pump() {
  while (fd_.valid() && ReadAnswer()) {
  }
  if (!refused_.empty() && clock_.BoottimeNs() >= again_boottime_ns_) {
    for (Waiting& entry : std::exchange(refused_, {})) {
      waiting_.push_back(std::move(entry));
      if (fd_.valid()) Queue(waiting_.back(), /*again=*/false);
    }
  }
  SendFrames();
  return std::exchange(outcomes_, {});
}

}  // namespace stele::guard
