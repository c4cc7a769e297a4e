#include "appliance/ingest/jws.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <simdjson.h>
#include <sodium/crypto_sign_ed25519.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "appliance/ingest/ndjson.h"
#include "appliance/record/entry.h"

namespace stele::ingest {
namespace {

using nlohmann::json;
using Word = JwsVerdict::Word;

constexpr std::size_t kSignatureBytes = 64;  // of both algorithms
constexpr std::size_t kEd25519KeyBytes = crypto_sign_ed25519_PUBLICKEYBYTES;
constexpr std::size_t kPointBytes = 65;
constexpr std::byte kUncompressed{0x04};

using Pkey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

// The parts of a JWS as they stand in the event.
struct Jws {
  std::string_view protected_header;  // base64url; empty: none
  std::string_view payload;
  std::string_view signature;
  std::optional<simdjson::dom::object> header;  // unprotected
  bool member_twice = false;
  bool compact = false;
};

struct Header {
  std::optional<std::string> alg;
  std::optional<std::string> kid;
  std::optional<bool> b64;  // RFC 7797
  bool critical = false;    // `crit` is there, and names b64
  const char* problem = nullptr;
};

JwsVerdict Invalid(const char* reason, std::string kid = {}) { return {Word::kInvalid, std::move(kid), reason}; }

bool IsBase64UrlText(std::string_view text) {
  return text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") ==
         std::string_view::npos;
}

bool IsPrintable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

std::optional<Jws> SplitCompact(std::string_view text) {
  const std::size_t first = text.find('.');
  if (first == std::string_view::npos || first == 0) return std::nullopt;
  const std::size_t second = text.find('.', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  Jws jws;
  jws.protected_header = text.substr(0, first);
  jws.payload = text.substr(first + 1, second - first - 1);
  jws.signature = text.substr(second + 1);
  jws.compact = true;
  // "eyJ" is {" in base64url: what else begins so and holds two points only by chance?
  if (!jws.protected_header.starts_with("ey") || !IsBase64UrlText(jws.protected_header)) return std::nullopt;
  if (!IsPrintable(jws.payload) || !IsBase64UrlText(jws.signature)) return std::nullopt;
  return jws;
}

std::optional<Jws> FromObject(const simdjson::dom::object& object) {
  Jws jws;
  bool has_payload = false;
  bool has_signature = false;
  for (const auto member : object) {
    std::string_view* text = nullptr;
    if (member.key == "protected") text = &jws.protected_header;
    if (member.key == "payload") {
      text = &jws.payload;
      has_payload = true;
    }
    if (member.key == "signature") {
      text = &jws.signature;
      has_signature = true;
    }
    if (text != nullptr && text->data() != nullptr) jws.member_twice = true;
    if (text != nullptr && member.value.get_string().get(*text) != simdjson::SUCCESS) return std::nullopt;
    if (member.key == "header") {
      simdjson::dom::object header;
      if (jws.header) jws.member_twice = true;
      if (member.value.get_object().get(header) != simdjson::SUCCESS) return std::nullopt;
      jws.header = header;
    }
  }
  // A detector's "signature" beside a "payload" is an ordinary event: a JWS also has a header that names an algorithm.
  if (!has_payload || !has_signature) return std::nullopt;
  const bool names_algorithm = jws.header && jws.header->at_key("alg").error() == simdjson::SUCCESS;
  if (jws.protected_header.empty() && !names_algorithm) return std::nullopt;
  return jws;
}

// `crit` (RFC 7515 section 4.1.11) and `b64`, the one extension it may name here (RFC 7797 sections 3 and 6).
void ReadExtension(const simdjson::dom::key_value_pair& member, bool is_protected, Header& out) {
  if (!is_protected) {
    out.problem = "crit and b64 must be protected";
    return;
  }
  if (member.key == "b64") {
    bool b64 = true;
    if (member.value.get_bool().get(b64) != simdjson::SUCCESS) out.problem = "b64 is true or false";
    out.b64 = b64;
    return;
  }
  simdjson::dom::array names;
  if (member.value.get_array().get(names) != simdjson::SUCCESS || names.size() != 1) {
    out.problem = "crit may name b64 and nothing else";
    return;
  }
  std::string_view name;
  out.critical = names.at(0).get_string().get(name) == simdjson::SUCCESS && name == "b64";
  if (!out.critical) out.problem = "crit may name b64 and nothing else";
}

// Takes the parameters of one header into `out`; names seen go into `names`, which both headers share.
void ReadHeader(const simdjson::dom::object& object, bool is_protected, std::map<std::string, int, std::less<>>& names,
                Header& out) {
  for (const auto member : object) {
    if (!names.emplace(std::string(member.key), 0).second) {
      out.problem = "a header parameter twice";
      return;
    }
    if (member.key == "crit" || member.key == "b64") ReadExtension(member, is_protected, out);
    if (member.key != "alg" && member.key != "kid") continue;
    std::string_view text;
    if (member.value.get_string().get(text) != simdjson::SUCCESS) {
      out.problem = "alg and kid are strings";
      return;
    }
    if (member.key == "kid") {
      out.kid = std::string(text);
    } else if (is_protected) {
      out.alg = std::string(text);
    } else {
      out.problem = "alg is not in the protected header";
    }
  }
}

Header HeaderOf(const Jws& jws) {
  Header header;
  std::map<std::string, int, std::less<>> names;
  if (!jws.protected_header.empty()) {
    const auto text = ParseBase64Url(jws.protected_header, limits::kJwsHeaderBytes);
    simdjson::dom::parser parser;
    simdjson::dom::object object;
    if (!text || parser.parse(reinterpret_cast<const char*>(text->data()), text->size()).get_object().get(object) !=
                     simdjson::SUCCESS) {
      header.problem = "the protected header is not a JSON object in base64url";
      return header;
    }
    ReadHeader(object, true, names, header);
  }
  if (header.problem == nullptr && jws.header) ReadHeader(*jws.header, false, names, header);
  if (header.problem == nullptr && header.critical != header.b64.has_value() && (header.critical || !*header.b64)) {
    header.problem = "b64 and crit do not name each other";
  }
  return header;
}

Pkey P256KeyOf(ByteView point) {
  std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(
      EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr), EVP_PKEY_CTX_free);
  char group[] = "P-256";
  Bytes copy = ToBytes(point);
  std::array<OSSL_PARAM, 3> parameters = {
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, copy.data(), copy.size()), OSSL_PARAM_construct_end()};
  EVP_PKEY* key = nullptr;
  if (!context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters.data()) != 1) {
    return {nullptr, EVP_PKEY_free};
  }
  return {key, EVP_PKEY_free};
}

//= RFC 7518 section 3.4
//# The JWS Signature value MUST be a 64-octet sequence.
bool Es256Holds(ByteView signature, std::string_view signed_text, EVP_PKEY* key) {
  const auto* octets = reinterpret_cast<const unsigned char*>(signature.data());
  std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> pair(ECDSA_SIG_new(), ECDSA_SIG_free);
  BIGNUM* r = BN_bin2bn(octets, 32, nullptr);
  BIGNUM* s = BN_bin2bn(octets + 32, 32, nullptr);
  if (!pair || r == nullptr || s == nullptr || ECDSA_SIG_set0(pair.get(), r, s) != 1) {
    BN_free(r);
    BN_free(s);
    return false;
  }
  unsigned char* der = nullptr;
  const int der_bytes = i2d_ECDSA_SIG(pair.get(), &der);
  if (der_bytes <= 0) return false;
  const std::unique_ptr<unsigned char, void (*)(unsigned char*)> der_owner(der,
                                                                           [](unsigned char* p) { OPENSSL_free(p); });
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  return context && EVP_DigestVerifyInit_ex(context.get(), nullptr, "SHA256", nullptr, nullptr, key, nullptr) == 1 &&
         EVP_DigestVerify(context.get(), der, static_cast<std::size_t>(der_bytes),
                          reinterpret_cast<const unsigned char*>(signed_text.data()), signed_text.size()) == 1;
}

bool Ed25519Holds(ByteView signature, std::string_view signed_text, ByteView key) {
  return crypto_sign_ed25519_verify_detached(reinterpret_cast<const unsigned char*>(signature.data()),
                                             reinterpret_cast<const unsigned char*>(signed_text.data()),
                                             signed_text.size(),
                                             reinterpret_cast<const unsigned char*>(key.data())) == 0;
}

JwsVerdict Judge(const Jws& jws, const SourceKeys& keys) {
  if (jws.member_twice) return Invalid("a member twice");
  const Header header = HeaderOf(jws);
  // A text with two points whose middle is no base64url is a JWS only if its header says so.
  if (jws.compact && header.b64.value_or(true) && !IsBase64UrlText(jws.payload)) return {};
  const std::string kid = header.kid.value_or("");
  std::string shown = kid.substr(0, limits::kJwsKidBytes);
  if (header.problem != nullptr) return Invalid(header.problem, std::move(shown));
  if (!header.alg) return Invalid("no alg in the protected header", std::move(shown));
  if (*header.alg == "none") return Invalid("alg is none", std::move(shown));
  const SourceKeys::Key* key = keys.Find(kid);
  if (key == nullptr) return {Word::kUnknownKey, std::move(shown), ""};
  if (*header.alg != (key->algorithm == JwsAlgorithm::kEdDsa ? "EdDSA" : "ES256")) {
    return Invalid("alg is not the registered key's", std::move(shown));
  }
  const auto signature = ParseBase64Url(jws.signature, kSignatureBytes);
  if (!signature || signature->size() != kSignatureBytes)
    return Invalid("the signature is not 64 bytes in base64url", std::move(shown));
  const bool encoded = header.b64.value_or(true);
  if (encoded && !ParseBase64Url(jws.payload, limits::kMessageBytesCeiling))
    return Invalid("the payload is not base64url", std::move(shown));
  std::string signed_text;
  signed_text.reserve(jws.protected_header.size() + 1 + jws.payload.size());
  signed_text.append(jws.protected_header).append(1, '.').append(jws.payload);
  const bool holds = key->algorithm == JwsAlgorithm::kEdDsa ? Ed25519Holds(*signature, signed_text, key->raw)
                                                            : Es256Holds(*signature, signed_text, key->p256.get());
  if (!holds) return Invalid("the signature does not hold", std::move(shown));
  return {Word::kValid, std::move(shown), ""};
}

std::string_view WithoutBlanks(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

Result<Bytes> RawOfEvp(EVP_PKEY* key, JwsAlgorithm algorithm) {
  Bytes raw(kPointBytes);
  std::size_t size = raw.size();
  auto* out = reinterpret_cast<unsigned char*>(raw.data());
  if (algorithm == JwsAlgorithm::kEdDsa) {
    if (EVP_PKEY_is_a(key, "ED25519") != 1 || EVP_PKEY_get_raw_public_key(key, out, &size) != 1) {
      return Fail(Code::kInvalid, "the PEM does not hold an Ed25519 public key");
    }
  } else {
    char group[32] = {};
    std::size_t group_bytes = 0;
    if (EVP_PKEY_is_a(key, "EC") != 1 || EVP_PKEY_get_group_name(key, group, sizeof group, &group_bytes) != 1 ||
        std::string_view(group) != "prime256v1" ||
        EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, out, size, &size) != 1) {
      return Fail(Code::kInvalid, "the PEM does not hold a P-256 public key");
    }
  }
  raw.resize(size);
  return raw;
}

Result<Bytes> RawOfPem(const std::string& pem, JwsAlgorithm algorithm) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())),
                                                     BIO_free);
  const Pkey key(in ? PEM_read_bio_PUBKEY(in.get(), nullptr, nullptr, nullptr) : nullptr, EVP_PKEY_free);
  if (!key) return Fail(Code::kInvalid, "not a public key in PEM (SubjectPublicKeyInfo)");
  return RawOfEvp(key.get(), algorithm);
}

Result<Bytes> RawOfJwk(const std::string& text, JwsAlgorithm algorithm) {
  const json jwk = json::parse(text, nullptr, false);
  if (!jwk.is_object()) return Fail(Code::kInvalid, "not a JWK");
  const auto member = [&jwk](const char* name) {
    const auto at = jwk.find(name);
    return at != jwk.end() && at->is_string() ? at->get<std::string>() : std::string();
  };
  if (jwk.contains("d")) return Fail(Code::kInvalid, "the JWK holds a private key: register the public one");
  const bool edwards = algorithm == JwsAlgorithm::kEdDsa;
  if (member("kty") != (edwards ? "OKP" : "EC") || member("crv") != (edwards ? "Ed25519" : "P-256")) {
    return Fail(Code::kInvalid, "the JWK is not of the key's alg");
  }
  const auto x = ParseBase64Url(member("x"), 32);
  if (!x || x->size() != 32) return Fail(Code::kInvalid, "x of the JWK is not 32 bytes in base64url");
  if (edwards) return *x;
  const auto y = ParseBase64Url(member("y"), 32);
  if (!y || y->size() != 32) return Fail(Code::kInvalid, "y of the JWK is not 32 bytes in base64url");
  Bytes point{kUncompressed};
  Append(point, *x);
  Append(point, *y);
  return point;
}

Result<Bytes> RawOfText(const std::string& text, JwsAlgorithm algorithm) {
  auto raw = ParseBase64Url(text, kPointBytes);
  if (algorithm == JwsAlgorithm::kEdDsa) {
    if (!raw || raw->size() != kEd25519KeyBytes) return Fail(Code::kInvalid, "not 32 bytes in base64url, PEM or JWK");
    return std::move(*raw);
  }
  if (!raw || (raw->size() != kPointBytes && raw->size() != kPointBytes - 1)) {
    return Fail(Code::kInvalid, "not 65 or 64 bytes in base64url, PEM or JWK");
  }
  if (raw->size() == kPointBytes - 1) raw->insert(raw->begin(), kUncompressed);
  return std::move(*raw);
}

}  // namespace

std::optional<Bytes> ParseBase64Url(std::string_view text, std::size_t size_bytes_max) {
  if (text.size() % 4 == 1 || text.size() / 4 * 3 + (text.size() % 4) * 3 / 4 > size_bytes_max) return std::nullopt;
  Bytes out;
  out.reserve(text.size() * 3 / 4);
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : text) {
    std::uint32_t value = 0;
    if (c >= 'A' && c <= 'Z') {
      value = static_cast<std::uint32_t>(c - 'A');
    } else if (c >= 'a' && c <= 'z') {
      value = static_cast<std::uint32_t>(c - 'a') + 26;
    } else if (c >= '0' && c <= '9') {
      value = static_cast<std::uint32_t>(c - '0') + 52;
    } else if (c == '-') {
      value = 62;
    } else if (c == '_') {
      value = 63;
    } else {
      return std::nullopt;
    }
    bits = (bits << 6U | value) & 0x3fffU;
    count += 6;
    if (count >= 8) {
      count -= 8;
      out.push_back(static_cast<std::byte>(bits >> count & 0xffU));
    }
  }
  if ((bits & ((1U << count) - 1U)) != 0) return std::nullopt;
  return out;
}

Result<void> SourceKeys::Add(const std::string& kid, std::string_view alg, const std::string& public_key) {
  Key key;
  if (alg == "ES256") {
    key.algorithm = JwsAlgorithm::kEs256;
  } else if (alg != "EdDSA") {
    return Fail(Code::kInvalid, "alg must be \"EdDSA\" or \"ES256\"");
  }
  if (kid.size() > limits::kJwsKidBytes) return Fail(Code::kInvalid, "kid is too long");
  const std::string text(WithoutBlanks(public_key));
  auto raw = text.starts_with("-----") ? RawOfPem(text, key.algorithm)
             : text.starts_with("{")   ? RawOfJwk(text, key.algorithm)
                                       : RawOfText(text, key.algorithm);
  if (!raw) return tl::unexpected(std::move(raw.error()));
  if (key.algorithm == JwsAlgorithm::kEs256) {
    key.p256 = std::shared_ptr<EVP_PKEY>(P256KeyOf(*raw));
    if (!key.p256) return Fail(Code::kInvalid, "not a point of P-256");
  }
  key.raw = std::move(*raw);
  if (!keys_.emplace(kid, std::move(key)).second) return Fail(Code::kInvalid, "the kid \"" + kid + "\" twice");
  return {};
}

const SourceKeys::Key* SourceKeys::Find(const std::string& kid) const {
  const auto at = keys_.find(kid);
  return at == keys_.end() ? nullptr : &at->second;
}

JwsVerdict JudgeJws(ByteView event, const SourceKeys& keys) {
  if (event.size() > kJsonCheckedBytesMax) return {};
  const std::string_view text = WithoutBlanks(AsText(event));
  if (text.starts_with("ey")) {
    const auto jws = SplitCompact(text);
    return jws ? Judge(*jws, keys) : JwsVerdict();
  }
  if (text.starts_with("\"ey") && text.size() > 2 && text.back() == '"') {
    // A text with an escape is not one: nothing that is signed is resolved here.
    const std::string_view inner = text.substr(1, text.size() - 2);
    const auto jws = inner.find_first_of("\\\"") == std::string_view::npos ? SplitCompact(inner) : std::nullopt;
    return jws ? Judge(*jws, keys) : JwsVerdict();
  }
  if (!text.starts_with('{') || ::memmem(text.data(), text.size(), "\"signature\"", 11) == nullptr) return {};
  if (text.find("\"payload\"") == std::string_view::npos) return {};
  simdjson::dom::parser parser;
  if (parser.allocate(text.size(), kJsonDepthMax + 1) != simdjson::SUCCESS) return {};
  simdjson::dom::object object;
  if (parser.parse(text.data(), text.size()).get_object().get(object) != simdjson::SUCCESS) return {};
  const auto jws = FromObject(object);
  return jws ? Judge(*jws, keys) : JwsVerdict();
}

std::uint16_t SignatureFlags(ByteView event, const SourceKeys& keys) {
  switch (JudgeJws(event, keys).word) {
    case Word::kNotSigned:
      return 0;
    case Word::kValid:
      return record::kFlagSignatureValid;
    case Word::kInvalid:
      return record::kFlagSignatureInvalid;
    case Word::kUnknownKey:
      return record::kFlagSignatureUnknown;
  }
  return 0;
}

}  // namespace stele::ingest
