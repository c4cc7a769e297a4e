// The endorsement key as its certificate tells it: the certificate holds the key, and the TCG template fixes everything else
// of the key's public area, so the Name follows from the certificate alone (TCG EK Credential Profile 2.5, appendix B.3.3,
// template L-1: RSA 2048 storage key with PolicySecret(endorsement hierarchy)).
#pragma once

#include <string_view>

#include "appliance/base/bytes.h"

namespace stele::evidence {

// kInvalid: not a certificate of an RSA key of 2048 bits.
[[nodiscard]] Result<Bytes> EkNameOf(ByteView certificate_der);

}  // namespace stele::evidence
