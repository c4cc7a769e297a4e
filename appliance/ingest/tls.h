// TLS for the ways in, by OpenSSL 3, on sockets that never block: the settings every server here shares, one
// connection, and what a client certificate says.
//
// TLS 1.3; 1.2 with AEAD ciphers where allowed. No renegotiation, no early data, no compression, no session tickets:
// every connection proves its certificate itself. A client certificate counts when an authority in `client_ca_pem`
// vouches for it or its fingerprint is listed (RFC 5425 section 4.2.2), and in both cases only within its dates; any
// other fails the handshake. Thread safety: one thread. OpenSSL is given no file and no callback that could wait.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/base/bytes.h"

namespace stele::ingest {

enum class ClientAuth : std::uint8_t { kNone, kRequest, kRequire };

struct TlsOptions {
  std::string certificate_pem;  // chain, own certificate first
  std::string key_pem;
  bool allow_tls12 = false;
  ClientAuth client_auth = ClientAuth::kNone;
  std::string client_ca_pem;              // authorities of client certificates, any number
  std::vector<Hash> client_fingerprints;  // SHA-256 of client certificates as DER
};

// What a verified client certificate says. Names are those of the certificate, not of the message.
struct TlsIdentity {
  Hash fingerprint{};                  // SHA-256 of the certificate as DER
  std::string common_name;             // subject CN, UTF-8, empty when there is none
  std::vector<std::string> dns_names;  // dNSName, lower case
  std::vector<std::string> addresses;  // iPAddress, as inet_ntop writes it
  std::size_t names_left_out = 0;      // beyond kIdentityNamesMax, or no possible name

  // {"fingerprint":"sha256:<hex>","cn":"...","dns":[...],"ip":[...]}, at most about 2 KiB; "more": names not listed
  [[nodiscard]] std::string ToJson() const;
  // Whether a HOSTNAME is one of the names: case does not matter, a certificate's "*.example.org" is any one label, and
  // a host without a dot is also the first label of a name (most senders leave their domain out).
  [[nodiscard]] bool NamesHost(std::string_view host) const;
};
inline constexpr std::size_t kIdentityNamesMax = 256;

// What a certificate says, whoever vouches for it. Absent when it cannot be hashed.
[[nodiscard]] std::optional<TlsIdentity> IdentityOf(const X509* certificate);
[[nodiscard]] std::optional<Hash> FingerprintOf(const X509* certificate);  // SHA-256 of the DER

// "sha256:<64 hex digits>", with or without colons between the bytes, any case.
[[nodiscard]] std::optional<Hash> ParseFingerprint(std::string_view text);

// The settings all TLS servers of the receiver share; `context` is a fresh server context. kInvalid: certificate or key
// unusable, or not each other's.
[[nodiscard]] Result<void> SetUpTlsServer(SSL_CTX* context, const std::string& certificate_pem,
                                          const std::string& key_pem, bool allow_tls12);
// End of the first certificate of a PEM text, seconds since the epoch. kInvalid when there is none.
[[nodiscard]] Result<std::int64_t> NotAfterOf(std::string_view certificate_pem);

class TlsContext {
 public:
  // kInvalid also for client authentication without anything to trust, and for a PEM text without a certificate.
  [[nodiscard]] static Result<std::shared_ptr<const TlsContext>> Make(const TlsOptions& options);
  [[nodiscard]] std::int64_t not_after_s() const { return not_after_s_; }  // of our certificate
  [[nodiscard]] SSL_CTX* get() const { return context_.get(); }

  TlsContext() = default;  // empty; Make() fills it
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

 private:
  struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  static int Verify(X509_STORE_CTX* store, void* self);
  [[nodiscard]] Result<void> TrustClients(const TlsOptions& options);

  std::unique_ptr<SSL_CTX, Free> context_;
  std::vector<Hash> fingerprints_;
  bool has_authorities_ = false;
  std::int64_t not_after_s_ = 0;
};

// The server's side of one connection.
class TlsStream {
 public:
  enum class Status : std::uint8_t {
    kOk,
    kWantRead,  // nothing more until the socket is readable, or writable
    kWantWrite,
    kEnd,     // the peer said close_notify
    kFailed,  // a TLS error, a reset, or an end without close_notify
  };
  struct Moved {
    Status status = Status::kOk;
    std::size_t bytes = 0;
  };

  // Borrows the descriptor, which must not block and outlives the stream. Keeps the context.
  [[nodiscard]] static Result<TlsStream> Make(std::shared_ptr<const TlsContext> context, int descriptor);

  [[nodiscard]] Status Handshake();            // kOk: done
  [[nodiscard]] Moved Read(MutableBytes out);  // fills `out` as far as bytes are there; bytes > 0 goes with any status
  [[nodiscard]] Moved Write(ByteView bytes);
  void Shutdown();                     // close_notify, if the socket takes it
  [[nodiscard]] std::optional<TlsIdentity> PeerIdentity() const;         // after the handshake
  [[nodiscard]] const std::string& failure() const { return failure_; }  // why the last call said kFailed

 private:
  struct Free {
    void operator()(SSL* stream) const { SSL_free(stream); }
  };
  TlsStream(std::shared_ptr<const TlsContext> context, std::unique_ptr<SSL, Free> stream)
      : context_(std::move(context)), stream_(std::move(stream)) {}
  [[nodiscard]] Status StatusOf(int result);

  std::shared_ptr<const TlsContext> context_;
  std::unique_ptr<SSL, Free> stream_;
  std::string failure_;
  bool failed_ = false;  // OpenSSL forbids any further call after a fatal error
};

}  // namespace stele::ingest
