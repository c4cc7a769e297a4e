// Policy digests computed from bytes, as a trial session of a TPM would: whoever holds an object's public area can then
// say under what conditions it may be used. Pure. TPM 2.0 Library, Part 3, section 23; Part 1, section 19.7. SHA-256
// alone.
//
//   PolicyDigest().Pcr(selection, values)                        a register state
//   PolicyDigest().Authorize(NameOfPublicArea(key), reference)   whatever the key's owner has signed
//   PolicyDigest::Or({a.value(), b.value()})                     one of several
#pragma once

#include <vector>

#include "appliance/base/bytes.h"
#include "tpm/handles.h"

namespace stele::tpm {

// TPM_EO of TPM2_PolicyNV (Part 2, section 6.8): operand A is what the index holds.
enum class NvComparison : std::uint16_t {
  kEqual = 0x0000,
  kNotEqual = 0x0001,
  kUnsignedGreater = 0x0003,
  kUnsignedLess = 0x0005,
  kUnsignedGreaterOrEqual = 0x0007,
  kUnsignedLessOrEqual = 0x0009,
};

class PolicyDigest {
 public:
  PolicyDigest() = default;  // no condition yet: zeros

  // TPM2_PolicyPCR: `values_digest` is SHA-256 over the selected registers' values, ascending.
  PolicyDigest& Pcr(const PcrSelection& selection, const Hash& values_digest);
  // TPM2_PolicyNV: what the index (by its Name, once written) holds at `offset`, compared with `operand`, big-endian.
  PolicyDigest& Nv(ByteView index_name, ByteView operand, std::uint16_t offset, NvComparison comparison);
  PolicyDigest& NvWritten(bool written);                        // TPM2_PolicyNvWritten
  PolicyDigest& CommandCode(std::uint32_t command);             // TPM2_PolicyCommandCode
  PolicyDigest& AuthValue();                                    // TPM2_PolicyAuthValue
  PolicyDigest& Signed(ByteView key_name, ByteView reference);  // TPM2_PolicySigned
  // TPM2_PolicyAuthorize forgets what came before: the key's signature stands for it.
  PolicyDigest& Authorize(ByteView key_name, ByteView reference);
  // TPM2_PolicyOR: 2 to 8 branches; what came before must be one of them.
  [[nodiscard]] static PolicyDigest Or(const std::vector<Hash>& branches);

  [[nodiscard]] const Hash& value() const { return value_; }

 private:
  Hash value_{};
};

// What a key signs so that TPM2_PolicyAuthorize accepts `approved` (Part 3, section 23.16): aHash.
[[nodiscard]] Hash AuthorizationDigest(const Hash& approved, ByteView reference);

}  // namespace stele::tpm
