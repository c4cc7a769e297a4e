#include "appliance/ingest/framing.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <string>

namespace stele::ingest {
namespace {

constexpr std::size_t kCountDigitsMax = 20;  // a longer run of digits is text
constexpr std::size_t kRequestLineMax = 4 * limits::kKiB;  // no longer than what every connection may hold
static_assert(kRequestLineMax <= kHeldBytesFree);
constexpr auto kLf = std::byte{'\n'};
constexpr auto kCr = std::byte{'\r'};
constexpr auto kSp = std::byte{' '};
constexpr auto kNul = std::byte{0};
constexpr auto kLess = std::byte{'<'};
constexpr std::size_t kNowhere = std::string_view::npos;

bool IsDigit(std::byte b) { return b >= std::byte{'0'} && b <= std::byte{'9'}; }

// What a counted message begins with when nothing but its first octet can be known: a PRI, a byte order mark, a JSON object.
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

// The first line of an HTTP/1 request: METHOD SP target SP "HTTP/1." DIGIT. A log line that merely begins with "GET " is not.
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

// SHA-256("stele/whole/v1" || salt || octets), fed as they pass.
class StreamFramer::WholeHash {
 public:
  explicit WholeHash(const record::Salt& salt) : salt_(salt), context_(EVP_MD_CTX_new()) {
    static const Digest kSha256(EVP_MD_fetch(nullptr, "SHA256", nullptr));
    STELE_CHECK(context_ != nullptr && kSha256 != nullptr);
    STELE_CHECK(EVP_DigestInit_ex2(context_.get(), kSha256.get(), nullptr) == 1);
    Update(AsBytes("stele/whole/v1"));
    Update(salt_);
  }
  void Update(ByteView octets) { STELE_CHECK(EVP_DigestUpdate(context_.get(), octets.data(), octets.size()) == 1); }
  [[nodiscard]] Hash Finish() {
    Hash hash{};
    STELE_CHECK(EVP_DigestFinal_ex(context_.get(), reinterpret_cast<unsigned char*>(hash.data()), nullptr) == 1);
    return hash;
  }
  [[nodiscard]] const record::Salt& salt() const { return salt_; }

 private:
  struct FreeDigest {
    void operator()(EVP_MD* digest) const { EVP_MD_free(digest); }
  };
  struct FreeContext {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  using Digest = std::unique_ptr<EVP_MD, FreeDigest>;
  record::Salt salt_;
  std::unique_ptr<EVP_MD_CTX, FreeContext> context_;
};

StreamFramer::StreamFramer(const Options& options) : options_(options) {
  options_.message_bytes_max = std::max(options_.message_bytes_max, kMessageBytesMin);
  held_limit_bytes_ = options_.message_bytes_max;
}

StreamFramer::~StreamFramer() {
  if (options_.held != nullptr) options_.held->used_bytes -= held_charged_bytes_;
}

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
  if (held_delivered_) ReleaseHeld();
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
      Append(held_, chunk_);
      chunk_ = {};
      return false;
    }
  } else {
    // A start that a read cut in two is completed octet by octet: at most kCountDigitsMax + 2 of them.
    const ByteView all = chunk_;
    std::size_t taken = 0;
    while (decision.verdict == Verdict::kNeedMore && taken < all.size()) {
      held_.push_back(all[taken]);
      ++taken;
      decision = Decide(held_);
    }
    chunk_ = all.subspan(taken);
    if (decision.verdict == Verdict::kNeedMore) return false;
    if (decision.verdict == Verdict::kLine) decision.octets = held_.size() - 1;
    // The last octet decided; what it does not use up goes back, so that a frame's own octets are read in one place only.
    if (decision.verdict == Verdict::kLine || decision.verdict == Verdict::kSkip || decision.verdict == Verdict::kCounted) {
      const std::size_t surplus = held_.size() - decision.octets;
      STELE_CHECK(surplus <= taken);
      chunk_ = all.subspan(taken - surplus);
      held_.resize(decision.octets);
    }
  }

  switch (decision.verdict) {
    case Verdict::kSkip:
    case Verdict::kCounted:
      if (holding) {
        held_.clear();
      } else {
        chunk_ = chunk_.subspan(decision.octets);
      }
      if (decision.verdict == Verdict::kSkip) return false;
      count_ = decision.count;
      state_ = State::kCounted;
      return chunk_.empty() ? false : StepCounted(message);
    case Verdict::kLine:
      received_ = held_.size();
      if (!held_.empty()) last_octet_ = held_.back();
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
  const std::uint64_t missing = count_ - received_;
  if (received_ == 0 && chunk_.size() >= missing) {
    const ByteView whole = chunk_.first(static_cast<std::size_t>(missing));
    chunk_ = chunk_.subspan(whole.size());
    previous_counted_ = true;
    (void)DeliverWhole(message, whole);
    message.counted = true;
    return true;
  }
  Take(static_cast<std::size_t>(std::min<std::uint64_t>(missing, chunk_.size())));
  if (received_ != count_) return false;
  previous_counted_ = true;
  (void)DeliverHeld(message, received_);
  message.counted = true;
  return true;
}

//= RFC 6587 section 3.4.2
//# The TRAILER character [...] has usually been the ASCII LF (%d10) character
bool StreamFramer::StepLine(FramedMessage& message) {
  const std::size_t end = FindLineEnd(chunk_, options_.nul_ends_line);
  const bool ended = end != kNowhere;
  const std::size_t octets = ended ? end : chunk_.size();
  if (received_ + octets > limits::kMessageBytesCeiling) return DeliverRest(message, Foreign::kNone);
  const bool first = messages_count_ == 0;
  if (ended && received_ == 0) {
    const ByteView line = chunk_.first(octets);
    const bool cr = !line.empty() && line.back() == kCr;
    const ByteView text = line.first(line.size() - (cr ? 1 : 0));
    const bool fits = text.size() <= options_.message_bytes_max;
    if (first && fits && IsHttpRequestLine(AsText(text))) return DeliverRest(message, Foreign::kHttp);
    chunk_ = chunk_.subspan(octets + 1);
    state_ = State::kStart;
    previous_counted_ = false;
    if (text.empty()) return false;  // a blank line is no message
    return DeliverWhole(message, fits ? text : line);
  }

  Take(octets);
  if (!ended) return false;
  const bool cr = received_ != 0 && last_octet_ == kCr;
  const std::uint64_t text_bytes = received_ - (cr ? 1 : 0);
  if (first && text_bytes <= held_.size() && IsHttpRequestLine(AsText(held_).substr(0, static_cast<std::size_t>(text_bytes)))) {
    return DeliverRest(message, Foreign::kHttp);
  }
  chunk_ = chunk_.subspan(1);
  state_ = State::kStart;
  previous_counted_ = false;
  if (text_bytes == 0) {
    ReleaseHeld();
    return false;
  }
  return DeliverHeld(message, text_bytes <= held_.size() ? text_bytes : received_);
}

bool StreamFramer::DeliverWhole(FramedMessage& message, ByteView whole) {
  message = FramedMessage{};
  message.bytes = whole.first(std::min(whole.size(), options_.message_bytes_max));
  message.full_length = whole.size();
  if (message.bytes.size() < whole.size()) {
    message.truncated = true;
    message.whole_salt = record::DeriveSalt(options_.salt_key, truncated_count_++);
    WholeHash hash(message.whole_salt);
    hash.Update(whole);
    message.whole_hash = hash.Finish();
  }
  state_ = State::kStart;
  ++messages_count_;
  return true;
}

bool StreamFramer::DeliverHeld(FramedMessage& message, std::uint64_t length_bytes) {
  message = FramedMessage{};
  message.bytes = ByteView(held_).first(static_cast<std::size_t>(std::min<std::uint64_t>(length_bytes, held_.size())));
  message.full_length = length_bytes;
  if (message.bytes.size() < length_bytes) {
    STELE_CHECK(whole_hash_ != nullptr);
    message.truncated = true;
    message.whole_salt = whole_hash_->salt();
    message.whole_hash = whole_hash_->Finish();
    ++truncated_count_;
  }
  state_ = State::kStart;
  received_ = 0;
  held_delivered_ = true;
  ++messages_count_;
  return true;
}

bool StreamFramer::DeliverRest(FramedMessage& message, Foreign foreign) {
  if (state_ == State::kStart) received_ = held_.size();
  if (received_ == 0) {
    (void)DeliverWhole(message, chunk_);
    chunk_ = {};
  } else {
    Take(chunk_.size());
    (void)DeliverHeld(message, received_);
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
    if (held_.empty() || held_[0] == kCr) return false;
    received_ = held_.size();
    const bool header = options_.framing != Framing::kLines && IsDigit(held_[0]);
    (void)DeliverHeld(message, received_);
    message.incomplete = header || !orderly;
    return true;
  }
  if (state == State::kCounted) {
    if (received_ == 0) {  // a header and nothing else: it is what was received
      Append(held_, AsBytes(std::to_string(count_) + " "));
      received_ = held_.size();
    }
    (void)DeliverHeld(message, received_);
    message.counted = true;
    message.incomplete = true;
    message.full_length = count_;
    return true;
  }
  (void)DeliverHeld(message, received_);
  message.incomplete = !orderly;
  return true;
}

void StreamFramer::Take(std::size_t octets) {
  if (octets == 0) return;
  const ByteView taken = chunk_.first(octets);
  chunk_ = chunk_.subspan(octets);
  received_ += octets;
  last_octet_ = taken.back();
  const std::size_t kept = whole_hash_ != nullptr ? 0 : MakeRoom(octets);
  if (kept < octets && whole_hash_ == nullptr) {
    whole_hash_ = std::make_unique<WholeHash>(record::DeriveSalt(options_.salt_key, truncated_count_));
    whole_hash_->Update(held_);
    whole_hash_->Update(taken.first(kept));
  }
  Append(held_, taken.first(kept));
  if (whole_hash_ != nullptr) whole_hash_->Update(taken.subspan(kept));
}

// How many of `octets` may be kept; the memory for them is there when it returns.
std::size_t StreamFramer::MakeRoom(std::size_t octets) {
  const std::size_t size = held_.size();
  const std::size_t kept = std::min(octets, held_limit_bytes_ - std::min(size, held_limit_bytes_));
  if (size + kept <= held_.capacity()) return kept;
  std::size_t capacity = std::min(std::max({2 * held_.capacity(), size + kept, std::size_t{256}}), options_.message_bytes_max);
  capacity = std::max(capacity, size + kept);
  if (options_.held != nullptr) {
    auto& budget = *options_.held;
    const auto charge_for = [](std::size_t bytes) { return bytes - std::min(bytes, kHeldBytesFree); };
    const std::size_t room = budget.limit_bytes - std::min(budget.used_bytes, budget.limit_bytes) + held_charged_bytes_;
    if (charge_for(capacity) > room) capacity = size + kept;
    if (charge_for(capacity) > room) {
      // No memory to spare: this message ends here, at what is held or at what every connection may hold.
      held_limit_bytes_ = std::min(std::max(held_.capacity(), kHeldBytesFree), options_.message_bytes_max);
      const std::size_t less = std::min(octets, held_limit_bytes_ - std::min(size, held_limit_bytes_));
      held_.reserve(size + less);
      return less;
    }
    budget.used_bytes += charge_for(capacity) - std::min(held_charged_bytes_, charge_for(capacity));
    held_charged_bytes_ = std::max(held_charged_bytes_, charge_for(capacity));
  }
  held_.reserve(capacity);
  return kept;
}

void StreamFramer::ReleaseHeld() {
  held_.clear();
  if (held_.capacity() > kHeldBytesFree) Bytes().swap(held_);
  if (options_.held != nullptr) options_.held->used_bytes -= held_charged_bytes_;
  held_charged_bytes_ = 0;
  held_limit_bytes_ = options_.message_bytes_max;
  whole_hash_.reset();
  received_ = 0;
  held_delivered_ = false;
}

}  // namespace stele::ingest
