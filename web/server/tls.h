// The TLS side of the viewer's door: TLS 1.3, or 1.2 with forward secrecy and AEAD; HTTP/1.1 by ALPN.
//
// A client certificate is asked for, never required. One that is given must chain to the client CA, be in its time and
// carry EKU clientAuth, or the handshake fails: a bad certificate is never treated as none. No sessions are resumed, so
// every connection proves its certificate anew; no early data, no renegotiation, no compression.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <string_view>

#include "appliance/base/bytes.h"

namespace stele::web {

struct SslCtxFree {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using SslCtxPtr = std::unique_ptr<SSL_CTX, SslCtxFree>;

struct TlsFiles {               // PEM text, not paths: this process opens no file
  std::string certificate_pem;  // leaf first, then intermediates
  std::string key_pem;
  std::string client_ca_pem;  // empty: no client certificate is asked for
};

// kInvalid names the part that does not fit.
[[nodiscard]] Result<SslCtxPtr> MakeServerContext(const TlsFiles& files);

struct ClientIdentity {
  std::string certificate_sha256;  // hexadecimal digest of the certificate as DER; empty: none was given
  std::string certificate_name;    // subject CN, UTF-8
};

// Of a connection whose handshake is complete.
[[nodiscard]] ClientIdentity IdentityOf(const SSL* connection);

}  // namespace stele::web
