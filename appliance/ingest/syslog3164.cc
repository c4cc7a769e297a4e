#include "appliance/ingest/syslog3164.h"

#include <algorithm>

#include "appliance/ingest/timestamp.h"

namespace stele::ingest {
namespace {

constexpr std::size_t kHostMax = 255;
constexpr std::size_t kTagMax = 255;  // RFC 3164 says 32; daemons of today write more
constexpr std::size_t kPidMax = 128;
constexpr int kCiscoPrefixesMax = 4;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsAlnum(char c) { return IsDigit(c) || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }
bool IsHex(char c) { return IsDigit(c) || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f'); }
bool AllDigits(std::string_view text) { return !text.empty() && std::all_of(text.begin(), text.end(), IsDigit); }

bool IsTagCharacter(char c) { return IsAlnum(c) || std::string_view("_-./%@+#$~*\\()!&").find(c) != std::string_view::npos; }
bool IsHostCharacter(char c) { return IsAlnum(c) || std::string_view("_-.:%/@+#~\\()").find(c) != std::string_view::npos; }

// Two colons or more, hexadecimal groups, perhaps a v4 tail and a scope: "2001:db8::7", "fe80::1%eth0", "::ffff:192.0.2.9".
bool LooksLikeIpv6(std::string_view token) {
  const auto address = token.substr(0, token.find('%'));
  const auto colons = std::count(address.begin(), address.end(), ':');
  return colons >= 2 && colons <= 7 &&
         std::all_of(address.begin(), address.end(), [](char c) { return IsHex(c) || c == ':' || c == '.'; });
}

bool LooksLikeHost(std::string_view token) {
  if (token.empty() || token.size() > kHostMax) return false;
  if (token.find(':') != std::string_view::npos) return LooksLikeIpv6(token);
  return std::all_of(token.begin(), token.end(), IsHostCharacter) && std::any_of(token.begin(), token.end(), IsAlnum);
}

// "00:01:01", "1d02h", "2w3d", "1y5w": how long the device is up.
bool LooksLikeUptime(std::string_view token) {
  if (token.size() >= 7 && token.size() <= 10) {
    const auto colons = std::count(token.begin(), token.end(), ':');
    if (colons == 2 && std::all_of(token.begin(), token.end(), [](char c) { return IsDigit(c) || c == ':'; })) return true;
  }
  if (token.size() < 4 || token.size() > 8 || !IsDigit(token.front())) return false;
  const auto units = std::count_if(token.begin(), token.end(), [](char c) { return std::string_view("ywdh").find(c) != std::string_view::npos; });
  return units == 2 && !IsDigit(token.back()) &&
         std::all_of(token.begin(), token.end(), [](char c) { return IsDigit(c) || std::string_view("ywdh").find(c) != std::string_view::npos; });
}

class Parser {
 public:
  Parser(std::string_view payload, std::size_t offset, std::int64_t receive_wall_ns, ParsedMessage& message)
      : payload_(payload), at_(offset), receive_wall_ns_(receive_wall_ns), message_(message) {}

  bool Run() {
    SkipSpaces();
    const std::size_t start = at_;
    if (!TakeCiscoPrefix()) {
      at_ = start;
      (void)TakeTime();
    }
    const bool timed = !message_.time_text.empty();
    if (timed || message_.Has(kUptime) || !message_.sequence.empty() || !message_.host.empty()) {
      if (Here() == ':') ++at_;
      SkipSpaces();
      if (message_.host.empty()) TakeHost();
      TakeColonAlone();
    }
    if (!timed) message_.problems |= kNoTime;
    const bool tagged = TakeTag();
    const bool known = timed || tagged || message_.Has(kUptime) || !message_.host.empty();
    if (!known) {  // then what looked like Cisco's prefix is text too
      at_ = start;
      message_.sequence = {};
    }
    message_.has_message = true;
    message_.message_offset = at_;
    message_.message_length = payload_.size() - at_;
    return known;
  }

 private:
  [[nodiscard]] bool AtEnd() const { return at_ == payload_.size(); }
  [[nodiscard]] char Here() const { return at_ < payload_.size() ? payload_[at_] : '\0'; }
  [[nodiscard]] std::string_view Rest() const { return payload_.substr(at_); }
  void SkipSpaces() {
    while (Here() == ' ') ++at_;
  }
  // Up to the next space, at most `size_max` + 1 octets are looked at.
  [[nodiscard]] std::string_view Token(std::size_t size_max) const {
    const auto window = payload_.substr(at_, size_max + 1);
    return window.substr(0, window.find(' '));
  }

  // A stamp, with Cisco's mark of an unsynchronised clock before it.
  bool TakeTime() {
    const bool mark = Here() == '*' || Here() == '.';
    const auto found = FindTime(Rest().substr(mark ? 1 : 0), receive_wall_ns_);
    if (!found) return false;
    if (mark) {
      ++at_;
      message_.problems |= kClockUnsynchronised;
    }
    message_.time_text = payload_.substr(at_, found->length_bytes);
    message_.claimed_ns = found->claimed_ns;
    if (found->no_zone) message_.problems |= kNoZone;
    if (found->year_guessed) message_.problems |= kYearGuessed;
    at_ += found->length_bytes;
    return true;
  }

  // Sequence numbers and a host, each followed by ": ", in front of a time stamp, an uptime or a '%'. Leaves no trace when
  // nothing of the kind follows.
  bool TakeCiscoPrefix() {
    bool prefixed = false;
    if (Here() == ':') {
      ++at_;
      SkipSpaces();
      prefixed = true;
    }
    for (int i = 0; i < kCiscoPrefixesMax; ++i) {
      if (TakeTime()) return true;
      if (Here() == '%' && prefixed) return true;
      const auto token = Token(kHostMax);
      if (token.size() < 2 || token.back() != ':') break;
      const auto word = token.substr(0, token.size() - 1);
      if (LooksLikeUptime(word)) {
        if (!prefixed) break;
        message_.problems |= kUptime;
        at_ += token.size();
        return true;
      }
      if (AllDigits(word)) {
        if (message_.sequence.empty()) message_.sequence = word;
      } else if (message_.host.empty() && LooksLikeHost(word) && word.front() != '%') {
        message_.host = word;
      } else {
        break;
      }
      at_ += token.size();
      SkipSpaces();
      prefixed = true;
    }
    message_.sequence = {};
    message_.host = {};
    return false;
  }

  // The token after the time stamp is a host unless it is the tag.
  void TakeHost() {
    constexpr std::string_view kForwarded = "Message forwarded from ";  // AIX
    if (Rest().substr(0, kForwarded.size()) == kForwarded) {
      const std::size_t start = at_ + kForwarded.size();
      const std::size_t colon = payload_.substr(start, kHostMax + 1).find(": ");
      if (colon != std::string_view::npos && LooksLikeHost(payload_.substr(start, colon))) {
        message_.host = payload_.substr(start, colon);
        at_ = start + colon + 1;
        SkipSpaces();
        return;
      }
    }
    const auto token = Token(kHostMax);
    if (token.empty() || token.front() == '%' || !LooksLikeHost(token)) return;
    // "fe80::" is an address, "su:" a tag: LooksLikeHost() knows. "CEF:0|" is neither.
    message_.host = token;
    at_ += token.size();
    SkipSpaces();
  }

  // ASA writes "fw1 : %ASA-...".
  void TakeColonAlone() {
    if (Here() == ':' && at_ + 1 < payload_.size() && payload_[at_ + 1] == ' ') {
      ++at_;
      SkipSpaces();
    }
  }

  //= RFC 3164 section 5.3
  //# This has traditionally been a freeform string, starting with the name of the program and the process id in brackets
  // A tag ends in ':' or has a pid in brackets; a bare word is part of the message.
  bool TakeTag() {
    std::size_t end = at_;
    while (end < payload_.size() && end - at_ < kTagMax && IsTagCharacter(payload_[end])) ++end;
    const auto tag = payload_.substr(at_, end - at_);
    if (tag.empty() || end == payload_.size()) return false;
    if (tag == "CEF" || tag == "LEEF") {  // the vendor formats begin with their name; show them whole
      message_.app = tag;
      return true;
    }
    std::string_view pid;
    bool bracketed = false;
    if (payload_[end] == '[') {
      std::size_t close = end + 1;
      while (close < payload_.size() && close - end <= kPidMax && payload_[close] > ' ' && payload_[close] != ']' && payload_[close] != '[') ++close;
      if (close == payload_.size() || payload_[close] != ']') return false;
      pid = payload_.substr(end + 1, close - end - 1);
      end = close + 1;
      bracketed = true;
    }
    const char after = end < payload_.size() ? payload_[end] : '\0';
    if (after == ':') {
      ++end;
    } else if (!bracketed || (after != ' ' && end < payload_.size())) {
      return false;
    }
    message_.app = tag;
    message_.pid = pid;
    at_ = end;
    if (Here() == ' ') ++at_;
    return true;
  }

  std::string_view payload_;
  std::size_t at_;
  std::int64_t receive_wall_ns_;
  ParsedMessage& message_;
};

}  // namespace

bool ParseSyslog3164(std::string_view payload, std::size_t offset, std::int64_t receive_wall_ns, ParsedMessage& message) {
  message.format = Format::kRfc3164;
  return Parser(payload, offset, receive_wall_ns, message).Run();
}

}  // namespace stele::ingest
