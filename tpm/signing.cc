#include "tpm/signing.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#include <memory>

#include "appliance/base/hash.h"

namespace stele::tpm {
namespace {

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* pointer) const noexcept {
    Free(pointer);
  }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using KeyCtxPtr = std::unique_ptr<EVP_PKEY_CTX, Freer<EVP_PKEY_CTX_free>>;
using DigestCtxPtr = std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>>;
using BioPtr = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using BnPtr = std::unique_ptr<BIGNUM, Freer<BN_clear_free>>;
using SigPtr = std::unique_ptr<ECDSA_SIG, Freer<ECDSA_SIG_free>>;
using BuilderPtr = std::unique_ptr<OSSL_PARAM_BLD, Freer<OSSL_PARAM_BLD_free>>;
using ParamsPtr = std::unique_ptr<OSSL_PARAM, Freer<OSSL_PARAM_free>>;

constexpr std::size_t kPemBytesMax = std::size_t{16} * 1024;

const unsigned char* Raw(ByteView bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }
unsigned char* Raw(MutableBytes bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }

bool IsP256(EVP_PKEY* key) {
  std::array<char, 64> group{};
  std::size_t length = 0;
  return EVP_PKEY_is_a(key, "EC") == 1 &&
         EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group.data(), group.size(), &length) == 1 &&
         std::string_view(group.data(), length) == "prime256v1";
}

enum class Half { kPrivate, kPublic };

Result<KeyPtr> ReadKey(std::string_view pem, Half half) {
  if (pem.empty() || pem.size() > kPemBytesMax) return Fail(Code::kInvalid, "no P-256 key in the PEM");
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (!bio) return Fail(Code::kInvalid, "out of memory reading a PEM");
  // An empty password, never a prompt: OpenSSL would otherwise ask on the terminal for an encrypted key.
  char no_password[] = "";
  KeyPtr key(half == Half::kPrivate ? PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, no_password)
                                    : PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, no_password));
  if (!key || !IsP256(key.get())) return Fail(Code::kInvalid, "no P-256 key in the PEM");
  return key;
}

Result<std::string> TextOf(BIO* bio) {
  char* text = nullptr;
  const long length = BIO_get_mem_data(bio, &text);
  if (length <= 0 || text == nullptr) return Fail(Code::kInvalid, "the key cannot be written as PEM");
  return std::string(text, static_cast<std::size_t>(length));
}

Result<std::string> PublicPem(EVP_PKEY* key) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (!bio || PEM_write_bio_PUBKEY(bio.get(), key) != 1) return Fail(Code::kInvalid, "the key cannot be written as PEM");
  return TextOf(bio.get());
}

}  // namespace

Result<std::string> MakeSigningKey() {
  const KeyPtr key(EVP_EC_gen("P-256"));
  const BioPtr bio(BIO_new(BIO_s_secmem()));
  if (!key || !bio ||
      PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return Fail(Code::kUnavailable, "make a P-256 key");
  }
  return TextOf(bio.get());
}

Result<std::string> PublicPemOf(std::string_view private_key_pem) {
  STELE_TRY(const KeyPtr key, ReadKey(private_key_pem, Half::kPrivate));
  return PublicPem(key.get());
}

Result<Bytes> Sign(std::string_view private_key_pem, ByteView data) {
  STELE_TRY(const KeyPtr key, ReadKey(private_key_pem, Half::kPrivate));
  const DigestCtxPtr context(EVP_MD_CTX_new());
  std::size_t length = 0;
  if (!context || EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key.get()) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &length, Raw(data), data.size()) != 1) {
    return Fail(Code::kInvalid, "sign with the provisioning key");
  }
  Bytes signature(length);
  if (EVP_DigestSign(context.get(), Raw(MutableBytes(signature)), &length, Raw(data), data.size()) != 1) {
    return Fail(Code::kInvalid, "sign with the provisioning key");
  }
  signature.resize(length);
  return signature;
}

Result<void> VerifySignature(std::string_view public_key_pem, ByteView data, ByteView signature_der) {
  STELE_TRY(const KeyPtr key, ReadKey(public_key_pem, Half::kPublic));
  const DigestCtxPtr context(EVP_MD_CTX_new());
  if (!context || EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key.get()) != 1) {
    return Fail(Code::kInvalid, "verify a signature");
  }
  if (EVP_DigestVerify(context.get(), Raw(signature_der), signature_der.size(), Raw(data), data.size()) != 1) {
    return Fail(Code::kDenied, "the signature does not verify");
  }
  return {};
}

Result<Hash> DeriveFrom(std::string_view private_key_pem, std::string_view label, ByteView context) {
  STELE_TRY(const KeyPtr key, ReadKey(private_key_pem, Half::kPrivate));
  BIGNUM* raw = nullptr;
  const bool got = EVP_PKEY_get_bn_param(key.get(), OSSL_PKEY_PARAM_PRIV_KEY, &raw) == 1;
  const BnPtr scalar(raw);
  Hash secret{};
  if (!got || BN_bn2binpad(scalar.get(), Raw(MutableBytes(secret)), kHashBytes) != kHashBytes) {
    return Fail(Code::kInvalid, "the key has no private part");
  }
  const Hash derived = HmacSha256(secret, {AsBytes(label), context});
  OPENSSL_cleanse(secret.data(), secret.size());
  return derived;
}

Result<EcPoint> PointOf(std::string_view public_key_pem) {
  STELE_TRY(const KeyPtr key, ReadKey(public_key_pem, Half::kPublic));
  BIGNUM* raw_x = nullptr;
  BIGNUM* raw_y = nullptr;
  const bool got_x = EVP_PKEY_get_bn_param(key.get(), OSSL_PKEY_PARAM_EC_PUB_X, &raw_x) == 1;
  const BnPtr x(raw_x);
  const bool got_y = EVP_PKEY_get_bn_param(key.get(), OSSL_PKEY_PARAM_EC_PUB_Y, &raw_y) == 1;
  const BnPtr y(raw_y);
  EcPoint point;
  if (!got_x || !got_y || BN_bn2binpad(x.get(), Raw(MutableBytes(point.x)), kHashBytes) != kHashBytes ||
      BN_bn2binpad(y.get(), Raw(MutableBytes(point.y)), kHashBytes) != kHashBytes) {
    return Fail(Code::kInvalid, "the key has no coordinates");
  }
  return point;
}

Result<std::string> PemOf(const EcPoint& point) {
  Bytes uncompressed{std::byte{4}};  // SEC 1 section 2.3.3
  Append(uncompressed, point.x);
  Append(uncompressed, point.y);
  const BuilderPtr builder(OSSL_PARAM_BLD_new());
  const KeyCtxPtr context(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  if (!builder || !context ||
      OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) != 1 ||
      OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, uncompressed.data(),
                                       uncompressed.size()) != 1) {
    return Fail(Code::kInvalid, "out of memory building a key");
  }
  const ParamsPtr params(OSSL_PARAM_BLD_to_param(builder.get()));
  EVP_PKEY* raw_key = nullptr;
  if (!params || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &raw_key, EVP_PKEY_PUBLIC_KEY, params.get()) != 1) {
    return Fail(Code::kInvalid, "the point is not on P-256");
  }
  const KeyPtr key(raw_key);
  const KeyCtxPtr check(EVP_PKEY_CTX_new_from_pkey(nullptr, key.get(), nullptr));
  if (!check || EVP_PKEY_public_check(check.get()) != 1) return Fail(Code::kInvalid, "the point is not on P-256");
  return PublicPem(key.get());
}

Result<EcSignature> SignRaw(std::string_view private_key_pem, ByteView data) {
  STELE_TRY(const Bytes der, Sign(private_key_pem, data));
  const unsigned char* at = Raw(der);
  const SigPtr parsed(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
  EcSignature signature;
  if (!parsed ||
      BN_bn2binpad(ECDSA_SIG_get0_r(parsed.get()), Raw(MutableBytes(signature.r)), kHashBytes) != kHashBytes ||
      BN_bn2binpad(ECDSA_SIG_get0_s(parsed.get()), Raw(MutableBytes(signature.s)), kHashBytes) != kHashBytes) {
    return Fail(Code::kInvalid, "sign with the provisioning key");
  }
  return signature;
}

Bytes DerOf(const EcSignature& signature) {
  const SigPtr parsed(ECDSA_SIG_new());
  BnPtr r(BN_bin2bn(Raw(signature.r), kHashBytes, nullptr));
  BnPtr s(BN_bin2bn(Raw(signature.s), kHashBytes, nullptr));
  if (!parsed || !r || !s || ECDSA_SIG_set0(parsed.get(), r.get(), s.get()) != 1) return {};
  (void)r.release();  // owned by `parsed` now
  (void)s.release();
  const int length = i2d_ECDSA_SIG(parsed.get(), nullptr);
  if (length <= 0) return {};
  Bytes der(static_cast<std::size_t>(length));
  unsigned char* at = Raw(MutableBytes(der));
  (void)i2d_ECDSA_SIG(parsed.get(), &at);  // same object, same length
  return der;
}

Result<void> VerifyRaw(std::string_view public_key_pem, ByteView data, const EcSignature& signature) {
  return VerifySignature(public_key_pem, data, DerOf(signature));
}

}  // namespace stele::tpm
