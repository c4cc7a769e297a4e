#include "tpm/credential.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include <memory>

#include "appliance/base/hash.h"
#include "tpm/big_endian.h"
#include "tpm/certificate.h"

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
using CipherCtxPtr = std::unique_ptr<EVP_CIPHER_CTX, Freer<EVP_CIPHER_CTX_free>>;
using BnPtr = std::unique_ptr<BIGNUM, Freer<BN_free>>;
using BuilderPtr = std::unique_ptr<OSSL_PARAM_BLD, Freer<OSSL_PARAM_BLD_free>>;
using ParamsPtr = std::unique_ptr<OSSL_PARAM, Freer<OSSL_PARAM_free>>;

constexpr char kIdentityLabel[] = "IDENTITY";  // its terminator is part of it (Part 1, section B.10.4)
constexpr std::uint32_t kAesBits = 128;

const unsigned char* Raw(ByteView bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }
unsigned char* Raw(Bytes& bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }

Result<KeyPtr> RsaKey(const RsaPublic& ek) {
  const BnPtr modulus(BN_bin2bn(Raw(ek.modulus), static_cast<int>(ek.modulus.size()), nullptr));
  const BuilderPtr builder(OSSL_PARAM_BLD_new());
  const KeyCtxPtr context(EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr));
  EVP_PKEY* key = nullptr;
  if (!modulus || !builder || !context ||
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get()) != 1 ||
      OSSL_PARAM_BLD_push_ulong(builder.get(), OSSL_PKEY_PARAM_RSA_E, ek.exponent) != 1) {
    return Fail(Code::kInvalid, "out of memory building a key");
  }
  const ParamsPtr params(OSSL_PARAM_BLD_to_param(builder.get()));
  if (!params || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params.get()) != 1) {
    return Fail(Code::kInvalid, "the endorsement key is not an RSA key");
  }
  return KeyPtr(key);
}

Result<Bytes> OaepEncrypt(EVP_PKEY* key, ByteView plain) {
  const KeyCtxPtr context(EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr));
  void* label = OPENSSL_memdup(kIdentityLabel, sizeof kIdentityLabel);
  if (!context || label == nullptr || EVP_PKEY_encrypt_init(context.get()) != 1 ||
      EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_OAEP_PADDING) != 1 ||
      EVP_PKEY_CTX_set_rsa_oaep_md(context.get(), EVP_sha256()) != 1 ||
      EVP_PKEY_CTX_set_rsa_mgf1_md(context.get(), EVP_sha256()) != 1 ||
      EVP_PKEY_CTX_set0_rsa_oaep_label(context.get(), label, sizeof kIdentityLabel) != 1) {
    OPENSSL_free(label);
    return Fail(Code::kInvalid, "encrypt to the endorsement key");
  }
  std::size_t size = 0;  // the label is the context's now
  if (EVP_PKEY_encrypt(context.get(), nullptr, &size, Raw(plain), plain.size()) != 1) {
    return Fail(Code::kInvalid, "encrypt to the endorsement key");
  }
  Bytes out(size);
  if (EVP_PKEY_encrypt(context.get(), Raw(out), &size, Raw(plain), plain.size()) != 1) {
    return Fail(Code::kInvalid, "encrypt to the endorsement key");
  }
  out.resize(size);
  return out;
}

Result<Bytes> AesCfb(ByteView key, ByteView plain) {
  const CipherCtxPtr context(EVP_CIPHER_CTX_new());
  const std::array<unsigned char, 16> zero_iv{};
  Bytes out(plain.size());
  int written = 0;
  if (!context || EVP_EncryptInit_ex(context.get(), EVP_aes_128_cfb128(), nullptr, Raw(key), zero_iv.data()) != 1 ||
      EVP_EncryptUpdate(context.get(), Raw(out), &written, Raw(plain), static_cast<int>(plain.size())) != 1 ||
      static_cast<std::size_t>(written) != plain.size()) {
    return Fail(Code::kInvalid, "encrypt a credential");
  }
  return out;
}

}  // namespace

Bytes KdfA(ByteView key, std::string_view label, ByteView context_u, ByteView context_v, std::uint32_t bits) {
  STELE_CHECK(bits % 8 == 0);
  STELE_CHECK(bits <= 8 * kHashBytes);
  Bytes counter;
  BigWriter(counter).Int(std::uint32_t{1});
  Bytes length;
  BigWriter(length).Int(bits);
  const std::byte end{0};
  const Hash block = HmacSha256(key, {counter, AsBytes(label), ByteView(&end, 1), context_u, context_v, length});
  return ToBytes(ByteView(block).first(bits / 8));
}

Result<Credential> MakeCredential(ByteView ek_public, ByteView object_name, const Hash& secret, Entropy& entropy) {
  STELE_TRY(const RsaPublic ek, ParseRsaPublic(ek_public));
  STELE_TRY(const KeyPtr key, RsaKey(ek));
  Hash seed{};
  entropy.Fill(seed);
  Credential out;
  STELE_TRY(out.secret, OaepEncrypt(key.get(), seed));
  Bytes identity;
  BigWriter(identity).Sized(secret);
  const Bytes cipher_key = KdfA(seed, "STORAGE", object_name, {}, kAesBits);
  STELE_TRY(const Bytes hidden, AesCfb(cipher_key, identity));
  const Bytes mac_key = KdfA(seed, "INTEGRITY", {}, {}, 8 * kHashBytes);
  const Hash mac = HmacSha256(mac_key, {hidden, object_name});
  BigWriter writer(out.blob);
  writer.Sized(mac);
  writer.Raw(hidden);
  return out;
}

}  // namespace stele::tpm
