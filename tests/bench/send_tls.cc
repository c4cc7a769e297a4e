// RFC 5425: octet-counted frames over TLS.
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <memory>

#include "tests/bench/wire.h"

namespace stele::bench {
namespace {

struct FreeSsl {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};

tl::unexpected<Error> FailSsl(const std::string& what) {
  std::array<char, 256> text{};
  ERR_error_string_n(ERR_get_error(), text.data(), text.size());
  return Fail(Code::kIo, what + ": " + text.data());
}

}  // namespace

Result<Sent> SendTls(const std::string& address, const std::string& from, const std::string& ca_file,
                     const Messages& messages, Stopwatch& watch) {
  const Messages frames = Framed(messages, 0, messages.size(), /*lines=*/false);
  STELE_TRY(const UniqueFd socket, Connect(address, SOCK_STREAM, from));
  const std::unique_ptr<SSL_CTX, FreeSsl> context(SSL_CTX_new(TLS_client_method()));
  if (context == nullptr) return FailSsl("make a TLS context");
  if (!ca_file.empty()) {
    if (SSL_CTX_load_verify_locations(context.get(), ca_file.c_str(), nullptr) != 1) return FailSsl("read " + ca_file);
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  }
  const std::unique_ptr<SSL, FreeSsl> ssl(SSL_new(context.get()));
  if (ssl == nullptr || SSL_set_fd(ssl.get(), socket.get()) != 1) return FailSsl("make a TLS connection");
  if (SSL_connect(ssl.get()) != 1) return FailSsl("TLS handshake with " + address);
  watch.Start();
  Sent sent;
  while (sent.bytes < frames.bytes.size()) {
    const std::size_t octets = std::min<std::size_t>(frames.bytes.size() - sent.bytes, kWriteBytes);
    std::size_t written = 0;
    if (SSL_write_ex(ssl.get(), frames.bytes.data() + sent.bytes, octets, &written) != 1) return FailSsl("send");
    sent.bytes += written;
  }
  sent.messages = messages.size();
  (void)SSL_shutdown(ssl.get());  // says that this is the end; the answer is not awaited
  (void)::shutdown(socket.get(), SHUT_WR);
  std::array<char, 1024> rest{};
  std::size_t got = 0;
  while (SSL_read_ex(ssl.get(), rest.data(), rest.size(), &got) ==
         1) {  // closing with unread bytes would reset what is on its way
  }
  return sent;
}

}  // namespace stele::bench
