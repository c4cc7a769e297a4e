#include "tpm/seal_policy.h"

#include "appliance/base/hash.h"
#include "tpm/big_endian.h"
#include "tpm/names.h"
#include "tpm/policy.h"

namespace stele::tpm {
namespace {

// TPM 2.0 Library, Part 2, sections 6.3, 8.3.
constexpr std::uint16_t kAlgKeyedHash = 0x0008;
constexpr std::uint16_t kAlgNull = 0x0010;
constexpr std::uint32_t kFixedTpm = 1U << 1;
constexpr std::uint32_t kFixedParent = 1U << 4;
constexpr std::uint32_t kNoDa = 1U << 10;

}  // namespace

PcrSelection SelectionOf(const SealPolicy& policy) {
  PcrSelection selection{};
  for (const auto& [number, value] : policy.registers) {
    STELE_CHECK(number < 8 * selection.size());
    auto& octet = selection[number / 8];
    octet = static_cast<std::uint8_t>(octet | (1U << (number % 8)));
  }
  return selection;
}

Hash RegistersDigestOf(const SealPolicy& policy) {
  Bytes values;
  for (const auto& [number, value] : policy.registers) Append(values, value);
  return Sha256Of(ByteView(values));
}

Hash PolicyDigestOf(const SealPolicy& policy) {
  return PolicyDigest().Pcr(SelectionOf(policy), RegistersDigestOf(policy)).value();
}

std::string TextOf(const SealPolicy& policy) {
  std::string text;
  for (const auto& [number, value] : policy.registers) text += (text.empty() ? "PCR " : ", ") + std::to_string(number);
  return text;
}

Result<Bytes> CheckSealed(const SealedSecret& sealed) {
  BigReader outer(sealed.public_area);
  const ByteView area = outer.Sized();
  BigReader in(area);
  const bool type = outer.AtEnd() && in.Int<std::uint16_t>() == kAlgKeyedHash &&
                    in.Int<std::uint16_t>() == kAlgSha256 &&
                    in.Int<std::uint32_t>() == (kFixedTpm | kFixedParent | kNoDa);
  const ByteView policy = in.Sized();
  const bool scheme = in.Int<std::uint16_t>() == kAlgNull;
  const bool unique = in.Sized().size() == kHashBytes;
  if (!type || !scheme || !unique || !in.AtEnd() || sealed.policy.registers.empty() ||
      !SameBytes(policy, PolicyDigestOf(sealed.policy))) {
    return Fail(Code::kInvalid, "not a sealed secret of ours, or not under the policy it names");
  }
  return NameOfPublicArea(area);
}

}  // namespace stele::tpm
