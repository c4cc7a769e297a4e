// Goal: a signed event is called valid only when the registered key of its kid signed these very bytes with the key's
// own algorithm. Method: the vectors of RFC 8037 A.4 and RFC 7515 A.3, keys made here by libsodium and OpenSSL, each
// way to cheat, each byte changed.
#include "appliance/ingest/jws.h"

#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sodium.h>

#include "appliance/record/entry.h"

namespace stele::ingest {
namespace {

using Word = JwsVerdict::Word;

constexpr const char* kRfc8037Key =
    R"({"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})";
constexpr std::string_view kRfc8037Jws =
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-"
    "09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvp"
    "Ar_MuM0KAg";
constexpr const char* kRfc7515Key =
    R"({"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})";
constexpr std::string_view kRfc7515Jws =
    "eyJhbGciOiJFUzI1NiJ9."
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

std::string Base64Url(ByteView bytes) {
  std::string text = Base64Of(bytes);
  for (char& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  while (text.ends_with('=')) text.pop_back();
  return text;
}
std::string Base64Url(std::string_view text) { return Base64Url(AsBytes(text)); }

SourceKeys RingOf(const std::string& kid, std::string_view alg, const std::string& key) {
  SourceKeys keys;
  const auto added = keys.Add(kid, alg, key);
  EXPECT_TRUE(added.has_value()) << added.error().context;
  return keys;
}

JwsVerdict Judge(std::string_view event, const SourceKeys& keys) { return JudgeJws(AsBytes(event), keys); }

// An Ed25519 source with a key made by libsodium.
struct EdSource {
  std::array<unsigned char, crypto_sign_PUBLICKEYBYTES> public_key{};
  std::array<unsigned char, crypto_sign_SECRETKEYBYTES> secret_key{};
  EdSource() { crypto_sign_keypair(public_key.data(), secret_key.data()); }
  [[nodiscard]] std::string PublicText() const {
    return Base64Url(ByteView(reinterpret_cast<const std::byte*>(public_key.data()), public_key.size()));
  }
  [[nodiscard]] std::string SignatureOf(const std::string& text) const {
    std::array<unsigned char, crypto_sign_BYTES> signature{};
    crypto_sign_detached(signature.data(), nullptr, reinterpret_cast<const unsigned char*>(text.data()), text.size(),
                         secret_key.data());
    return Base64Url(ByteView(reinterpret_cast<const std::byte*>(signature.data()), signature.size()));
  }
  [[nodiscard]] std::string Compact(std::string_view header, std::string_view payload) const {
    const std::string text = Base64Url(header) + "." + Base64Url(payload);
    return text + "." + SignatureOf(text);
  }
  [[nodiscard]] SourceKeys Ring() const { return RingOf("door-7", "EdDSA", PublicText()); }
};

constexpr std::string_view kHeader = R"({"alg":"EdDSA","kid":"door-7"})";

TEST(Jws, TheVectorsOfTheStandardsHold) {
  EXPECT_EQ(Judge(kRfc8037Jws, RingOf("", "EdDSA", kRfc8037Key)).word, Word::kValid);
  EXPECT_EQ(Judge(kRfc7515Jws, RingOf("", "ES256", kRfc7515Key)).word, Word::kValid);
  EXPECT_EQ(Judge("\"" + std::string(kRfc7515Jws) + "\"", RingOf("", "ES256", kRfc7515Key)).word, Word::kValid);
  EXPECT_EQ(Judge(kRfc8037Jws, RingOf("another", "EdDSA", kRfc8037Key)).word, Word::kUnknownKey);
}

TEST(Jws, AnyCharacterChangedIsNeverValid) {
  const EdSource source;
  const SourceKeys keys = source.Ring();
  const std::string jws = source.Compact(kHeader, R"({"event":"door opened"})");
  ASSERT_EQ(Judge(jws, keys).word, Word::kValid);
  EXPECT_EQ(Judge(jws, keys).kid, "door-7");
  for (std::size_t i = 0; i < jws.size(); ++i) {
    for (const char c : {'A', 'B', 'w', 'x', '.', '=', ' ', '"'}) {
      if (jws[i] == c) continue;
      std::string changed = jws;
      changed[i] = c;
      EXPECT_NE(Judge(changed, keys).word, Word::kValid) << changed;
    }
    EXPECT_NE(Judge(jws.substr(0, i), keys).word, Word::kValid);
  }
}

TEST(Jws, TheFlattenedFormIsTheSameSignature) {
  const EdSource source;
  const SourceKeys keys = source.Ring();
  const std::string text = Base64Url(kHeader) + "." + Base64Url("x");
  const std::string good = R"({"payload":")" + Base64Url("x") + R"(","protected":")" + Base64Url(kHeader) +
                           R"(","signature":")" + source.SignatureOf(text) + R"(","more":[1,{"a":null}]})";
  EXPECT_EQ(Judge(good, keys).word, Word::kValid);
  EXPECT_EQ(Judge("  " + good + "\r\n", keys).word, Word::kValid);
  // kid in the unprotected header is where to look for the key, no more.
  const std::string bare = R"({"alg":"EdDSA"})";
  const std::string bare_text = Base64Url(bare) + "." + Base64Url("x");
  const auto with_header = [&](const std::string& header) {
    return R"({"header":)" + header + R"(,"payload":")" + Base64Url("x") + R"(","protected":")" + Base64Url(bare) +
           R"(","signature":")" + source.SignatureOf(bare_text) + R"("})";
  };
  EXPECT_EQ(Judge(with_header(R"({"kid":"door-7"})"), keys).word, Word::kValid);
  EXPECT_EQ(Judge(with_header(R"({"kid":"door-8"})"), keys).word, Word::kUnknownKey);
  EXPECT_EQ(Judge(with_header(R"({"kid":"door-7","alg":"EdDSA"})"), keys).word, Word::kInvalid);
  EXPECT_EQ(Judge(with_header(R"({"kid":"door-7","crit":["exp"]})"), keys).word, Word::kInvalid);
}

// RFC 7797: the payload stands as it is.
TEST(Jws, AnUnencodedPayloadIsSignedAsItStands) {
  const EdSource source;
  const SourceKeys keys = source.Ring();
  const std::string header = Base64Url(R"({"alg":"EdDSA","kid":"door-7","b64":false,"crit":["b64"]})");
  const auto compact = [&](const std::string& payload) {
    return header + "." + payload + "." + source.SignatureOf(header + "." + payload);
  };
  EXPECT_EQ(Judge(compact("door opened, badge 7"), keys).word, Word::kValid);
  EXPECT_EQ(Judge(compact("AAAA"), keys).word, Word::kValid);  // what could be base64url is not decoded
  EXPECT_EQ(Judge("\"" + compact("door opened") + "\"", keys).word, Word::kValid);
  EXPECT_EQ(Judge("\"" + compact("door \\n opened") + "\"", keys).word, Word::kNotSigned);
  EXPECT_EQ(Judge(compact("door.opened"), keys).word, Word::kNotSigned);
  std::string changed = compact("door opened, badge 7");
  changed.replace(changed.find("badge 7"), 7, "badge 8");
  EXPECT_EQ(Judge(changed, keys).word, Word::kInvalid);
  const auto flattened = [&](const std::string& as_json, const std::string& as_signed) {
    return R"({"payload":")" + as_json + R"(","protected":")" + header + R"(","signature":")" +
           source.SignatureOf(header + "." + as_signed) + R"("})";
  };
  EXPECT_EQ(Judge(flattened("a.b \\u00fc \\\"c\\\"", "a.b \xc3\xbc \"c\""), keys).word, Word::kValid);
  EXPECT_EQ(Judge(flattened("a.b", "a.c"), keys).word, Word::kInvalid);
}

TEST(Jws, CritMayNameOnlyWhatIsUnderstoodAndThere) {
  const EdSource source;
  const SourceKeys keys = source.Ring();
  const auto word = [&](const std::string& more) {
    return Judge(source.Compact(R"({"alg":"EdDSA","kid":"door-7",)" + more + "}", "{}"), keys).word;
  };
  EXPECT_EQ(word(R"("crit":["b64"],"b64":true)"), Word::kValid);
  EXPECT_EQ(word(R"("b64":true)"), Word::kValid);
  EXPECT_EQ(word(R"("crit":["b64"],"b64":false)"), Word::kValid);  // the encoded text is then the payload itself
  EXPECT_EQ(word(R"("b64":false)"), Word::kInvalid);
  EXPECT_EQ(word(R"("crit":["b64"])"), Word::kInvalid);
  EXPECT_EQ(word(R"("crit":[],"b64":true)"), Word::kInvalid);
  EXPECT_EQ(word(R"("crit":["b64","exp"],"b64":true)"), Word::kInvalid);
  EXPECT_EQ(word(R"("crit":["exp"],"exp":1)"), Word::kInvalid);
  EXPECT_EQ(word(R"("crit":"b64","b64":true)"), Word::kInvalid);
  EXPECT_EQ(word(R"("crit":["b64"],"b64":"true")"), Word::kInvalid);
}

TEST(Jws, TheKeyDecidesTheAlgorithmNeverTheMessage) {
  const EdSource source;
  const SourceKeys keys = source.Ring();
  const auto word = [&](std::string_view header) { return Judge(source.Compact(header, "{}"), keys).word; };
  EXPECT_EQ(word(R"({"alg":"EdDSA","kid":"door-7"})"), Word::kValid);
  EXPECT_EQ(word(R"({"alg":"none","kid":"door-7"})"), Word::kInvalid);
  EXPECT_EQ(word(R"({"alg":"none"})"), Word::kInvalid);
  EXPECT_EQ(word(R"({"alg":"HS256","kid":"door-7"})"), Word::kInvalid);
  EXPECT_EQ(word(R"({"alg":"ES256","kid":"door-7"})"), Word::kInvalid);
  EXPECT_EQ(word(R"({"alg":"eddsa","kid":"door-7"})"), Word::kInvalid);
  EXPECT_EQ(word(R"({"kid":"door-7"})"), Word::kInvalid);
  EXPECT_EQ(word(R"({"alg":["EdDSA"],"kid":"door-7"})"), Word::kInvalid);
  EXPECT_EQ(word(R"({"alg":"EdDSA","kid":7})"), Word::kInvalid);
  EXPECT_EQ(word(R"({"alg":"EdDSA","alg":"EdDSA","kid":"door-7"})"), Word::kInvalid);
  EXPECT_EQ(word(R"({"alg":"EdDSA","kid":"door-7","jwk":{"kty":"OKP"}})"),
            Word::kValid);  // a key in the message is just text
  EXPECT_EQ(word(R"({"alg":"EdDSA","kid":"door-8"})"), Word::kUnknownKey);
  EXPECT_EQ(word(R"({"alg":"RS256","kid":"door-8"})"), Word::kUnknownKey);
  EXPECT_EQ(word(R"({"alg":"EdDSA"})"), Word::kUnknownKey);
}

TEST(Jws, AMemberTwiceIsInvalid) {
  const EdSource source;
  const std::string text = Base64Url(kHeader) + "." + Base64Url("good");
  const std::string event = R"({"payload":")" + Base64Url("good") + R"(","payload":")" + Base64Url("evil") +
                            R"(","protected":")" + Base64Url(kHeader) + R"(","signature":")" +
                            source.SignatureOf(text) + R"("})";
  EXPECT_EQ(Judge(event, source.Ring()).word, Word::kInvalid);
}

TEST(Jws, OrdinaryEventsAreNotSigned) {
  const SourceKeys none;
  for (const char* event :
       {R"({"a":1})", R"({"signature":"EICAR-Test","payload":"x"})", R"({"signature":1,"payload":"x","protected":"y"})",
        R"({"payload":"x","protected":"y"})", R"("eyes wide open. really. yes")", "eyJ.x", "", "{", "\"ey\"", "ey..",
        R"({"signatures":[],"payload":"x"})", "1", "null"}) {
    const auto word = Judge(event, none).word;
    EXPECT_TRUE(word == Word::kNotSigned || std::string_view(event) == "ey..") << event;
  }
  EXPECT_EQ(Judge("ey..", none).word, Word::kInvalid);
  EXPECT_EQ(SignatureFlags(AsBytes(R"({"a":1})"), none), 0);
  EXPECT_EQ(SignatureFlags(AsBytes(kRfc8037Jws), none), record::kFlagSignatureUnknown);
  EXPECT_EQ(SignatureFlags(AsBytes("ey.."), none), record::kFlagSignatureInvalid);
  EXPECT_EQ(SignatureFlags(AsBytes(kRfc8037Jws), RingOf("", "EdDSA", kRfc8037Key)), record::kFlagSignatureValid);
}

TEST(Jws, KeysOfOpenSslAreReadInEveryForm) {
  const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const std::unique_ptr<BIO, int (*)(BIO*)> out(BIO_new(BIO_s_mem()), BIO_free);
  ASSERT_EQ(PEM_write_bio_PUBKEY(out.get(), key.get()), 1);
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  const std::string pem(data, static_cast<std::size_t>(size));
  Bytes point(65);
  std::size_t point_bytes = 0;
  ASSERT_EQ(EVP_PKEY_get_octet_string_param(key.get(), OSSL_PKEY_PARAM_PUB_KEY,
                                            reinterpret_cast<unsigned char*>(point.data()), point.size(), &point_bytes),
            1);

  const std::string text = Base64Url(R"({"alg":"ES256","kid":"k"})") + "." + Base64Url("payload");
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  std::array<unsigned char, 80> der{};
  std::size_t der_bytes = der.size();
  ASSERT_EQ(EVP_DigestSignInit_ex(context.get(), nullptr, "SHA256", nullptr, nullptr, key.get(), nullptr), 1);
  ASSERT_EQ(EVP_DigestSign(context.get(), der.data(), &der_bytes, reinterpret_cast<const unsigned char*>(text.data()),
                           text.size()),
            1);
  const unsigned char* at = der.data();
  const std::unique_ptr<ECDSA_SIG, void (*)(ECDSA_SIG*)> pair(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der_bytes)),
                                                              ECDSA_SIG_free);
  Bytes raw(64);
  BN_bn2binpad(ECDSA_SIG_get0_r(pair.get()), reinterpret_cast<unsigned char*>(raw.data()), 32);
  BN_bn2binpad(ECDSA_SIG_get0_s(pair.get()), reinterpret_cast<unsigned char*>(raw.data()) + 32, 32);
  const std::string jws = text + "." + Base64Url(raw);

  EXPECT_EQ(Judge(jws, RingOf("k", "ES256", pem)).word, Word::kValid);
  EXPECT_EQ(Judge(jws, RingOf("k", "ES256", Base64Url(point))).word, Word::kValid);
  EXPECT_EQ(Judge(jws, RingOf("k", "ES256", Base64Url(ByteView(point).subspan(1)))).word, Word::kValid);
  raw[5] ^= std::byte{1};
  EXPECT_EQ(Judge(text + "." + Base64Url(raw), RingOf("k", "ES256", pem)).word, Word::kInvalid);
  EXPECT_EQ(Judge(text + "." + Base64Url(Bytes(64)), RingOf("k", "ES256", pem)).word, Word::kInvalid);  // r = s = 0
  EXPECT_EQ(Judge(text + "." +
                      Base64Url(ByteView(der.data() == nullptr ? nullptr : reinterpret_cast<std::byte*>(der.data()),
                                         der_bytes)),
                  RingOf("k", "ES256", pem))
                .word,
            Word::kInvalid);  // DER is not what JWS uses
  EXPECT_EQ(Judge(jws, RingOf("k", "ES256", kRfc7515Key)).word, Word::kInvalid);
}

TEST(Jws, WhatIsNoKeyIsRefusedWhenItIsRegistered) {
  const auto refused = [](std::string_view alg, const std::string& key) {
    SourceKeys keys;
    const auto added = keys.Add("k", alg, key);
    return !added && added.error().code == Code::kInvalid;
  };
  EXPECT_TRUE(refused("HS256", "c2VjcmV0"));
  EXPECT_TRUE(refused("none", ""));
  EXPECT_TRUE(refused("EdDSA", ""));
  EXPECT_TRUE(refused("EdDSA", "AAAA"));
  EXPECT_TRUE(refused("EdDSA", kRfc7515Key));
  EXPECT_TRUE(refused("ES256", kRfc8037Key));
  EXPECT_TRUE(refused("ES256", Base64Url(Bytes(64, std::byte{1}))));  // not on the curve
  EXPECT_TRUE(refused("EdDSA", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"));
  EXPECT_TRUE(refused(
      "EdDSA",
      R"({"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})"));
  SourceKeys keys = RingOf("k", "EdDSA", kRfc8037Key);
  EXPECT_FALSE(keys.Add("k", "ES256", kRfc7515Key));
}

TEST(Base64UrlText, IsReadStrictly) {
  EXPECT_EQ(ParseBase64Url("", 0), Bytes());
  EXPECT_EQ(AsText(*ParseBase64Url("Zm9v", 3)), "foo");
  EXPECT_EQ(AsText(*ParseBase64Url("Zm8", 2)), "fo");
  for (const char* text : {"Z", "Zm8=", "Zm9", "Zh", "Zm+v", "Zm/v", "Zm v", "Zm\nv"})
    EXPECT_FALSE(ParseBase64Url(text, 100)) << text;
  EXPECT_FALSE(ParseBase64Url("Zm9v", 2));
  for (std::size_t size = 0; size < 70; ++size) {
    Bytes bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 37 + 11);
    EXPECT_EQ(ParseBase64Url(Base64Url(bytes), size), bytes);
  }
}

}  // namespace
}  // namespace stele::ingest
