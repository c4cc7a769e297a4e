// The attestation parsers on arbitrary bytes. Oracle: whatever parses is written back to the same bytes (nothing ignored,
// nothing left over), and no signature verifies that the key did not make.
#include <cstdint>

#include "appliance/base/result.h"
#include "tpm/attest.h"
#include "tpm/names.h"
#include "tpm/signing.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace stele;
  using namespace stele::tpm;
  const ByteView input(reinterpret_cast<const std::byte*>(data), size);
  if (const auto attested = ParseAttest(input)) {
    STELE_CHECK(SameBytes(SerialiseAttest(*attested), input));
  }
  if (const auto key = ParseAttestationKey(input)) {
    STELE_CHECK(SameBytes(key->name, NameOfPublicArea(input.subspan(2))));
  }
  if (const auto signature = ParseSignature(input)) {
    static const std::string key = PublicPemOf(MakeSigningKey().value()).value();
    STELE_CHECK(!VerifyRaw(key, AsBytes("stele"), *signature));
  }
  return 0;
}
