// RFC 5425, and JSON lines: frames over TLS.
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
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

class Client {
 public:
  Result<Sent> Run(const TlsSend& how, const Messages& frames, Stopwatch& watch) {
    STELE_TRY_VOID(Open(how));
    watch.Start();
    Sent sent;
    do {
      STELE_TRY_VOID(Write(frames.bytes));
      sent.messages += frames.size();
      sent.bytes += frames.bytes.size();
    } while (how.until && SteadyClock::now() < *how.until);
    (void)SSL_shutdown(ssl_.get());  // says that this is the end; the answer is not awaited
    (void)::shutdown(socket_.get(), SHUT_WR);
    while (Read()) Wait(POLLIN);  // closing with unread bytes would reset what is on its way
    return sent;
  }

 private:
  Result<void> Open(const TlsSend& how) {
    STELE_TRY(socket_, Connect(how.address, SOCK_STREAM, how.from));
    context_.reset(SSL_CTX_new(TLS_client_method()));
    if (context_ == nullptr) return FailSsl("make a TLS context");
    SSL_CTX_set_mode(context_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (!how.ca_file.empty()) {
      if (SSL_CTX_load_verify_locations(context_.get(), how.ca_file.c_str(), nullptr) != 1)
        return FailSsl("read " + how.ca_file);
      SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
    }
    ssl_.reset(SSL_new(context_.get()));
    if (ssl_ == nullptr || SSL_set_fd(ssl_.get(), socket_.get()) != 1) return FailSsl("make a TLS connection");
    if (SSL_connect(ssl_.get()) != 1) return FailSsl("TLS handshake with " + how.address);
    const int flags = ::fcntl(socket_.get(), F_GETFL);
    if (flags < 0 || ::fcntl(socket_.get(), F_SETFL, flags | O_NONBLOCK) != 0) return FailErrno("fcntl");
    return {};
  }

  Result<void> Write(std::string_view bytes) {
    while (!bytes.empty()) {
      std::size_t written = 0;
      if (SSL_write_ex(ssl_.get(), bytes.data(), std::min(bytes.size(), kWriteBytes), &written) == 1) {
        bytes.remove_prefix(written);
        continue;
      }
      if (SSL_get_error(ssl_.get(), 0) != SSL_ERROR_WANT_WRITE) return FailSsl("send");
      Wait(POLLIN | POLLOUT);
      if (!Read()) return Fail(Code::kIo, "send: the server closed the connection");
    }
    return {};
  }

  // Takes what has come. False: there will be no more.
  bool Read() {
    std::size_t got = 0;
    while (SSL_read_ex(ssl_.get(), input_.data(), input_.size(), &got) == 1) {
    }
    return SSL_get_error(ssl_.get(), 0) == SSL_ERROR_WANT_READ;
  }

  void Wait(short events) {
    pollfd one{socket_.get(), events, 0};
    (void)::poll(&one, 1, -1);  // interrupted or not, the next read or write will tell
  }

  UniqueFd socket_;
  std::unique_ptr<SSL_CTX, FreeSsl> context_;
  std::unique_ptr<SSL, FreeSsl> ssl_;
  std::array<char, std::size_t{16} * 1024> input_{};
};

}  // namespace

Result<Sent> SendTls(const TlsSend& how, const Messages& frames, Stopwatch& watch) {
  return Client().Run(how, frames, watch);
}

}  // namespace stele::bench
