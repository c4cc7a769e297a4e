// What an image and a LUKS2 header say about the state partition's key. Oracle: a token that is taken is written back
// to one that is taken as the same; an approval that is taken is whole; a PCR key that is taken is of one size.
#include <cstdint>

#include "firmware/state/approval.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace stele;
  using namespace stele::state;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto token = ParseToken(text)) {
    const auto again = ParseToken(EncodeToken(*token, 0));
    STELE_CHECK(again.has_value());
    STELE_CHECK(*again == *token);
  }
  if (const auto approval = ParseApproval(text)) STELE_CHECK(approval->signature.size() == 256);
  if (const auto area = RsaPublicArea(text)) STELE_CHECK(area->size() == 278);
  return 0;
}
