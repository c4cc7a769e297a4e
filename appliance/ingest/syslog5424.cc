#include "appliance/ingest/syslog5424.h"

#include <algorithm>

#include "appliance/ingest/timestamp.h"
#include "appliance/ingest/utf8.h"

namespace stele::ingest {
namespace {

constexpr std::size_t kHostMax = 255;
constexpr std::size_t kAppMax = 48;
constexpr std::size_t kPidMax = 128;
constexpr std::size_t kMsgidMax = 32;
constexpr std::size_t kSdNameMax = 32;
constexpr std::size_t kDuplicatesByPairs = 16;  // beyond it the identifiers are sorted

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsPrintUsAscii(char c) { return c >= 33 && c <= 126; }

class Parser {
 public:
  Parser(std::string_view payload, std::size_t offset, ParsedMessage& message)
      : payload_(payload), at_(offset), message_(message) {}

  void Run() {
    TakeVersion();
    TakeTime();
    message_.host = TakeField(kHostMax);
    message_.app = TakeField(kAppMax);
    message_.pid = TakeField(kPidMax);
    message_.msgid = TakeField(kMsgidMax);
    const bool whole = TakeStructuredData();
    CheckDuplicates();
    if (!whole && !AtEnd()) return RestIsMessage();
    if (AtEnd()) return;
    ++at_;  // the SP that TakeStructuredData() saw
    RestIsMessage();
  }

 private:
  [[nodiscard]] bool AtEnd() const { return at_ == payload_.size(); }
  [[nodiscard]] char Here() const { return at_ < payload_.size() ? payload_[at_] : '\0'; }

  void TakeVersion() {
    // LooksLike5424() has seen one to three digits and a space.
    unsigned version = 0;
    const bool zero_first = Here() == '0';
    for (; IsDigit(Here()); ++at_) version = version * 10 + static_cast<unsigned>(Here() - '0');
    message_.version = static_cast<std::uint16_t>(version);
    if (version != 1 || zero_first) message_.problems |= kBadVersion;
    ++at_;
  }

  // Up to the next SP, which is consumed.
  std::string_view TakeToken() {
    const std::size_t space = std::min(payload_.find(' ', at_), payload_.size());
    const auto token = payload_.substr(at_, space - at_);
    at_ = std::min(space + 1, payload_.size());
    if (space == payload_.size()) message_.problems |= kBadHeader;  // more fields were due
    return token;
  }

  void TakeTime() {
    const auto token = TakeToken();
    if (token == "-") return;
    message_.time_text = token;
    message_.claimed_ns = ParseTime5424(token);
    if (!message_.claimed_ns) message_.problems |= kBadTime;
  }

  std::string_view TakeField(std::size_t size_max) {
    const auto token = TakeToken();
    if (token.empty() || token.size() > size_max || !std::all_of(token.begin(), token.end(), IsPrintUsAscii)) {
      message_.problems |= kBadHeader;
    }
    return token == "-" ? std::string_view() : token;
  }

  //= RFC 5424 section 6.3
  //# STRUCTURED-DATA = NILVALUE / 1*SD-ELEMENT
  bool TakeStructuredData() {
    if (message_.Has(kBadHeader) && AtEnd()) return false;
    if (Here() == '-' && (at_ + 1 == payload_.size() || payload_[at_ + 1] == ' ')) {
      ++at_;
      return true;
    }
    const std::size_t start = at_;
    std::size_t element_start = start;
    bool any = false;
    while (Here() == '[') {
      element_start = at_;
      if (!TakeElement()) break;
      any = true;
      element_start = at_;
    }
    if (any && element_start == at_ && (AtEnd() || Here() == ' ')) return true;
    message_.problems |= kBadStructuredData;
    at_ = element_start;  // whole elements stay listed; the broken one is where the message begins
    return false;
  }

  // SD-NAME: 1*32PRINTUSASCII except '=', SP, ']', '"'.
  std::string_view TakeName() {
    const std::size_t start = at_;
    while (IsPrintUsAscii(Here()) && Here() != '=' && Here() != ']' && Here() != '"') ++at_;
    return payload_.substr(start, at_ - start);
  }

  bool TakeElement() {
    ++at_;  // '['
    Element element;
    element.id = TakeName();
    element.parameter_first = static_cast<std::uint32_t>(message_.parameters.size());
    if (element.id.empty() || element.id.size() > kSdNameMax) return false;
    const bool listed = message_.elements.size() < kElementsListedMax;
    while (Here() == ' ') {
      ++at_;
      Parameter parameter;
      if (!TakeParameter(parameter)) {
        message_.parameters.resize(element.parameter_first);
        return false;
      }
      if (listed && message_.parameters.size() < kParametersListedMax) {
        message_.parameters.push_back(parameter);
      } else {
        message_.problems |= kUnlisted;
      }
      NoteQuality(element.id, parameter);
    }
    if (Here() != ']') {
      message_.parameters.resize(element.parameter_first);
      return false;
    }
    ++at_;
    element.parameter_count = static_cast<std::uint32_t>(message_.parameters.size()) - element.parameter_first;
    if (listed) {
      message_.elements.push_back(element);
    } else {
      message_.problems |= kUnlisted;
    }
    return true;
  }

  //= RFC 5424 section 6.3.3
  //# the characters '"' (ABNF %d34), '\' (ABNF %d92), and ']' (ABNF %d93) MUST be escaped
  bool TakeParameter(Parameter& parameter) {
    parameter.name = TakeName();
    if (parameter.name.empty() || parameter.name.size() > kSdNameMax) return false;
    if (Here() != '=') return false;
    ++at_;
    if (Here() != '"') return false;
    ++at_;
    const std::size_t start = at_;
    for (; !AtEnd(); ++at_) {
      const char c = payload_[at_];
      if (c == '"') break;
      if (c == ']') return false;
      if (c == '\\' && at_ + 1 < payload_.size()) {
        const char next = payload_[at_ + 1];
        if (next == '"' || next == '\\' || next == ']') ++at_;
      }
    }
    if (AtEnd()) return false;
    parameter.value = payload_.substr(start, at_ - start);
    ++at_;
    if (!IsUtf8(parameter.value)) message_.problems |= kNotUtf8;
    return true;
  }

  // RFC 5424 section 7.1.
  void NoteQuality(std::string_view id, const Parameter& parameter) {
    if (id != "timeQuality" || parameter.value != "0") return;
    if (parameter.name == "isSynced") message_.problems |= kClockUnsynchronised;
    if (parameter.name == "tzKnown") message_.problems |= kNoZone;
  }

  //= RFC 5424 section 6.3.2
  //# The same SD-ID MUST NOT exist more than once in a message.
  void CheckDuplicates() {
    const auto& elements = message_.elements;
    if (elements.size() <= kDuplicatesByPairs) {
      for (std::size_t i = 0; i < elements.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
          if (elements[i].id == elements[j].id) message_.problems |= kDuplicateId;
        }
      }
      return;
    }
    std::vector<std::string_view> ids;
    ids.reserve(elements.size());
    for (const auto& element : elements) ids.push_back(element.id);
    std::sort(ids.begin(), ids.end());
    if (std::adjacent_find(ids.begin(), ids.end()) != ids.end()) message_.problems |= kDuplicateId;
  }

  void RestIsMessage() {
    constexpr std::string_view kBom = "\xef\xbb\xbf";
    const auto rest = payload_.substr(at_);
    message_.has_message = true;
    if (rest.substr(0, kBom.size()) == kBom) {
      at_ += kBom.size();
      if (!IsUtf8(payload_.substr(at_))) message_.problems |= kNotUtf8;
    }
    message_.message_offset = at_;
    message_.message_length = payload_.size() - at_;
  }

  std::string_view payload_;
  std::size_t at_;
  ParsedMessage& message_;
};

}  // namespace

bool LooksLike5424(std::string_view after_priority) {
  std::size_t digits = 0;
  while (digits < after_priority.size() && digits < 4 && IsDigit(after_priority[digits])) ++digits;
  if (digits < 1 || digits > 3 || digits == after_priority.size() || after_priority[digits] != ' ') return false;
  const auto time = after_priority.substr(digits + 1);
  if (time.substr(0, 1) == "-") return time.size() == 1 || time[1] == ' ';
  return time.size() >= 5 && std::all_of(time.begin(), time.begin() + 4, IsDigit) && time[4] == '-';
}

void ParseSyslog5424(std::string_view payload, std::size_t offset, ParsedMessage& message) {
  message.format = Format::kRfc5424;
  message.message_offset = payload.size();
  Parser(payload, offset, message).Run();
}

}  // namespace stele::ingest
