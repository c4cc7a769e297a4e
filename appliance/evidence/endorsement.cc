#include "appliance/evidence/endorsement.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>

#include "tpm/big_endian.h"
#include "tpm/names.h"

namespace stele::evidence {
namespace {

struct Free {
  void operator()(X509* certificate) const noexcept { X509_free(certificate); }
  void operator()(BIGNUM* number) const noexcept { BN_free(number); }
};

constexpr std::uint16_t kAlgRsa = 0x0001;
constexpr std::uint16_t kAlgAes = 0x0006;
constexpr std::uint16_t kAlgNull = 0x0010;
constexpr std::uint16_t kAlgCfb = 0x0043;
constexpr std::uint16_t kKeyBits = 2048;
constexpr std::uint16_t kAesBits = 128;
// fixedTPM | fixedParent | sensitiveDataOrigin | adminWithPolicy | restricted | decrypt
constexpr std::uint32_t kAttributes = 0x000300b2;
constexpr std::string_view kPolicy = "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa";  // PolicyA, sha256

Bytes TemplatePublicArea(ByteView modulus) {
  Bytes area;
  tpm::BigWriter writer(area);
  writer.Int(kAlgRsa);
  writer.Int(tpm::kAlgSha256);
  writer.Int(kAttributes);
  writer.Sized(ParseHash(kPolicy).value());
  writer.Int(kAlgAes);
  writer.Int(kAesBits);
  writer.Int(kAlgCfb);
  writer.Int(kAlgNull);  // scheme
  writer.Int(kKeyBits);
  writer.Int(std::uint32_t{0});  // exponent: the default, 65537
  writer.Sized(modulus);
  return area;
}

}  // namespace

Result<Bytes> EkNameOf(ByteView certificate_der) {
  const auto* at = reinterpret_cast<const unsigned char*>(certificate_der.data());
  const std::unique_ptr<X509, Free> certificate(d2i_X509(nullptr, &at, static_cast<long>(certificate_der.size())));
  EVP_PKEY* key = certificate ? X509_get0_pubkey(certificate.get()) : nullptr;
  BIGNUM* raw = nullptr;
  if (key == nullptr || EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &raw) != 1) {
    return Fail(Code::kInvalid, "the EK certificate does not hold an RSA key");
  }
  const std::unique_ptr<BIGNUM, Free> modulus(raw);
  Bytes bytes(kKeyBits / 8);
  if (BN_num_bits(modulus.get()) != kKeyBits ||
      BN_bn2binpad(modulus.get(), reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(bytes.size())) < 0) {
    return Fail(Code::kInvalid, "the EK certificate's RSA key is not of 2048 bits");
  }
  return tpm::NameOfPublicArea(TemplatePublicArea(bytes));
}

}  // namespace stele::evidence
