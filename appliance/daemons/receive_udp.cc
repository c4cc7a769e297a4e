#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "appliance/base/system.h"
#include "appliance/daemons/receive_peer.h"
#include "appliance/daemons/receive_signed.h"
#include "appliance/daemons/receive_syslog.h"

namespace stele::receive {
namespace {

constexpr std::size_t kBatch = Account::kBatch;  // datagrams a call
constexpr int kCallsPerTurn = 16;             // before other listeners get theirs
constexpr int kTurnsAtStop = 256;             // what a buffer of any usual size holds
constexpr std::int64_t kPauseNsMin = 100'000;
constexpr std::int64_t kPauseNsMax = 4'000'000;
constexpr std::int64_t kBufferBytesPerPauseUs = 2'000;  // a pause leaves most of the socket's buffer free at any rate that a link can bring

// How long datagrams may wait in the socket's buffer.
std::int64_t PauseNsOf(int socket) {
  int buffer_bytes = 0;
  socklen_t size = sizeof buffer_bytes;
  if (::getsockopt(socket, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, &size) != 0) return 0;
  return std::min(kPauseNsMax, buffer_bytes / kBufferBytesPerPauseUs * std::int64_t{1'000});
}

}  // namespace

struct UdpListener::Buffers {
  Bytes space = Bytes(kBatch * limits::kUdpDatagramBytes);
  std::array<iovec, kBatch> vectors{};
  std::array<sockaddr_in6, kBatch> peers{};

  void Reset(std::array<mmsghdr, kBatch>& messages) {
    for (std::size_t i = 0; i < kBatch; ++i) {
      vectors[i] = {space.data() + i * limits::kUdpDatagramBytes, limits::kUdpDatagramBytes};
      messages[i].msg_hdr = {};
      messages[i].msg_hdr.msg_name = &peers[i];
      messages[i].msg_hdr.msg_namelen = sizeof peers[i];
      messages[i].msg_hdr.msg_iov = &vectors[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
  }
};

UdpListener::UdpListener(boost::asio::io_context& context, LedgerLink& link, Clock& clock, Listener& listener,
                         std::size_t index, UniqueFd socket, SyslogOptions options)
    : socket_(std::move(socket)), arrival_(context), pause_(context), link_(link), clock_(clock), listener_(listener), index_(index), options_(options),
      buffers_(std::make_unique<Buffers>()) {
  (void)::shutdown(socket_.get(), SHUT_WR);  // answers ENOTCONN and works: nothing can be sent from here
  listener_.counts_its_batches = true;
  pause_ns_ = PauseNsOf(socket_.get());
}

UdpListener::~UdpListener() {
  if (arrival_.is_open()) (void)arrival_.release();  // the descriptor is socket_'s
}

void UdpListener::Start() { Wait(); }

// The socket is read whether there is credit or not: what waits, waits here, fairly, and not in the one queue of the kernel, where
// a flood leaves no room for others.
void UdpListener::Wait() {
  if (!waiting_.empty() && !resume_wanted_) {
    resume_wanted_ = true;
    link_.WhenReady([this] {
      resume_wanted_ = false;
      SendWaiting();
      link_.FlushSoon();
      if (!waiting_.empty()) Wait();
    });
  }
  if (stopped_ || read_wanted_) return;
  read_wanted_ = true;
  const auto read = [this](const boost::system::error_code& error) {
    read_wanted_ = false;
    if (error) return;
    Read();
    link_.FlushSoon();
    Wait();
  };
  boost::system::error_code ignored;  // a socket that cannot be watched is looked at after each pause
  if (pausing_ && arrival_.is_open()) {
    (void)arrival_.release();  // while the reactor knew the socket, each datagram would wake the process, waited for or not
  } else if (!pausing_ && !arrival_.is_open()) {
    arrival_.assign(socket_.get(), ignored);
  }
  if (arrival_.is_open()) {
    arrival_.async_wait(boost::asio::posix::descriptor_base::wait_read, read);
  } else {
    pause_.expires_after(std::chrono::nanoseconds(std::max(pause_ns_, kPauseNsMin)));
    pause_.async_wait(read);
  }
}

// While datagrams follow each other closely they are left to gather for a moment: a wake-up, a frame and a send for each of
// them would cost more than all the rest.
void UdpListener::Read() {
  const std::uint64_t taken_before = datagrams_;
  const bool more = ReadSome();
  PollKernelDrops();
  const std::int64_t now_ns = clock_.BoottimeNs();
  const bool closely = pausing_ ? datagrams_ - taken_before > 1 : now_ns - read_ns_ < pause_ns_;
  pausing_ = closely && !more;
  read_ns_ = now_ns;
}

void UdpListener::Stop() {
  stopped_ = true;
  boost::system::error_code ignored;
  if (arrival_.is_open()) arrival_.cancel(ignored);
  (void)pause_.cancel();
  for (int turn = 0; turn < kTurnsAtStop && ReadSome(); ++turn) {
  }
  PollKernelDrops();
  Wait();
}

// True when there is more to read.
bool UdpListener::ReadSome() {
  for (int call = 0; call < kCallsPerTurn; ++call) {
    Account& account = *listener_.account;
    buffers_->Reset(account.batch);
    account.BeginBatch();
    const int count = ::recvmmsg(socket_.get(), account.batch.data(), kBatch, MSG_DONTWAIT, nullptr);
    if (count <= 0) return false;  // nothing left; a transient error of one datagram is gone with the next call
    account.EndBatch(static_cast<std::uint64_t>(count));
    datagrams_ += static_cast<std::uint64_t>(count);
    const std::int64_t now_ns = clock_.WallNs();
    const std::int64_t boottime_ns = clock_.BoottimeNs();
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) TakeDatagram(i, now_ns, boottime_ns);
    if (static_cast<std::size_t>(count) < kBatch) return false;
  }
  return true;
}

void UdpListener::TakeDatagram(std::size_t i, std::int64_t now_ns, std::int64_t boottime_ns) {
  const mmsghdr& message = listener_.account->batch[i];
  const record::Peer peer = PeerOf(buffers_->peers[i]);
  bool overflow = false;
  const std::uint32_t source = link_.SourceOf(index_, listener_, peer, "", overflow);
  const ByteView payload = ByteView(buffers_->space).subspan(i * limits::kUdpDatagramBytes, message.msg_len);
  if (source != kRefusedSource && !link_.quotas().Take(source, payload.size(), boottime_ns)) {
    listener_.LoseOf(Cause::kQuota, source, peer, 1, now_ns);
    return;
  }
  if (waiting_.empty() && link_.Ready()) {
    Send(source, overflow, now_ns, peer, payload);
  } else if (!waiting_.Push(source, payload.size(), {source, overflow, now_ns, peer, ToBytes(payload)})) {
    listener_.LoseOf(Cause::kOverload, source, peer, 1, now_ns);
  }
}

// As much as there is credit for: less would leave the ledger waiting for its commit window with a batch half full. While others wait
// for credit, one commit's worth; they are in front then (LedgerLink::Resume).
void UdpListener::SendWaiting() {
  const bool contended = link_.contended();
  for (std::size_t sent_bytes = 0; !waiting_.empty() && link_.Ready() && (!contended || sent_bytes < limits::kCommitGatherBytes);) {
    const Datagram datagram = waiting_.Pop();
    sent_bytes += datagram.payload.size();
    Send(datagram.source, datagram.overflow, datagram.wall_ns, datagram.peer, datagram.payload);
  }
}

void UdpListener::Send(std::uint32_t source, bool overflow, std::int64_t wall_ns, const record::Peer& peer, ByteView payload) {
  std::uint16_t flags = overflow ? record::kFlagOverflowSource : std::uint16_t{0};
  const ByteView kept = payload.first(std::min(payload.size(), options_.message_bytes_max));
  if (options_.signed_syslog != nullptr) {
    flags |= options_.signed_syslog->Take(listener_, source, peer, kept, flags);
  }
  if (payload.size() <= options_.message_bytes_max) {
    link_.Add(listener_, record::Kind::kSyslog, flags, source, wall_ns, peer, payload);
    return;
  }
  flags |= record::kFlagTruncated;
  link_.Add(listener_, record::Kind::kSyslog, flags, source, wall_ns, peer, kept);
  link_.Add(listener_, record::Kind::kLoss, 0, source, wall_ns, peer,
            AsBytes(OversizeEntry(listener_, payload.size(), WholeHashOf(payload), wall_ns)));
}

// The kernel's counter of this socket only grows, modulo 2^32, from the day the supervisor made the socket: the account holds
// the same number in 64 bits.
void UdpListener::NoteDrops(std::uint32_t total, std::int64_t now_ns) {
  const std::uint32_t fresh = total - static_cast<std::uint32_t>(listener_.account->Of(Cause::kKernelDrop).counted);
  if (fresh == 0 || fresh > (1U << 31U)) return;
  listener_.Lose(Cause::kKernelDrop, fresh, now_ns);
}

void UdpListener::PollKernelDrops() {
  std::array<std::uint32_t, SK_MEMINFO_VARS> info{};
  socklen_t size = sizeof info;
  if (::getsockopt(socket_.get(), SOL_SOCKET, SO_MEMINFO, info.data(), &size) != 0) return;
  if (size >= (SK_MEMINFO_DROPS + 1) * sizeof(std::uint32_t)) NoteDrops(info[SK_MEMINFO_DROPS], clock_.WallNs());
}

}  // namespace stele::receive
