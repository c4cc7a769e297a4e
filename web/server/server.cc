#include "web/server/server.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "web/server/connection.h"

namespace stele::web {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr std::int64_t kAcceptPauseMs = 200;  // when the kernel has no descriptor or memory left

Result<std::string> TakeText(const nlohmann::json& object, const char* name, bool required) {
  const auto found = object.find(name);
  if (found == object.end() && !required) return std::string();
  if (found == object.end() || !found->is_string()) return Fail(Code::kInvalid, std::string(name) + " is not a text");
  return found->get<std::string>();
}

Result<void> OnlyMembers(const nlohmann::json& object, std::initializer_list<std::string_view> names) {
  for (const auto& item : object.items()) {
    if (std::find(names.begin(), names.end(), item.key()) == names.end()) {
      return Fail(Code::kInvalid, "unknown member " + item.key());
    }
  }
  return {};
}

}  // namespace

Result<ServerConfiguration> ParseConfiguration(ByteView json) {
  const auto object = nlohmann::json::parse(AsText(json), nullptr, false);
  if (!object.is_object()) return Fail(Code::kInvalid, "the configuration is not a JSON object");
  STELE_TRY_VOID(OnlyMembers(object, {"tls", "hosts"}));
  const auto tls = object.find("tls");
  if (tls == object.end() || !tls->is_object()) return Fail(Code::kInvalid, "tls is not an object");
  STELE_TRY_VOID(OnlyMembers(*tls, {"certificate_pem", "key_pem", "client_ca_pem"}));
  ServerConfiguration out;
  STELE_TRY(out.certificate_pem, TakeText(*tls, "certificate_pem", true));
  STELE_TRY(out.key_pem, TakeText(*tls, "key_pem", true));
  STELE_TRY(out.client_ca_pem, TakeText(*tls, "client_ca_pem", false));
  if (const auto hosts = object.find("hosts"); hosts != object.end()) {
    if (!hosts->is_array()) return Fail(Code::kInvalid, "hosts is not an array");
    for (const auto& host : *hosts) {
      if (!host.is_string()) return Fail(Code::kInvalid, "a host is not a text");
      out.hosts.push_back(host.get<std::string>());
    }
  }
  if (out.hosts.empty()) out.hosts = {"localhost", "127.0.0.1", "::1"};
  return out;
}

class Server::Parts {
 public:
  Parts(const ServerConfiguration& configuration, SslCtxPtr tls, Clock& clock,
        std::function<void(std::string_view)> notice, const ServerBounds& bounds)
      : bounds_(bounds),
        hosts_(configuration.hosts),
        notice_(std::move(notice)),
        tls_(tls.release()),  // asio's context frees it
        link_(context_, QueryLink::Bounds{bounds.pending_bytes, bounds.pause_ms}, notice_),
        door_{tls_, link_, hosts_, bounds_, clock, {}, notice_, [this](Connection* gone) { Forget(gone); }},
        work_(asio::make_work_guard(context_)) {}

  Result<void> AddListener(UniqueFd listener);
  Result<void> Watch(UniqueFd fd, std::function<bool(int)> readable);
  void Post(std::function<void()> step) { asio::post(context_, std::move(step)); }
  void SetQuery(UniqueFd channel) { link_.SetChannel(std::move(channel)); }
  void StopNow();
  void Run() { context_.run(); }

 private:
  struct Listener {
    tcp::acceptor acceptor;
    asio::steady_timer pause;
  };
  struct Watched {
    asio::posix::stream_descriptor descriptor;
    std::function<bool(int)> readable;
  };
  void Accept(Listener& listener);
  void OnAccepted(tcp::socket socket);
  void Wait(Watched& watched);
  void Forget(Connection* gone);
  void NoticeFull();

  // Destroyed last: sockets and timers point into it.
  asio::io_context context_{1};
  ServerBounds bounds_;
  Hosts hosts_;
  std::function<void(std::string_view)> notice_;
  asio::ssl::context tls_;
  QueryLink link_;
  Door door_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<std::unique_ptr<Watched>> watched_;
  std::map<Connection*, std::shared_ptr<Connection>> connections_;
  std::unordered_map<std::string, std::size_t> per_address_;
  std::chrono::steady_clock::time_point next_full_notice_{};
  std::uint64_t turned_away_ = 0;
};

Result<void> Server::Parts::AddListener(UniqueFd listener) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    return FailErrno("the listening socket's address");
  }
  if (address.ss_family != AF_INET && address.ss_family != AF_INET6) return Fail(Code::kInvalid, "not a TCP listener");
  auto owned = std::unique_ptr<Listener>(new Listener{tcp::acceptor(context_), asio::steady_timer(context_)});
  error_code error;
  (void)owned->acceptor.assign(address.ss_family == AF_INET ? tcp::v4() : tcp::v6(), listener.get(), error);
  if (error) return Fail(Code::kIo, "use the listening socket: " + error.message());
  (void)listener.release();  // the acceptor owns it now
  (void)owned->acceptor.non_blocking(true, error);
  if (error) return Fail(Code::kIo, "use the listening socket: " + error.message());
  listeners_.push_back(std::move(owned));
  Accept(*listeners_.back());
  return {};
}

void Server::Parts::Accept(Listener& listener) {
  listener.acceptor.async_accept([this, &listener](const error_code& error, tcp::socket socket) {
    if (error == asio::error::operation_aborted) return;
    if (!error) {
      OnAccepted(std::move(socket));
      return Accept(listener);
    }
    listener.pause.expires_after(std::chrono::milliseconds(kAcceptPauseMs));
    listener.pause.async_wait([this, &listener](const error_code& stopped) {
      if (!stopped) Accept(listener);
    });
  });
}

void Server::Parts::OnAccepted(tcp::socket socket) {
  error_code error;
  const auto endpoint = socket.remote_endpoint(error);
  if (error) return;  // gone already
  auto address = endpoint.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  const std::string name = address.to_string();
  if (connections_.size() >= bounds_.connections || per_address_[name] >= bounds_.connections_per_address) {
    if (per_address_[name] == 0) per_address_.erase(name);
    return NoticeFull();
  }
  (void)socket.set_option(tcp::no_delay(true), error);  // slower without, not wrong
  auto connection = std::make_shared<Connection>(std::move(socket), name, door_);
  ++per_address_[name];
  connections_.emplace(connection.get(), connection);
  connection->Start();
}

void Server::Parts::NoticeFull() {
  ++turned_away_;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_full_notice_) return;
  next_full_notice_ = now + std::chrono::minutes(1);
  notice_("connections turned away at the limit so far: " + std::to_string(turned_away_));
}

void Server::Parts::Forget(Connection* gone) {
  const auto found = connections_.find(gone);
  if (found == connections_.end()) return;
  const std::shared_ptr<Connection> last = std::move(found->second);  // its address is still needed
  connections_.erase(found);
  const auto count = per_address_.find(last->address());
  if (count != per_address_.end() && --count->second == 0) per_address_.erase(count);
}

Result<void> Server::Parts::Watch(UniqueFd fd, std::function<bool(int)> readable) {
  auto owned = std::unique_ptr<Watched>(new Watched{asio::posix::stream_descriptor(context_), std::move(readable)});
  error_code error;
  (void)owned->descriptor.assign(fd.get(), error);
  if (error) return Fail(Code::kIo, "watch a descriptor: " + error.message());
  (void)fd.release();  // the descriptor owns it now
  watched_.push_back(std::move(owned));
  Wait(*watched_.back());
  return {};
}

void Server::Parts::Wait(Watched& watched) {
  watched.descriptor.async_wait(asio::posix::stream_descriptor::wait_read, [this, &watched](const error_code& error) {
    if (!error && watched.readable(watched.descriptor.native_handle())) Wait(watched);
  });
}

void Server::Parts::StopNow() {
  for (const auto& listener : listeners_) {
    error_code ignored;
    (void)listener->acceptor.close(ignored);
    listener->pause.cancel();
  }
  link_.Close();
  const auto all = connections_;  // HardClose() takes each out of the map
  for (const auto& entry : all) entry.second->HardClose();
  work_.reset();
  context_.stop();
}

Result<std::unique_ptr<Server>> Server::Make(const ServerConfiguration& configuration, Clock& clock,
                                             std::function<void(std::string_view)> notice, const ServerBounds& bounds) {
  TlsFiles files;
  files.certificate_pem = configuration.certificate_pem;
  files.key_pem = configuration.key_pem;
  files.client_ca_pem = configuration.client_ca_pem;
  STELE_TRY(SslCtxPtr tls, MakeServerContext(files));
  return std::unique_ptr<Server>(
      new Server(std::make_unique<Parts>(configuration, std::move(tls), clock, std::move(notice), bounds)));
}

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Server::~Server() = default;

Result<void> Server::AddListener(UniqueFd listener) { return parts_->AddListener(std::move(listener)); }

void Server::SetQuery(UniqueFd channel) {
  auto shared = std::make_shared<UniqueFd>(std::move(channel));  // a posted step must be copyable
  parts_->Post([this, shared] { parts_->SetQuery(std::move(*shared)); });
}

void Server::Stop() {
  parts_->Post([this] { parts_->StopNow(); });
}

Result<void> Server::Watch(UniqueFd fd, std::function<bool(int)> readable) {
  return parts_->Watch(std::move(fd), std::move(readable));
}

void Server::Run() { parts_->Run(); }

}  // namespace stele::web
