// What stays of an expired unit, and the entries and orders that lead there. Oracle: what is taken is within its bounds
// and, written again, is taken as the same; a spine whose hashes all fit gives one frontier of its size; a damaged
// checksum is refused.
#include <cstdint>
#include <cstring>

#include "appliance/base/hash.h"
#include "appliance/store/reclaim.h"

namespace {

using namespace stele;

void Try(ByteView bytes) {
  const auto spine = ledger::DecodeSpine(bytes);
  if (!spine) return;
  STELE_CHECK(spine->first_sequence <= spine->end_sequence);
  for (const auto& [sequence, kept] : spine->entries) STELE_CHECK(kept.Decoded().sequence == sequence);
  const Bytes encoded = ledger::EncodeSpine(*spine);
  const auto again = ledger::DecodeSpine(encoded);
  STELE_CHECK(again.has_value());
  STELE_CHECK(ledger::EncodeSpine(*again) == encoded);
  if (const auto frontier = ledger::CheckSpine(*spine)) STELE_CHECK(frontier->end() == spine->end_sequence);
  (void)ledger::RootAt(*spine, spine->first_sequence);
  (void)ledger::RootAt(*spine, spine->end_sequence - (spine->end_sequence - spine->first_sequence) / 2);
  (void)spine->Node(7, spine->first_sequence >> 7U);
  (void)spine->LastOfKind(record::Kind::kAnchor, spine->end_sequence);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView bytes = std::as_bytes(std::span(data, size));
  Try(bytes);
  if (size > 4) {  // as somebody would hand it in who knows the format
    Bytes repaired = ToBytes(bytes);
    const std::uint32_t checksum = Checksum32(ByteView(repaired).first(size - 4));
    std::memcpy(repaired.data() + size - 4, &checksum, sizeof checksum);
    Try(repaired);
  }
  if (const auto orders = store::DecodeOrders(bytes)) {
    STELE_CHECK(store::EncodeOrders(*store::DecodeOrders(AsBytes(store::EncodeOrders(*orders)))) ==
                store::EncodeOrders(*orders));
  }
  if (const auto entry = store::DecodeRetention(bytes)) {
    const std::string text = store::EncodeRetention(*entry);
    const auto again = store::DecodeRetention(AsBytes(text));
    STELE_CHECK(again.has_value() && store::EncodeRetention(*again) == text);
  }
  if (const auto tombstone = store::DecodeTombstone(bytes)) {
    const std::string text = store::EncodeTombstone(*tombstone);
    STELE_CHECK(store::EncodeTombstone(*store::DecodeTombstone(AsBytes(text))) == text);
  }
  return 0;
}
