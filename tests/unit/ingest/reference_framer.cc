#include "tests/unit/ingest/reference_framer.h"

#include <algorithm>
#include <array>
#include <regex>

#include "appliance/base/hash.h"

namespace stele::ingest {
namespace {

class Reference {
 public:
  Reference(std::string_view stream, const StreamFramer::Options& options, EndReason reason)
      : rest_(stream), options_(options), orderly_(reason == EndReason::kPeerClosed) {}

  std::vector<ReferenceMessage> Run() {
    while (!rest_.empty() && !over_) Frame();
    return std::move(messages_);
  }

 private:
  void Frame() {
    if (SkipDelimiters()) return;
    const bool lines = options_.framing == Framing::kLines;
    const bool counted_only = options_.framing == Framing::kCounted;
    if (messages_.empty() && IsTls()) return GiveUp(Foreign::kTls);
    const std::size_t digits = std::min(rest_.find_first_not_of("0123456789"), rest_.size());
    if (!lines && digits > 0) {
      if (digits == rest_.size() && digits <= 20) return Partial();
      const bool count = digits <= 20 && rest_[digits] == ' ';
      if (!count && counted_only) return GiveUp(Foreign::kNone);
      if (count) {
        const std::string text(rest_.substr(0, digits));
        const std::string significant = text.substr(std::min(text.find_first_not_of('0'), text.size() - 1));
        const bool too_large = significant.size() > 9 || std::stoull(significant) > limits::kMessageBytesCeiling;
        const bool zero_first = text[0] == '0';
        if (counted_only || previous_counted_) {
          if (zero_first || too_large) return GiveUp(Foreign::kNone);
          return Counted(digits + 1, std::stoull(text));
        }
        if (too_large && !zero_first) return GiveUp(Foreign::kNone);
        if (rest_.size() == digits + 1) return Partial();
        const char next = rest_[digits + 1];
        if (next == '<' || next == '{' || next == '\xef') {
          if (zero_first) return GiveUp(Foreign::kNone);
          return Counted(digits + 1, std::stoull(text));
        }
      }
      return Line();
    }
    if (counted_only) return GiveUp(Foreign::kNone);
    if (!lines && previous_counted_ && rest_[0] != '<') {
      if (rest_ == "\r") return rest_.remove_prefix(1);
      return GiveUp(Foreign::kNone);
    }
    Line();
  }

  bool SkipDelimiters() {
    std::size_t skip = 0;
    if (rest_[0] == '\n' || (rest_[0] == '\0' && options_.nul_ends_line)) skip = 1;
    if (rest_.substr(0, 2) == "\r\n") skip = 2;
    if (rest_ == "\r") skip = 1;
    if (!messages_.empty() && rest_.substr(0, 2) == " <") skip = 1;
    if (!messages_.empty() && rest_ == " ") {  // could still become a delimiter: nobody knows
      Partial();
      return true;
    }
    if (messages_.empty() && (rest_ == "\x16" || rest_ == "\x16\x03")) {
      Partial();
      return true;
    }
    rest_.remove_prefix(skip);
    return skip != 0;
  }

  [[nodiscard]] bool IsTls() const {
    return rest_.size() >= 3 && rest_[0] == '\x16' && rest_[1] == '\x03' && rest_[2] >= '\0' && rest_[2] <= '\x04';
  }

  void Counted(std::size_t header, std::uint64_t count) {
    const auto octets = rest_.substr(header, count);
    if (octets.size() < count) {
      auto message = Make(octets.empty() ? rest_ : octets);
      message.counted = true;
      message.incomplete = true;
      message.full_length = count;
      messages_.push_back(message);
      rest_ = {};
      return;
    }
    auto message = Make(octets);
    message.counted = true;
    messages_.push_back(message);
    previous_counted_ = true;
    rest_.remove_prefix(header + count);
  }

  void Line() {
    const auto end = options_.nul_ends_line ? rest_.find_first_of(std::string_view("\n\0", 2)) : rest_.find('\n');
    if (end == std::string_view::npos) {
      auto message = Make(rest_);
      message.incomplete = !orderly_;
      messages_.push_back(message);
      rest_ = {};
      return;
    }
    const auto line = rest_.substr(0, end);
    const auto text = !line.empty() && line.back() == '\r' ? line.substr(0, line.size() - 1) : line;
    static const std::regex kRequest("(GET|POST|HEAD|PUT|DELETE|OPTIONS|CONNECT|PATCH|TRACE|PRI) [^]* HTTP/(1\\.0|1\\.1|2\\.0)");
    const bool short_enough = text.size() <= std::min<std::size_t>(options_.message_bytes_max, 4096);
    if (messages_.empty() && short_enough && std::regex_match(std::string(text), kRequest)) return GiveUp(Foreign::kHttp);
    if (!text.empty()) messages_.push_back(Make(text.size() > options_.message_bytes_max ? line : text));
    previous_counted_ = false;
    rest_.remove_prefix(end + 1);
  }

  void Partial() {  // the stream ends where a frame has barely begun
    auto message = Make(rest_);
    const bool digits = options_.framing != Framing::kLines && rest_[0] >= '0' && rest_[0] <= '9';
    message.incomplete = digits || !orderly_;
    messages_.push_back(message);
    rest_ = {};
  }

  void GiveUp(Foreign foreign) {
    auto message = Make(rest_);
    message.framing_error = true;
    message.foreign = foreign;
    messages_.push_back(message);
    over_ = true;
  }

  ReferenceMessage Make(std::string_view whole) {
    ReferenceMessage message;
    message.bytes = whole.substr(0, options_.message_bytes_max);
    message.full_length = whole.size();
    if (whole.size() > options_.message_bytes_max) {
      message.truncated = true;
      const auto salt = record::DeriveSalt(options_.salt_key, truncated_++);
      message.whole_hash = Sha256Of({AsBytes("stele/whole/v1"), salt, AsBytes(whole)});
    }
    return message;
  }

  std::string_view rest_;
  StreamFramer::Options options_;
  bool orderly_;
  bool over_ = false;
  bool previous_counted_ = false;
  std::uint32_t truncated_ = 0;
  std::vector<ReferenceMessage> messages_;
};

ReferenceMessage Copy(const FramedMessage& message) {
  return {std::string(AsText(message.bytes)), message.counted,       message.truncated,   message.incomplete,
          message.framing_error,              message.foreign,       message.full_length, message.whole_hash};
}

}  // namespace

std::vector<ReferenceMessage> ReferenceFrames(std::string_view stream, const StreamFramer::Options& options, EndReason reason) {
  return Reference(stream, options, reason).Run();
}

std::vector<ReferenceMessage> FastFrames(std::string_view stream, const StreamFramer::Options& options, EndReason reason,
                                         const std::vector<std::size_t>& pieces) {
  StreamFramer framer(options);
  std::vector<ReferenceMessage> messages;
  FramedMessage message;
  std::size_t piece = 0;
  while (!stream.empty()) {
    const std::size_t wanted = pieces.empty() ? stream.size() : std::max<std::size_t>(pieces[piece++ % pieces.size()], 1);
    // Each piece in a buffer of its own, gone before the next: a view kept too long shows under the address sanitizer.
    const std::string buffer(stream.substr(0, wanted));
    stream.remove_prefix(buffer.size());
    framer.Feed(AsBytes(buffer));
    while (framer.Next(message)) messages.push_back(Copy(message));
    if (framer.closed()) break;
  }
  framer.End(reason);
  while (framer.Next(message)) messages.push_back(Copy(message));
  return messages;
}

bool SameButForTheRest(const std::vector<ReferenceMessage>& whole, const std::vector<ReferenceMessage>& pieces) {
  if (whole.size() != pieces.size()) return false;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    if (whole[i] == pieces[i]) continue;
    const bool rest = whole[i].framing_error && pieces[i].framing_error && i + 1 == whole.size();
    if (!rest || whole[i].foreign != pieces[i].foreign || whole[i].full_length < pieces[i].full_length) return false;
    const auto common = std::min(whole[i].bytes.size(), pieces[i].bytes.size());
    if (whole[i].bytes.substr(0, common) != pieces[i].bytes.substr(0, common)) return false;
  }
  return true;
}

}  // namespace stele::ingest
