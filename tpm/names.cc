#include "tpm/names.h"

#include "appliance/base/hash.h"
#include "tpm/big_endian.h"
#include "tpm/policy.h"
#include "tpm/signing.h"

namespace stele::tpm {
namespace {

// TPM 2.0 Library, Part 2, section 6.3 (algorithms), 6.4 (curves), 6.5.2 (command codes), 8.3 (object attributes).
constexpr std::uint16_t kAlgNull = 0x0010;
constexpr std::uint16_t kAlgEcdsa = 0x0018;
constexpr std::uint16_t kAlgEcc = 0x0023;
constexpr std::uint16_t kCurveP256 = 0x0003;
constexpr std::uint32_t kGetSessionAuditDigest = 0x14d;
constexpr std::uint32_t kEndorsementHierarchy = 0x4000000b;
constexpr std::uint32_t kFixedTpm = 1U << 1;
constexpr std::uint32_t kFixedParent = 1U << 4;
constexpr std::uint32_t kSensitiveDataOrigin = 1U << 5;
constexpr std::uint32_t kUserWithAuth = 1U << 6;
constexpr std::uint32_t kNoDa = 1U << 10;
constexpr std::uint32_t kRestricted = 1U << 16;
constexpr std::uint32_t kSign = 1U << 18;
constexpr std::uint32_t kAkAttributes =
    kFixedTpm | kFixedParent | kSensitiveDataOrigin | kUserWithAuth | kNoDa | kRestricted | kSign;

template <std::unsigned_integral T>
Bytes Big(T value) {
  Bytes out;
  BigWriter(out).Int(value);
  return out;
}

}  // namespace

PcrSelection QuoteSelection(std::uint32_t anchor_pcr) {
  STELE_CHECK(anchor_pcr < 24);
  PcrSelection selection{0xff, 0x1a, 0x00};  // 0-7; 9, 11, 12
  auto& octet = selection[anchor_pcr / 8];
  octet = static_cast<std::uint8_t>(octet | (1U << (anchor_pcr % 8)));
  return selection;
}

std::vector<std::uint32_t> RegistersOf(const PcrSelection& selection) {
  std::vector<std::uint32_t> registers;
  for (std::uint32_t pcr = 0; pcr < 24; ++pcr) {
    if ((selection[pcr / 8] >> (pcr % 8)) & 1U) registers.push_back(pcr);
  }
  return registers;
}

Bytes NameOfPublicArea(ByteView public_area) {
  Bytes name = Big(kAlgSha256);
  Append(name, Sha256Of(public_area));
  return name;
}

Bytes QualifiedNameOf(ByteView ek_name, ByteView ak_name) {
  Bytes primary = Big(kAlgSha256);
  Append(primary, Sha256Of({Big(kEndorsementHierarchy), ek_name}));
  Bytes child = Big(kAlgSha256);
  Append(child, Sha256Of({primary, ak_name}));
  return child;
}

Result<Bytes> ExternalPublicArea(std::string_view public_key_pem) {
  STELE_TRY(const EcPoint point, PointOf(public_key_pem));
  Bytes area;
  BigWriter writer(area);
  writer.Int(kAlgEcc);
  writer.Int(kAlgSha256);
  writer.Int(kUserWithAuth | kSign);
  writer.Sized({});        // authPolicy
  writer.Int(kAlgNull);    // symmetric
  writer.Int(kAlgNull);    // scheme
  writer.Int(kCurveP256);
  writer.Int(kAlgNull);    // kdf
  writer.Sized(point.x);
  writer.Sized(point.y);
  return area;
}

Hash AuditPolicy() { return PolicyDigest().CommandCode(kGetSessionAuditDigest).value(); }

Result<WritePolicy> WritePolicyOf(std::string_view provisioning_public_pem) {
  STELE_TRY(const Bytes area, ExternalPublicArea(provisioning_public_pem));
  WritePolicy policy;
  policy.written = PolicyDigest().NvWritten(true).value();
  policy.first = PolicyDigest().NvWritten(false).Signed(NameOfPublicArea(area), {}).value();
  policy.policy = PolicyDigest::Or({policy.written, policy.first}).value();
  return policy;
}

Bytes NvName(std::uint32_t handle, std::uint32_t attributes, const Hash& policy, std::uint16_t size_bytes) {
  Bytes area;
  BigWriter writer(area);
  writer.Int(handle);
  writer.Int(kAlgSha256);
  writer.Int(attributes);
  writer.Sized(policy);
  writer.Int(size_bytes);
  return NameOfPublicArea(area);
}

Result<Bytes> WrittenCounterName(const Handles& handles, std::string_view provisioning_public_pem) {
  STELE_TRY(const WritePolicy policy, WritePolicyOf(provisioning_public_pem));
  return NvName(handles.counter, kCounterAttributes | kNvWritten, policy.policy, 8);
}

Result<Bytes> WrittenIndexName(const Handles& handles, std::string_view provisioning_public_pem) {
  STELE_TRY(const WritePolicy policy, WritePolicyOf(provisioning_public_pem));
  return NvName(handles.index, kIndexAttributes | kNvWritten, policy.policy, kHashBytes);
}

Result<AttestationKey> ParseAttestationKey(ByteView tpm2b_public) {
  BigReader outer(tpm2b_public);
  const ByteView area = outer.Sized();
  if (!outer.AtEnd()) return Fail(Code::kInvalid, "TPM2B_PUBLIC: wrong length");
  BigReader in(area);
  const bool header = in.Int<std::uint16_t>() == kAlgEcc && in.Int<std::uint16_t>() == kAlgSha256 &&
                      in.Int<std::uint32_t>() == kAkAttributes && in.Sized().empty();
  const bool scheme = header && in.Int<std::uint16_t>() == kAlgNull && in.Int<std::uint16_t>() == kAlgEcdsa &&
                      in.Int<std::uint16_t>() == kAlgSha256 && in.Int<std::uint16_t>() == kCurveP256 &&
                      in.Int<std::uint16_t>() == kAlgNull;
  const ByteView x = in.Sized();
  const ByteView y = in.Sized();
  if (!scheme || !in.AtEnd() || x.size() != kHashBytes || y.size() != kHashBytes) {
    return Fail(Code::kInvalid, "not an attestation key of ours: a restricted ECDSA P-256 signing key is expected");
  }
  EcPoint point;
  std::memcpy(point.x.data(), x.data(), kHashBytes);
  std::memcpy(point.y.data(), y.data(), kHashBytes);
  STELE_TRY(std::string pem, PemOf(point));
  return AttestationKey{NameOfPublicArea(area), std::move(pem)};
}

}  // namespace stele::tpm
