#include "appliance/ingest/syslog_keys.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>

#include "appliance/base/limits.h"
#include "appliance/ingest/tls.h"

namespace stele::ingest {
namespace {

constexpr std::size_t kModulusBitsMax = 4'096;
constexpr std::size_t kModulusBitsMin = 1'024;
constexpr std::size_t kKeyBlobBytes = 4 * limits::kKiB;

template <typename T, void (*kFree)(T*)>
struct Freer {
  void operator()(T* object) const { kFree(object); }
};
using CertificatePtr = std::unique_ptr<X509, Freer<X509, X509_free>>;
using NumberPtr = std::unique_ptr<BIGNUM, Freer<BIGNUM, BN_free>>;
using KeyContextPtr = std::unique_ptr<EVP_PKEY_CTX, Freer<EVP_PKEY_CTX, EVP_PKEY_CTX_free>>;
struct BioFree {
  void operator()(BIO* bio) const { BIO_free_all(bio); }
};
using BioPtr = std::unique_ptr<BIO, BioFree>;
using Key = std::shared_ptr<EVP_PKEY>;

Key Owned(EVP_PKEY* key) { return key == nullptr ? Key() : Key(key, EVP_PKEY_free); }

const unsigned char* Octets(ByteView bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

BioPtr ReadingFrom(std::string_view pem) { return BioPtr(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))); }
int NoPassword(char*, int, int, void*) { return -1; }  // never ask a terminal

// A DSA key of a size that is worth a verification, and not a burden.
bool IsUsable(EVP_PKEY* key) {
  if (key == nullptr || EVP_PKEY_is_a(key, "DSA") != 1) return false;
  const auto bits = static_cast<std::size_t>(std::max(0, EVP_PKEY_get_bits(key)));
  return bits >= kModulusBitsMin && bits <= kModulusBitsMax;
}

// Key blob type K: p, q, g and y, one after the other.
Key KeyOfIntegers(ByteView blob) {
  std::array<NumberPtr, 4> numbers;
  for (NumberPtr& number : numbers) {
    const auto raw = TakeMpi(blob, kModulusBitsMax);
    if (!raw) return {};
    number.reset(BN_bin2bn(Octets(*raw), static_cast<int>(raw->size()), nullptr));
  }
  if (!blob.empty()) return {};
  constexpr std::array<const char*, 4> kNames = {OSSL_PKEY_PARAM_FFC_P, OSSL_PKEY_PARAM_FFC_Q, OSSL_PKEY_PARAM_FFC_G,
                                                 OSSL_PKEY_PARAM_PUB_KEY};
  const std::unique_ptr<OSSL_PARAM_BLD, Freer<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free>> builder(OSSL_PARAM_BLD_new());
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (!builder || OSSL_PARAM_BLD_push_BN(builder.get(), kNames[i], numbers[i].get()) != 1) return {};
  }
  const std::unique_ptr<OSSL_PARAM, Freer<OSSL_PARAM, OSSL_PARAM_free>> parameters(
      OSSL_PARAM_BLD_to_param(builder.get()));
  const KeyContextPtr context(EVP_PKEY_CTX_new_from_name(nullptr, "DSA", nullptr));
  EVP_PKEY* key = nullptr;
  if (!context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters.get()) != 1) {
    return {};
  }
  return Owned(key);
}

// Key blob type K as RFC 5848 has it, or as NetBSD's syslogd does: a SubjectPublicKeyInfo.
Key KeyOfBlob(ByteView blob) {
  if (blob.size() > kKeyBlobBytes) return {};
  Key key;
  if (!blob.empty() && blob[0] == std::byte{0x30}) {
    const unsigned char* at = Octets(blob);
    key = Owned(d2i_PUBKEY(nullptr, &at, static_cast<long>(blob.size())));
    if (at != Octets(blob) + blob.size()) key.reset();
  } else {
    key = KeyOfIntegers(blob);
  }
  ERR_clear_error();
  return IsUsable(key.get()) ? key : Key();
}

CertificatePtr CertificateOfPem(const std::string& pem) {
  CertificatePtr certificate(PEM_read_bio_X509(ReadingFrom(pem).get(), nullptr, NoPassword, nullptr));
  ERR_clear_error();
  return certificate;
}

Result<Key> PublicKeyOf(const std::string& text) {
  Key key;
  if (text.find("-----BEGIN") != std::string::npos) {
    key = Owned(PEM_read_bio_PUBKEY(ReadingFrom(text).get(), nullptr, NoPassword, nullptr));
    ERR_clear_error();
  } else if (const auto blob = ParseBase64(text, kKeyBlobBytes)) {
    key = KeyOfBlob(*blob);
  }
  if (!IsUsable(key.get())) return Fail(Code::kInvalid, "public_key is no DSA key of 1,024 to 4,096 bits");
  return key;
}

Result<std::shared_ptr<X509_STORE>> AuthorityOf(const std::string& pem) {
  const BioPtr in = ReadingFrom(pem);
  std::shared_ptr<X509_STORE> store(X509_STORE_new(), X509_STORE_free);
  int count = 0;
  while (const CertificatePtr one{PEM_read_bio_X509(in.get(), nullptr, NoPassword, nullptr)}) {
    if (X509_STORE_add_cert(store.get(), one.get()) != 1) return Fail(Code::kInvalid, "authority: a certificate twice");
    ++count;
  }
  ERR_clear_error();
  if (count == 0) return Fail(Code::kInvalid, "authority holds no certificate in PEM");
  return store;
}

// RFC 5280 path validation, no intermediate certificates: a Payload Block brings only one.
bool Vouches(X509_STORE* authority, X509* certificate, std::int64_t wall_ns) {
  const std::unique_ptr<X509_STORE_CTX, Freer<X509_STORE_CTX, X509_STORE_CTX_free>> context(X509_STORE_CTX_new());
  if (!context || X509_STORE_CTX_init(context.get(), authority, certificate, nullptr) != 1) return false;
  X509_STORE_CTX_set_time(context.get(), 0, static_cast<time_t>(wall_ns / 1'000'000'000));
  const bool holds = X509_verify_cert(context.get()) == 1;
  ERR_clear_error();
  return holds;
}

}  // namespace

bool SameHost(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return Lower(x) == Lower(y); });
}

bool SyslogKeys::Registered::MaySignFor(std::string_view hostname) const {
  return host.empty() || SameHost(host, hostname);
}

Result<void> SyslogKeys::Add(const SyslogKeyText& text) {
  Registered entry;
  entry.name = text.name;
  if (text.name.empty() || text.name.size() > limits::kSenderNameBytes) return Fail(Code::kInvalid, "needs a name");
  entry.host = text.host;
  std::transform(entry.host.begin(), entry.host.end(), entry.host.begin(), Lower);
  if (text.unlisted == "all") {
    entry.unlisted = Unlisted::kAll;
  } else if (text.unlisted == "ignore") {
    entry.unlisted = Unlisted::kIgnore;
  } else if (!text.unlisted.empty() && text.unlisted != "host") {
    return Fail(Code::kInvalid, "unlisted must be \"host\", \"all\" or \"ignore\"");
  }
  const auto given = [](const std::string& value) { return value.empty() ? 0 : 1; };
  if (given(text.public_key) + given(text.certificate) + given(text.fingerprint) + given(text.authority) != 1) {
    return Fail(Code::kInvalid, "needs exactly one of public_key, certificate, fingerprint and authority");
  }
  if (!text.public_key.empty()) {
    STELE_TRY(entry.key, PublicKeyOf(text.public_key));
  } else if (!text.certificate.empty()) {
    const CertificatePtr certificate = CertificateOfPem(text.certificate);
    if (!certificate) return Fail(Code::kInvalid, "certificate is not PEM");
    entry.key = Owned(X509_get_pubkey(certificate.get()));
    if (!IsUsable(entry.key.get())) return Fail(Code::kInvalid, "the certificate's key is no DSA key");
    entry.fingerprint = FingerprintOf(certificate.get());
  } else if (!text.fingerprint.empty()) {
    entry.fingerprint = ParseFingerprint(text.fingerprint);
    if (!entry.fingerprint) return Fail(Code::kInvalid, "fingerprint must be \"sha256:\" and 64 hexadecimal digits");
  } else {
    STELE_TRY(entry.authority, AuthorityOf(text.authority));
  }
  const auto same_host = [&entry](const Registered& other) { return other.key && other.host == entry.host; };
  if (entry.key && std::count_if(registered_.begin(), registered_.end(), same_host) >=
                       static_cast<std::ptrdiff_t>(limits::kSignedKeysPerHost)) {
    return Fail(Code::kInvalid, "is the fifth key of one host: more are never tried");
  }
  registered_.push_back(std::move(entry));
  return {};
}

bool SyslogKeys::Expects(std::string_view hostname) const {
  return std::any_of(registered_.begin(), registered_.end(), [hostname](const Registered& entry) {
    return !entry.host.empty() && SameHost(entry.host, hostname);
  });
}

std::vector<const SyslogKeys::Registered*> SyslogKeys::KnownFor(std::string_view hostname) const {
  std::vector<const Registered*> known;
  for (const Registered& entry : registered_) {
    if (entry.key && entry.MaySignFor(hostname)) known.push_back(&entry);
  }
  return known;
}

SyslogKeys::Claim SyslogKeys::Resolve(const PayloadBlock& payload, std::string_view hostname,
                                      std::int64_t wall_ns) const {
  if (payload.key_type == 'C') return ResolveCertificate(payload.key_blob, hostname, wall_ns);
  if (payload.key_type != 'K') return {};
  const Key key = KeyOfBlob(payload.key_blob);
  for (const Registered& entry : registered_) {
    if (key && entry.key && entry.MaySignFor(hostname) && EVP_PKEY_eq(entry.key.get(), key.get()) == 1) {
      return {&entry, entry.key};
    }
  }
  return {};
}

SyslogKeys::Claim SyslogKeys::ResolveCertificate(ByteView der, std::string_view hostname, std::int64_t wall_ns) const {
  const unsigned char* at = Octets(der);
  const CertificatePtr certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  ERR_clear_error();
  if (!certificate || at != Octets(der) + der.size()) return {};
  const auto identity = IdentityOf(certificate.get());
  const Key key = Owned(X509_get_pubkey(certificate.get()));
  ERR_clear_error();
  if (!identity || !IsUsable(key.get())) return {};
  for (const Registered& entry : registered_) {
    if (!entry.MaySignFor(hostname)) continue;
    if (entry.fingerprint && *entry.fingerprint == identity->fingerprint) return {&entry, key};
    if (entry.key && EVP_PKEY_eq(entry.key.get(), key.get()) == 1) return {&entry, key};
    if (entry.authority && identity->NamesHost(hostname) &&
        Vouches(entry.authority.get(), certificate.get(), wall_ns)) {
      return {&entry, key};
    }
  }
  return {};
}

bool Holds(const SignatureProof& proof, evp_pkey_st* key) {
  const KeyContextPtr context(EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr));
  const bool holds = context && EVP_PKEY_verify_init(context.get()) == 1 &&
                     EVP_PKEY_verify(context.get(), Octets(proof.signature), proof.signature.size(),
                                     Octets(proof.digest), proof.digest_bytes) == 1;
  ERR_clear_error();
  return holds;
}

}  // namespace stele::ingest
