#include "firmware/state/approval.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "appliance/base/hash.h"
#include "tpm/big_endian.h"
#include "tpm/names.h"
#include "tpm/policy.h"

namespace stele::state {
namespace {

// TPM 2.0 Library, Part 2, sections 6.3, 8.3.
constexpr std::uint16_t kAlgRsa = 0x0001;
constexpr std::uint16_t kAlgNull = 0x0010;
constexpr std::uint32_t kUserWithAuth = 1U << 6;
constexpr std::uint32_t kSign = 1U << 18;
constexpr std::uint16_t kKeyBits = 2048;
constexpr unsigned long kExponent = 65537;
constexpr std::size_t kFieldBytesMax = 2048;  // the largest is a TPM2B_PUBLIC of an RSA key

constexpr const char* kTokenType = "stele-tpm2";

struct BioFree {
  void operator()(BIO* bio) const noexcept { (void)BIO_free(bio); }
};
struct KeyFree {
  void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
};
struct NumberFree {
  void operator()(BIGNUM* number) const noexcept { BN_free(number); }
};
using Number = std::unique_ptr<BIGNUM, NumberFree>;

Number ParameterOf(const EVP_PKEY* key, const char* name) {
  BIGNUM* raw = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &raw) != 1) return nullptr;
  return Number(raw);
}

// Registers of the sha256 bank and what they hold, ascending.
tpm::PolicyDigest& AddRegisters(tpm::PolicyDigest& policy, std::initializer_list<std::uint32_t> registers,
                                const Hash& values) {
  tpm::PcrSelection selection{};
  for (const std::uint32_t number : registers) {
    selection[number / 8] = static_cast<std::uint8_t>(selection[number / 8] | (1U << (number % 8)));
  }
  return policy.Pcr(selection, values);
}

// A member of hexadecimal digits; empty where it is missing, is none, or is too long.
Bytes HexMember(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string()) return {};
  const auto& text = found->get_ref<const std::string&>();
  if (text.size() > 2 * kFieldBytesMax) return {};
  return ParseHex(text).value_or(Bytes{});
}

bool HashMember(const nlohmann::json& object, const char* name, Hash& out) {
  const Bytes bytes = HexMember(object, name);
  if (bytes.size() != out.size()) return false;
  std::copy(bytes.begin(), bytes.end(), out.begin());
  return true;
}

}  // namespace

Result<Approval> ParseApproval(std::string_view json) {
  const auto object = nlohmann::json::parse(json, nullptr, false);
  Approval approval;
  if (!object.is_object() || !HashMember(object, "policy", approval.policy) || !object.contains("version") ||
      !object["version"].is_number_unsigned()) {
    return Fail(Code::kInvalid, "the image's approval is not one");
  }
  approval.version = object["version"].get<std::uint64_t>();
  approval.signature = HexMember(object, "signature");
  if (approval.signature.size() != kKeyBits / 8) return Fail(Code::kInvalid, "the image's approval has no signature");
  return approval;
}

Result<Bytes> RsaPublicArea(std::string_view public_key_pem) {
  const std::unique_ptr<BIO, BioFree> bio(
      BIO_new_mem_buf(public_key_pem.data(), static_cast<int>(public_key_pem.size())));
  const std::unique_ptr<EVP_PKEY, KeyFree> key(bio ? PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr)
                                                   : nullptr);
  if (!key || EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_RSA || EVP_PKEY_get_bits(key.get()) != kKeyBits)
    return Fail(Code::kInvalid, "the PCR key is not RSA 2048");
  const Number modulus = ParameterOf(key.get(), OSSL_PKEY_PARAM_RSA_N);
  const Number exponent = ParameterOf(key.get(), OSSL_PKEY_PARAM_RSA_E);
  std::array<std::byte, kKeyBits / 8> big_endian{};
  if (!modulus || !exponent || BN_get_word(exponent.get()) != kExponent ||
      BN_bn2binpad(modulus.get(), reinterpret_cast<unsigned char*>(big_endian.data()),
                   static_cast<int>(big_endian.size())) < 0) {
    return Fail(Code::kInvalid, "the PCR key's exponent is not 65537");
  }
  Bytes area;
  tpm::BigWriter writer(area);
  writer.Int(kAlgRsa);
  writer.Int(tpm::kAlgSha256);
  writer.Int(kUserWithAuth | kSign);
  writer.Sized({});      // authPolicy
  writer.Int(kAlgNull);  // symmetric
  writer.Int(kAlgNull);  // scheme
  writer.Int(kKeyBits);
  writer.Int(std::uint32_t{0});  // exponent: the default, 65537
  writer.Sized(big_endian);
  return area;
}

Hash AuthorizedPolicy(ByteView key_name) { return tpm::PolicyDigest().Authorize(key_name, {}).value(); }

Bytes VersionIndexName(ByteView key_name) {
  return tpm::NvName(kVersionIndex, kVersionAttributes | tpm::kNvWritten, AuthorizedPolicy(key_name), kVersionBytes);
}

Bytes VersionOperand(std::uint64_t version) {
  Bytes out;
  tpm::BigWriter(out).Int(version);
  return out;
}

Hash ApprovedPolicy(const Hash& pcr_11, std::uint64_t version, ByteView key_name) {
  tpm::PolicyDigest policy;
  AddRegisters(policy, {11}, Sha256Of(ByteView(pcr_11)));
  return policy.Nv(VersionIndexName(key_name), VersionOperand(version), 0, tpm::NvComparison::kUnsignedLessOrEqual)
      .value();
}

Hash SealingPolicy(const Hash& pcr_7, ByteView key_name) {
  tpm::PolicyDigest policy;
  policy.Authorize(key_name, {});
  return AddRegisters(policy, {7, 12}, Sha256Of({pcr_7, Hash{}})).value();
}

std::string EncodeToken(const SealedKey& sealed, int keyslot) {
  const nlohmann::ordered_json token = {{"type", kTokenType},
                                        {"keyslots", {std::to_string(keyslot)}},
                                        {"parent", HexOf(sealed.parent_name)},
                                        {"approver", HexOf(sealed.approver_name)},
                                        {"pcr_7", HexOf(sealed.pcr_7)},
                                        {"public", HexOf(sealed.public_area)},
                                        {"private", HexOf(sealed.private_area)}};
  return token.dump();
}

Result<SealedKey> ParseToken(std::string_view json) {
  const auto object = nlohmann::json::parse(json, nullptr, false);
  SealedKey sealed;
  if (!object.is_object() || object.value("type", nlohmann::json()) != kTokenType ||
      !HashMember(object, "pcr_7", sealed.pcr_7))
    return Fail(Code::kInvalid, "not a token of ours");
  sealed.parent_name = HexMember(object, "parent");
  sealed.approver_name = HexMember(object, "approver");
  sealed.public_area = HexMember(object, "public");
  sealed.private_area = HexMember(object, "private");
  if (sealed.parent_name.size() != tpm::kNameBytes || sealed.approver_name.size() != tpm::kNameBytes ||
      sealed.public_area.empty() || sealed.private_area.empty()) {
    return Fail(Code::kInvalid, "a token of ours with something missing");
  }
  return sealed;
}

}  // namespace stele::state
