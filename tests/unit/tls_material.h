// Certificates for tests, made by OpenSSL on the spot: authorities, and what they sign.
#pragma once

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

#include "appliance/base/bytes.h"

namespace stele::test {

struct X509Free {
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509_EXTENSION* extension) const { X509_EXTENSION_free(extension); }
};

struct Material {
  std::shared_ptr<X509> certificate;
  std::shared_ptr<EVP_PKEY> key;

  [[nodiscard]] std::string CertificatePem() const {
    const std::unique_ptr<BIO, X509Free> out(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509(out.get(), certificate.get());
    return Drain(out.get());
  }
  [[nodiscard]] std::string KeyPem() const {
    const std::unique_ptr<BIO, X509Free> out(BIO_new(BIO_s_mem()));
    PEM_write_bio_PrivateKey(out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    return Drain(out.get());
  }
  [[nodiscard]] Hash Fingerprint() const {
    Hash digest{};
    unsigned length = 0;
    X509_digest(certificate.get(), EVP_sha256(), reinterpret_cast<unsigned char*>(digest.data()), &length);
    return digest;
  }

 private:
  static std::string Drain(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    return {data, static_cast<std::size_t>(size)};
  }
};

struct Wanted {
  std::string common_name;
  std::string alternative_names = {};  // as OpenSSL's configuration writes them: "DNS:a.example,IP:192.0.2.1"
  bool authority = false;
  long begin_s = -3'600;  // from now
  long end_s = 3'600;
  std::shared_ptr<EVP_PKEY> key = nullptr;  // the public key to certify; null: a new one on P-256
};

inline Material Issue(const Wanted& wanted, const Material* issuer = nullptr) {
  static long serial = 1;
  Material out{{X509_new(), X509Free{}}, wanted.key ? wanted.key : std::shared_ptr<EVP_PKEY>(EVP_EC_gen("P-256"), X509Free{})};
  X509* certificate = out.certificate.get();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), wanted.begin_s);
  X509_gmtime_adj(X509_getm_notAfter(certificate), wanted.end_s);
  X509_set_pubkey(certificate, out.key.get());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(wanted.common_name.c_str()), -1, -1, 0);
  const Material& signer = issuer != nullptr ? *issuer : out;
  X509_set_issuer_name(certificate, X509_get_subject_name(signer.certificate.get()));
  const auto add = [&](int nid, const std::string& value) {
    const std::unique_ptr<X509_EXTENSION, X509Free> extension(
        X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str()));
    X509_add_ext(certificate, extension.get(), -1);
  };
  if (wanted.authority) add(NID_basic_constraints, "critical,CA:TRUE");
  if (!wanted.alternative_names.empty()) add(NID_subject_alt_name, wanted.alternative_names);
  X509_sign(certificate, signer.key.get(), EVP_sha256());
  return out;
}

}  // namespace stele::test
