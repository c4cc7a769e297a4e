// expected-pcrs.json: the registers an image leads to, as its release says. Byte for byte in docs/format.md, "Measured
// boot". Pure.
#pragma once

#include "firmware/measure/predict.h"

namespace stele::measure {

[[nodiscard]] std::string EncodeExpectedPcrs(const Prediction& prediction);

// The registers alone, for whoever compares them with a quote. kInvalid: not such a file, another bank, none, a number
// that no TPM has, or values that its own events do not lead to.
[[nodiscard]] Result<std::map<std::uint32_t, Hash>> ParseExpectedPcrs(std::string_view json_text);

}  // namespace stele::measure
