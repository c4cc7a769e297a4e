#include "appliance/anchor/service.h"

namespace stele::anchor {
namespace {

using channel::AnchorAnswer;

AnchorAnswer Refused(const Anchor& anchor, const Error& error) {
  AnchorAnswer answer;
  answer.op = "refused";
  answer.refusal = Describe(error);
  answer.signed_size = anchor.signed_size();
  return answer;
}

Bytes StatusFrame(const Anchor& anchor, std::string alarm) {
  AnchorAnswer status;
  status.op = "status";
  status.status_json = anchor.StatusJson();
  status.alarm = std::move(alarm);
  return channel::EncodeAnchorAnswer(status);
}

AnchorAnswer AnswerTo(Anchor& anchor, const channel::AnchorRequest& request) {
  AnchorAnswer answer;
  if (request.op == "keys") {
    auto keys = anchor.Keys(request.keys);
    if (!keys) return Refused(anchor, keys.error());
    answer.op = "keys";
    answer.keys = std::move(*keys);
  } else if (request.op == "recovered") {
    answer.op = "verdict";
    answer.verdict = anchor.Recover(request.state);
    answer.signed_size = anchor.signed_size();
  } else if (request.op == "checkpoint") {
    auto intent = anchor.Sign(request.checkpoint);
    if (!intent) return Refused(anchor, intent.error());
    answer.op = "intent";
    answer.intent = std::move(*intent);
  } else if (request.op == "attest") {
    auto audit = anchor.Attest(request.attest);
    answer.op = "attested";
    if (audit) {
      answer.attest_json = EncodeAudit(*audit);
    } else {
      answer.refusal = Describe(audit.error());
    }
  } else {
    auto extended = anchor.Confirm(request.number);
    if (!extended) return Refused(anchor, extended.error());
    answer.op = "extended";
    answer.extended = std::move(*extended);
  }
  return answer;
}

}  // namespace

Result<std::vector<Bytes>> Serve(Anchor& anchor, ByteView body) {
  STELE_TRY(const channel::AnchorRequest request, channel::DecodeAnchorRequest(body));
  std::vector<Bytes> frames;
  if (request.op == "receipt") {
    STELE_TRY_VOID(anchor.ReceiptDurable());
  } else {
    frames.push_back(channel::EncodeAnchorAnswer(AnswerTo(anchor, request)));
    if (request.op == "recovered") frames.push_back(StatusFrame(anchor, ""));
  }
  for (Bytes& alarm : AlarmFrames(anchor)) frames.push_back(std::move(alarm));
  return frames;
}

std::vector<Bytes> AlarmFrames(Anchor& anchor) {
  std::vector<Bytes> frames;
  for (std::string& alarm : anchor.TakeAlarms()) frames.push_back(StatusFrame(anchor, std::move(alarm)));
  return frames;
}

}  // namespace stele::anchor
