#include "appliance/channel/channel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "appliance/base/limits.h"
#include "appliance/channel/policy_messages.h"

namespace stele::channel {
namespace {

constexpr std::size_t kTypeBytes = 2;
constexpr std::size_t kHelloBytes = 4 + 2 + 2 + 4 + 4;
constexpr std::size_t kPartsMax = 15;        // parts of one SendParts(), the type apart
constexpr std::size_t kDescriptorsMax = 4;   // of one frame; more is not a frame of ours

Result<void> SendMessage(int fd, const msghdr& message) {
  for (;;) {
    if (::sendmsg(fd, &message, MSG_NOSIGNAL) >= 0) return {};
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return Fail(Code::kUnavailable, "channel is full");
    return FailErrno("send on a channel");
  }
}

// One frame; `message.msg_iov` is the caller's buffer. Returns the frame's length.
Result<std::size_t> ReceiveMessage(int fd, msghdr& message, bool wait) {
  const auto control_bytes = message.msg_controllen;
  for (;;) {
    message.msg_controllen = control_bytes;
    const ssize_t size_bytes = ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
    if (size_bytes > 0) return static_cast<std::size_t>(size_bytes);
    if (size_bytes == 0) return Fail(Code::kNotFound, "the peer closed the channel");
    if (errno == ECONNRESET) return Fail(Code::kNotFound, "the peer closed the channel, and had not read all of it", ECONNRESET);
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return FailErrno("receive on a channel");
    if (!wait) return Fail(Code::kUnavailable, "no frame yet");
    pollfd readable{fd, POLLIN, 0};  // a descriptor in non-blocking mode, and a caller that wants to wait
    (void)::poll(&readable, 1, -1);
  }
}

// Takes ownership of every descriptor that came along, wanted or not.
std::vector<UniqueFd> TakeDescriptors(msghdr& message) {
  std::vector<UniqueFd> taken;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
      taken.emplace_back(fd);
    }
  }
  return taken;
}

Result<FrameView> ViewOf(const msghdr& message, ByteView received) {
  if ((message.msg_flags & MSG_TRUNC) != 0) return Fail(Code::kInvalid, "frame is longer than the limit");
  if (received.size() < kTypeBytes) return Fail(Code::kInvalid, "frame is too short");
  return FrameView{static_cast<Type>(LoadLittle<std::uint16_t>(received.data())), received.subspan(kTypeBytes)};
}

}  // namespace

const char* RoleName(Role role) {
  switch (role) {
    case Role::kReceive: return "receive";
    case Role::kLedger: return "ledger";
    case Role::kAnchor: return "anchor";
    case Role::kQuery: return "query";
    case Role::kWeb: return "web";
    case Role::kSupervisor: return "supervisor";
    case Role::kCli: return "cli";
    case Role::kGuard: return "guard";
    case Role::kWatch: return "watch";
  }
  return "unknown";
}

void WidenBuffers(int fd) {
  const int wanted_bytes = limits::kChannelSocketBytes;
  for (const auto& [forced, ordinary] : {std::pair{SO_SNDBUFFORCE, SO_SNDBUF}, std::pair{SO_RCVBUFFORCE, SO_RCVBUF}}) {
    if (::setsockopt(fd, SOL_SOCKET, forced, &wanted_bytes, sizeof wanted_bytes) != 0) {
      (void)::setsockopt(fd, SOL_SOCKET, ordinary, &wanted_bytes, sizeof wanted_bytes);  // capped by wmem_max: fine
    }
  }
}

Result<std::pair<UniqueFd, UniqueFd>> MakePair() {
  std::array<int, 2> ends{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) return FailErrno("make a channel");
  for (const int end : ends) WidenBuffers(end);
  return std::pair{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Result<void> Send(int fd, Type type, ByteView body) { return SendParts(fd, type, std::span(&body, 1)); }

Result<void> SendParts(int fd, Type type, std::span<const ByteView> parts) {
  STELE_CHECK(parts.size() <= kPartsMax);
  std::array<std::byte, kTypeBytes> head;
  StoreLittle(head.data(), static_cast<std::uint16_t>(type));
  std::array<iovec, kPartsMax + 1> pieces{};
  pieces[0] = {head.data(), head.size()};
  std::size_t size_bytes = head.size();
  for (std::size_t i = 0; i < parts.size(); ++i) {
    pieces[i + 1] = {const_cast<std::byte*>(parts[i].data()), parts[i].size()};  // sendmsg only reads it
    size_bytes += parts[i].size();
  }
  if (size_bytes > limits::kChannelFrameBytes) return Fail(Code::kInvalid, "frame is longer than the limit");
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = parts.size() + 1;
  return SendMessage(fd, message);
}

Result<void> SendWithDescriptor(int fd, Type type, ByteView body, int descriptor) {
  if (body.size() + kTypeBytes > limits::kChannelFrameBytes) return Fail(Code::kInvalid, "frame is longer than the limit");
  std::array<std::byte, kTypeBytes> head;
  StoreLittle(head.data(), static_cast<std::uint16_t>(type));
  std::array<iovec, 2> pieces{iovec{head.data(), head.size()}, iovec{const_cast<std::byte*>(body.data()), body.size()}};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = pieces.size();
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  return SendMessage(fd, message);
}

Result<Frame> Receive(int fd, bool wait, bool with_descriptors) {
  std::array<std::byte, limits::kChannelFrameBytes> buffer;
  iovec piece{buffer.data(), buffer.size()};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(kDescriptorsMax * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (with_descriptors) {  // without room for them the kernel closes what a peer sends
    message.msg_control = control.data();
    message.msg_controllen = control.size();
  }
  STELE_TRY(const std::size_t size_bytes, ReceiveMessage(fd, message, wait));
  Frame frame;
  if (with_descriptors) frame.descriptors = TakeDescriptors(message);
  if (with_descriptors && (message.msg_flags & MSG_CTRUNC) != 0) return Fail(Code::kInvalid, "too many descriptors");
  STELE_TRY(const FrameView view, ViewOf(message, ByteView(buffer).first(size_bytes)));
  frame.type = view.type;
  frame.body = ToBytes(view.body);
  return frame;
}

Result<FrameView> ReceiveInto(int fd, MutableBytes buffer, bool wait) {
  STELE_CHECK(buffer.size() >= limits::kChannelFrameBytes);
  iovec piece{buffer.data(), limits::kChannelFrameBytes};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  STELE_TRY(const std::size_t size_bytes, ReceiveMessage(fd, message, wait));
  return ViewOf(message, buffer.first(size_bytes));
}

Result<void> SendHello(int fd, const Hello& hello) {
  Bytes body;
  body.reserve(kHelloBytes);
  Writer writer(body);
  writer.Int(kMagic);
  writer.Int(kVersion);
  writer.Int(static_cast<std::uint16_t>(hello.role));
  writer.Int(hello.frame_bytes_max);
  writer.Int(hello.credits);
  return Send(fd, Type::kHello, body);
}

Result<Hello> DecodeHello(ByteView body) {
  Reader reader(body);
  const auto magic = reader.Int<std::uint32_t>();
  const auto version = reader.Int<std::uint16_t>();
  const auto role = reader.Int<std::uint16_t>();
  Hello hello;
  hello.frame_bytes_max = reader.Int<std::uint32_t>();
  hello.credits = reader.Int<std::uint32_t>();
  if (!reader.AtEnd()) return Fail(Code::kInvalid, "hello: wrong length");
  if (magic != kMagic) return Fail(Code::kInvalid, "hello: wrong magic");
  if (version != kVersion) return Fail(Code::kInvalid, "hello: unknown version " + std::to_string(version));
  if (role < static_cast<std::uint16_t>(Role::kReceive) || role > static_cast<std::uint16_t>(Role::kWatch)) {
    return Fail(Code::kInvalid, "hello: unknown role " + std::to_string(role));
  }
  hello.role = static_cast<Role>(role);
  return hello;
}

Result<void> SetBlocking(int fd, bool blocking) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return FailErrno("read descriptor flags");
  const int wanted = blocking ? (flags & ~O_NONBLOCK) : (flags | O_NONBLOCK);
  if (::fcntl(fd, F_SETFL, wanted) != 0) return FailErrno("set descriptor flags");
  return {};
}

}  // namespace stele::channel
