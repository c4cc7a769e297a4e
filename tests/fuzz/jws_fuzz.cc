// Goal: nothing that is not the registered key's signature over these very bytes is called valid, and what is, is.
// Method: any bytes are judged; whatever is called valid must verify a second time, with OpenSSL instead of libsodium,
// over the text cut out naively. And the input as a payload is signed here: valid; with one byte of the event changed:
// not valid.
#include <openssl/evp.h>
#include <sodium.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

#include "appliance/ingest/jws.h"

namespace {

using namespace stele;
using namespace stele::ingest;
using Word = JwsVerdict::Word;

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::string Base64Url(ByteView bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t bits = 0;
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    for (std::size_t k = 0; k < 3; ++k)
      bits = bits << 8U | (k < count ? std::to_integer<std::uint32_t>(bytes[i + k]) : 0U);
    for (std::size_t k = 0; k <= count; ++k) out += kAlphabet[bits >> (18 - 6 * k) & 63U];
  }
  return out;
}

struct Source {
  std::array<unsigned char, crypto_sign_PUBLICKEYBYTES> open{};
  std::array<unsigned char, crypto_sign_SECRETKEYBYTES> secret{};
  SourceKeys keys;
  Source() {
    const std::array<unsigned char, crypto_sign_SEEDBYTES> seed{1, 2, 3};
    crypto_sign_seed_keypair(open.data(), secret.data(), seed.data());
    STELE_CHECK(
        keys.Add("k", "EdDSA", Base64Url(ByteView(reinterpret_cast<const std::byte*>(open.data()), open.size())))
            .has_value());
  }
  [[nodiscard]] std::string Sign(const std::string& text) const {
    std::array<unsigned char, crypto_sign_BYTES> signature{};
    crypto_sign_detached(signature.data(), nullptr, reinterpret_cast<const unsigned char*>(text.data()), text.size(),
                         secret.data());
    return Base64Url(ByteView(reinterpret_cast<const std::byte*>(signature.data()), signature.size()));
  }
  [[nodiscard]] bool Holds(const std::string& text, ByteView signature) const {
    EVP_PKEY* key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, open.data(), open.size());
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    const bool holds =
        EVP_DigestVerifyInit(context, nullptr, nullptr, nullptr, key) == 1 &&
        EVP_DigestVerify(context, reinterpret_cast<const unsigned char*>(signature.data()), signature.size(),
                         reinterpret_cast<const unsigned char*>(text.data()), text.size()) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    return holds;
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Source source;
  const ByteView input(reinterpret_cast<const std::byte*>(data), size);
  const JwsVerdict verdict = JudgeJws(input, source.keys);
  if (verdict.word == Word::kValid) {
    // Valid came in as compact text: between blanks and quotes, three parts.
    std::string text(AsText(input));
    if (text.find('{') == std::string::npos) {
      std::erase_if(text, [](char c) { return c == '"' || c == ' ' || c == '\t' || c == '\r' || c == '\n'; });
      const std::size_t point = text.rfind('.');
      const auto signature = ParseBase64Url(text.substr(point + 1), 64);
      STELE_CHECK(signature.has_value());
      STELE_CHECK(source.Holds(text.substr(0, point), *signature));
    }
  }
  STELE_CHECK((verdict.word == Word::kInvalid) == (*verdict.reason != '\0'));
  if (size < 4) return 0;
  const std::string header = R"({"alg":"EdDSA","kid":"k"})";
  const std::string text = Base64Url(AsBytes(header)) + "." + Base64Url(input.subspan(4));
  std::string jws = text + "." + source.Sign(text);
  STELE_CHECK(JudgeJws(AsBytes(jws), source.keys).word == Word::kValid);
  const std::string flattened = R"({"payload":")" + Base64Url(input.subspan(4)) + R"(","protected":")" +
                                Base64Url(AsBytes(header)) + R"(","signature":")" + source.Sign(text) + R"("})";
  if (flattened.size() < 1'000'000) STELE_CHECK(JudgeJws(AsBytes(flattened), source.keys).word == Word::kValid);
  const std::size_t at = (data[0] | static_cast<std::size_t>(data[1]) << 8U) % jws.size();
  const char changed = kAlphabet[data[2] % kAlphabet.size()];
  if (jws[at] == changed) return 0;
  jws[at] = changed;
  STELE_CHECK(JudgeJws(AsBytes(jws), source.keys).word != Word::kValid);
  return 0;
}
