// Syslog in stele-receive: UDP (RFC 5426) by recvmmsg; on streams (receive_stream.h) TCP (RFC 6587, both framings) and TLS
// (RFC 5425). Raw bytes go to the ledger as they came; parsing is for readers. Thread safety: the io_context's one thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>

#include "appliance/daemons/receive_fair.h"
#include "appliance/daemons/receive_link.h"
#include "appliance/daemons/receive_stream.h"
#include "appliance/ingest/framing.h"

struct mmsghdr;

namespace stele::receive {

class SignedSyslog;

struct SyslogOptions {
  std::size_t message_bytes_max = limits::kMessageBytesDefault;
  SignedSyslog* signed_syslog = nullptr;  // null: no keys are registered
};

class UdpListener {
 public:
  UdpListener(boost::asio::io_context& context, LedgerLink& link, Clock& clock, Listener& listener, std::size_t index,
              UniqueFd socket, SyslogOptions options);
  ~UdpListener();
  void Start();
  void Stop();             // what has arrived is read to its end
  [[nodiscard]] bool idle() const { return waiting_.empty(); }
  void PollKernelDrops();  // after every turn, and once a second for the tail of a burst

 private:
  struct Buffers;
  struct Datagram {
    std::uint32_t source = 0;
    bool overflow = false;
    std::int64_t wall_ns = 0;
    record::Peer peer{};
    Bytes payload;
  };
  void Wait();
  void Read();
  bool ReadSome();
  void TakeDatagram(std::size_t i, std::int64_t now_ns, std::int64_t boottime_ns);
  void SendWaiting();
  void Send(std::uint32_t source, bool overflow, std::int64_t wall_ns, const record::Peer& peer, ByteView payload);
  void NoteDrops(std::uint32_t total, std::int64_t now_ns);

  UniqueFd socket_;
  boost::asio::posix::stream_descriptor arrival_;  // the socket, while it is waited for
  boost::asio::steady_timer pause_;
  LedgerLink& link_;
  Clock& clock_;
  Listener& listener_;
  std::size_t index_;
  SyslogOptions options_;
  std::unique_ptr<Buffers> buffers_;
  FairQueue<Datagram> waiting_{limits::kUdpWaitingBytes};
  bool resume_wanted_ = false;
  bool read_wanted_ = false;
  std::uint64_t datagrams_ = 0;
  std::int64_t read_ns_ = 0;   // of the last turn, boottime
  std::int64_t pause_ns_ = 0;  // between two turns, while `pausing_`
  bool pausing_ = false;
  bool stopped_ = false;
};

// Sessions of RFC 6587 (Framing::kAuto on plain TCP) and RFC 5425 (Framing::kCounted on TLS). Everything given outlives them.
[[nodiscard]] StreamFactory SyslogFactory(LedgerLink& link, Entropy& entropy, StreamBudget& budget, Listener& listener,
                                          SyslogOptions options, ingest::Framing framing);

}  // namespace stele::receive
