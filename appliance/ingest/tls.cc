#include "appliance/ingest/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <nlohmann/json.hpp>

#include "appliance/base/limits.h"
#include "appliance/base/text.h"

namespace stele::ingest {
namespace {

constexpr std::size_t kReadAheadBytes = 64 * limits::kKiB;  // four full TLS records a system call
constexpr std::size_t kCommonNameBytes = 256;
constexpr std::size_t kNameBytes = 253;
constexpr std::size_t kListedNamesBytes = 1'536;

template <typename T, void (*kFree)(T*)>
struct Freer {
  void operator()(T* object) const { kFree(object); }
};
using CertificatePtr = std::unique_ptr<X509, Freer<X509, X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY, EVP_PKEY_free>>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, Freer<GENERAL_NAMES, GENERAL_NAMES_free>>;
struct BioFree {
  void operator()(BIO* bio) const { BIO_free_all(bio); }
};
using BioPtr = std::unique_ptr<BIO, BioFree>;

int NoPassword(char*, int, int, void*) { return -1; }  // never ask a terminal

std::string LastSslError() {
  const unsigned long code = ERR_get_error();
  const char* reason = ERR_reason_error_string(code);
  ERR_clear_error();
  return reason != nullptr ? reason : code != 0 ? "OpenSSL error " + std::to_string(code) : "";
}

BioPtr ReadingFrom(std::string_view pem) { return BioPtr(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))); }

Result<std::vector<CertificatePtr>> ParseCertificates(std::string_view pem, const char* what) {
  const BioPtr in = ReadingFrom(pem);
  std::vector<CertificatePtr> all;
  while (CertificatePtr one{PEM_read_bio_X509(in.get(), nullptr, NoPassword, nullptr)}) all.push_back(std::move(one));
  const unsigned long end = ERR_peek_last_error();
  const bool clean = ERR_GET_LIB(end) == ERR_LIB_PEM && ERR_GET_REASON(end) == PEM_R_NO_START_LINE;
  if (clean) ERR_clear_error();
  if (!clean) return Fail(Code::kInvalid, std::string(what) + ": " + LastSslError());
  if (all.empty()) return Fail(Code::kInvalid, std::string(what) + ": no certificate in PEM");
  return all;
}

std::int64_t EndOf(const X509* certificate) {
  std::tm when{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &when) != 1) return 0;
  return ::timegm(&when);
}

std::string TextOf(const ASN1_STRING* text) {
  const auto* data = reinterpret_cast<const char*>(ASN1_STRING_get0_data(text));
  return {data, static_cast<std::size_t>(std::max(0, ASN1_STRING_length(text)))};
}

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// A certificate may hold anything as a dNSName: what cannot be a name can match nothing and is not shown as one.
std::optional<std::string> DnsNameOf(const ASN1_STRING* raw) {
  std::string name = TextOf(raw);
  if (name.empty() || name.size() > kNameBytes) return std::nullopt;
  for (char& c : name) {
    if (c <= ' ' || c > '~') return std::nullopt;
    c = Lower(c);
  }
  return name;
}

std::optional<std::string> AddressOf(const ASN1_STRING* raw) {
  const int family = ASN1_STRING_length(raw) == 4 ? AF_INET : ASN1_STRING_length(raw) == 16 ? AF_INET6 : AF_UNSPEC;
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (family == AF_UNSPEC || ::inet_ntop(family, ASN1_STRING_get0_data(raw), text.data(), text.size()) == nullptr)
    return std::nullopt;
  return std::string(text.data());
}

std::string CommonNameOf(const X509* certificate) {
  const X509_NAME* subject = X509_get_subject_name(certificate);
  int at = -1;
  int last = -1;
  while ((at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0) last = at;  // the most specific
  if (last < 0) return {};
  unsigned char* utf8 = nullptr;
  const int length = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, last)));
  if (length < 0) return {};
  std::string name(reinterpret_cast<const char*>(utf8), std::min(static_cast<std::size_t>(length), kCommonNameBytes));
  OPENSSL_free(utf8);
  return ToUtf8(AsBytes(name));
}

void AddAlternativeNames(const X509* certificate, TlsIdentity& identity) {
  const NamesPtr names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_DNS && name->type != GEN_IPADD) continue;
    const bool dns = name->type == GEN_DNS;
    auto text = dns ? DnsNameOf(name->d.dNSName) : AddressOf(name->d.iPAddress);
    if (!text || identity.dns_names.size() + identity.addresses.size() >= kIdentityNamesMax) {
      ++identity.names_left_out;
      continue;
    }
    (dns ? identity.dns_names : identity.addresses).push_back(std::move(*text));
  }
  ERR_clear_error();  // an extension that does not parse gives no names
}

bool SameName(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return Lower(x) == Lower(y); });
}

bool NameMatches(std::string_view name, std::string_view host) {
  if (name.empty()) return false;
  if (SameName(name, host)) return true;
  const std::size_t dot = host.find('.');
  if (dot == std::string_view::npos) return SameName(name.substr(0, name.find('.')), host) && name.front() != '*';
  return name.starts_with("*.") && dot != 0 && SameName(name.substr(1), host.substr(dot));
}

}  // namespace

std::optional<Hash> FingerprintOf(const X509* certificate) {
  Hash digest{};
  unsigned length = 0;
  if (X509_digest(certificate, EVP_sha256(), reinterpret_cast<unsigned char*>(digest.data()), &length) != 1)
    return std::nullopt;
  return length == digest.size() ? std::optional(digest) : std::nullopt;
}

std::optional<TlsIdentity> IdentityOf(const X509* certificate) {
  const auto fingerprint = FingerprintOf(certificate);
  if (!fingerprint) return std::nullopt;
  TlsIdentity identity;
  identity.fingerprint = *fingerprint;
  identity.common_name = CommonNameOf(certificate);
  AddAlternativeNames(certificate, identity);
  return identity;
}

std::string TlsIdentity::ToJson() const {
  nlohmann::json out = {{"fingerprint", "sha256:" + HexOf(fingerprint)}, {"cn", common_name}};
  std::size_t left_out = names_left_out;
  std::size_t used_bytes = 0;
  const auto list = [&](const std::vector<std::string>& names) {
    nlohmann::json listed = nlohmann::json::array();
    for (const std::string& name : names) {
      used_bytes += name.size() + 3;
      if (used_bytes <= kListedNamesBytes) {
        listed.push_back(name);
      } else {
        ++left_out;
      }
    }
    return listed;
  };
  out["dns"] = list(dns_names);
  out["ip"] = list(addresses);
  if (left_out != 0) out["more"] = left_out;
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

bool TlsIdentity::NamesHost(std::string_view host) const {
  while (!host.empty() && host.back() == '.') host.remove_suffix(1);
  if (host.empty()) return false;
  std::array<unsigned char, 16> raw{};
  const std::string text(host.substr(0, kNameBytes));
  for (const int family : {AF_INET, AF_INET6}) {
    if (::inet_pton(family, text.c_str(), raw.data()) != 1) continue;
    std::array<char, INET6_ADDRSTRLEN> canonical{};
    (void)::inet_ntop(family, raw.data(), canonical.data(), canonical.size());  // what inet_pton took, it can write
    return std::find(addresses.begin(), addresses.end(), canonical.data()) != addresses.end() || text == common_name;
  }
  if (NameMatches(common_name, host)) return true;
  return std::any_of(dns_names.begin(), dns_names.end(),
                     [&](const std::string& name) { return NameMatches(name, host); });
}

//= RFC 5425 section 4.2.2
//# When a fingerprint value is displayed or configured, the fingerprint is prepended with an ASCII label identifying
//the # hash function followed by a colon.
std::optional<Hash> ParseFingerprint(std::string_view text) {
  const std::size_t label = text.find(':');
  if (label == std::string_view::npos) return std::nullopt;
  if (!SameName(text.substr(0, label), "sha256") && !SameName(text.substr(0, label), "sha-256")) return std::nullopt;
  text.remove_prefix(label + 1);
  std::string digits;
  const bool colons = text.find(':') != std::string_view::npos;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (colons && i % 3 == 2) {
      if (text[i] != ':') return std::nullopt;
      continue;
    }
    digits.push_back(text[i]);
  }
  if (colons && text.size() != kHashBytes * 3 - 1) return std::nullopt;
  return ParseHash(digits);
}

Result<void> SetUpTlsServer(SSL_CTX* context, const std::string& certificate_pem, const std::string& key_pem,
                            bool allow_tls12) {
  ERR_clear_error();
  STELE_TRY(auto chain, ParseCertificates(certificate_pem, "TLS certificate"));
  const KeyPtr key(PEM_read_bio_PrivateKey(ReadingFrom(key_pem).get(), nullptr, NoPassword, nullptr));
  if (!key) return Fail(Code::kInvalid, "TLS key: " + LastSslError());
  if (SSL_CTX_use_certificate(context, chain.front().get()) != 1)
    return Fail(Code::kInvalid, "TLS certificate: " + LastSslError());
  for (std::size_t i = 1; i < chain.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context, chain[i].get()) != 1)
      return Fail(Code::kInvalid, "TLS certificate: " + LastSslError());
  }
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
    ERR_clear_error();
    return Fail(Code::kInvalid, "the TLS key is not the certificate's");
  }
  const bool set = SSL_CTX_set_min_proto_version(context, allow_tls12 ? TLS1_2_VERSION : TLS1_3_VERSION) == 1 &&
                   SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1 &&
                   SSL_CTX_set_max_early_data(context, 0) == 1;
  if (!set) return Fail(Code::kInvalid, "TLS settings: " + LastSslError());
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  return {};
}

Result<std::int64_t> NotAfterOf(std::string_view certificate_pem) {
  const CertificatePtr certificate(PEM_read_bio_X509(ReadingFrom(certificate_pem).get(), nullptr, NoPassword, nullptr));
  if (!certificate) return Fail(Code::kInvalid, "TLS certificate: " + LastSslError());
  return EndOf(certificate.get());
}

Result<std::shared_ptr<const TlsContext>> TlsContext::Make(const TlsOptions& options) {
  auto made = std::make_shared<TlsContext>();  // shared by the listener and every connection that began with it
  made->context_.reset(SSL_CTX_new(TLS_server_method()));
  SSL_CTX* raw = made->context_.get();
  if (raw == nullptr) return Fail(Code::kInvalid, "TLS: " + LastSslError());
  STELE_TRY_VOID(SetUpTlsServer(raw, options.certificate_pem, options.key_pem, options.allow_tls12));
  STELE_TRY(made->not_after_s_, NotAfterOf(options.certificate_pem));
  // A resumed session would skip the client's certificate; tickets also go to peers that never read.
  SSL_CTX_set_options(raw, SSL_OP_NO_TICKET);
  if (SSL_CTX_set_num_tickets(raw, 0) != 1) return Fail(Code::kInvalid, "TLS settings: " + LastSslError());
  SSL_CTX_set_mode(raw, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(raw, 1);
  SSL_CTX_set_default_read_buffer_len(raw, kReadAheadBytes);
  STELE_TRY_VOID(made->TrustClients(options));
  return std::shared_ptr<const TlsContext>(std::move(made));
}

Result<void> TlsContext::TrustClients(const TlsOptions& options) {
  SSL_CTX* raw = context_.get();
  if (options.client_auth == ClientAuth::kNone) {
    SSL_CTX_set_verify(raw, SSL_VERIFY_NONE, nullptr);
    return {};
  }
  if (options.client_ca_pem.empty() && options.client_fingerprints.empty()) {
    return Fail(Code::kInvalid, "TLS client authentication: neither an authority nor a fingerprint to trust");
  }
  fingerprints_ = options.client_fingerprints;
  has_authorities_ = !options.client_ca_pem.empty();
  if (has_authorities_) {
    STELE_TRY(const auto authorities, ParseCertificates(options.client_ca_pem, "TLS client authorities"));
    for (const CertificatePtr& one : authorities) {
      if (X509_STORE_add_cert(SSL_CTX_get_cert_store(raw), one.get()) != 1) {
        return Fail(Code::kInvalid, "TLS client authorities: " + LastSslError());
      }
      // Names of authorities would keep a client with a listed self-signed certificate from showing it.
      if (fingerprints_.empty() && SSL_CTX_add_client_CA(raw, one.get()) != 1) {
        return Fail(Code::kInvalid, "TLS client authorities: " + LastSslError());
      }
    }
  }
  SSL_CTX_set_verify(
      raw, SSL_VERIFY_PEER | (options.client_auth == ClientAuth::kRequire ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
      nullptr);
  SSL_CTX_set_cert_verify_callback(raw, &TlsContext::Verify, this);
  return {};
}

int TlsContext::Verify(X509_STORE_CTX* store, void* self) {
  const auto& context = *static_cast<const TlsContext*>(self);
  const X509* leaf = X509_STORE_CTX_get0_cert(store);
  const auto fingerprint = leaf != nullptr ? FingerprintOf(leaf) : std::nullopt;
  if (!fingerprint) return 0;
  if (std::find(context.fingerprints_.begin(), context.fingerprints_.end(), *fingerprint) ==
      context.fingerprints_.end()) {
    if (context.has_authorities_) return X509_verify_cert(store);
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_UNTRUSTED);
    return 0;
  }
  if (X509_cmp_current_time(X509_get0_notBefore(leaf)) >= 0) {
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_NOT_YET_VALID);
    return 0;
  }
  if (X509_cmp_current_time(X509_get0_notAfter(leaf)) <= 0) {
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_HAS_EXPIRED);
    return 0;
  }
  X509_STORE_CTX_set_error(store, X509_V_OK);
  return 1;
}

Result<TlsStream> TlsStream::Make(std::shared_ptr<const TlsContext> context, int descriptor) {
  std::unique_ptr<SSL, Free> stream(SSL_new(context->get()));
  // Not SSL_set_fd: it would ask the kernel for its own TLS, which the sandbox refuses.
  BIO* socket = BIO_new_socket(descriptor, BIO_NOCLOSE);
  if (!stream || socket == nullptr) {
    BIO_free(socket);
    return Fail(Code::kUnavailable, "TLS: " + LastSslError());
  }
  SSL_set_bio(stream.get(), socket, socket);  // takes both
  SSL_set_accept_state(stream.get());
  return TlsStream(std::move(context), std::move(stream));
}

TlsStream::Status TlsStream::StatusOf(int result) {
  if (result > 0) return Status::kOk;
  switch (SSL_get_error(stream_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return Status::kWantRead;
    case SSL_ERROR_WANT_WRITE:
      return Status::kWantWrite;
    case SSL_ERROR_ZERO_RETURN:
      return Status::kEnd;
    default:
      break;
  }
  failed_ = true;
  failure_ = LastSslError();
  const long verdict = SSL_get_verify_result(stream_.get());
  if (verdict != X509_V_OK) failure_ = std::string("client certificate: ") + X509_verify_cert_error_string(verdict);
  if (failure_.empty()) failure_ = "the connection broke off";
  return Status::kFailed;
}

TlsStream::Status TlsStream::Handshake() {
  if (failed_) return Status::kFailed;
  ERR_clear_error();
  return StatusOf(SSL_do_handshake(stream_.get()));
}

TlsStream::Moved TlsStream::Read(MutableBytes out) {
  Moved moved;
  if (failed_) moved.status = Status::kFailed;
  while (moved.status == Status::kOk && moved.bytes < out.size()) {
    std::size_t got = 0;
    ERR_clear_error();
    moved.status = StatusOf(SSL_read_ex(stream_.get(), out.data() + moved.bytes, out.size() - moved.bytes, &got));
    moved.bytes += got;
  }
  return moved;
}

TlsStream::Moved TlsStream::Write(ByteView bytes) {
  Moved moved;
  if (failed_) moved.status = Status::kFailed;
  while (moved.status == Status::kOk && moved.bytes < bytes.size()) {
    std::size_t sent = 0;
    ERR_clear_error();
    moved.status = StatusOf(SSL_write_ex(stream_.get(), bytes.data() + moved.bytes, bytes.size() - moved.bytes, &sent));
    moved.bytes += sent;
  }
  return moved;
}

void TlsStream::Shutdown() {
  if (failed_ || !SSL_is_init_finished(stream_.get())) return;
  ERR_clear_error();
  (void)SSL_shutdown(stream_.get());  // best effort: the connection ends either way
  ERR_clear_error();
}

std::optional<TlsIdentity> TlsStream::PeerIdentity() const {
  const X509* certificate = SSL_get0_peer_certificate(stream_.get());
  if (certificate == nullptr || SSL_get_verify_result(stream_.get()) != X509_V_OK) return std::nullopt;
  return IdentityOf(certificate);
}

}  // namespace stele::ingest
