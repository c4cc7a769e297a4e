// One listener for every protocol on a byte stream, plain TCP or TLS: it accepts, bounds, times out, stops reading
// while the ledger is behind, queues what goes back, and ends in order. What the bytes mean is the business of a
// StreamSession, made by a factory for each connection (after the TLS handshake).
//
//   deadlines: handshake 10 s; first whole frame 60 s; half a frame 30 s; a peer that does not take its answers 30 s
//   over a bound (connections in all, of one address; bytes queued for a peer): the connection is closed and counted
//   `refused`
//
// Thread safety: everything on the io_context's one thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include "appliance/daemons/receive_link.h"
#include "appliance/ingest/framing.h"

namespace stele::ingest {
struct TlsIdentity;
class TlsContext;
}  // namespace stele::ingest

namespace stele::receive {

class StreamSession;

class StreamDirectory {
 public:
  // The session of a connection; nullptr when the connection is gone. For callbacks that may come after its end: they
  // keep the id, never a pointer to a session or a peer.
  [[nodiscard]] virtual StreamSession* Find(std::uint64_t connection_id) = 0;

 protected:
  ~StreamDirectory() = default;
};

// The other side of one connection, and what a session may do to it. Owned by the listener; outlives the session.
class StreamPeer {
 public:
  virtual ~StreamPeer() = default;
  // Queued; sent after the session's current call, or at once when it comes from elsewhere (an acknowledgement). A peer
  // that lets more than limits::kStreamQueueBytes wait, or takes nothing for limits::kStreamSendMs, is closed.
  virtual void Send(ByteView bytes) = 0;

  std::uint64_t id = 0;                  // never used twice by one directory
  StreamDirectory* directory = nullptr;  // lives as long as the receiver
  record::Peer peer{};
  std::uint32_t source = 0;                       // as declared to the ledger, with the identity
  bool overflow = false;                          // `source` is the overflow source: records carry kFlagOverflowSource
  const ingest::TlsIdentity* identity = nullptr;  // of a verified client certificate; null: none, or no TLS
};

// One protocol on one connection. Calls come from the listener only, End() exactly once and last but for answers.
// Each message taken is counted in Listener::received: that is also what the half-frame deadline takes for progress.
class StreamSession {
 public:
  virtual ~StreamSession() = default;
  // The next bytes, after TLS; valid during the call. Called only while LedgerLink::Ready(), once per read.
  virtual void Take(ByteView bytes, std::int64_t now_ns) = 0;
  // No more bytes will come: what is half read is kept as `incomplete`. After kPeerClosed and kStopping the connection
  // stays for outstanding answers until closing() or a deadline; after the other reasons it is gone when End() returns.
  virtual void End(ingest::EndReason reason, std::int64_t now_ns) = 0;
  [[nodiscard]] virtual bool inside_message() const = 0;  // half a frame is held: its deadline runs
  [[nodiscard]] virtual bool heard() const = 0;           // a first whole frame has come
  // Nothing more is expected from either side: close once everything queued has been sent. Reading stops at once.
  [[nodiscard]] virtual bool closing() const = 0;
};

using StreamFactory = std::function<std::unique_ptr<StreamSession>(StreamPeer&)>;

// Bounds that all stream listeners of a receiver share. Outlives them.
struct StreamBudget {
  ingest::HeldBytes held;        // half messages
  std::size_t queued_bytes = 0;  // answers not yet taken
};

struct StreamOptions {
  std::size_t connections_max = limits::kConnections;
  std::size_t connections_per_address_max = limits::kConnectionsPerAddress;
  std::int64_t handshake_ms = limits::kTlsHandshakeMs;
  std::int64_t first_frame_ms = limits::kFirstFrameMs;
  std::int64_t half_frame_ms = limits::kHalfFrameMs;
  std::int64_t send_ms = limits::kStreamSendMs;
  std::shared_ptr<const ingest::TlsContext> tls;  // null: plain TCP. Shared: a connection keeps the one it began with
};

class StreamListener final : public StreamDirectory {
 public:
  StreamListener(boost::asio::io_context& context, LedgerLink& link, Clock& clock, StreamBudget& budget,
                 Listener& listener, std::size_t index, UniqueFd socket, StreamOptions options, StreamFactory factory);
  ~StreamListener();
  StreamListener(const StreamListener&) = delete;
  StreamListener& operator=(const StreamListener&) = delete;

  void Start();
  void Sweep();  // once a second: the deadlines
  void Stop();   // no new connections; what has arrived is read, sessions end with kStopping, answers may still go out
  [[nodiscard]] bool idle() const { return connections_.empty(); }
  [[nodiscard]] StreamSession* Find(std::uint64_t connection_id) override;
  void UseTls(std::shared_ptr<const ingest::TlsContext> tls) { options_.tls = std::move(tls); }  // for new connections

 private:
  struct Connection;
  void WaitAccept();
  void AcceptSome();
  void Admit(UniqueFd fd, const record::Peer& peer);
  void Open(Connection& connection);
  void Serve(std::uint64_t id);
  // Each of these says whether the connection goes on.
  [[nodiscard]] bool Step(Connection& connection);
  [[nodiscard]] bool Read(Connection& connection);
  [[nodiscard]] bool Write(Connection& connection);
  [[nodiscard]] bool End(Connection& connection, ingest::EndReason reason);
  [[nodiscard]] bool Discard(Connection& connection);
  void Wait(Connection& connection);
  void WaitFor(Connection& connection, bool write);
  void WaitForQuota(Connection& connection, std::int64_t wait_ns);
  [[nodiscard]] bool Overdue(const Connection& connection, std::int64_t now_ns) const;
  void Close(Connection& connection);

  boost::asio::io_context& context_;
  boost::asio::posix::stream_descriptor socket_;
  LedgerLink& link_;
  Clock& clock_;
  StreamBudget& budget_;
  Listener& listener_;
  std::size_t index_;
  StreamOptions options_;
  StreamFactory factory_;
  Bytes read_buffer_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Connection>> connections_;
  std::uint64_t connections_made_ = 0;
  std::map<std::string, std::size_t> per_address_;
  bool accept_paused_ = false;  // out of descriptors or memory: tried again by Sweep()
};

}  // namespace stele::receive
