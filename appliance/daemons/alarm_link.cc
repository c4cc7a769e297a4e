#include "appliance/daemons/alarm_link.h"

#include <cerrno>
#include <iterator>

#include "appliance/base/limits.h"
#include "appliance/base/system.h"

namespace stele::watch {
namespace {

using channel::Type;

constexpr std::int64_t kRetryNs = 1'000'000'000;

}  // namespace

AlarmLink::AlarmLink(channel::Role role, Clock& clock, Entropy& entropy, Committed committed)
    : role_(role),
      clock_(clock),
      entropy_(entropy),
      committed_(std::move(committed)),
      buffer_(limits::kChannelFrameBytes) {}

void AlarmLink::Connect(UniqueFd descriptor) {
  fd_ = std::move(descriptor);
  (void)channel::SetBlocking(fd_.get(), false);  // shows at the first use
  (void)channel::SendHello(
      fd_.get(), {role_, static_cast<std::uint32_t>(limits::kChannelFrameBytes), limits::kChannelCredits});  // likewise
  perhaps_there_ = perhaps_there_ || sent_;
  sent_ = false;
  retry_ns_ = 0;
  Transmit();
}

void AlarmLink::Send(std::vector<std::string> payloads) {
  STELE_CHECK(idle());
  payloads_.assign(std::make_move_iterator(payloads.begin()), std::make_move_iterator(payloads.end()));
  wall_ns_ = clock_.WallNs();
  ++frame_id_;
  perhaps_there_ = false;
  Transmit();
}

// As many as fit one frame: the same ones when it is sent again.
void AlarmLink::Transmit() {
  if (payloads_.empty() || sent_ || !fd_.valid() || clock_.BoottimeNs() < retry_ns_) return;
  channel::FrameBuilder builder;
  record::SaltKey key;
  entropy_.Fill(key);
  builder.Start(frame_id_, key);
  const std::uint16_t flags = perhaps_there_ ? record::kFlagPossibleDuplicate : std::uint16_t{0};
  for (const std::string& payload : payloads_) {
    if (!builder.Add(record::Kind::kAlarm, flags, 0, wall_ns_, record::Peer{}, AsBytes(payload))) break;
  }
  in_frame_ = builder.count();
  STELE_CHECK(in_frame_ > 0);
  const auto sent = channel::Send(fd_.get(), Type::kRecords, builder.Finish(channel::kWantsAck));
  sent_ = sent.has_value();
  if (!sent && sent.error().code != Code::kUnavailable) Lose(Describe(sent.error()));
  if (!sent) retry_ns_ = clock_.BoottimeNs() + kRetryNs;  // the ledger is slow
}

void AlarmLink::Tick() { Transmit(); }

void AlarmLink::HandleReadable() {
  while (fd_.valid()) {
    const auto frame = channel::ReceiveInto(fd_.get(), buffer_, /*wait=*/false);
    if (!frame && frame.error().code == Code::kUnavailable) return;
    if (!frame && frame.error().detail == ECONNRESET) continue;  // what it had said before is still to be read
    if (!frame) return Lose(Describe(frame.error()));
    if (frame->type == Type::kCommitted) {
      const auto answer = channel::DecodeCommitted(frame->body);
      if (!answer || answer->frame_id != frame_id_ || !sent_) continue;
      payloads_.erase(payloads_.begin(), payloads_.begin() + static_cast<std::ptrdiff_t>(in_frame_));
      sent_ = false;
      perhaps_there_ = false;
      ++frame_id_;
      if (payloads_.empty()) committed_();
      Transmit();
    } else if (frame->type == Type::kRefused) {
      const auto answer = channel::DecodeRefused(frame->body);
      if (!answer || answer->frame_id != frame_id_) continue;
      sent_ = false;
      retry_ns_ = clock_.BoottimeNs() + kRetryNs;
    }
  }
}

void AlarmLink::Lose(const std::string& why) {
  LogWarning("channel to the ledger: " + why);
  fd_.reset();
}

}  // namespace stele::watch
