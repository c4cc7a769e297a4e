#include "web/server/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <array>

#include "appliance/base/hash.h"

namespace stele::web {
namespace {

struct BioFree {
  void operator()(BIO* bio) const { BIO_free_all(bio); }
};
struct X509Free {
  void operator()(X509* certificate) const { X509_free(certificate); }
};
struct KeyFree {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using BioPtr = std::unique_ptr<BIO, BioFree>;
using X509Ptr = std::unique_ptr<X509, X509Free>;
using KeyPtr = std::unique_ptr<EVP_PKEY, KeyFree>;

tl::unexpected<Error> FailTls(const std::string& what) {
  std::array<char, 256> text{};
  ERR_error_string_n(ERR_get_error(), text.data(), text.size());
  ERR_clear_error();
  return Fail(Code::kInvalid, what + ": " + text.data());
}

BioPtr Memory(const std::string& pem) { return BioPtr(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))); }

int NoPassword(char*, int, int, void*) { return -1; }  // never ask a terminal

Result<void> UseCertificate(SSL_CTX* context, const TlsFiles& files) {
  const BioPtr in = Memory(files.certificate_pem);
  const X509Ptr leaf(PEM_read_bio_X509(in.get(), nullptr, NoPassword, nullptr));
  if (!leaf || SSL_CTX_use_certificate(context, leaf.get()) != 1) return FailTls("the server's certificate");
  for (;;) {
    X509Ptr next(PEM_read_bio_X509(in.get(), nullptr, NoPassword, nullptr));
    if (!next) break;
    if (SSL_CTX_add1_chain_cert(context, next.get()) != 1) return FailTls("the server's certificate chain");
  }
  ERR_clear_error();  // the end of the text is the loop's end
  const BioPtr key_in = Memory(files.key_pem);
  const KeyPtr key(PEM_read_bio_PrivateKey(key_in.get(), nullptr, NoPassword, nullptr));
  if (!key || SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
    return FailTls("the server's key");
  }
  return {};
}

Result<void> UseClientCa(SSL_CTX* context, const std::string& pem) {
  const BioPtr in = Memory(pem);
  std::size_t count = 0;
  for (;;) {
    const X509Ptr authority(PEM_read_bio_X509(in.get(), nullptr, NoPassword, nullptr));
    if (!authority) break;
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.get()) != 1 ||
        SSL_CTX_add_client_CA(context, authority.get()) != 1) {  // browsers offer only what these names signed
      return FailTls("the client CA");
    }
    ++count;
  }
  ERR_clear_error();
  if (count == 0) return Fail(Code::kInvalid, "the client CA is not a certificate");
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);  // the default purpose of a server demands EKU clientAuth
  return {};
}

int SelectHttp11(SSL*, const unsigned char** out, unsigned char* out_length, const unsigned char* in,
                 unsigned in_length, void*) {
  static constexpr std::array<unsigned char, 9> kProtocols = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
  unsigned char* chosen = nullptr;
  const int found = SSL_select_next_proto(&chosen, out_length, kProtocols.data(), kProtocols.size(), in, in_length);
  *out = chosen;
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

}  // namespace

Result<SslCtxPtr> MakeServerContext(const TlsFiles& files) {
  SslCtxPtr context(SSL_CTX_new(TLS_server_method()));
  if (!context) return FailTls("a TLS context");
  SSL_CTX* raw = context.get();
  const bool configured = SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION) == 1 &&
                          SSL_CTX_set_cipher_list(raw,
                                                  "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                                  "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                                  "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305") == 1 &&
                          SSL_CTX_set_ciphersuites(
                              raw, "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256") == 1 &&
                          SSL_CTX_set1_groups_list(raw, "X25519:P-256:P-384") == 1 &&
                          SSL_CTX_set_num_tickets(raw, 0) == 1 && SSL_CTX_set_max_early_data(raw, 0) == 1;
  if (!configured) return FailTls("the TLS settings");
  SSL_CTX_set_options(
      raw, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(raw, SSL_MODE_RELEASE_BUFFERS);  // an idle connection keeps no record buffers
  SSL_CTX_set_alpn_select_cb(raw, SelectHttp11, nullptr);
  STELE_TRY_VOID(UseCertificate(raw, files));
  if (!files.client_ca_pem.empty()) STELE_TRY_VOID(UseClientCa(raw, files.client_ca_pem));
  return context;
}

ClientIdentity IdentityOf(const SSL* connection) {
  const X509Ptr certificate(SSL_get1_peer_certificate(connection));
  if (!certificate || SSL_get_verify_result(connection) != X509_V_OK) return {};
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned digest_bytes = 0;
  if (X509_digest(certificate.get(), EVP_sha256(), digest.data(), &digest_bytes) != 1) return {};
  ClientIdentity identity;
  identity.certificate_sha256 = HexOf(std::as_bytes(std::span(digest.data(), digest_bytes)));
  const X509_NAME* subject = X509_get_subject_name(certificate.get());
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0) return identity;
  unsigned char* text = nullptr;
  const int length = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (length > 0) {
    const std::string name(reinterpret_cast<const char*>(text), static_cast<std::size_t>(length));
    if (name.find('\0') == std::string::npos) identity.certificate_name = name;  // a name cut short is another name
  }
  OPENSSL_free(text);
  return identity;
}

}  // namespace stele::web
