#include "tpm/policy.h"

#include "appliance/base/hash.h"
#include "tpm/big_endian.h"
#include "tpm/names.h"

namespace stele::tpm {
namespace {

// TPM 2.0 Library, Part 2, section 6.5.2.
constexpr std::uint32_t kPolicyNv = 0x149;
constexpr std::uint32_t kPolicySigned = 0x160;
constexpr std::uint32_t kPolicyAuthorize = 0x16a;
constexpr std::uint32_t kPolicyAuthValue = 0x16b;
constexpr std::uint32_t kPolicyCommandCode = 0x16c;
constexpr std::uint32_t kPolicyOr = 0x171;
constexpr std::uint32_t kPolicyPcr = 0x17f;
constexpr std::uint32_t kPolicyNvWritten = 0x18f;

template <std::unsigned_integral T>
Bytes Big(T value) {
  Bytes out;
  BigWriter(out).Int(value);
  return out;
}

// PolicyUpdate() of Part 3, section 23.2.3: two steps, the second also where the reference is empty.
Hash Updated(const Hash& before, std::uint32_t command, ByteView name, ByteView reference) {
  const Hash first = Sha256Of({before, Big(command), name});
  return Sha256Of({first, reference});
}

}  // namespace

PolicyDigest& PolicyDigest::Pcr(const PcrSelection& selection, const Hash& values_digest) {
  Bytes list;
  BigWriter writer(list);
  writer.Int(kPolicyPcr);
  writer.Int(std::uint32_t{1});  // TPML_PCR_SELECTION of one bank
  writer.Int(kAlgSha256);
  writer.Int(static_cast<std::uint8_t>(selection.size()));
  for (const std::uint8_t octet : selection) writer.Int(octet);
  value_ = Sha256Of({value_, list, values_digest});
  return *this;
}

PolicyDigest& PolicyDigest::Nv(ByteView index_name, ByteView operand, std::uint16_t offset, NvComparison comparison) {
  const Hash arguments = Sha256Of({operand, Big(offset), Big(static_cast<std::uint16_t>(comparison))});
  value_ = Sha256Of({value_, Big(kPolicyNv), arguments, index_name});
  return *this;
}

PolicyDigest& PolicyDigest::NvWritten(bool written) {
  value_ = Sha256Of({value_, Big(kPolicyNvWritten), Big(static_cast<std::uint8_t>(written ? 1 : 0))});
  return *this;
}

PolicyDigest& PolicyDigest::CommandCode(std::uint32_t command) {
  value_ = Sha256Of({value_, Big(kPolicyCommandCode), Big(command)});
  return *this;
}

PolicyDigest& PolicyDigest::AuthValue() {
  value_ = Sha256Of({value_, Big(kPolicyAuthValue)});
  return *this;
}

PolicyDigest& PolicyDigest::Signed(ByteView key_name, ByteView reference) {
  value_ = Updated(value_, kPolicySigned, key_name, reference);
  return *this;
}

PolicyDigest& PolicyDigest::Authorize(ByteView key_name, ByteView reference) {
  value_ = Updated(Hash{}, kPolicyAuthorize, key_name, reference);
  return *this;
}

PolicyDigest PolicyDigest::Or(const std::vector<Hash>& branches) {
  STELE_CHECK(branches.size() >= 2);
  STELE_CHECK(branches.size() <= 8);
  Bytes all;
  for (const Hash& branch : branches) Append(all, branch);
  PolicyDigest either;
  either.value_ = Sha256Of({Hash{}, Big(kPolicyOr), all});
  return either;
}

Hash AuthorizationDigest(const Hash& approved, ByteView reference) { return Sha256Of({approved, reference}); }

}  // namespace stele::tpm
