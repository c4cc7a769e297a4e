// A signer of syslog (RFC 5848) for tests, apart from the code it tests: DSA by plain modular arithmetic with the
// parameters of the RFC's own example, hashes by OpenSSL, blocks put together as text.
#pragma once

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "appliance/base/bytes.h"
#include "appliance/base/result.h"

namespace stele::test {

// RFC 5848 section 5.3.2.9: p, q, g and y of its signer, as the Certificate Block carries them.
inline constexpr const char* kRfc5848Key =
    "BACsLMZNCV2NUAwe4RAeAnSQuvv2KS51SnHFAaWJNU2XVDYvW1LjmJgg4vKvQPo3HEOD+"
    "2hEkt1zcXADe03u5pmHoWy5FGiyCbglYxJkUJJrQqlTSS6v"
    "ID9yhsmEnh07w3pOsxmb4qYo0uWQrAAenBweVMlBgV3ZA5IMA8xq8l+i8wCgkWJjCjfLar7s+"
    "0X3HVrRroyARv8EAIYoxofh9mN8n821BTTuQnz5hp40"
    "d6Z3UudKePu2di5Mx3GFelwnV0Qh5mSs0YkuHJg0mcXyUAoeYry5X6482fUxbm+gOHVmYSDtBmZEB8PTEt8Os8aedWgKEt/"
    "E4dT+Hmod4omECLteLXxt"
    "ScTMgDXyC+bSBMjRRCaeWhHrYYdYBACCWMdTc12hRLJTn8LX99kv1I7qwgieyna8GCJv/rEgCssS9E1qARM+h19KovIUOhl4VzBw3rK7v8Dlw/"
    "CJyYDd"
    "5kwSvCwjhO21LiReeS90VPYuZFRC1B82Sub152zOqIcAWsgd4myCCiZbWBsuJ8P0gtarFIpleNacCc6OV3i2Rg==";

// What a block says of itself.
struct BlockText {
  std::string host = "switch-1";
  std::string app = "syslogd";
  std::string pid = "2138";
  std::string ver = "0121";
  std::string rsid = "1";
  std::string sg = "0";
  std::string spri = "0";
  std::uint64_t gbc = 0;
  std::uint64_t fmn = 1;
};

class SyslogSigner {
 public:
  explicit SyslogSigner(unsigned long secret) : context_(BN_CTX_new(), BN_CTX_free) {
    const auto blob = ParseBase64(kRfc5848Key, 4'096);
    STELE_CHECK(blob.has_value());
    std::size_t at = 0;
    for (Number* number : {&p_, &q_, &g_}) {
      const std::size_t size =
          ((std::to_integer<std::size_t>((*blob)[at]) << 8U | std::to_integer<std::size_t>((*blob)[at + 1])) + 7) / 8;
      *number = Number(
          BN_bin2bn(reinterpret_cast<const unsigned char*>(blob->data() + at + 2), static_cast<int>(size), nullptr),
          BN_free);
      at += 2 + size;
    }
    x_ = New();
    BN_set_word(x_.get(), secret);
    y_ = New();
    BN_mod_exp(y_.get(), g_.get(), x_.get(), p_.get(), context_.get());
  }

  [[nodiscard]] std::string KeyBlob() const {
    Bytes out;
    for (const Number* number : {&p_, &q_, &g_, &y_}) AppendMpi(out, number->get());
    return Base64Of(out);
  }

  // The same key for OpenSSL, to put it into a certificate.
  [[nodiscard]] std::shared_ptr<EVP_PKEY> Pkey() const {
    OSSL_PARAM_BLD* builder = OSSL_PARAM_BLD_new();
    OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_FFC_P, p_.get());
    OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_FFC_Q, q_.get());
    OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_FFC_G, g_.get());
    OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PUB_KEY, y_.get());
    OSSL_PARAM* parameters = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX* context = EVP_PKEY_CTX_new_from_name(nullptr, "DSA", nullptr);
    EVP_PKEY* key = nullptr;
    STELE_CHECK(EVP_PKEY_fromdata_init(context) == 1 &&
                EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters) == 1);
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(parameters);
    OSSL_PARAM_BLD_free(builder);
    return {key, EVP_PKEY_free};
  }

  // FIPS 186-4 section 4.6 with a nonce made from the text; r and s as OpenPGP integers, or as DER.
  [[nodiscard]] std::string Sign(const std::string& text, bool sha256, bool der = false) const {
    const Number nonce = FromDigest("nonce" + text, true);
    BN_nnmod(nonce.get(), nonce.get(), q_.get(), context_.get());
    const Number r = New();
    BN_mod_exp(r.get(), g_.get(), nonce.get(), p_.get(), context_.get());
    BN_nnmod(r.get(), r.get(), q_.get(), context_.get());
    const Number z = FromDigest(text, sha256);
    if (sha256) BN_rshift(z.get(), z.get(), 256 - BN_num_bits(q_.get()));
    const Number s = New();
    BN_mod_mul(s.get(), x_.get(), r.get(), q_.get(), context_.get());
    BN_mod_add(s.get(), s.get(), z.get(), q_.get(), context_.get());
    const Number inverse(BN_mod_inverse(nullptr, nonce.get(), q_.get(), context_.get()), BN_free);
    BN_mod_mul(s.get(), s.get(), inverse.get(), q_.get(), context_.get());
    Bytes out;
    if (der) {
      for (const BIGNUM* number : {r.get(), s.get()}) {
        Bytes raw(static_cast<std::size_t>(BN_num_bytes(number)) + 1);
        BN_bn2bin(number, reinterpret_cast<unsigned char*>(raw.data() + 1));
        if ((raw[1] & std::byte{0x80}) == std::byte{}) raw.erase(raw.begin());
        out.push_back(std::byte{2});
        out.push_back(static_cast<std::byte>(raw.size()));
        Append(out, raw);
      }
      out.insert(out.begin(), {std::byte{0x30}, static_cast<std::byte>(out.size())});
    } else {
      AppendMpi(out, r.get());
      AppendMpi(out, s.get());
    }
    return Base64Of(out);
  }

  // A message that ends with an element's `]`: SIGN goes in front of it.
  [[nodiscard]] std::string Signed(const std::string& message, bool sha256, bool der = false) const {
    return message.substr(0, message.size() - 1) + " SIGN=\"" + Sign(message, sha256, der) + "\"]";
  }

  [[nodiscard]] std::string Block(const BlockText& block, const std::vector<std::string>& messages,
                                  bool der = false) const {
    const bool sha256 = block.ver == "0121";
    std::string hashes;
    for (const std::string& message : messages) {
      hashes += (hashes.empty() ? "" : " ") + Base64Of(DigestOf(message, sha256));
    }
    return Signed(Head(block) + "[ssign " + Common(block) + " GBC=\"" + std::to_string(block.gbc) + "\" FMN=\"" +
                      std::to_string(block.fmn) + "\" CNT=\"" + std::to_string(messages.size()) + "\" HB=\"" + hashes +
                      "\"]",
                  sha256, der);
  }

  // The Payload Block `text` in fragments.
  [[nodiscard]] std::vector<std::string> Certificate(const BlockText& block, const std::string& text,
                                                     std::size_t fragment_bytes = 1'000) const {
    std::vector<std::string> out;
    for (std::size_t at = 0; at < text.size(); at += fragment_bytes) {
      const std::string fragment = text.substr(at, fragment_bytes);
      out.push_back(Signed(Head(block) + "[ssign-cert " + Common(block) + " TPBL=\"" + std::to_string(text.size()) +
                               "\" INDEX=\"" + std::to_string(at + 1) + "\" FLEN=\"" + std::to_string(fragment.size()) +
                               "\" FRAG=\"" + fragment + "\"]",
                           block.ver == "0121"));
    }
    return out;
  }

 private:
  using Number = std::unique_ptr<BIGNUM, decltype(&BN_free)>;
  static Number New() { return {BN_new(), BN_free}; }

  static std::string Head(const BlockText& block) {
    return "<110>1 2026-11-21T06:00:00Z " + block.host + " " + block.app + " " + block.pid + " - ";
  }
  static std::string Common(const BlockText& block) {
    return "VER=\"" + block.ver + "\" RSID=\"" + block.rsid + "\" SG=\"" + block.sg + "\" SPRI=\"" + block.spri + "\"";
  }
  static Bytes DigestOf(const std::string& text, bool sha256) {
    Bytes out(sha256 ? 32 : 20);
    EVP_Digest(text.data(), text.size(), reinterpret_cast<unsigned char*>(out.data()), nullptr,
               sha256 ? EVP_sha256() : EVP_sha1(), nullptr);
    return out;
  }
  static Number FromDigest(const std::string& text, bool sha256) {
    const Bytes digest = DigestOf(text, sha256);
    return {BN_bin2bn(reinterpret_cast<const unsigned char*>(digest.data()), static_cast<int>(digest.size()), nullptr),
            BN_free};
  }
  static void AppendMpi(Bytes& out, const BIGNUM* number) {
    const int bits = BN_num_bits(number);
    out.push_back(static_cast<std::byte>(bits >> 8));
    out.push_back(static_cast<std::byte>(bits & 0xff));
    Bytes raw(static_cast<std::size_t>(BN_num_bytes(number)));
    BN_bn2bin(number, reinterpret_cast<unsigned char*>(raw.data()));
    Append(out, raw);
  }

  std::unique_ptr<BN_CTX, decltype(&BN_CTX_free)> context_;
  Number p_{nullptr, BN_free}, q_{nullptr, BN_free}, g_{nullptr, BN_free}, x_{nullptr, BN_free}, y_{nullptr, BN_free};
};

}  // namespace stele::test
