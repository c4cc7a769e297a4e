#include "appliance/witness/wire.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace stele::witness {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&::BIO_free)>;
using Certificate = std::unique_ptr<X509, decltype(&::X509_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&::EVP_PKEY_free)>;
using Session = std::unique_ptr<SSL, decltype(&::SSL_free)>;

Result<void> WaitFor(int fd, short events, Deadline deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    if (left <= 0) return Fail(Code::kUnavailable, "no answer in time");
    pollfd polled{fd, events, 0};
    const int ready = ::poll(&polled, 1, static_cast<int>(std::min<std::int64_t>(left, 60'000)));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return FailErrno("wait for the connection");
  }
}

class PlainTcp final : public Wire {
 public:
  explicit PlainTcp(UniqueFd fd) : fd_(std::move(fd)) {}

  Result<std::size_t> Read(MutableBytes out, Deadline deadline) override {
    for (;;) {
      const ssize_t got = ::recv(fd_.get(), out.data(), out.size(), 0);
      if (got >= 0) return static_cast<std::size_t>(got);
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return FailErrno("read");
      STELE_TRY_VOID(WaitFor(fd_.get(), POLLIN, deadline));
    }
  }

  Result<void> Write(ByteView data, Deadline deadline) override {
    while (!data.empty()) {
      const ssize_t put = ::send(fd_.get(), data.data(), data.size(), MSG_NOSIGNAL);
      if (put >= 0) {
        data = data.subspan(static_cast<std::size_t>(put));
      } else if (errno != EINTR) {
        if (errno != EAGAIN) return FailErrno("write");
        STELE_TRY_VOID(WaitFor(fd_.get(), POLLOUT, deadline));
      }
    }
    return {};
  }

  Result<void> Finish(Deadline deadline) override {
    if (::shutdown(fd_.get(), SHUT_WR) != 0) return FailErrno("end the connection");
    std::array<std::byte, 4'096> ignored;
    for (;;) {
      STELE_TRY(const std::size_t got, Read(ignored, deadline));
      if (got == 0) return {};
    }
  }

 private:
  UniqueFd fd_;
};

std::string TlsErrorText() {
  const unsigned long error = ::ERR_get_error();
  const char* reason = error == 0 ? nullptr : ::ERR_reason_error_string(error);
  return reason == nullptr ? "TLS failed" : std::string("TLS: ") + reason;
}

class Tls final : public Wire {
 public:
  Tls(UniqueFd fd, Session session) : fd_(std::move(fd)), session_(std::move(session)) {}
  // Says goodbye where that does not block.
  ~Tls() override { (void)::SSL_shutdown(session_.get()); }

  template <typename Step>
  Result<int> Drive(Step step, Deadline deadline) {
    for (;;) {
      ::ERR_clear_error();
      const int done = step(session_.get());
      if (done > 0) return done;
      const int error = ::SSL_get_error(session_.get(), done);
      if (error == SSL_ERROR_ZERO_RETURN) return 0;
      if (error == SSL_ERROR_SYSCALL && ::ERR_peek_error() == 0) return Fail(Code::kIo, "the connection was cut");
      if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return Fail(Code::kIo, TlsErrorText());
      STELE_TRY_VOID(WaitFor(fd_.get(), error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline));
    }
  }

  Result<std::size_t> Read(MutableBytes out, Deadline deadline) override {
    STELE_TRY(const int got, Drive(
                                 [out](SSL* ssl) {
                                   return ::SSL_read(ssl, out.data(),
                                                     static_cast<int>(std::min<std::size_t>(out.size(), 1U << 20U)));
                                 },
                                 deadline));
    return static_cast<std::size_t>(got);
  }

  Result<void> Write(ByteView data, Deadline deadline) override {
    while (!data.empty()) {
      STELE_TRY(const int put, Drive(
                                   [data](SSL* ssl) {
                                     return ::SSL_write(
                                         ssl, data.data(),
                                         static_cast<int>(std::min<std::size_t>(data.size(), 1U << 20U)));
                                   },
                                   deadline));
      if (put == 0) return Fail(Code::kIo, "the peer has closed");
      data = data.subspan(static_cast<std::size_t>(put));
    }
    return {};
  }

  // A close_notify from us, then one from the peer or the end of its connection: it ends in order only when all was
  // read.
  Result<void> Finish(Deadline deadline) override {
    ::ERR_clear_error();
    if (::SSL_shutdown(session_.get()) < 0) return Fail(Code::kIo, TlsErrorText());
    std::array<std::byte, 4'096> ignored;
    for (;;) {
      ::ERR_clear_error();
      const int got = ::SSL_read(session_.get(), ignored.data(), static_cast<int>(ignored.size()));
      if (got > 0) continue;
      const int error = ::SSL_get_error(session_.get(), got);
      const bool ended =
          error == SSL_ERROR_SSL && ERR_GET_REASON(::ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
      if (error == SSL_ERROR_ZERO_RETURN || ended) return {};
      if (error == SSL_ERROR_SYSCALL) return FailErrno("the connection was cut");
      if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return Fail(Code::kIo, TlsErrorText());
      STELE_TRY_VOID(WaitFor(fd_.get(), error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline));
    }
  }

  [[nodiscard]] long VerifyResult() const { return ::SSL_get_verify_result(session_.get()); }

 private:
  UniqueFd fd_;
  Session session_;
};

Bio Memory(std::string_view pem) { return {::BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), &::BIO_free}; }

Certificate NextCertificate(BIO* bio) { return {::PEM_read_bio_X509(bio, nullptr, nullptr, nullptr), &::X509_free}; }

// SSL_set_tlsext_host_name is a macro with a cast of C.
bool SetServerName(SSL* session, std::string host) {
  return ::SSL_ctrl(session, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, host.data()) == 1;
}

bool IsAddress(const std::string& host) {
  in6_addr scratch{};
  return ::inet_pton(AF_INET, host.c_str(), &scratch) == 1 || ::inet_pton(AF_INET6, host.c_str(), &scratch) == 1;
}

}  // namespace

Result<TlsContext> TlsContext::ForClient(std::string_view ca_pem) {
  Context context(::SSL_CTX_new(::TLS_client_method()), &::SSL_CTX_free);
  if (context == nullptr || ::SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION) != 1)
    return Fail(Code::kIo, TlsErrorText());
  ::SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  const Bio bio = Memory(ca_pem);
  X509_STORE* store = ::SSL_CTX_get_cert_store(context.get());
  std::size_t count = 0;
  while (const Certificate authority = NextCertificate(bio.get())) {
    if (::X509_STORE_add_cert(store, authority.get()) != 1) return Fail(Code::kInvalid, TlsErrorText());
    ++count;
  }
  ::ERR_clear_error();  // the end of the PEM
  if (!ca_pem.empty() && count == 0) return Fail(Code::kInvalid, "there is no certificate among the trusted ones");
  return TlsContext(std::move(context));
}

Result<void> TlsContext::UseCertificate(std::string_view certificate_pem, std::string_view key_pem) {
  SSL_CTX* context = context_.get();
  const Bio chain = Memory(certificate_pem);
  const Certificate own = NextCertificate(chain.get());
  if (own == nullptr || ::SSL_CTX_use_certificate(context, own.get()) != 1)
    return Fail(Code::kInvalid, "the certificate: " + TlsErrorText());
  while (Certificate next = NextCertificate(chain.get())) {
    if (::SSL_CTX_add_extra_chain_cert(context, next.get()) != 1) return Fail(Code::kInvalid, TlsErrorText());
    (void)next.release();  // the context owns it now
  }
  ::ERR_clear_error();
  const Bio key_bio = Memory(key_pem);
  const Key key(::PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr), &::EVP_PKEY_free);
  if (key == nullptr || ::SSL_CTX_use_PrivateKey(context, key.get()) != 1 || ::SSL_CTX_check_private_key(context) != 1)
    return Fail(Code::kInvalid, "the key: " + TlsErrorText());
  return {};
}

Result<TlsContext> TlsContext::ForServer(std::string_view certificate_pem, std::string_view key_pem) {
  Context context(::SSL_CTX_new(::TLS_server_method()), &::SSL_CTX_free);
  if (context == nullptr || ::SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION) != 1)
    return Fail(Code::kIo, TlsErrorText());
  ::SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET);
  TlsContext server(std::move(context));
  STELE_TRY_VOID(server.UseCertificate(certificate_pem, key_pem));
  return server;
}

Result<std::unique_ptr<Wire>> TlsContext::Connect(UniqueFd fd, const std::string& host, Deadline deadline) const {
  Session session(::SSL_new(context_.get()), &::SSL_free);
  if (session == nullptr || ::SSL_set_fd(session.get(), fd.get()) != 1) return Fail(Code::kIo, TlsErrorText());
  ::SSL_set_connect_state(session.get());
  X509_VERIFY_PARAM* wanted = ::SSL_get0_param(session.get());
  const bool address = IsAddress(host);
  const bool named = address ? ::X509_VERIFY_PARAM_set1_ip_asc(wanted, host.c_str()) == 1
                             : ::X509_VERIFY_PARAM_set1_host(wanted, host.c_str(), host.size()) == 1 &&
                                   SetServerName(session.get(), host);
  if (!named) return Fail(Code::kInvalid, "no host name for TLS: " + host);
  auto wire = std::make_unique<Tls>(std::move(fd), std::move(session));
  const auto shaken = wire->Drive([](SSL* ssl) { return ::SSL_do_handshake(ssl); }, deadline);
  if (wire->VerifyResult() != X509_V_OK)
    return Fail(Code::kDenied,
                std::string("the certificate: ") + ::X509_verify_cert_error_string(wire->VerifyResult()));
  if (!shaken) return tl::unexpected(shaken.error());
  return wire;
}

Result<std::unique_ptr<Wire>> TlsContext::Accept(UniqueFd fd, Deadline deadline) const {
  Session session(::SSL_new(context_.get()), &::SSL_free);
  if (session == nullptr || ::SSL_set_fd(session.get(), fd.get()) != 1) return Fail(Code::kIo, TlsErrorText());
  ::SSL_set_accept_state(session.get());
  auto wire = std::make_unique<Tls>(std::move(fd), std::move(session));
  STELE_TRY(const int done, wire->Drive([](SSL* ssl) { return ::SSL_do_handshake(ssl); }, deadline));
  if (done == 0) return Fail(Code::kIo, "the peer has closed");
  return wire;
}

std::unique_ptr<Wire> PlainWire(UniqueFd fd) { return std::make_unique<PlainTcp>(std::move(fd)); }

Result<std::vector<Address>> LookUp(const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int failed = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  if (failed != 0) return Fail(Code::kUnavailable, host + ": " + ::gai_strerror(failed));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(list, &::freeaddrinfo);
  std::vector<Address> addresses;
  for (const addrinfo* at = list; at != nullptr; at = at->ai_next) {
    if (at->ai_addrlen > sizeof(sockaddr_storage)) continue;
    Address address;
    std::memcpy(&address.storage, at->ai_addr, at->ai_addrlen);
    address.size = at->ai_addrlen;
    addresses.push_back(address);
  }
  return addresses;
}

Result<UniqueFd> ConnectTo(const std::vector<Address>& addresses, Deadline deadline) {
  Error last{Code::kUnavailable, "it has no address", 0};
  for (const Address& address : addresses) {
    UniqueFd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.valid()) return FailErrno("make a socket");
    int error = 0;
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.size) != 0) error = errno;
    if (error == EINPROGRESS) {
      STELE_TRY_VOID(WaitFor(fd.get(), POLLOUT, deadline));
      socklen_t size = sizeof error;
      if (::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
    }
    if (error == 0) return fd;
    last = {Code::kUnavailable, std::string("connect: ") + std::strerror(error), static_cast<std::uint32_t>(error)};
  }
  return tl::unexpected(last);
}

}  // namespace stele::witness
