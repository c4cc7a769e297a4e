#include "appliance/ingest/framing.h"

#include <algorithm>
#include <array>
#include <string>

namespace stele::ingest {
namespace {

constexpr std::size_t kCountDigitsMax = 20;                // a longer run of digits is text
constexpr std::size_t kRequestLineMax = 4 * limits::kKiB;  // no longer than what every connection may hold
static_assert(kRequestLineMax <= kHeldBytesFree);
constexpr auto kLf = std::byte{'\n'};
constexpr auto kCr = std::byte{'\r'};
constexpr auto kSp = std::byte{' '};
constexpr auto kNul = std::byte{0};
constexpr auto kLess = std::byte{'<'};
constexpr std::size_t kNowhere = std::string_view::npos;

bool IsDigit(std::byte b) { return b >= std::byte{'0'} && b <= std::byte{'9'}; }

// What a counted message begins with when nothing but its first octet can be known: a PRI, a byte order mark, a JSON
// object.
bool BeginsMessage(std::byte b) { return b == kLess || b == std::byte{0xef} || b == std::byte{'{'}; }

std::size_t FindLineEnd(ByteView bytes, bool nul_ends_line) {
  if (bytes.empty()) return kNowhere;
  if (nul_ends_line) {
    const auto found = std::find_if(bytes.begin(), bytes.end(), [](std::byte b) { return b == kLf || b == kNul; });
    return found == bytes.end() ? kNowhere : static_cast<std::size_t>(found - bytes.begin());
  }
  const void* found = std::memchr(bytes.data(), '\n', bytes.size());
  return found == nullptr ? kNowhere : static_cast<std::size_t>(static_cast<const std::byte*>(found) - bytes.data());
}

// The first line of an HTTP/1 request: METHOD SP target SP "HTTP/1." DIGIT. A log line that merely begins with "GET "
// is not.
bool IsHttpRequestLine(std::string_view line) {
  constexpr std::array<std::string_view, 10> kMethods{"GET ",     "POST ",    "HEAD ",  "PUT ",   "DELETE ",
                                                      "OPTIONS ", "CONNECT ", "PATCH ", "TRACE ", "PRI "};
  const bool method = std::any_of(kMethods.begin(), kMethods.end(),
                                  [&](std::string_view name) { return line.substr(0, name.size()) == name; });
  if (!method || line.size() < 14 || line.size() > kRequestLineMax) return false;
  const auto version = line.substr(line.size() - 9);
  return version == " HTTP/1.0" || version == " HTTP/1.1" || version == " HTTP/2.0";
}

}  // namespace

StreamFramer::StreamFramer(const Options& options)
    : options_(options), held_(options.message_bytes_max, options.salt_key, options.held) {}

void StreamFramer::Feed(ByteView chunk) {
  if (closed_ || end_) return;
  STELE_CHECK(chunk_.empty());  // Next() has to return false first
  chunk_ = chunk;
}

void StreamFramer::End(EndReason reason) {
  if (!end_) end_ = reason;
}

bool StreamFramer::inside_message() const { return !closed_ && (state_ != State::kStart || !held_.empty()); }

bool StreamFramer::Next(FramedMessage& message) {
  held_.Release();
  while (!closed_ && !chunk_.empty()) {
    bool delivered = false;
    switch (state_) {
      case State::kStart:
        delivered = StepStart(message);
        break;
      case State::kCounted:
        delivered = StepCounted(message);
        break;
      case State::kLine:
        delivered = StepLine(message);
        break;
    }
    if (delivered) return true;
  }
  if (closed_ || !end_) return false;
  closed_ = true;
  return DeliverEnd(message);
}

// What the octets at the beginning of a frame say. Looks at no more than kCountDigitsMax + 2 of them.
StreamFramer::Decision StreamFramer::Decide(ByteView start) const {
  const std::byte first = start[0];
  const bool more = start.size() > 1;
  if (first == kLf || (first == kNul && options_.nul_ends_line)) return {Verdict::kSkip, 1, 0};
  if (first == kCr) {
    if (!more) return {};
    if (start[1] == kLf) return {Verdict::kSkip, 2, 0};
  }
  // Cisco ASA ends a line with LF SP.
  if (first == kSp && messages_count_ != 0) {
    if (!more) return {};
    if (start[1] == kLess) return {Verdict::kSkip, 1, 0};
  }
  // RFC 8446 section 5.1: handshake(22), legacy version 0x0301 to 0x0303.
  if (first == std::byte{0x16} && messages_count_ == 0) {
    if (!more) return {};
    if (start[1] == std::byte{3}) {
      if (start.size() == 2) return {};
      if (start[2] <= std::byte{4}) return {Verdict::kTls, 0, 0};
    }
  }
  if (options_.framing == Framing::kLines) return {Verdict::kLine, 0, 0};
  if (IsDigit(first)) return DecideDigits(start);
  if (options_.framing == Framing::kCounted) return {Verdict::kError, 0, 0};
  // After a counted frame only another count or a PRI can follow; anything else shows that the count was wrong.
  if (previous_counted_ && first != kLess) return {Verdict::kError, 0, 0};
  return {Verdict::kLine, 0, 0};
}

//= RFC 6587 section 3.4.1
//# MSG-LEN = NONZERO-DIGIT *DIGIT
StreamFramer::Decision StreamFramer::DecideDigits(ByteView start) const {
  const bool counted_only = options_.framing == Framing::kCounted;
  const Decision text{counted_only ? Verdict::kError : Verdict::kLine, 0, 0};
  const Decision error{Verdict::kError, 0, 0};
  std::uint64_t count = 0;  // saturates above the ceiling
  std::size_t at = 0;
  for (; at < start.size() && at <= kCountDigitsMax && IsDigit(start[at]); ++at) {
    if (count <= limits::kMessageBytesCeiling) count = count * 10 + std::to_integer<std::uint64_t>(start[at]) - '0';
  }
  if (at > kCountDigitsMax) return text;
  if (at == start.size()) return {};
  if (start[at] != kSp) return text;
  if (counted_only || previous_counted_) {
    if (start[0] == std::byte{'0'} || count > limits::kMessageBytesCeiling) return error;
    return {Verdict::kCounted, at + 1, count};
  }
  if (start[0] != std::byte{'0'} && count > limits::kMessageBytesCeiling) return error;
  if (at + 1 == start.size()) return {};
  if (!BeginsMessage(start[at + 1])) return text;
  if (start[0] == std::byte{'0'}) return error;
  return {Verdict::kCounted, at + 1, count};
}

bool StreamFramer::StepStart(FramedMessage& message) {
  const bool holding = !held_.empty();
  Decision decision;
  if (!holding) {
    decision = Decide(chunk_);
    if (decision.verdict == Verdict::kNeedMore) {
      Take(chunk_.size());
      return false;
    }
  } else {
    // A start that a read cut in two is completed octet by octet: at most kCountDigitsMax + 2 of them.
    const ByteView all = chunk_;
    std::size_t taken = 0;
    while (decision.verdict == Verdict::kNeedMore && taken < all.size()) {
      held_.Take(all.subspan(taken, 1));
      ++taken;
      decision = Decide(held_.kept());
    }
    chunk_ = all.subspan(taken);
    if (decision.verdict == Verdict::kNeedMore) return false;
    if (decision.verdict == Verdict::kLine) decision.octets = held_.kept().size() - 1;
    // The last octet decided; what it does not use up goes back, so that a frame's own octets are read in one place
    // only.
    if (decision.verdict == Verdict::kLine || decision.verdict == Verdict::kSkip ||
        decision.verdict == Verdict::kCounted) {
      const std::size_t surplus = held_.kept().size() - decision.octets;
      STELE_CHECK(surplus <= taken);
      chunk_ = all.subspan(taken - surplus);
      held_.TakeBack(surplus);
    }
  }

  switch (decision.verdict) {
    case Verdict::kSkip:
    case Verdict::kCounted:
      if (holding) {
        held_.Drop();
      } else {
        chunk_ = chunk_.subspan(decision.octets);
      }
      if (decision.verdict == Verdict::kSkip) return false;
      count_ = decision.count;
      state_ = State::kCounted;
      return chunk_.empty() ? false : StepCounted(message);
    case Verdict::kLine:
      state_ = State::kLine;
      return StepLine(message);
    case Verdict::kTls:
      return DeliverRest(message, Foreign::kTls);
    case Verdict::kNeedMore:
    case Verdict::kError:
      break;
  }
  return DeliverRest(message, Foreign::kNone);
}

bool StreamFramer::StepCounted(FramedMessage& message) {
  const std::uint64_t missing = count_ - held_.received();
  if (held_.received() == 0 && chunk_.size() >= missing) {
    const ByteView whole = chunk_.first(static_cast<std::size_t>(missing));
    chunk_ = chunk_.subspan(whole.size());
    previous_counted_ = true;
    (void)DeliverWhole(message, whole);
    message.counted = true;
    return true;
  }
  Take(static_cast<std::size_t>(std::min<std::uint64_t>(missing, chunk_.size())));
  if (held_.received() != count_) return false;
  previous_counted_ = true;
  (void)DeliverHeld(message, held_.received());
  message.counted = true;
  return true;
}

//= RFC 6587 section 3.4.2
//# The TRAILER character [...] has usually been the ASCII LF (%d10) character
bool StreamFramer::StepLine(FramedMessage& message) {
  const std::size_t end = FindLineEnd(chunk_, options_.nul_ends_line);
  const bool ended = end != kNowhere;
  const std::size_t octets = ended ? end : chunk_.size();
  if (held_.received() + octets > limits::kMessageBytesCeiling) return DeliverRest(message, Foreign::kNone);
  const bool first = messages_count_ == 0;
  if (ended && held_.received() == 0) {
    const ByteView line = chunk_.first(octets);
    const bool cr = !line.empty() && line.back() == kCr;
    const ByteView text = line.first(line.size() - (cr ? 1 : 0));
    const bool fits = text.size() <= held_.message_bytes_max();
    if (first && fits && IsHttpRequestLine(AsText(text))) return DeliverRest(message, Foreign::kHttp);
    chunk_ = chunk_.subspan(octets + 1);
    state_ = State::kStart;
    previous_counted_ = false;
    if (text.empty()) return false;  // a blank line is no message
    return DeliverWhole(message, fits ? text : line);
  }

  Take(octets);
  if (!ended) return false;
  const bool cr = !held_.empty() && held_.last_octet() == kCr;
  const std::uint64_t text_bytes = held_.received() - (cr ? 1 : 0);
  if (first && text_bytes <= held_.kept().size() &&
      IsHttpRequestLine(AsText(held_.kept()).substr(0, static_cast<std::size_t>(text_bytes)))) {
    return DeliverRest(message, Foreign::kHttp);
  }
  chunk_ = chunk_.subspan(1);
  state_ = State::kStart;
  previous_counted_ = false;
  if (text_bytes == 0) {
    held_.Drop();
    return false;
  }
  return DeliverHeld(message, text_bytes <= held_.kept().size() ? text_bytes : held_.received());
}

bool StreamFramer::DeliverWhole(FramedMessage& message, ByteView whole) {
  return Deliver(message, held_.Whole(whole), whole.size());
}

bool StreamFramer::DeliverHeld(FramedMessage& message, std::uint64_t length_bytes) {
  return Deliver(message, held_.Deliver(length_bytes), length_bytes);
}

bool StreamFramer::Deliver(FramedMessage& message, const HeldView& view, std::uint64_t length_bytes) {
  message = FramedMessage{};
  message.bytes = view.bytes;
  message.truncated = view.truncated;
  message.full_length = length_bytes;
  message.whole_salt = view.whole_salt;
  message.whole_hash = view.whole_hash;
  state_ = State::kStart;
  ++messages_count_;
  return true;
}

bool StreamFramer::DeliverRest(FramedMessage& message, Foreign foreign) {
  if (held_.received() == 0) {
    (void)DeliverWhole(message, chunk_);
    chunk_ = {};
  } else {
    Take(chunk_.size());
    (void)DeliverHeld(message, held_.received());
  }
  message.framing_error = true;
  message.foreign = foreign;
  closed_ = true;
  return true;
}

// The stream is over and nothing is left of the chunk.
bool StreamFramer::DeliverEnd(FramedMessage& message) {
  const bool orderly = *end_ == EndReason::kPeerClosed;
  const State state = state_;
  if (state == State::kStart) {
    if (held_.empty() || held_.kept()[0] == kCr) return false;
    const bool header = options_.framing != Framing::kLines && IsDigit(held_.kept()[0]);
    (void)DeliverHeld(message, held_.received());
    message.incomplete = header || !orderly;
    return true;
  }
  if (state == State::kCounted) {
    if (held_.received() == 0) {  // a header and nothing else: it is what was received
      held_.Take(AsBytes(std::to_string(count_) + " "));
    }
    (void)DeliverHeld(message, held_.received());
    message.counted = true;
    message.incomplete = true;
    message.full_length = count_;
    return true;
  }
  (void)DeliverHeld(message, held_.received());
  message.incomplete = !orderly;
  return true;
}

void StreamFramer::Take(std::size_t octets) {
  held_.Take(chunk_.first(octets));
  chunk_ = chunk_.subspan(octets);
}

}  // namespace stele::ingest
