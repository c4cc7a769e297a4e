#include "appliance/channel/attest_messages.h"

#include "appliance/base/limits.h"

namespace stele::channel {

Bytes EncodeAttestQuestion(const AttestQuestion& question) {
  Bytes body;
  Writer writer(body);
  writer.Int(question.id);
  writer.Raw(question.nonce);
  writer.Int(static_cast<std::uint8_t>(question.demand ? 1 : 0));
  return body;
}

Result<AttestQuestion> DecodeAttestQuestion(ByteView body) {
  Reader in(body);
  AttestQuestion question;
  question.id = in.Int<std::uint64_t>();
  question.nonce = in.ReadHash();
  const auto demand = in.Int<std::uint8_t>();
  question.demand = demand == 1;
  if (!in.AtEnd() || demand > 1) return Fail(Code::kInvalid, "attest request: wrong length or field");
  return question;
}

Bytes EncodeAttestReply(const AttestReply& reply) {
  Bytes body;
  Writer writer(body);
  writer.Int(reply.id);
  writer.Int(static_cast<std::uint8_t>(reply.granted ? 1 : 0));
  writer.Sized(AsBytes(reply.text));
  return body;
}

Result<AttestReply> DecodeAttestReply(ByteView body) {
  Reader in(body);
  AttestReply reply;
  reply.id = in.Int<std::uint64_t>();
  const auto granted = in.Int<std::uint8_t>();
  reply.granted = granted == 1;
  reply.text = std::string(AsText(in.Sized(limits::kChannelFrameBytes)));
  if (!in.AtEnd() || granted > 1) return Fail(Code::kInvalid, "attest answer: wrong length or field");
  return reply;
}

}  // namespace stele::channel
