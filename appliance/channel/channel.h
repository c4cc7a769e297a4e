// Channels between the processes of the family: Unix SOCK_SEQPACKET, one frame = one message.
//
//   frame := type:u16 body                     at most limits::kChannelFrameBytes
//   hello := magic:u32 version:u16 role:u16 frame_bytes_max:u32 credits:u32    first frame in each direction
//
// A bad message from a less trusted peer closes that channel; it never ends the receiver of it.
// Thread safety: one thread receives; sends from several threads need the caller's lock.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "appliance/base/bytes.h"
#include "appliance/base/fd.h"

namespace stele::channel {

enum class Role : std::uint16_t { kReceive = 1, kLedger = 2, kAnchor = 3, kQuery = 4, kWeb = 5, kSupervisor = 6, kCli = 7, kGuard = 8, kWatch = 9 };
[[nodiscard]] const char* RoleName(Role role);

enum class Type : std::uint16_t {
  kHello = 1,
  // appenders (receive, query, guard-watch) -> ledger, see append_messages.h
  kDeclareSource = 10,
  kRecords = 11,
  kLargeRecord = 12,
  kCounters = 13,
  kSettle = 16,  // receive only, first on each channel
  // ledger -> appenders
  kCommitted = 20,
  kRefused = 21,
  kReceipt = 22,         // before its kCommitted, for frames that asked
  kCheckpointNote = 23,  // to receivers, after each checkpoint
  kSettled = 26,
  // ledger -> query
  kPosition = 30,
  kStatusAnswer = 31,
  kStatusRequest = 32,  // query -> ledger
  kAttestRequest = 34,  // query -> ledger, see attest_messages.h
  kAttestAnswer = 35,
  // ledger <-> anchor, see anchor_messages.h
  kAnchorRequest = 40,
  kAnchorAnswer = 41,
  // web, CLI <-> query, see api_messages.h
  kApiRequest = 50,
  kApiResponse = 51,
  kApiBody = 52,
  kApiCancel = 53,
  kApiTaken = 54,  // front -> query
  // supervisor -> process: descriptors by SCM_RIGHTS, see control.h
  kTakeChannel = 60,
  kReady = 61,     // process -> supervisor: sandbox proven, serving
  kStop = 62,      // supervisor -> process: finish and exit 0
  kNotice = 63,    // supervisor -> ledger: JSON about a process (started, died)
  kConfigure = 64,  // supervisor -> process, first: its part of the configuration as JSON
  kConfigurePart = 66,  // supervisor -> process, before a kConfigure: the beginning of a configuration too long for one frame
  kStart = 65,      // supervisor -> process: configuration and first channels are complete; lock down and serve
};

inline constexpr std::uint32_t kMagic = 0x454c5453;  // "STLE"
inline constexpr std::uint16_t kVersion = 1;

struct Hello {
  Role role = Role::kReceive;
  std::uint32_t frame_bytes_max = 0;
  std::uint32_t credits = 0;
};

struct Frame {
  Type type = Type::kHello;
  Bytes body;
  std::vector<UniqueFd> descriptors;  // by SCM_RIGHTS, only on control channels
};

// A connected pair, close-on-exec, with both buffers at limits::kChannelSocketBytes where the kernel allows.
[[nodiscard]] Result<std::pair<UniqueFd, UniqueFd>> MakePair();

// One end of a channel that was not made by MakePair(). Larger buffers only mean fewer switches between two processes: a
// refusal is not an error.
void WidenBuffers(int fd);

// Sends one frame. Blocking on a blocking descriptor; kUnavailable where a non-blocking one would block; kIo when the
// peer is gone. No SIGPIPE.
[[nodiscard]] Result<void> Send(int fd, Type type, ByteView body);
[[nodiscard]] Result<void> SendWithDescriptor(int fd, Type type, ByteView body, int descriptor);
// The body in several parts, without copying.
[[nodiscard]] Result<void> SendParts(int fd, Type type, std::span<const ByteView> parts);

// Receives one frame. kUnavailable: would block. kNotFound: the peer closed; with detail ECONNRESET it left frames of ours unread,
// and what it had sent before is still to be received. kInvalid: not a frame (too long, too short).
[[nodiscard]] Result<Frame> Receive(int fd, bool wait, bool with_descriptors = false);
// The same into a buffer of limits::kChannelFrameBytes that the caller keeps: the hot path. The body views into it.
struct FrameView {
  Type type = Type::kHello;
  ByteView body;
};
[[nodiscard]] Result<FrameView> ReceiveInto(int fd, MutableBytes buffer, bool wait);

[[nodiscard]] Result<void> SendHello(int fd, const Hello& hello);
[[nodiscard]] Result<Hello> DecodeHello(ByteView body);

[[nodiscard]] Result<void> SetBlocking(int fd, bool blocking);

}  // namespace stele::channel
