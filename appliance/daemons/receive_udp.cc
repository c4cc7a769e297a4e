#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "appliance/base/system.h"
#include "appliance/daemons/receive_peer.h"
#include "appliance/daemons/receive_syslog.h"

namespace stele::receive {
namespace {

constexpr std::size_t kBatch = 64;            // datagrams a call
constexpr int kCallsPerTurn = 16;             // before other listeners get theirs
constexpr std::size_t kControlBytes = CMSG_SPACE(sizeof(std::uint32_t));

}  // namespace

struct UdpListener::Buffers {
  Bytes space = Bytes(kBatch * limits::kUdpDatagramBytes);
  std::array<iovec, kBatch> vectors{};
  std::array<sockaddr_in6, kBatch> peers{};
  std::array<std::array<std::byte, kControlBytes>, kBatch> controls{};
  std::array<mmsghdr, kBatch> messages{};

  void Reset() {
    for (std::size_t i = 0; i < kBatch; ++i) {
      vectors[i] = {space.data() + i * limits::kUdpDatagramBytes, limits::kUdpDatagramBytes};
      messages[i].msg_hdr = {};
      messages[i].msg_hdr.msg_name = &peers[i];
      messages[i].msg_hdr.msg_namelen = sizeof peers[i];
      messages[i].msg_hdr.msg_iov = &vectors[i];
      messages[i].msg_hdr.msg_iovlen = 1;
      messages[i].msg_hdr.msg_control = controls[i].data();
      messages[i].msg_hdr.msg_controllen = controls[i].size();
    }
  }
};

UdpListener::UdpListener(boost::asio::io_context& context, LedgerLink& link, Clock& clock, Listener& listener,
                         std::size_t index, UniqueFd socket, SyslogOptions options)
    : socket_(context), link_(link), clock_(clock), listener_(listener), index_(index), options_(options),
      buffers_(std::make_unique<Buffers>()) {
  const int on = 1;
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on) != 0) {
    LogWarning(listener.name + ": this kernel does not count drops per socket");
  }
  (void)::shutdown(socket.get(), SHUT_WR);  // answers ENOTCONN and works: nothing can be sent from here
  boost::system::error_code ignored;
  socket_.assign(socket.release(), ignored);
}

UdpListener::~UdpListener() = default;

void UdpListener::Start() { Wait(); }

void UdpListener::Wait() {
  if (!link_.Ready()) {
    link_.WhenReady([this] { Drain(); });
    return;
  }
  socket_.async_wait(boost::asio::posix::descriptor_base::wait_read, [this](const boost::system::error_code& error) {
    if (!error) Drain();
  });
}

void UdpListener::Drain() {
  for (int call = 0; call < kCallsPerTurn && link_.Ready(); ++call) {
    buffers_->Reset();
    const int count = ::recvmmsg(socket_.native_handle(), buffers_->messages.data(), kBatch, MSG_DONTWAIT, nullptr);
    if (count <= 0) break;  // nothing left; a transient error of one datagram is gone with the next call
    const std::int64_t now_ns = clock_.WallNs();
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) TakeDatagram(i, now_ns);
    if (static_cast<std::size_t>(count) < kBatch) break;
  }
  link_.FlushSoon();
  Wait();
}

void UdpListener::TakeDatagram(std::size_t i, std::int64_t now_ns) {
  mmsghdr& message = buffers_->messages[i];
  for (cmsghdr* c = CMSG_FIRSTHDR(&message.msg_hdr); c != nullptr; c = CMSG_NXTHDR(&message.msg_hdr, c)) {
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
      std::uint32_t total = 0;
      std::memcpy(&total, CMSG_DATA(c), sizeof total);
      NoteDrops(total, now_ns);
    }
  }
  const record::Peer peer = PeerOf(buffers_->peers[i]);
  bool overflow = false;
  const std::uint32_t source = link_.SourceOf(index_, listener_, peer, "", overflow);
  ByteView payload = ByteView(buffers_->space).subspan(i * limits::kUdpDatagramBytes, message.msg_len);
  std::uint16_t flags = overflow ? record::kFlagOverflowSource : std::uint16_t{0};
  ++listener_.received;
  if (payload.size() > options_.message_bytes_max) {
    flags |= record::kFlagTruncated;
    link_.Add(listener_, record::Kind::kSyslog, flags, source, now_ns, peer, payload.first(options_.message_bytes_max));
    link_.Add(listener_, record::Kind::kLoss, 0, source, now_ns, peer,
              AsBytes(OversizeEntry(listener_.name, payload.size(), WholeHashOf(payload), now_ns)));
    ++listener_.received;
    return;
  }
  link_.Add(listener_, record::Kind::kSyslog, flags, source, now_ns, peer, payload);
}

// The kernel's counter of this socket only grows, modulo 2^32.
void UdpListener::NoteDrops(std::uint32_t total, std::int64_t now_ns) {
  const std::uint32_t fresh = total - drops_seen_;
  if (fresh == 0 || fresh > (1U << 31U)) return;
  drops_seen_ = total;
  listener_.Lose("kernel_drop", fresh, now_ns);
}

void UdpListener::PollKernelDrops() {
  std::array<std::uint32_t, SK_MEMINFO_VARS> info{};
  socklen_t size = sizeof info;
  if (::getsockopt(socket_.native_handle(), SOL_SOCKET, SO_MEMINFO, info.data(), &size) != 0) return;
  if (size >= (SK_MEMINFO_DROPS + 1) * sizeof(std::uint32_t)) NoteDrops(info[SK_MEMINFO_DROPS], clock_.WallNs());
}

}  // namespace stele::receive
