// RFC 6587 framing of one syslog/TCP connection: octet counting and LF-terminated lines, decided frame by frame.
//
//   counted := NONZERO-DIGIT *DIGIT SP octets      the octets are the message, whatever they hold
//   line    := octets LF                           a CR before the LF belongs to the delimiter
//
// The caller owns the read buffer and may share it between connections; the framer works inside it and copies only a
// message that a read cut in two (held bytes grow with the bytes that arrived, never with a claimed count):
//
//   framer.Feed(bytes_read);
//   while (framer.Next(message)) Keep(message);      // views are valid until the next call on this framer
//   if (framer.closed()) CloseConnection();
//   ...
//   framer.End(EndReason::kPeerClosed);              // or kStalled, kReset; then Next() until false
//
// Work per octet is O(1). Every decision is a function of the octets alone: how reads cut the stream never changes the
// messages, except how much of a connection given up as `framing_error` had been read.
// Thread safety: one connection = one thread; framers that share HeldBytes share a thread.
#pragma once

#include <cstdint>
#include <optional>

#include "appliance/base/bytes.h"
#include "appliance/base/limits.h"
#include "appliance/ingest/held_message.h"
#include "appliance/record/entry.h"

namespace stele::ingest {

enum class Framing : std::uint8_t {
  kAuto,     // plain TCP: both, decided per frame (docs/protocols.md has the table)
  kCounted,  // RFC 5425 (TLS): anything but a count is an error
  kLines,    // text only: a line may begin with "1700000000 "
};

enum class EndReason : std::uint8_t {
  kPeerClosed,  // orderly end of stream: a last line without LF is whole, a cut counted frame is not
  kStalled,     // half a frame for too long
  kReset,       // read error
  kStopping,    // the receiver stops
};

// What a connection turned out to be when it is not syslog.
enum class Foreign : std::uint8_t { kNone, kHttp, kTls };

struct FramedMessage {
  ByteView bytes;           // the message without framing octets; empty only for a counted frame of zero kept octets
  bool counted = false;     // octet counting (else a line)
  bool truncated = false;   // `bytes` is only the beginning; full_length, whole_salt and whole_hash describe the rest
  bool incomplete = false;  // the stream ended inside the message
  bool framing_error = false;  // framing lost: `bytes` is everything read from there on; the connection is over
  Foreign foreign = Foreign::kNone;
  std::uint64_t full_length =
      0;                      // octets received of this message; of an incomplete counted frame, the count it claimed
  record::Salt whole_salt{};  // only when truncated: DeriveSalt(salt_key, number of the truncated message)
  Hash whole_hash{};          // only when truncated: SHA-256("stele/whole/v1" || whole_salt || every octet received)
};

class StreamFramer {
 public:
  struct Options {
    Framing framing = Framing::kAuto;
    std::size_t message_bytes_max = limits::kMessageBytesDefault;  // at least kMessageBytesMin
    bool nul_ends_line = false;                                    // some devices end lines with NUL instead of LF
    record::SaltKey salt_key{};                                    // fresh randomness for this connection
    HeldBytes* held = nullptr;  // shared budget; null = each connection may hold message_bytes_max
  };

  explicit StreamFramer(const Options& options);
  StreamFramer(const StreamFramer&) = delete;
  StreamFramer& operator=(const StreamFramer&) = delete;

  // The next bytes read. They must stay in place until Next() has returned false. Ignored once closed.
  void Feed(ByteView chunk);
  // The next message; false when more bytes are needed (what is left of the chunk has been taken over) or nothing will
  // come.
  [[nodiscard]] bool Next(FramedMessage& message);
  // No more bytes will come; what is half done is then delivered by Next().
  void End(EndReason reason);

  [[nodiscard]] bool closed() const { return closed_; }  // framing error delivered, or ended and drained
  [[nodiscard]] bool inside_message() const;             // half a frame is held: the stall timer runs
  [[nodiscard]] std::uint64_t messages_count() const { return messages_count_; }

 private:
  enum class State : std::uint8_t { kStart, kCounted, kLine };
  enum class Verdict : std::uint8_t { kNeedMore, kSkip, kCounted, kLine, kTls, kError };
  struct Decision {
    Verdict verdict = Verdict::kNeedMore;
    std::size_t octets = 0;   // of the start that this verdict uses up
    std::uint64_t count = 0;  // of a counted frame
  };

  [[nodiscard]] Decision Decide(ByteView start) const;
  [[nodiscard]] Decision DecideDigits(ByteView start) const;
  // Each takes octets from the chunk and says whether it delivered a message.
  bool StepStart(FramedMessage& message);
  bool StepCounted(FramedMessage& message);
  bool StepLine(FramedMessage& message);
  bool DeliverWhole(FramedMessage& message, ByteView whole);             // still inside the caller's buffer
  bool DeliverHeld(FramedMessage& message, std::uint64_t length_bytes);  // pieced together in held_
  bool DeliverRest(FramedMessage& message, Foreign foreign);             // the framing is lost: everything read
  bool DeliverEnd(FramedMessage& message);
  bool Deliver(FramedMessage& message, const HeldView& view, std::uint64_t length_bytes);
  void Take(std::size_t octets);  // from the chunk into the held message

  Options options_;
  ByteView chunk_;           // what is left of the caller's bytes
  HeldMessage held_;         // the beginning of a message, or of its header, that a read cut in two
  std::uint64_t count_ = 0;  // of this counted frame
  std::uint64_t messages_count_ = 0;
  std::optional<EndReason> end_;
  State state_ = State::kStart;
  bool previous_counted_ = false;
  bool closed_ = false;
};

}  // namespace stele::ingest
