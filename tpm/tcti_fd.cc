#include "tpm/tcti_fd.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <tss2/tss2_common.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <type_traits>

#include "tpm/big_endian.h"

namespace stele::tpm {
namespace {

static_assert(std::is_standard_layout_v<FdTcti>, "a pointer to it is a pointer to its common part");

constexpr std::uint64_t kMagic = 0x5354454c45465400;  // "STELEFT"
using SteadyClock = std::chrono::steady_clock;

FdTcti* Own(TSS2_TCTI_CONTEXT* context) noexcept {
  if (context == nullptr || reinterpret_cast<TSS2_TCTI_CONTEXT_COMMON_V1*>(context)->magic != kMagic) return nullptr;
  return reinterpret_cast<FdTcti*>(context);
}

TSS2_RC Die(FdTcti& tcti, int error) noexcept {
  tcti.dead = true;
  tcti.waiting = false;
  tcti.error = error;
  return TSS2_TCTI_RC_IO_ERROR;
}

std::size_t SizeInHeader(const std::byte* header) noexcept {
  std::size_t size = 0;
  for (std::size_t i = 2; i < 6; ++i) size = (size << 8) | std::to_integer<std::size_t>(header[i]);
  return size;
}

// Waits for `events` until the deadline. 1 ready, 0 timed out, -1 error (errno).
int WaitFor(int fd, short events, SteadyClock::time_point deadline) noexcept {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - SteadyClock::now()).count();
    pollfd one{fd, events, 0};
    const int ready = ::poll(&one, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000)));
    if (ready >= 0 || errno != EINTR) return ready;
  }
}

TSS2_RC SendAll(FdTcti& tcti, const std::uint8_t* data, std::size_t size) noexcept {
  const auto deadline = SteadyClock::now() + std::chrono::milliseconds(tcti.timeout_ms);
  std::size_t sent = 0;
  while (sent < size) {
    const ssize_t now = tcti.is_socket ? ::send(tcti.fd.get(), data + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT)
                                       : ::write(tcti.fd.get(), data + sent, size - sent);
    if (now > 0) {
      sent += static_cast<std::size_t>(now);
      // The kernel's TPM devices take a whole command in one write, or none of it.
      if (!tcti.is_socket && sent < size) return Die(tcti, EIO);
      continue;
    }
    if (now < 0 && errno == EINTR) continue;
    if (now < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      const int ready = WaitFor(tcti.fd.get(), POLLOUT, deadline);
      if (ready > 0) continue;
      return Die(tcti, ready == 0 ? ETIMEDOUT : errno);
    }
    return Die(tcti, now < 0 ? errno : EIO);
  }
  return TSS2_RC_SUCCESS;
}

TSS2_RC Transmit(TSS2_TCTI_CONTEXT* context, std::size_t size, const std::uint8_t* command) noexcept {
  FdTcti* tcti = Own(context);
  if (tcti == nullptr) return TSS2_TCTI_RC_BAD_CONTEXT;
  if (command == nullptr) return TSS2_TCTI_RC_BAD_REFERENCE;
  if (tcti->dead) return TSS2_TCTI_RC_NO_CONNECTION;
  if (tcti->waiting) return TSS2_TCTI_RC_BAD_SEQUENCE;
  if (size < kHeaderBytes || size > kResponseBytesMax ||
      SizeInHeader(reinterpret_cast<const std::byte*>(command)) != size) {
    return TSS2_TCTI_RC_BAD_VALUE;
  }
  // Bytes nobody asked for are the answer to somebody else's command, left on the connection: all later answers would be
  // off by one.
  if (WaitFor(tcti->fd.get(), POLLIN, SteadyClock::now()) != 0) {
    std::byte peeked{};
    const bool has_bytes = !tcti->is_socket || ::recv(tcti->fd.get(), &peeked, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
    return Die(*tcti, has_bytes ? EPROTO : ECONNRESET);
  }
  const TSS2_RC rc = SendAll(*tcti, command, size);
  if (rc != TSS2_RC_SUCCESS) return rc;
  tcti->waiting = true;
  tcti->got_bytes = 0;
  return TSS2_RC_SUCCESS;
}

// Reads what is there. Leaves `complete` true once the whole response is in.
TSS2_RC ReadSome(FdTcti& tcti, bool& complete) noexcept {
  const std::size_t room = tcti.response.size() - tcti.got_bytes;
  const ssize_t now = ::read(tcti.fd.get(), tcti.response.data() + tcti.got_bytes, room);
  if (now < 0) return errno == EINTR || errno == EAGAIN ? TSS2_RC_SUCCESS : Die(tcti, errno);
  if (now == 0) return Die(tcti, ECONNRESET);
  tcti.got_bytes += static_cast<std::size_t>(now);
  if (tcti.got_bytes < kHeaderBytes) return TSS2_RC_SUCCESS;
  const std::size_t size = SizeInHeader(tcti.response.data());
  if (size < kHeaderBytes || size > tcti.response.size() || tcti.got_bytes > size) return Die(tcti, EPROTO);
  complete = tcti.got_bytes == size;
  return TSS2_RC_SUCCESS;
}

TSS2_RC Receive(TSS2_TCTI_CONTEXT* context, std::size_t* size, std::uint8_t* response, std::int32_t timeout) noexcept {
  FdTcti* tcti = Own(context);
  if (tcti == nullptr) return TSS2_TCTI_RC_BAD_CONTEXT;
  if (size == nullptr) return TSS2_TCTI_RC_BAD_REFERENCE;
  if (timeout < TSS2_TCTI_TIMEOUT_BLOCK) return TSS2_TCTI_RC_BAD_VALUE;
  if (tcti->dead) return TSS2_TCTI_RC_NO_CONNECTION;
  if (!tcti->waiting) return TSS2_TCTI_RC_BAD_SEQUENCE;

  const bool block = timeout == TSS2_TCTI_TIMEOUT_BLOCK;
  const auto deadline = SteadyClock::now() + std::chrono::milliseconds(block ? tcti->timeout_ms : timeout);
  bool complete = tcti->got_bytes >= kHeaderBytes && tcti->got_bytes == SizeInHeader(tcti->response.data());
  while (!complete) {
    const int ready = WaitFor(tcti->fd.get(), POLLIN, deadline);
    if (ready < 0) return Die(*tcti, errno);
    if (ready == 0) return block ? Die(*tcti, ETIMEDOUT) : TSS2_TCTI_RC_TRY_AGAIN;
    const TSS2_RC rc = ReadSome(*tcti, complete);
    if (rc != TSS2_RC_SUCCESS) return rc;
  }
  if (response == nullptr) {  // the caller asks for the size only
    *size = tcti->got_bytes;
    return TSS2_RC_SUCCESS;
  }
  if (*size < tcti->got_bytes) {
    *size = tcti->got_bytes;
    return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
  }
  std::memcpy(response, tcti->response.data(), tcti->got_bytes);
  *size = tcti->got_bytes;
  tcti->waiting = false;
  return TSS2_RC_SUCCESS;
}

void Finalize(TSS2_TCTI_CONTEXT* context) noexcept {
  if (FdTcti* tcti = Own(context)) {
    tcti->fd.reset();
    (void)Die(*tcti, ENOTCONN);
  }
}

// The stream carries commands only: there is no side channel to cancel or to change locality through.
TSS2_RC Cancel(TSS2_TCTI_CONTEXT* context) noexcept {
  return Own(context) == nullptr ? TSS2_TCTI_RC_BAD_CONTEXT : TSS2_TCTI_RC_NOT_SUPPORTED;
}

TSS2_RC SetLocality(TSS2_TCTI_CONTEXT* context, std::uint8_t locality) noexcept {
  if (Own(context) == nullptr) return TSS2_TCTI_RC_BAD_CONTEXT;
  return locality == 0 ? TSS2_RC_SUCCESS : TSS2_TCTI_RC_NOT_SUPPORTED;
}

TSS2_RC GetPollHandles(TSS2_TCTI_CONTEXT* context, TSS2_TCTI_POLL_HANDLE* handles, std::size_t* count) noexcept {
  FdTcti* tcti = Own(context);
  if (tcti == nullptr) return TSS2_TCTI_RC_BAD_CONTEXT;
  if (count == nullptr) return TSS2_TCTI_RC_BAD_REFERENCE;
  if (handles != nullptr) {
    if (*count < 1) return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
    *handles = pollfd{tcti->fd.get(), POLLIN, 0};
  }
  *count = 1;
  return TSS2_RC_SUCCESS;
}

TSS2_RC MakeSticky(TSS2_TCTI_CONTEXT* context, TPM2_HANDLE*, std::uint8_t) noexcept {
  return Own(context) == nullptr ? TSS2_TCTI_RC_BAD_CONTEXT : TSS2_TCTI_RC_NOT_SUPPORTED;
}

}  // namespace

FdTcti::FdTcti(UniqueFd connection, int timeout) : fd(std::move(connection)), timeout_ms(timeout) {
  common.v1.magic = kMagic;
  common.v1.version = 2;
  common.v1.transmit = Transmit;
  common.v1.receive = Receive;
  common.v1.finalize = Finalize;
  common.v1.cancel = Cancel;
  common.v1.getPollHandles = GetPollHandles;
  common.v1.setLocality = SetLocality;
  common.makeSticky = MakeSticky;
  struct stat info {};
  is_socket = ::fstat(fd.get(), &info) == 0 && S_ISSOCK(info.st_mode);
  if (!fd.valid()) (void)Die(*this, EBADF);
}

Result<Bytes> Transact(FdTcti& tcti, ByteView command) {
  TSS2_RC rc = Transmit(tcti.context(), command.size(), reinterpret_cast<const std::uint8_t*>(command.data()));
  Bytes response(kResponseBytesMax);
  std::size_t size = response.size();
  if (rc == TSS2_RC_SUCCESS) {
    rc = Receive(tcti.context(), &size, reinterpret_cast<std::uint8_t*>(response.data()), TSS2_TCTI_TIMEOUT_BLOCK);
  }
  if (rc != TSS2_RC_SUCCESS) {
    return Fail(Code::kIo, std::string("talk to the TPM: ") + std::strerror(tcti.error),
                static_cast<std::uint32_t>(tcti.error));
  }
  response.resize(size);
  return response;
}

}  // namespace stele::tpm
