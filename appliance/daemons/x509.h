// X.509 by OpenSSL, the few words certificates.cc needs: issue, load, compare, pack. No files, no policy.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/base/bytes.h"

namespace stele::daemons {

struct X509Free {
  void operator()(X509* certificate) const { X509_free(certificate); }
};
struct KeyFree {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};

struct Pair {  // a certificate and its private key
  std::unique_ptr<X509, X509Free> certificate;
  std::unique_ptr<EVP_PKEY, KeyFree> key;
};

enum class Purpose { kAuthority, kServer, kClient };

struct Template {
  std::string common_name;
  Purpose purpose = Purpose::kServer;
  std::vector<std::string> names;  // subject alternative names, canonical; addresses and DNS names
  std::int64_t begin_s = 0;        // since the epoch
  std::int64_t end_s = 0;
};

// A fresh P-256 key and its certificate, signed by `authority` (nullptr: by itself).
[[nodiscard]] Result<Pair> Issue(const Template& wanted, const Pair* authority);

// kInvalid unless both parse and belong together.
[[nodiscard]] Result<Pair> ParsePair(std::string_view certificate_pem, std::string_view key_pem);
[[nodiscard]] Result<std::string> CertificatePem(const Pair& pair);
[[nodiscard]] Result<std::string> KeyPem(const Pair& pair);  // PKCS#8, not encrypted

[[nodiscard]] bool SignedBy(const Pair& pair, const Pair& authority);
[[nodiscard]] std::int64_t SecondsLeft(const Pair& pair, std::int64_t now_s);       // negative: over, or not yet begun
[[nodiscard]] bool Names(const Pair& pair, const std::vector<std::string>& names);  // has all of them

// An address in canonical form or a DNS name in lower case. kInvalid when it is neither.
[[nodiscard]] Result<std::string> CanonicalName(std::string_view name);

// RFC 7292, AES-256 and PBKDF2.
[[nodiscard]] Result<Bytes> MakePkcs12(const Pair& pair, const Pair& authority, const std::string& friendly_name,
                                       const std::string& password);
[[nodiscard]] bool OpensPkcs12(ByteView packed, const std::string& password, const Pair& pair);

// Letters and digits that cannot be mistaken for one another, 5 bits each.
[[nodiscard]] Result<std::string> RandomText(std::size_t length);

}  // namespace stele::daemons
