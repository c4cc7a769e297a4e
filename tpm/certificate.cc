#include "tpm/certificate.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <ctime>
#include <memory>
#include <string>

#include "tpm/big_endian.h"

namespace stele::tpm {
namespace {

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* pointer) const noexcept {
    Free(pointer);
  }
};
struct FreeStack {
  void operator()(STACK_OF(X509) * stack) const noexcept { sk_X509_pop_free(stack, X509_free); }
};
using CertificatePtr = std::unique_ptr<X509, Freer<X509_free>>;
using StorePtr = std::unique_ptr<X509_STORE, Freer<X509_STORE_free>>;
using StoreCtxPtr = std::unique_ptr<X509_STORE_CTX, Freer<X509_STORE_CTX_free>>;
using StackPtr = std::unique_ptr<STACK_OF(X509), FreeStack>;
using BioPtr = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using BnPtr = std::unique_ptr<BIGNUM, Freer<BN_free>>;

constexpr std::size_t kCertificateBytesMax = std::size_t{16} * 1024;
constexpr int kAuthoritiesMax = 64;
constexpr std::uint16_t kAlgRsa = 0x0001;
constexpr std::uint16_t kAlgNull = 0x0010;

CertificatePtr Parse(ByteView der, std::size_t* used_bytes = nullptr) {
  if (der.size() > kCertificateBytesMax) return nullptr;
  const auto* begin = reinterpret_cast<const unsigned char*>(der.data());
  const unsigned char* at = begin;
  CertificatePtr certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  if (certificate && used_bytes != nullptr) *used_bytes = static_cast<std::size_t>(at - begin);
  return certificate;
}

Result<std::string> PemOf(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (certificate == nullptr || !bio || PEM_write_bio_X509(bio.get(), certificate) != 1) {
    return Fail(Code::kInvalid, "not a certificate");
  }
  char* text = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &text);
  return std::string(text, static_cast<std::size_t>(length));
}

}  // namespace

Result<RsaPublic> ParseRsaPublic(ByteView tpm2b_public) {
  BigReader outer(tpm2b_public);
  BigReader in(outer.Sized());
  const bool is_rsa = in.Int<std::uint16_t>() == kAlgRsa;
  (void)in.Raw(2 + 4);  // nameAlg, objectAttributes
  (void)in.Sized();     // authPolicy
  if (in.Int<std::uint16_t>() != kAlgNull) (void)in.Raw(2 + 2);  // symmetric: keyBits, mode
  if (in.Int<std::uint16_t>() != kAlgNull) (void)in.Raw(2);      // scheme: its hash
  (void)in.Raw(2);                                               // keyBits
  RsaPublic out;
  const auto exponent = in.Int<std::uint32_t>();
  if (exponent != 0) out.exponent = exponent;
  out.modulus = in.Sized();
  if (!is_rsa || !outer.AtEnd() || !in.AtEnd()) return Fail(Code::kInvalid, "the endorsement key is not an RSA key");
  return out;
}

Result<Bytes> TrimCertificate(ByteView nv_contents) {
  std::size_t used_bytes = 0;
  if (!Parse(nv_contents, &used_bytes)) return Fail(Code::kInvalid, "the EK certificate in the TPM is not a certificate");
  return ToBytes(nv_contents.first(used_bytes));
}

Result<std::string> PemOfCertificate(ByteView certificate_der) {
  const CertificatePtr certificate = Parse(certificate_der);
  return PemOf(certificate.get());
}

Result<void> CheckEkCertificate(ByteView certificate_der, ByteView ek_public) {
  STELE_TRY(const RsaPublic ek, ParseRsaPublic(ek_public));
  const CertificatePtr certificate = Parse(certificate_der);
  if (!certificate) return Fail(Code::kInvalid, "the EK certificate is not a certificate");
  EVP_PKEY* key = X509_get0_pubkey(certificate.get());
  BIGNUM* raw_modulus = nullptr;
  BIGNUM* raw_exponent = nullptr;
  const bool got = key != nullptr && EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &raw_modulus) == 1 &&
                   EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &raw_exponent) == 1;
  const BnPtr modulus(raw_modulus);
  const BnPtr exponent(raw_exponent);
  if (!got) return Fail(Code::kDenied, "the EK certificate is not for an RSA key");
  const BnPtr wanted(
      BN_bin2bn(reinterpret_cast<const unsigned char*>(ek.modulus.data()), static_cast<int>(ek.modulus.size()), nullptr));
  if (!wanted || BN_cmp(wanted.get(), modulus.get()) != 0 || BN_get_word(exponent.get()) != ek.exponent) {
    return Fail(Code::kDenied, "the EK certificate is for another key than the TPM's endorsement key");
  }
  return {};
}

Result<std::string> EkIntermediates(ByteView certificate_der, std::string_view authorities_pem, std::int64_t wall_ns) {
  const CertificatePtr certificate = Parse(certificate_der);
  if (!certificate) return Fail(Code::kInvalid, "the EK certificate is not a certificate");
  const StorePtr roots(X509_STORE_new());
  const StackPtr intermediates(sk_X509_new_null());
  const StoreCtxPtr context(X509_STORE_CTX_new());
  const BioPtr bio(BIO_new_mem_buf(authorities_pem.data(), static_cast<int>(authorities_pem.size())));
  if (!roots || !intermediates || !context || !bio) return Fail(Code::kUnavailable, "out of memory checking a certificate");
  for (int i = 0; i < kAuthoritiesMax; ++i) {
    CertificatePtr authority(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (!authority) break;
    const bool self_signed = (X509_get_extension_flags(authority.get()) & EXFLAG_SS) != 0;
    if (self_signed) {
      (void)X509_STORE_add_cert(roots.get(), authority.get());  // a duplicate is harmless
    } else if (sk_X509_push(intermediates.get(), authority.get()) > 0) {
      (void)authority.release();  // owned by the stack now
    }
  }
  if (X509_STORE_CTX_init(context.get(), roots.get(), certificate.get(), intermediates.get()) != 1) {
    return Fail(Code::kUnavailable, "out of memory checking a certificate");
  }
  X509_VERIFY_PARAM* parameters = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(parameters, static_cast<std::time_t>(wall_ns / 1'000'000'000));
  if (X509_verify_cert(context.get()) != 1) {
    return Fail(Code::kDenied, std::string("the EK certificate's chain: ") +
                                   X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get())));
  }
  const STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(context.get());
  std::string between;
  for (int i = 1; i + 1 < sk_X509_num(chain); ++i) {
    STELE_TRY(const std::string pem, PemOf(sk_X509_value(chain, i)));
    between += pem;
  }
  return between;
}

Result<void> VerifyEkChain(ByteView certificate_der, std::string_view authorities_pem, std::int64_t wall_ns) {
  return EkIntermediates(certificate_der, authorities_pem, wall_ns).map([](const std::string&) {});
}

}  // namespace stele::tpm
