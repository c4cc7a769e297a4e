// A connection whose every step has a deadline: plain TCP, or TLS 1.2 and up. The descriptor is non-blocking; waiting
// is a poll() until the deadline. Thread safety: one thread for each wire; TlsContext may be shared.
#pragma once

#include <openssl/ssl.h>
#include <sys/socket.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "appliance/base/bytes.h"
#include "appliance/base/fd.h"

namespace stele::witness {

using Deadline = std::chrono::steady_clock::time_point;

class Wire {
 public:
  virtual ~Wire() = default;
  // 0: the peer has closed. kUnavailable: the deadline has passed. kIo: anything else.
  [[nodiscard]] virtual Result<std::size_t> Read(MutableBytes out, Deadline deadline) = 0;
  [[nodiscard]] virtual Result<void> Write(ByteView data, Deadline deadline) = 0;
  // Says that nothing more is written, and reads until the peer has ended too, in order: then everything written was
  // read there. What it says meanwhile is thrown away. kUnavailable: the deadline has passed. kIo: it was cut off.
  [[nodiscard]] virtual Result<void> Finish(Deadline deadline) = 0;
};

class TlsContext {
 public:
  // For a client: who is trusted, as PEM; empty trusts nobody. kInvalid: no certificate in it.
  [[nodiscard]] static Result<TlsContext> ForClient(std::string_view ca_pem);
  // For a server: its chain with its own certificate first, and the key. kInvalid: not that, or they do not belong
  // together.
  [[nodiscard]] static Result<TlsContext> ForServer(std::string_view certificate_pem, std::string_view key_pem);

  // The certificate of a client's own, with its chain behind it. Errors as ForServer.
  [[nodiscard]] Result<void> UseCertificate(std::string_view certificate_pem, std::string_view key_pem);

  // The handshake. A client verifies the chain and that it is for `host`, a name or an address. kDenied: it is not.
  [[nodiscard]] Result<std::unique_ptr<Wire>> Connect(UniqueFd fd, const std::string& host, Deadline deadline) const;
  [[nodiscard]] Result<std::unique_ptr<Wire>> Accept(UniqueFd fd, Deadline deadline) const;

 private:
  using Context = std::unique_ptr<SSL_CTX, decltype(&::SSL_CTX_free)>;
  explicit TlsContext(Context context) : context_(std::move(context)) {}
  Context context_;
};

[[nodiscard]] std::unique_ptr<Wire> PlainWire(UniqueFd fd);

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};
// The addresses of a name or a literal. Opens files and sockets: before a process locks itself down.
[[nodiscard]] Result<std::vector<Address>> LookUp(const std::string& host, std::uint16_t port);
// A TCP connection to the first address that takes it, non-blocking.
[[nodiscard]] Result<UniqueFd> ConnectTo(const std::vector<Address>& addresses, Deadline deadline);

}  // namespace stele::witness
