#include "appliance/ingest/http_json.h"

#include <fcntl.h>
#include <openssl/ssl.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <map>
#include <unordered_map>

#include "appliance/ingest/http_session.h"
#include "appliance/ingest/tls.h"

namespace stele::ingest {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr std::int64_t kAcceptPauseMs = 100;  // after an error such as "too many open files"
constexpr std::size_t kAddressBytes = 16;

record::Peer PeerOf(const tcp::endpoint& endpoint) {
  const auto address = endpoint.address();
  const auto bytes = address.is_v6() ? address.to_v6().to_bytes() : asio::ip::make_address_v6(asio::ip::v4_mapped, address.to_v4()).to_bytes();
  record::Peer peer{};
  for (std::size_t i = 0; i < kAddressBytes; ++i) peer[i] = static_cast<std::byte>(bytes[i]);
  peer[kAddressBytes] = static_cast<std::byte>(endpoint.port() >> 8U);
  peer[kAddressBytes + 1] = static_cast<std::byte>(endpoint.port() & 0xffU);
  return peer;
}

int ChooseProtocol(SSL*, const unsigned char** out, unsigned char* out_length, const unsigned char* in, unsigned in_length, void*) {
  static constexpr unsigned char kHttp11[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
  unsigned char* chosen = nullptr;
  const int found = SSL_select_next_proto(&chosen, out_length, kHttp11, sizeof kHttp11, in, in_length);
  *out = chosen;
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

// A client's certificate is asked for to learn its fingerprint; who signed it means nothing here.
int TakeAnyCertificate(int, X509_STORE_CTX*) { return 1; }

Result<std::shared_ptr<asio::ssl::context>> MakeTls(const std::string& certificate_pem, const std::string& key_pem, bool ask_client) {
  auto tls = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);  // shared with the sessions' handshakes
  SSL_CTX* raw = tls->native_handle();
  STELE_TRY_VOID(SetUpTlsServer(raw, certificate_pem, key_pem, /*allow_tls12=*/true));
  SSL_CTX_set_alpn_select_cb(raw, ChooseProtocol, nullptr);
  if (ask_client) {
    SSL_CTX_set_verify(raw, SSL_VERIFY_PEER, TakeAnyCertificate);
    SSL_CTX_set_options(raw, SSL_OP_NO_TICKET);  // a certificate is shown in every handshake, never remembered
    (void)SSL_CTX_set_num_tickets(raw, 0);
  }
  return tls;
}

}  // namespace

class HttpJsonServer::Implementation : public std::enable_shared_from_this<Implementation> {
 public:
  Implementation(asio::io_context& context, tcp::acceptor acceptor, std::shared_ptr<asio::ssl::context> tls,
                 std::shared_ptr<HttpShared> shared)
      : acceptor_(std::move(acceptor)), pause_(context), tls_(std::move(tls)), shared_(std::move(shared)) {}

  void Accept() {
    acceptor_.async_accept([self = shared_from_this()](error_code error, tcp::socket socket) {
      if (!self->acceptor_.is_open()) return;
      if (error) return self->Pause();
      self->OnAccepted(std::move(socket));
      self->Accept();
    });
  }

  void Stop() {
    error_code ignored;
    acceptor_.close(ignored);  // NOLINT(bugprone-unused-return-value)  // nothing can be done about it
    pause_.cancel();
    const auto sessions = std::move(sessions_);
    sessions_.clear();
    per_address_.clear();
    for (const auto& entry : sessions) entry.second->Close();
    shared_->counters.connections_open = 0;
  }

  void UseTls(std::shared_ptr<asio::ssl::context> tls) { tls_ = std::move(tls); }
  [[nodiscard]] const HttpJsonCounters& counters() const { return shared_->counters; }
  void UseSenders(SenderSet senders, std::shared_ptr<const SourceKeys> keys) {
    shared_->senders = std::move(senders);
    shared_->checker.UseKeys(std::move(keys));
  }
  [[nodiscard]] bool asks_client() const { return shared_->senders.has_fingerprints(); }

 private:
  using Address = std::array<std::byte, kAddressBytes>;

  void Pause() {
    pause_.expires_after(std::chrono::milliseconds(kAcceptPauseMs));
    pause_.async_wait([self = shared_from_this()](error_code error) {
      if (!error && self->acceptor_.is_open()) self->Accept();
    });
  }

  void OnAccepted(tcp::socket socket) {
    error_code error;
    const auto endpoint = socket.remote_endpoint(error);
    if (error) return;  // gone already
    (void)::fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);  // cannot fail on an open descriptor
    const auto peer = PeerOf(endpoint);
    Address address{};
    std::copy(peer.begin(), peer.begin() + kAddressBytes, address.begin());
    auto& counters = shared_->counters;
    auto& from_address = per_address_[address];
    if (sessions_.size() >= shared_->options.connections_max || from_address >= shared_->options.connections_per_address_max) {
      if (from_address == 0) per_address_.erase(address);
      ++counters.connections_refused;
      return;
    }
    ++counters.connections;
    ++counters.connections_open;
    ++from_address;
    const std::uint64_t number = ++session_number_;
    const auto closed = [weak = weak_from_this(), number, address] {
      if (const auto self = weak.lock()) self->OnClosed(number, address);
    };
    auto session = HttpSession::Make(std::move(socket), *tls_, shared_, peer, closed);
    sessions_.emplace(number, session);
    session->Run();
  }

  void OnClosed(std::uint64_t number, const Address& address) {
    if (sessions_.erase(number) == 0) return;
    --shared_->counters.connections_open;
    const auto found = per_address_.find(address);
    if (found != per_address_.end() && --found->second == 0) per_address_.erase(found);
  }

  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  std::shared_ptr<asio::ssl::context> tls_;
  std::shared_ptr<HttpShared> shared_;
  std::unordered_map<std::uint64_t, std::shared_ptr<HttpSession>> sessions_;
  std::map<Address, std::size_t> per_address_;
  std::uint64_t session_number_ = 0;
};

Result<std::unique_ptr<HttpJsonServer>> HttpJsonServer::Make(asio::io_context& context, UniqueFd listener, HttpJsonOptions options,
                                                             EventSink& sink, Clock& clock) {
  const bool ask_client = SenderSet({}, options.senders).has_fingerprints();
  STELE_TRY(auto tls, MakeTls(options.certificate_pem, options.key_pem, ask_client));
  sockaddr_storage name{};
  socklen_t name_bytes = sizeof name;
  if (::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&name), &name_bytes) != 0) return FailErrno("getsockname of the HTTPS listener");
  if (name.ss_family != AF_INET && name.ss_family != AF_INET6) return Fail(Code::kIo, "the HTTPS listener is not a TCP socket");
  tcp::acceptor acceptor(context);
  error_code error;
  (void)acceptor.assign(name.ss_family == AF_INET6 ? tcp::v6() : tcp::v4(), listener.get(), error);
  if (error) return Fail(Code::kIo, "HTTPS listener: " + error.message(), static_cast<std::uint32_t>(error.value()));
  (void)listener.release();  // the acceptor owns it now
  auto shared = std::make_shared<HttpShared>(std::move(options), sink, clock);
  auto implementation = std::make_shared<Implementation>(context, std::move(acceptor), std::move(tls), std::move(shared));
  return std::unique_ptr<HttpJsonServer>(new HttpJsonServer(std::move(implementation)));  // NOLINT: the constructor is private
}

HttpJsonServer::HttpJsonServer(std::shared_ptr<Implementation> implementation) : implementation_(std::move(implementation)) {}
HttpJsonServer::~HttpJsonServer() { implementation_->Stop(); }
void HttpJsonServer::Start() { implementation_->Accept(); }
void HttpJsonServer::Stop() { implementation_->Stop(); }

Result<void> HttpJsonServer::Reload(const std::string& certificate_pem, const std::string& key_pem) {
  STELE_TRY(auto tls, MakeTls(certificate_pem, key_pem, implementation_->asks_client()));
  implementation_->UseTls(std::move(tls));
  return {};
}

void HttpJsonServer::UseSenders(SenderSet senders, std::shared_ptr<const SourceKeys> keys) {
  implementation_->UseSenders(std::move(senders), std::move(keys));
}

const HttpJsonCounters& HttpJsonServer::counters() const { return implementation_->counters(); }

}  // namespace stele::ingest
