// The files of an enrolment, the sealed seed and the provisioning record on arbitrary bytes. Oracle: what parses,
// written again, parses to the same; a sealed seed that is accepted carries the policy it names; no answer passes
// without the key.
#include <cstdint>
#include <string_view>

#include "appliance/anchor/enrolment.h"
#include "appliance/anchor/sealed_seed.h"
#include "appliance/base/hash.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace stele;
  using namespace stele::anchor;
  const ByteView input(reinterpret_cast<const std::byte*>(data), size);
  const std::string_view text = AsText(input);
  if (const auto request = DecodeRequest(text)) {
    const std::string once = EncodeRequest(*request);
    const auto again = DecodeRequest(once);
    STELE_CHECK(again.has_value());
    STELE_CHECK(EncodeRequest(*again) == once);
  }
  if (const auto challenge = DecodeChallenge(text)) {
    const std::string once = EncodeChallenge(*challenge);
    const auto again = DecodeChallenge(once);
    STELE_CHECK(again.has_value());
    STELE_CHECK(EncodeChallenge(*again) == once);
  }
  if (const auto sealed = DecodeSealedSeed(text)) {
    STELE_CHECK(tpm::CheckSealed(*sealed).has_value());
    STELE_CHECK(DecodeSealedSeed(EncodeSealedSeed(*sealed)) == *sealed);
  }
  if (const auto record = DecodeRecord(input)) {
    const Bytes once = EncodeRecord(*record);
    const auto again = DecodeRecord(once);
    STELE_CHECK(again.has_value());
    STELE_CHECK(EncodeRecord(*again) == once);
  }
  static const Secret key(Sha256Of(AsBytes("the enroller's")));
  STELE_CHECK(!DecodeAnswer(text, Hash{}, key));
  return 0;
}
