#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

#include "appliance/base/system.h"
#include "appliance/daemons/receive_peer.h"
#include "appliance/daemons/receive_syslog.h"

namespace stele::receive {
namespace {

constexpr std::size_t kReadBytes = 256 * limits::kKiB;
constexpr int kReadsPerTurn = 4;
constexpr int kAcceptsPerTurn = 64;
constexpr std::int64_t kNsPerMs = 1'000'000;

}  // namespace

struct TcpListener::Connection {
  Connection(boost::asio::io_context& context, const ingest::StreamFramer::Options& options)
      : socket(context), framer(options) {}
  boost::asio::posix::stream_descriptor socket;
  ingest::StreamFramer framer;
  record::Peer peer{};
  std::string address;
  std::uint32_t source = 0;
  bool overflow = false;
  std::int64_t opened_ns = 0;        // BOOTTIME
  std::int64_t half_since_ns = 0;    // since when a half frame is held; 0: none
  std::uint64_t id = 0;
  std::list<Connection>::iterator self;
};

TcpListener::TcpListener(boost::asio::io_context& context, LedgerLink& link, Clock& clock, Entropy& entropy,
                         Listener& listener, std::size_t index, UniqueFd socket, SyslogOptions options)
    : context_(context), socket_(context), link_(link), clock_(clock), entropy_(entropy), listener_(listener), index_(index),
      options_(options), read_buffer_(kReadBytes) {
  boost::system::error_code ignored;
  socket_.assign(socket.release(), ignored);
  socket_.non_blocking(true, ignored);
}

TcpListener::~TcpListener() = default;

void TcpListener::Start() { WaitAccept(); }

void TcpListener::Stop() {
  boost::system::error_code ignored;
  socket_.close(ignored);
  for (auto at = connections_.begin(); at != connections_.end();) {
    Connection& connection = *at++;
    Read(connection);  // what has arrived; the connection may be gone afterwards
  }
}

void TcpListener::WaitAccept() {
  socket_.async_wait(boost::asio::posix::descriptor_base::wait_read, [this](const boost::system::error_code& error) {
    if (error) return;
    AcceptSome();
    WaitAccept();
  });
}

void TcpListener::AcceptSome() {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    sockaddr_in6 address{};
    socklen_t size = sizeof address;
    UniqueFd fd(::accept4(socket_.native_handle(), reinterpret_cast<sockaddr*>(&address), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) return;
    const record::Peer peer = PeerOf(address);
    const std::string text = record::PeerAddressText(peer);
    if (connections_.size() >= limits::kConnections || per_address_[text] >= limits::kConnectionsPerAddress) {
      ++listener_.refused;
      continue;
    }
    ingest::StreamFramer::Options options;
    options.message_bytes_max = options_.message_bytes_max;
    options.held = &held_;
    entropy_.Fill(options.salt_key);
    connections_.emplace_back(context_, options);
    Connection& connection = connections_.back();
    connection.id = ++connections_made_;
    connection.self = std::prev(connections_.end());
    boost::system::error_code ignored;
    connection.socket.assign(fd.release(), ignored);
    connection.peer = peer;
    connection.address = text;
    connection.source = link_.SourceOf(index_, listener_, peer, "", connection.overflow);
    connection.opened_ns = clock_.BoottimeNs();
    ++per_address_[text];
    ++listener_.connections;
    Wait(connection);
  }
}

void TcpListener::Wait(Connection& connection) {
  if (!link_.Ready()) {
    // Back-pressure: the sender's window fills. A connection closed meanwhile must not be touched: look it up again.
    link_.WhenReady([this, id = connection.id] {
      for (Connection& one : connections_) {
        if (one.id != id) continue;
        Wait(one);
        return;
      }
    });
    return;
  }
  connection.socket.async_wait(boost::asio::posix::descriptor_base::wait_read,
                               [this, &connection](const boost::system::error_code& error) {
                                 if (error == boost::asio::error::operation_aborted) return;  // closed: gone
                                 Read(connection);
                               });
}

void TcpListener::Read(Connection& connection) {
  for (int i = 0; i < kReadsPerTurn && link_.Ready(); ++i) {
    const ssize_t n = ::recv(connection.socket.native_handle(), read_buffer_.data(), read_buffer_.size(), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) break;
    if (n <= 0) {
      Close(connection, n == 0 ? ingest::EndReason::kPeerClosed : ingest::EndReason::kReset);
      return;
    }
    connection.framer.Feed(ByteView(read_buffer_).first(static_cast<std::size_t>(n)));
    TakeMessages(connection, clock_.WallNs());
    if (connection.framer.closed()) {
      ++listener_.refused;
      Close(connection, ingest::EndReason::kReset);
      return;
    }
    if (static_cast<std::size_t>(n) < read_buffer_.size()) break;
  }
  if (!connection.framer.inside_message()) {
    connection.half_since_ns = 0;
  } else if (connection.half_since_ns == 0) {
    connection.half_since_ns = clock_.BoottimeNs();
  }
  link_.FlushSoon();
  Wait(connection);
}

void TcpListener::TakeMessages(Connection& connection, std::int64_t now_ns) {
  ingest::FramedMessage message;
  while (connection.framer.Next(message)) {
    ++listener_.received;
    if (message.truncated) {
      TakeTruncated(connection, message, now_ns);
      continue;
    }
    std::uint16_t flags = connection.overflow ? record::kFlagOverflowSource : std::uint16_t{0};
    if (message.incomplete) flags |= record::kFlagIncomplete;
    if (message.framing_error) flags |= record::kFlagFramingError;
    link_.Add(listener_, record::Kind::kSyslog, flags, connection.source, now_ns, connection.peer, message.bytes);
  }
}

void TcpListener::TakeTruncated(Connection& connection, const ingest::FramedMessage& message, std::int64_t now_ns) {
  std::uint16_t flags = record::kFlagTruncated;
  if (connection.overflow) flags |= record::kFlagOverflowSource;
  if (message.incomplete) flags |= record::kFlagIncomplete;
  link_.Add(listener_, record::Kind::kSyslog, flags, connection.source, now_ns, connection.peer, message.bytes);
  link_.Add(listener_, record::Kind::kLoss, 0, connection.source, now_ns, connection.peer,
            AsBytes(OversizeEntry(listener_.name, message.full_length, {message.whole_salt, message.whole_hash}, now_ns)));
  ++listener_.received;
}

void TcpListener::Close(Connection& connection, ingest::EndReason reason) {
  connection.framer.End(reason);
  TakeMessages(connection, clock_.WallNs());
  link_.FlushSoon();
  boost::system::error_code ignored;
  connection.socket.close(ignored);
  if (--per_address_[connection.address] == 0) per_address_.erase(connection.address);
  --listener_.connections;
  connections_.erase(connection.self);
}

void TcpListener::Sweep() {
  const std::int64_t now = clock_.BoottimeNs();
  for (auto at = connections_.begin(); at != connections_.end();) {
    Connection& connection = *at++;
    const bool silent = connection.framer.messages_count() == 0 && now - connection.opened_ns > limits::kFirstFrameMs * kNsPerMs;
    const bool stalled = connection.half_since_ns != 0 && now - connection.half_since_ns > limits::kHalfFrameMs * kNsPerMs;
    if (!silent && !stalled) continue;
    ++listener_.refused;
    Close(connection, ingest::EndReason::kStalled);
  }
}

}  // namespace stele::receive
