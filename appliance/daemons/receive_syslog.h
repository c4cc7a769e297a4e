// Syslog listeners of stele-receive: UDP (RFC 5426) by recvmmsg, TCP (RFC 6587, both framings). Raw bytes go to the ledger as
// they came; parsing is for readers. Thread safety: the io_context's one thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <list>
#include <memory>

#include "appliance/daemons/receive_link.h"
#include "appliance/ingest/framing.h"

struct mmsghdr;

namespace stele::receive {

struct SyslogOptions {
  std::size_t message_bytes_max = limits::kMessageBytesDefault;
};

class UdpListener {
 public:
  UdpListener(boost::asio::io_context& context, LedgerLink& link, Clock& clock, Listener& listener, std::size_t index,
              UniqueFd socket, SyslogOptions options);
  ~UdpListener();
  void Start();
  void PollKernelDrops();  // once a second: SO_RXQ_OVFL misses the tail of a burst

 private:
  struct Buffers;
  void Wait();
  void Drain();
  void TakeDatagram(std::size_t i, std::int64_t now_ns);
  void NoteDrops(std::uint32_t total, std::int64_t now_ns);

  boost::asio::posix::stream_descriptor socket_;
  LedgerLink& link_;
  Clock& clock_;
  Listener& listener_;
  std::size_t index_;
  SyslogOptions options_;
  std::unique_ptr<Buffers> buffers_;
  std::uint32_t drops_seen_ = 0;
};

class TcpListener {
 public:
  TcpListener(boost::asio::io_context& context, LedgerLink& link, Clock& clock, Entropy& entropy, Listener& listener,
              std::size_t index, UniqueFd socket, SyslogOptions options);
  ~TcpListener();
  void Start();
  void Sweep();   // once a second: silent and stalled connections
  void Stop();    // no new connections; what has arrived is read to its end

 private:
  struct Connection;
  void WaitAccept();
  void AcceptSome();
  void Wait(Connection& connection);
  void Read(Connection& connection);
  void TakeMessages(Connection& connection, std::int64_t now_ns);
  void TakeTruncated(Connection& connection, const ingest::FramedMessage& message, std::int64_t now_ns);
  void Close(Connection& connection, ingest::EndReason reason);

  boost::asio::io_context& context_;
  boost::asio::posix::stream_descriptor socket_;
  LedgerLink& link_;
  Clock& clock_;
  Entropy& entropy_;
  Listener& listener_;
  std::size_t index_;
  SyslogOptions options_;
  ingest::HeldBytes held_;
  Bytes read_buffer_;
  std::list<Connection> connections_;
  std::uint64_t connections_made_ = 0;
  std::map<std::string, std::size_t> per_address_;
};

}  // namespace stele::receive
