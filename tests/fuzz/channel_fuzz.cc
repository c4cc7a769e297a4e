// Goal: no frame of a less trusted process can break its peer. Method: any input is decoded as each message of the append and
// API channels. Oracle: what decodes encodes to bytes that decode to the same; records point into the input.
#include <cstdint>

#include "appliance/channel/anchor_messages.h"
#include "appliance/channel/api_messages.h"
#include "appliance/channel/append_messages.h"

using namespace stele;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView body(reinterpret_cast<const std::byte*>(data), size);
  channel::RecordsFrame frame;
  if (channel::DecodeRecords(body, frame)) {
    for (const channel::AppendRecord& r : frame.records) {
      STELE_CHECK(r.payload.empty() || (r.payload.data() >= body.data() && r.payload.data() + r.payload.size() <= body.data() + body.size()));
    }
  }
  if (const auto part = channel::DecodeLargePart(body)) STELE_CHECK(part->offset + part->header.payload.size() <= part->total_length);
  if (const auto source = channel::DecodeDeclareSource(body)) {
    STELE_CHECK(SameBytes(channel::EncodeDeclareSource(*source), body));
  }
  if (const auto committed = channel::DecodeCommitted(body)) STELE_CHECK(SameBytes(channel::EncodeCommitted(*committed), body));
  if (const auto receipt = channel::DecodeReceipt(body); receipt && receipt->first == 0) {
    const auto parts = channel::EncodeReceipts(receipt->frame_id, receipt->leaves);
    STELE_CHECK(parts.size() == 1 && SameBytes(parts[0], body));
  }
  (void)channel::DecodeCheckpointNote(body);
  if (const auto refused = channel::DecodeRefused(body)) STELE_CHECK(SameBytes(channel::EncodeRefused(*refused), body));
  if (const auto request = channel::DecodeApiRequest(body)) {
    STELE_CHECK(channel::DecodeApiRequest(channel::EncodeApiRequest(*request)).has_value());
  }
  (void)channel::DecodeApiResponse(body);  // only must be total
  (void)channel::DecodeApiBody(body);
  if (const auto request = channel::DecodeAnchorRequest(body)) {
    STELE_CHECK(channel::DecodeAnchorRequest(channel::EncodeAnchorRequest(*request)).has_value());
  }
  (void)channel::DecodeAnchorAnswer(body);
  return 0;
}
