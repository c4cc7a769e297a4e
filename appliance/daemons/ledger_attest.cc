// An auditor's nonce: where an anchor is asked for with it, a checkpoint is made first; then, between two checkpoints, the
// anchor is asked for its quote and certifications. One at a time, in the order they came.
#include "appliance/daemons/ledger_service.h"

namespace stele::ledger_daemon {
namespace {

constexpr std::size_t kAttestsMax = 8;
constexpr std::int64_t kCheckpointWaitNs = 15'000'000'000;  // then what there is is quoted

}  // namespace

void Service::TakeAttest(const Appender& appender, const channel::AttestQuestion& question) {
  if (attests_.size() >= kAttestsMax) {
    const channel::AttestReply reply{question.id, false, "too many attestations are waiting"};
    (void)channel::Send(appender.fd.get(), channel::Type::kAttestAnswer, channel::EncodeAttestReply(reply));  // gone: its loss
    return;
  }
  attests_.push_back({appender.id, question, checkpoints_asked_ + 1, clock_.BoottimeNs() + kCheckpointWaitNs});
  if (question.demand) demand_anchor_ = true;
}

void Service::MaybeAttest() {
  while (!attests_.empty() && !anchor_fd_.valid()) {
    flow_ = Flow::kIdle;
    AnswerAttest(false, "the anchor is not there now");
  }
  if (attests_.empty() || flow_ != Flow::kIdle || !anchor_judged_) return;
  const Attest& first = attests_.front();
  const bool may_wait = recovered_.verdict.may_anchor && clock_.BoottimeNs() < first.deadline_boottime_ns;
  if (first.question.demand && checkpoints_asked_ < first.checkpoint && may_wait) return;
  channel::AnchorRequest request;
  request.op = "attest";
  request.attest.nonce = first.question.nonce;
  request.attest.demanded = first.question.demand;
  flow_ = Flow::kAttesting;
  SendAnchor(request);
}

void Service::AnswerAttest(bool granted, std::string_view text) {
  if (attests_.empty()) return;
  const Attest first = attests_.front();
  attests_.pop_front();
  const auto appender = appenders_.find(first.appender);
  if (appender == appenders_.end()) return;  // nobody waits any more
  const channel::AttestReply reply{first.question.id, granted, std::string(text)};
  const auto sent = channel::Send(appender->second.fd.get(), channel::Type::kAttestAnswer, channel::EncodeAttestReply(reply));
  if (!sent) LogWarning("channel to " + appender->second.name + ": " + Describe(sent.error()));  // the asker gives up in time
}

}  // namespace stele::ledger_daemon
