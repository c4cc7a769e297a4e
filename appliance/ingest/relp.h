// The server's side of one RELP connection, as a pure state machine: octets in, events out; verdicts in, answers out.
//
//   frame  := TXNR SP COMMAND SP DATALEN data-part LF     TXNR, DATALEN: 1 to 9 digits; COMMAND: 1 to 32 letters
//   data-part := [SP DATA]                                nothing when DATALEN is 0, else DATALEN octets, whatever they
//   are
//
// A session is `open` (transaction 1), then `syslog` transactions, then `close`. Transaction numbers go up by one, and
// 1 follows 999,999,999. TXNR 0 is a hint and has no answer. Every transaction gets its answer in the order of the
// transactions: `TXNR rsp 6 200 OK` only after Committed(). What breaks the grammar or the order ends the session: what
// is still unanswered gets its answers, then the hint `serverclose` goes out, then closing() is true.
//
//   server.Feed(bytes_read);
//   while (server.Next(event)) Keep(event);          // payloads are valid until the next Feed()
//   Send(server.answers()); server.ClearAnswers();   // also after Committed() and Refused()
//   if (server.closing()) CloseConnection();
//   ...
//   server.End(EndReason::kPeerClosed);              // then Next() until false: half a message is kept as incomplete
//
// Work per octet is O(1); memory is bounded by the held message (held_message.h) and by Options::unanswered_max. How
// reads cut the stream changes nothing, except how much of a broken session had been read (kBroken). Thread safety: one
// connection = one thread.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "appliance/base/bytes.h"
#include "appliance/base/limits.h"
#include "appliance/ingest/framing.h"
#include "appliance/ingest/held_message.h"

namespace stele::ingest {

struct RelpEvent {
  enum class Kind : std::uint8_t {
    kOpened,       // the session is open (its answer is among the answers already, as with every kind but kMessage)
    kOpenRefused,  // `problem` says why; the session is over
    kMessage,      // a syslog message; to be answered by Committed() or Refused() if `answerable`
    kUnknown,      // a command that is not known: refused
    kClosed,       // the client closed in order: it waits for nothing any more
    kBroken,       // grammar or order broken: `payload` is everything read from there on; the session is over
  };
  Kind kind = Kind::kMessage;
  std::uint32_t txnr = 0;
  std::uint64_t number = 0;       // of the transaction: the open is 0; never wraps
  bool answerable = false;        // false: a hint, or a message whose frame is incomplete or broken
  ByteView payload;               // kMessage, kBroken
  bool incomplete = false;        // the stream ended inside the frame
  bool framing_error = false;     // the frame's end is not where it should be
  bool truncated = false;         // `payload` is only the beginning
  std::uint64_t full_length = 0;  // octets received of the payload; of an incomplete frame, the count it claimed
  record::Salt whole_salt{};      // only when truncated, see HeldView
  Hash whole_hash{};
  std::string_view problem;  // kOpenRefused, kUnknown, kBroken: one clause
};

class RelpServer {
 public:
  struct Options {
    std::size_t message_bytes_max = limits::kMessageBytesDefault;
    record::SaltKey salt_key{};  // fresh randomness for this connection
    HeldBytes* held = nullptr;   // shared budget; null = each connection may hold message_bytes_max
    std::size_t unanswered_max = limits::kRelpUnanswered;  // one more and the session is broken
    std::uint32_t first_txnr = 1;                          // anything else: only for tests of the wrap
  };

  explicit RelpServer(const Options& options);

  // The next bytes read. They must stay in place until the next Feed(). Ignored once over().
  void Feed(ByteView chunk);
  // The next event; false when more bytes are needed (what is left of the chunk has been taken over) or nothing will
  // come.
  [[nodiscard]] bool Next(RelpEvent& event);
  // No more bytes will come; what is half done is then delivered by Next().
  void End(EndReason reason);

  // Verdicts on messages: `count` transactions from `number` on, all of them delivered and not yet judged. In any
  // order.
  void Committed(std::uint64_t number, std::uint64_t count);
  void Refused(std::uint64_t number, std::uint64_t count, std::string_view reason);
  // These and all later transactions are never answered; the session ends, and the client keeps what it sent.
  void Abandoned(std::uint64_t number);
  // Ends the session from our side: what is delivered so far gets its answers first.
  void Close();

  [[nodiscard]] ByteView answers() const { return answers_; }
  void ClearAnswers() { answers_.clear(); }

  [[nodiscard]] bool opened() const { return opened_; }
  [[nodiscard]] bool over() const { return over_; }  // nothing more is read
  [[nodiscard]] bool closing() const {
    return closing_;
  }                                         // everything is answered, `serverclose` said: close after sending
  [[nodiscard]] bool inside_frame() const;  // half a frame is held: the stall timer runs
  [[nodiscard]] std::uint64_t unanswered() const { return next_number_ - answered_; }
  [[nodiscard]] std::uint64_t frames_count() const { return frames_count_; }

 private:
  enum class State : std::uint8_t { kHeader, kData, kTrailer };
  enum class Command : std::uint8_t { kOpen, kSyslog, kClose, kOther };
  struct Header {
    std::uint32_t txnr = 0;
    std::uint32_t data_length = 0;
    Command command = Command::kOther;
    std::size_t octets = 0;  // up to the data, or with the LF when there is none
  };
  enum class Parsed : std::uint8_t { kNeedMore, kHeader, kError };
  // Neighbours in the order of transactions whose answer is the same.
  struct Run {
    enum class Answer : std::uint8_t { kWaiting, kCommitted, kText };
    std::uint64_t first = 0;
    std::uint64_t count = 0;
    Answer answer = Answer::kWaiting;
    std::string text;  // kText: the data of the `rsp`
  };
  static constexpr std::size_t kHeaderOctetsMax = 9 + 1 + 32 + 1 + 9 + 1;

  [[nodiscard]] static Parsed ParseHeader(ByteView in, Header& header);
  // Each takes octets from the chunk and says whether it delivered an event.
  bool StepHeader(RelpEvent& event);
  bool StepData(RelpEvent& event);
  bool StepTrailer(RelpEvent& event);
  [[nodiscard]] std::string_view ProblemOf(const Header& header) const;  // empty: this frame may follow
  bool DeliverFrame(RelpEvent& event, ByteView data);
  bool DeliverMessage(RelpEvent& event, const HeldView& data);
  bool DeliverOpen(RelpEvent& event, std::string_view offers);
  bool DeliverBadTrailer(RelpEvent& event, const HeldView& message);
  bool DeliverBroken(RelpEvent& event, std::string_view problem);
  bool DeliverEnd(RelpEvent& event);
  static void SetPayload(RelpEvent& event, const HeldView& view, std::uint64_t length);
  [[nodiscard]] std::uint64_t NextNumber(Run::Answer answer, std::string text);

  [[nodiscard]] std::uint32_t TxnrOf(std::uint64_t number) const;
  void Answer(std::uint64_t number, std::uint64_t count, Run::Answer answer, std::string_view text);
  void Emit();
  void EmitOk(std::uint64_t number, std::uint64_t count);
  void EmitText(std::uint64_t number, std::string_view data);

  Options options_;
  HeldMessage held_;
  ByteView chunk_;
  std::array<std::byte, kHeaderOctetsMax> header_{};  // of the frame that a read cut in two
  std::size_t header_octets_ = 0;
  Header frame_;  // kData, kTrailer
  std::uint32_t data_received_ = 0;
  Bytes offers_;  // the data of an open that a read cut in two
  State state_ = State::kHeader;
  std::uint64_t frames_count_ = 0;
  std::optional<EndReason> end_;
  bool opened_ = false;
  std::string_view no_more_;  // why no frame may follow; empty: one may
  bool over_ = false;
  bool say_close_ = false;  // once everything is answered
  bool closing_ = false;

  std::uint64_t next_number_ = 0;         // of the next transaction
  std::uint64_t answered_ = 0;            // all before are answered
  std::uint64_t abandoned_ = UINT64_MAX;  // none from here on is
  std::deque<Run> runs_;                  // [answered_, next_number_), without gaps
  Bytes answers_;
};

}  // namespace stele::ingest
