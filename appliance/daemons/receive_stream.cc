#include "appliance/daemons/receive_stream.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>

#include "appliance/daemons/receive_peer.h"
#include "appliance/ingest/tls.h"

namespace stele::receive {
namespace {

using ingest::EndReason;
using ingest::TlsStream;

constexpr std::size_t kReadBytes = 256 * limits::kKiB;
constexpr int kReadsPerTurn = 4;
// The kernel lets the receive buffer of a connection grow to many MiB (tcp_rmem). Two thousand of those are more than all the memory it has for
// TCP (tcp_mem): it then drops what arrives, and senders stall until our deadlines cut them off. So only a few may grow.
constexpr std::size_t kGrowingConnections = 16;
constexpr int kSocketBytes = 64 * 1024;  // of each one beyond; the kernel doubles it
// While others wait for credit a turn is one short read: who sends little waits for one turn of each of them.
constexpr std::size_t kContendedReadBytes = 64 * limits::kKiB;
constexpr int kReadsAtStop = 64;
constexpr int kAcceptsPerTurn = 64;
constexpr std::int64_t kLingerMs = 2'000;  // from our last byte to the peer's end, so that no reset overtakes an answer
constexpr std::int64_t kNsPerMs = 1'000'000;

bool WouldBlock() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

}  // namespace

struct StreamListener::Connection final : StreamPeer {
  enum class State : std::uint8_t {
    kHandshake,
    kOpen,
    kEnded,      // the session has heard its end; its last answers are awaited and sent
    kLingering,  // everything is sent and our side is closed; the peer's end is awaited
  };

  Connection(StreamListener& listener, UniqueFd fd)
      : owner(listener), socket(listener.context_), quota_timer(listener.context_) {
    boost::system::error_code ignored;
    socket.assign(fd.release(), ignored);
  }
  ~Connection() override { owner.budget_.queued_bytes -= unsent_bytes(); }

  [[nodiscard]] std::size_t unsent_bytes() const { return out.size() - out_at; }

  // Only queues: a session may be in the middle of something. Serve() sends, called by post() unless it is already at
  // it.
  void Send(ByteView bytes) override {
    if (broken || bytes.empty()) return;
    std::size_t& all = owner.budget_.queued_bytes;
    if (unsent_bytes() + bytes.size() > limits::kStreamQueueBytes || all + bytes.size() > limits::kStreamQueuesBytes) {
      broken = true;
    } else {
      if (unsent_bytes() == 0) unsent_since_ns = owner.clock_.BoottimeNs();
      Append(out, bytes);
      all += bytes.size();
      answered = true;
    }
    Turn();
  }

  void Turn() {
    if (serving || turn_posted) return;
    turn_posted = true;
    boost::asio::post(owner.context_, [listener = &owner, number = id] { listener->Serve(number); });
  }

  StreamListener& owner;
  boost::asio::posix::stream_descriptor socket;
  boost::asio::steady_timer quota_timer;
  std::optional<TlsStream> tls;
  std::optional<ingest::TlsIdentity> certificate;
  std::unique_ptr<StreamSession> session;
  std::string address;
  State state = State::kOpen;
  Bytes out;
  std::size_t out_at = 0;
  std::int64_t since_ns = 0;         // BOOTTIME: when this state began
  std::int64_t half_since_ns = 0;    // since when the half frame is held; 0: none
  std::int64_t unsent_since_ns = 0;  // since when nothing of what waits was taken
  bool answered = false;             // something was ever queued
  bool broken = false;               // over a bound: close
  bool peer_ended = false;
  bool tls_wants_write = false;
  bool more_waiting = false;  // TLS holds bytes already decrypted: no readiness of the socket will announce them
  bool serving = false;
  bool turn_posted = false;
  bool waiting_read = false;
  bool waiting_write = false;
  bool waiting_link = false;  // for credit, or for its quota
};

StreamListener::StreamListener(boost::asio::io_context& context, LedgerLink& link, Clock& clock, StreamBudget& budget,
                               Listener& listener, std::size_t index, UniqueFd socket, StreamOptions options,
                               StreamFactory factory)
    : context_(context),
      socket_(context),
      link_(link),
      clock_(clock),
      budget_(budget),
      listener_(listener),
      index_(index),
      options_(std::move(options)),
      factory_(std::move(factory)),
      read_buffer_(kReadBytes) {
  boost::system::error_code ignored;
  socket_.assign(socket.release(), ignored);
  socket_.non_blocking(true, ignored);
}

StreamListener::~StreamListener() = default;

void StreamListener::Start() { WaitAccept(); }

StreamSession* StreamListener::Find(std::uint64_t connection_id) {
  const auto at = connections_.find(connection_id);
  return at == connections_.end() ? nullptr : at->second->session.get();
}

void StreamListener::WaitAccept() {
  socket_.async_wait(boost::asio::posix::descriptor_base::wait_read, [this](const boost::system::error_code& error) {
    if (error) return;
    AcceptSome();
    if (!accept_paused_) WaitAccept();
  });
}

void StreamListener::AcceptSome() {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    sockaddr_in6 address{};
    socklen_t size = sizeof address;
    UniqueFd fd(
        ::accept4(socket_.native_handle(), reinterpret_cast<sockaddr*>(&address), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) {
      // Out of descriptors or memory: the listener stays readable, so waiting for it would spin.
      accept_paused_ = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
      return;
    }
    Admit(std::move(fd), PeerOf(address));
  }
}

void StreamListener::Admit(UniqueFd fd, const record::Peer& peer) {
  const std::string text = record::PeerAddressText(peer);
  const auto from = per_address_.find(text);
  if (connections_.size() >= options_.connections_max ||
      (from != per_address_.end() && from->second >= options_.connections_per_address_max)) {
    ++listener_.refused;
    return;
  }
  if (connections_.size() >= kGrowingConnections) {
    (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &kSocketBytes, sizeof kSocketBytes);  // best effort
  }
  auto made = std::make_unique<Connection>(*this, std::move(fd));
  Connection& connection = *made;
  if (options_.tls) {
    auto tls = TlsStream::Make(options_.tls, connection.socket.native_handle());
    if (!tls) {
      ++listener_.refused;
      return;
    }
    connection.tls.emplace(std::move(*tls));
    connection.state = Connection::State::kHandshake;
  }
  connection.id = ++connections_made_;
  connection.directory = this;
  connection.peer = peer;
  connection.address = text;
  connection.since_ns = clock_.BoottimeNs();
  ++per_address_[text];
  ++listener_.connections;
  connections_.emplace(connection.id, std::move(made));
  if (!options_.tls) Open(connection);
  Wait(connection);
}

// The peer is known: who it is goes into its source, and the session begins.
void StreamListener::Open(Connection& connection) {
  connection.state = Connection::State::kOpen;
  connection.since_ns = clock_.BoottimeNs();
  std::string identity;
  if (connection.tls) connection.certificate = connection.tls->PeerIdentity();
  if (connection.certificate) {
    connection.identity = &*connection.certificate;
    identity = connection.certificate->ToJson();
  }
  connection.source = link_.SourceOf(index_, listener_, connection.peer, identity, connection.overflow);
  connection.session = factory_(connection);
}

// Everything that happens to a connection ends up here: its socket is ready, there is room for records again, an answer
// is to be sent. By number, because what announced it may come after the connection's end.
void StreamListener::Serve(std::uint64_t id) {
  const auto at = connections_.find(id);
  if (at == connections_.end()) return;
  Connection& connection = *at->second;
  connection.turn_posted = false;
  connection.serving = true;
  const bool goes_on = Step(connection);
  connection.serving = false;
  link_.FlushSoon();
  if (goes_on) {
    Wait(connection);
  } else {
    Close(connection);
  }
}

bool StreamListener::Step(Connection& connection) {
  using State = Connection::State;
  connection.tls_wants_write = false;
  if (connection.state == State::kLingering) return Discard(connection);
  if (connection.state == State::kHandshake) {
    const auto status = connection.tls->Handshake();
    if (status == TlsStream::Status::kWantRead || status == TlsStream::Status::kWantWrite) {
      connection.tls_wants_write = status == TlsStream::Status::kWantWrite;
      return true;
    }
    if (status != TlsStream::Status::kOk) {
      listener_.HandshakeFailed(connection.peer, connection.tls->failure(), clock_.WallNs());
      return false;
    }
    Open(connection);
  }
  if (!Write(connection)) return false;
  const bool within_quota = link_.MayReadInNs(connection.source) == 0;
  if (connection.state == State::kOpen && !connection.session->closing() && within_quota && !Read(connection)) return false;
  if (!Write(connection)) return false;
  if (!connection.session->closing() || connection.unsent_bytes() != 0) return true;

  // Nothing more is expected and everything is sent.
  if (connection.state == State::kOpen) (void)End(connection, EndReason::kReset);
  if (connection.peer_ended || !connection.answered) return false;
  if (connection.tls) connection.tls->Shutdown();
  (void)::shutdown(connection.socket.native_handle(), SHUT_WR);  // gone already: the next read says so
  connection.state = State::kLingering;
  connection.since_ns = clock_.BoottimeNs();
  return Discard(connection);
}

bool StreamListener::Read(Connection& connection) {
  const std::uint64_t received_before = listener_.received;
  const bool contended = link_.contended();
  const int reads = contended ? 1 : kReadsPerTurn;
  const MutableBytes space = MutableBytes(read_buffer_).first(contended ? kContendedReadBytes : kReadBytes);
  for (int i = 0; i < reads && link_.Ready() && connection.unsent_bytes() <= limits::kStreamPauseBytes; ++i) {
    std::size_t got = 0;
    bool more = false;
    std::optional<EndReason> end;
    if (connection.tls) {
      const TlsStream::Moved moved = connection.tls->Read(space);
      got = moved.bytes;
      more = moved.status == TlsStream::Status::kOk;
      connection.more_waiting = more;
      connection.tls_wants_write = moved.status == TlsStream::Status::kWantWrite;
      if (moved.status == TlsStream::Status::kEnd) end = EndReason::kPeerClosed;
      if (moved.status == TlsStream::Status::kFailed) end = EndReason::kReset;
    } else {
      const ssize_t n =
          ::recv(connection.socket.native_handle(), space.data(), space.size(), MSG_DONTWAIT);
      if (n < 0 && WouldBlock()) break;
      if (n <= 0) end = n == 0 ? EndReason::kPeerClosed : EndReason::kReset;
      if (n > 0) got = static_cast<std::size_t>(n);
      more = got == space.size();
    }
    if (got != 0) connection.session->Take(ByteView(space).first(got), clock_.WallNs());
    if (end) return End(connection, *end);
    if (connection.broken) return false;
    if (!more || connection.session->closing()) break;
  }
  if (!connection.session->inside_message()) {
    connection.half_since_ns = 0;
  } else if (connection.half_since_ns == 0 || listener_.received != received_before) {
    connection.half_since_ns = clock_.BoottimeNs();  // this half is another one than before
  }
  return true;
}

bool StreamListener::End(Connection& connection, EndReason reason) {
  connection.state = Connection::State::kEnded;
  connection.since_ns = clock_.BoottimeNs();
  connection.half_since_ns = 0;
  connection.peer_ended = reason == EndReason::kPeerClosed;
  connection.session->End(reason, clock_.WallNs());
  return reason == EndReason::kPeerClosed || reason == EndReason::kStopping;
}

bool StreamListener::Write(Connection& connection) {
  if (connection.broken) {
    ++listener_.refused;
    return false;
  }
  const std::size_t waiting = connection.unsent_bytes();
  if (waiting == 0) return true;
  const ByteView unsent = ByteView(connection.out).subspan(connection.out_at);
  std::size_t sent = 0;
  if (connection.tls) {
    const TlsStream::Moved moved = connection.tls->Write(unsent);
    if (moved.status == TlsStream::Status::kFailed || moved.status == TlsStream::Status::kEnd) return false;
    sent = moved.bytes;
  } else {
    const ssize_t n =
        ::send(connection.socket.native_handle(), unsent.data(), unsent.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && !WouldBlock()) return false;
    if (n > 0) sent = static_cast<std::size_t>(n);
  }
  connection.out_at += sent;
  budget_.queued_bytes -= sent;
  if (sent != 0) connection.unsent_since_ns = clock_.BoottimeNs();
  if (connection.out_at == connection.out.size()) {
    connection.out_at = 0;
    if (connection.out.capacity() > limits::kStreamPauseBytes) {
      Bytes().swap(connection.out);
    } else {
      connection.out.clear();
    }
  } else if (connection.out_at > limits::kStreamPauseBytes) {
    connection.out.erase(connection.out.begin(),
                         connection.out.begin() + static_cast<std::ptrdiff_t>(connection.out_at));
    connection.out_at = 0;
  }
  return true;
}

// Takes what still comes and forgets it: closing a socket with unread bytes would reset what was sent on it.
bool StreamListener::Discard(Connection& connection) {
  for (int i = 0; i < kReadsPerTurn; ++i) {
    const ssize_t n = ::recv(connection.socket.native_handle(), read_buffer_.data(), read_buffer_.size(), MSG_DONTWAIT);
    if (n < 0 && WouldBlock()) return true;
    if (n <= 0) return false;
  }
  return true;
}

void StreamListener::Wait(Connection& connection) {
  using State = Connection::State;
  if (connection.tls_wants_write || connection.unsent_bytes() != 0) WaitFor(connection, /*write=*/true);
  if (connection.state == State::kHandshake || connection.state == State::kLingering)
    return WaitFor(connection, /*write=*/false);
  if (connection.state == State::kEnded || connection.unsent_bytes() > limits::kStreamPauseBytes) return;
  if (!link_.Ready()) {
    // Back-pressure: the sender's window fills.
    if (connection.waiting_link) return;
    connection.waiting_link = true;
    link_.WhenReady([this, id = connection.id] {
      const auto at = connections_.find(id);
      if (at == connections_.end()) return;
      at->second->waiting_link = false;
      if (at->second->half_since_ns != 0) at->second->half_since_ns = clock_.BoottimeNs();  // the wait was ours
      Serve(id);
    });
    return;
  }
  if (const std::int64_t wait_ns = link_.MayReadInNs(connection.source); wait_ns > 0) return WaitForQuota(connection, wait_ns);
  if (connection.more_waiting) return connection.Turn();
  WaitFor(connection, /*write=*/false);
}

// Above its quota: it is not read until its time has come, and its window fills.
void StreamListener::WaitForQuota(Connection& connection, std::int64_t wait_ns) {
  if (connection.waiting_link) return;
  connection.waiting_link = true;
  connection.quota_timer.expires_after(std::chrono::nanoseconds(wait_ns));
  connection.quota_timer.async_wait([this, id = connection.id](const boost::system::error_code& error) {
    const auto at = connections_.find(id);
    if (error || at == connections_.end()) return;
    at->second->waiting_link = false;
    if (at->second->half_since_ns != 0) at->second->half_since_ns = clock_.BoottimeNs();  // the wait was ours
    Serve(id);
  });
}

void StreamListener::WaitFor(Connection& connection, bool write) {
  bool& waiting = write ? connection.waiting_write : connection.waiting_read;
  if (waiting) return;
  waiting = true;
  using boost::asio::posix::descriptor_base;
  connection.socket.async_wait(write ? descriptor_base::wait_write : descriptor_base::wait_read,
                               [this, id = connection.id, write](const boost::system::error_code& error) {
                                 if (error == boost::asio::error::operation_aborted) return;  // closed
                                 const auto at = connections_.find(id);
                                 if (at == connections_.end()) return;
                                 (write ? at->second->waiting_write : at->second->waiting_read) = false;
                                 Serve(id);
                               });
}

void StreamListener::Close(Connection& connection) {
  if (--per_address_[connection.address] == 0) per_address_.erase(connection.address);
  --listener_.connections;
  if (connection.tls && connection.state != Connection::State::kLingering) connection.tls->Shutdown();
  connections_.erase(connection.id);
}

bool StreamListener::Overdue(const Connection& connection, std::int64_t now_ns) const {
  using State = Connection::State;
  const auto past = [now_ns](std::int64_t since_ns, std::int64_t limit_ms) {
    return now_ns - since_ns > limit_ms * kNsPerMs;
  };
  if (connection.unsent_bytes() != 0 && past(connection.unsent_since_ns, options_.send_ms)) return true;
  switch (connection.state) {
    case State::kHandshake:
      return past(connection.since_ns, options_.handshake_ms);
    case State::kLingering:
      return past(connection.since_ns, kLingerMs);
    case State::kEnded:
      return past(connection.since_ns, options_.send_ms);
    case State::kOpen:
      break;
  }
  if (connection.waiting_link) return false;  // we do not read: the silence is ours
  if (!connection.session->heard() && past(connection.since_ns, options_.first_frame_ms)) return true;
  return connection.half_since_ns != 0 && past(connection.half_since_ns, options_.half_frame_ms);
}

void StreamListener::Sweep() {
  if (accept_paused_ && socket_.is_open()) {
    accept_paused_ = false;
    WaitAccept();
  }
  const std::int64_t now_ns = clock_.BoottimeNs();
  for (auto at = connections_.begin(); at != connections_.end();) {
    Connection& connection = *(at++)->second;  // Close() erases only this one
    if (!Overdue(connection, now_ns)) continue;
    if (connection.state == Connection::State::kHandshake) {
      listener_.HandshakeFailed(connection.peer, "took too long", clock_.WallNs());
    } else if (connection.state != Connection::State::kLingering) {
      ++listener_.refused;
    }
    if (connection.state == Connection::State::kOpen) (void)End(connection, EndReason::kStalled);
    Close(connection);
  }
  link_.FlushSoon();
}

void StreamListener::Stop() {
  boost::system::error_code ignored;
  socket_.close(ignored);
  std::vector<std::uint64_t> all;
  for (const auto& [id, connection] : connections_) all.push_back(id);
  for (const std::uint64_t id : all) {
    for (int i = 0; i < kReadsAtStop; ++i) {  // what has arrived
      const std::uint64_t received_before = listener_.received;
      Serve(id);
      if (connections_.find(id) == connections_.end() || listener_.received == received_before) break;
    }
    const auto at = connections_.find(id);
    if (at == connections_.end()) continue;
    Connection& connection = *at->second;
    if (connection.state == Connection::State::kHandshake) {
      Close(connection);
    } else if (connection.state == Connection::State::kOpen) {
      connection.serving = true;  // answers queued now are sent by the Serve() below
      (void)End(connection, EndReason::kStopping);
      connection.serving = false;
      Serve(id);
    }
  }
  link_.FlushSoon();
}

}  // namespace stele::receive
