#include "appliance/ingest/relp.h"

#include <algorithm>
#include <charconv>

namespace stele::ingest {
namespace {

constexpr std::uint32_t kTxnrMax = 999'999'999;
constexpr std::size_t kNumberDigitsMax = 9;
constexpr std::size_t kCommandLettersMax = 32;
constexpr std::size_t kRunsMax = 1'024;  // of answers that are not all the same; a client that makes more means no good
constexpr std::size_t kReasonOctetsMax = 80;  // what clients read of a response's text
constexpr std::string_view kOk = " rsp 6 200 OK\n";
constexpr std::string_view kOpenAnswer = "200 OK\nrelp_version=0\nrelp_software=stele\ncommands=syslog";
constexpr std::string_view kOpenAgain =
    "200 OK the session is open already";  // librelp sends `open` again in an open session
constexpr std::string_view kServerClose = "0 serverclose 0\n";
constexpr auto kLf = std::byte{'\n'};
constexpr auto kSp = std::byte{' '};

bool IsDigit(std::byte b) { return b >= std::byte{'0'} && b <= std::byte{'9'}; }
bool IsLetter(std::byte b) {
  const std::byte lower = b | std::byte{0x20};
  return lower >= std::byte{'a'} && lower <= std::byte{'z'};
}

// Decimal digits from `at` on; more than kNumberDigitsMax of them give no number (and leave `at` on one too many).
std::uint32_t ReadNumber(ByteView in, std::size_t& at, std::size_t& digits) {
  std::uint32_t value = 0;
  for (digits = 0; at < in.size() && IsDigit(in[at]) && digits < kNumberDigitsMax; ++at, ++digits) {
    value = value * 10 + std::to_integer<std::uint32_t>(in[at]) - '0';
  }
  return value;
}

// One offer a line, `name=value[,value...]`. The session needs a version and the command `syslog`; all else is the
// client's business.
std::string_view ProblemOfOffers(std::string_view offers) {
  bool version = false;
  bool syslog = false;
  while (!offers.empty()) {
    const std::string_view line = offers.substr(0, offers.find('\n'));
    offers.remove_prefix(std::min(offers.size(), line.size() + 1));
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view name = line.substr(0, equals);
    std::string_view values = line.substr(equals + 1);
    if (name == "relp_version") {
      version =
          !values.empty() && std::all_of(values.begin(), values.end(), [](char c) { return c >= '0' && c <= '9'; });
    }
    while (name == "commands" && !values.empty()) {
      const std::string_view value = values.substr(0, values.find(','));
      values.remove_prefix(std::min(values.size(), value.size() + 1));
      syslog = syslog || value == "syslog";
    }
  }
  if (!version) return "the offer relp_version is missing or not a number";
  return syslog ? std::string_view() : "the command syslog is not offered";
}

}  // namespace

RelpServer::RelpServer(const Options& options)
    : options_(options), held_(options.message_bytes_max, options.salt_key, options.held) {
  STELE_CHECK(options.first_txnr >= 1 && options.first_txnr <= kTxnrMax);
}

void RelpServer::Feed(ByteView chunk) {
  held_.Release();
  if (over_ || end_) return;
  STELE_CHECK(chunk_.empty());  // Next() has to return false first
  chunk_ = chunk;
}

void RelpServer::End(EndReason reason) {
  if (!end_) end_ = reason;
}

bool RelpServer::inside_frame() const { return !over_ && (state_ != State::kHeader || header_octets_ != 0); }

bool RelpServer::Next(RelpEvent& event) {
  while (!over_ && !chunk_.empty()) {
    if (!no_more_.empty()) return DeliverBroken(event, no_more_);
    bool delivered = false;
    switch (state_) {
      case State::kHeader:
        delivered = StepHeader(event);
        break;
      case State::kData:
        delivered = StepData(event);
        break;
      case State::kTrailer:
        delivered = StepTrailer(event);
        break;
    }
    if (delivered) return true;
  }
  chunk_ = {};
  if (over_ || !end_) return false;
  over_ = true;
  return DeliverEnd(event);
}

// TXNR SP COMMAND SP DATALEN (SP | LF), left to right: what is wrong in a beginning is wrong however it goes on.
RelpServer::Parsed RelpServer::ParseHeader(ByteView in, Header& header) {
  std::size_t at = 0;
  std::size_t digits = 0;
  header.txnr = ReadNumber(in, at, digits);
  if (at == in.size()) return Parsed::kNeedMore;
  if (digits == 0 || in[at] != kSp) return Parsed::kError;
  const std::size_t command_at = ++at;
  while (at < in.size() && at - command_at < kCommandLettersMax && IsLetter(in[at])) ++at;
  if (at == in.size()) return Parsed::kNeedMore;
  if (at == command_at || in[at] != kSp) return Parsed::kError;
  const std::string_view command = AsText(in.subspan(command_at, at - command_at));
  header.data_length = ReadNumber(in, ++at, digits);
  if (at == in.size()) return Parsed::kNeedMore;
  if (digits == 0 || in[at] != (header.data_length == 0 ? kLf : kSp)) return Parsed::kError;
  header.octets = at + 1;
  header.command = command == "syslog"  ? Command::kSyslog
                   : command == "open"  ? Command::kOpen
                   : command == "close" ? Command::kClose
                                        : Command::kOther;
  return Parsed::kHeader;
}

std::string_view RelpServer::ProblemOf(const Header& header) const {
  if (header.txnr == 0) return !opened_ && header.command == Command::kSyslog ? "a message before open" : "";
  if (!opened_ && header.command != Command::kOpen) return "the first command is not open";
  if (header.txnr != TxnrOf(next_number_)) return "not the next transaction number";
  if (header.command == Command::kOpen && header.data_length > limits::kRelpOffersBytes) return "open offers too much";
  if (unanswered() >= options_.unanswered_max || runs_.size() >= kRunsMax) return "too many unanswered transactions";
  return {};
}

bool RelpServer::StepHeader(RelpEvent& event) {
  Header header;
  Parsed parsed = Parsed::kNeedMore;
  const std::size_t before = header_octets_;
  if (before == 0) {
    parsed = ParseHeader(chunk_.first(std::min(chunk_.size(), kHeaderOctetsMax)), header);
  } else {
    const std::size_t added = std::min(chunk_.size(), kHeaderOctetsMax - before);
    std::copy_n(chunk_.begin(), added, header_.begin() + static_cast<std::ptrdiff_t>(before));
    parsed = ParseHeader(ByteView(header_).first(before + added), header);
  }
  if (parsed == Parsed::kError) return DeliverBroken(event, "not a RELP frame");
  if (parsed == Parsed::kNeedMore) {
    if (before == 0) std::copy(chunk_.begin(), chunk_.end(), header_.begin());
    header_octets_ += chunk_.size();
    chunk_ = {};
    return false;
  }
  if (const std::string_view problem = ProblemOf(header); !problem.empty()) return DeliverBroken(event, problem);
  frame_ = header;
  const std::size_t octets = header.octets - before;  // of the chunk; what was held was not yet a header
  if (header.data_length == 0) {
    chunk_ = chunk_.subspan(octets);
    header_octets_ = 0;
    return DeliverFrame(event, {});
  }
  if (chunk_.size() - octets > header.data_length) {
    const ByteView data = chunk_.subspan(octets, header.data_length);
    const bool ended = chunk_[octets + header.data_length] == kLf;
    chunk_ = chunk_.subspan(octets + header.data_length + (ended ? 1 : 0));
    header_octets_ = 0;
    if (ended) return DeliverFrame(event, data);
    return DeliverBadTrailer(event, frame_.command == Command::kSyslog ? held_.Whole(data) : HeldView{});
  }
  if (before == 0) std::copy_n(chunk_.begin(), header.octets, header_.begin());
  header_octets_ = header.octets;
  chunk_ = chunk_.subspan(octets);
  data_received_ = 0;
  state_ = State::kData;
  return false;
}

bool RelpServer::StepData(RelpEvent&) {
  const std::size_t octets = std::min<std::size_t>(chunk_.size(), frame_.data_length - data_received_);
  if (frame_.command == Command::kSyslog) held_.Take(chunk_.first(octets));
  if (frame_.command == Command::kOpen)
    Append(offers_, chunk_.first(octets));  // bounded by ProblemOf(); of all else only the count
  chunk_ = chunk_.subspan(octets);
  data_received_ += static_cast<std::uint32_t>(octets);
  if (data_received_ == frame_.data_length) state_ = State::kTrailer;
  return false;
}

bool RelpServer::StepTrailer(RelpEvent& event) {
  const bool syslog = frame_.command == Command::kSyslog;
  const HeldView message = syslog ? held_.Deliver(held_.received()) : HeldView{};
  state_ = State::kHeader;
  header_octets_ = 0;
  if (chunk_[0] != kLf) return DeliverBadTrailer(event, message);
  chunk_ = chunk_.subspan(1);
  if (!syslog) return DeliverFrame(event, offers_);
  ++frames_count_;
  return DeliverMessage(event, message);
}

void RelpServer::SetPayload(RelpEvent& event, const HeldView& view, std::uint64_t length) {
  event.payload = view.bytes;
  event.truncated = view.truncated;
  event.full_length = length;
  event.whole_salt = view.whole_salt;
  event.whole_hash = view.whole_hash;
}

bool RelpServer::DeliverFrame(RelpEvent& event, ByteView data) {
  ++frames_count_;
  if (frame_.command == Command::kSyslog) return DeliverMessage(event, held_.Whole(data));
  if (frame_.txnr == 0) return false;  // a hint that means nothing to a server
  event = RelpEvent{};
  event.txnr = frame_.txnr;
  switch (frame_.command) {
    case Command::kOpen:
      return DeliverOpen(event, AsText(data));
    case Command::kClose:
      event.kind = RelpEvent::Kind::kClosed;
      event.number = NextNumber(Run::Answer::kText, {});
      no_more_ = "something follows close";
      say_close_ = true;
      break;
    case Command::kSyslog:
    case Command::kOther:
      event.kind = RelpEvent::Kind::kUnknown;
      event.problem = "unknown command";
      event.number = NextNumber(Run::Answer::kText, "500 unknown command");
      break;
  }
  Emit();
  return true;
}

bool RelpServer::DeliverMessage(RelpEvent& event, const HeldView& data) {
  event.kind = RelpEvent::Kind::kMessage;
  event.txnr = frame_.txnr;
  event.answerable = frame_.txnr != 0;
  event.number = event.answerable ? NextNumber(Run::Answer::kWaiting, {}) : 0;
  event.incomplete = false;
  event.framing_error = false;
  event.problem = {};
  SetPayload(event, data, frame_.data_length);
  return true;
}

bool RelpServer::DeliverOpen(RelpEvent& event, std::string_view offers) {
  event.kind = RelpEvent::Kind::kOpened;
  event.problem = opened_ ? std::string_view() : ProblemOfOffers(offers);
  if (event.problem.empty()) {
    event.number = NextNumber(Run::Answer::kText, std::string(opened_ ? kOpenAgain : kOpenAnswer));
    opened_ = true;
  } else {
    event.kind = RelpEvent::Kind::kOpenRefused;
    event.number = NextNumber(Run::Answer::kText, "500 " + std::string(event.problem));
    no_more_ = "something follows an open that was refused";
    say_close_ = true;
  }
  offers_.clear();
  Emit();
  return true;
}

// Its count was wrong, so where it ends is unknown: the message is kept but not answered, and what follows is not read
// as frames.
bool RelpServer::DeliverBadTrailer(RelpEvent& event, const HeldView& message) {
  no_more_ = "a frame does not end where it says";
  if (frame_.command != Command::kSyslog) return false;
  event = RelpEvent{};
  event.txnr = frame_.txnr;
  event.framing_error = true;
  SetPayload(event, message, frame_.data_length);
  return true;
}

bool RelpServer::DeliverBroken(RelpEvent& event, std::string_view problem) {
  event = RelpEvent{};
  event.kind = RelpEvent::Kind::kBroken;
  event.framing_error = true;
  event.problem = problem;
  if (header_octets_ == 0) {
    SetPayload(event, held_.Whole(chunk_), chunk_.size());
  } else {
    held_.Take(ByteView(header_).first(header_octets_));
    held_.Take(chunk_);
    const std::uint64_t length = held_.received();
    SetPayload(event, held_.Deliver(length), length);
  }
  chunk_ = {};
  over_ = true;
  say_close_ = true;
  Emit();
  return true;
}

// The stream is over and nothing is left of the chunk.
bool RelpServer::DeliverEnd(RelpEvent& event) {
  if (state_ == State::kHeader && header_octets_ == 0) return false;
  if (state_ != State::kHeader && frame_.command != Command::kSyslog) return false;
  event = RelpEvent{};
  event.incomplete = true;
  if (state_ != State::kHeader) event.txnr = frame_.txnr;
  if (state_ == State::kHeader || data_received_ == 0) {  // a header and nothing else: it is what was received
    SetPayload(event, held_.Whole(ByteView(header_).first(header_octets_)), header_octets_);
  } else {
    SetPayload(event, held_.Deliver(held_.received()), frame_.data_length);
  }
  return true;
}

std::uint32_t RelpServer::TxnrOf(std::uint64_t number) const {
  return static_cast<std::uint32_t>((options_.first_txnr - 1 + number) % kTxnrMax) + 1;
}

std::uint64_t RelpServer::NextNumber(Run::Answer answer, std::string text) {
  const std::uint64_t number = next_number_++;
  if (answer == Run::Answer::kWaiting && !runs_.empty() && runs_.back().answer == answer) {
    ++runs_.back().count;
  } else {
    runs_.push_back({number, 1, answer, std::move(text)});
  }
  return number;
}

void RelpServer::Committed(std::uint64_t number, std::uint64_t count) {
  Answer(number, count, Run::Answer::kCommitted, {});
}

void RelpServer::Refused(std::uint64_t number, std::uint64_t count, std::string_view reason) {
  std::string text = "500 " + std::string(reason.substr(0, kReasonOctetsMax));
  for (char& c : text) {
    if (c < ' ' || c > '~') c = '?';
  }
  Answer(number, count, Run::Answer::kText, text);
}

void RelpServer::Abandoned(std::uint64_t number) {
  STELE_CHECK(number >= answered_);
  abandoned_ = std::min(abandoned_, number);
  next_number_ = std::min(next_number_, abandoned_);
  while (!runs_.empty() && runs_.back().first >= abandoned_) runs_.pop_back();
  if (!runs_.empty()) runs_.back().count = std::min(runs_.back().count, abandoned_ - runs_.back().first);
  Close();
}

void RelpServer::Close() {
  over_ = true;
  say_close_ = true;
  chunk_ = {};
  Emit();
}

void RelpServer::Answer(std::uint64_t number, std::uint64_t count, Run::Answer answer, std::string_view text) {
  count = std::min(count, abandoned_ - std::min(number, abandoned_));
  if (count == 0) return;
  auto at = std::find_if(runs_.begin(), runs_.end(), [&](const Run& run) { return number < run.first + run.count; });
  STELE_CHECK(at != runs_.end() && at->answer == Run::Answer::kWaiting);
  const std::uint64_t ahead = number - at->first;  // still waiting before it
  STELE_CHECK(at->first <= number && ahead + count <= at->count);
  const std::uint64_t behind = at->count - ahead - count;
  if (behind != 0) at = std::prev(runs_.insert(std::next(at), {number + count, behind, Run::Answer::kWaiting, {}}));
  if (ahead != 0) {
    at->count = ahead;
    runs_.insert(std::next(at), {number, count, answer, std::string(text)});
  } else {
    *at = {number, count, answer, std::string(text)};
  }
  Emit();
}

//= RELP specification, "rsp": responses in the order in which the commands came
void RelpServer::Emit() {
  while (!runs_.empty() && runs_.front().answer != Run::Answer::kWaiting) {
    const Run& run = runs_.front();
    if (run.answer == Run::Answer::kCommitted) {
      EmitOk(run.first, run.count);
    } else {
      for (std::uint64_t i = 0; i < run.count; ++i) EmitText(run.first + i, run.text);
    }
    answered_ += run.count;
    runs_.pop_front();
  }
  if (!say_close_ || closing_ || !runs_.empty()) return;
  Append(answers_, AsBytes(kServerClose));
  closing_ = true;
}

void RelpServer::EmitOk(std::uint64_t number, std::uint64_t count) {
  const std::size_t before = answers_.size();
  answers_.resize(before + static_cast<std::size_t>(count) * (kNumberDigitsMax + kOk.size()));
  char* out = reinterpret_cast<char*>(answers_.data() + before);
  std::uint32_t txnr = TxnrOf(number);
  for (std::uint64_t i = 0; i < count; ++i) {
    out = std::to_chars(out, out + kNumberDigitsMax, txnr).ptr;
    out = std::copy(kOk.begin(), kOk.end(), out);
    txnr = txnr == kTxnrMax ? 1 : txnr + 1;
  }
  answers_.resize(static_cast<std::size_t>(out - reinterpret_cast<char*>(answers_.data())));
}

void RelpServer::EmitText(std::uint64_t number, std::string_view data) {
  std::string answer = std::to_string(TxnrOf(number)) + " rsp " + std::to_string(data.size());
  if (!data.empty()) answer.append(1, ' ').append(data);
  answer.push_back('\n');
  Append(answers_, AsBytes(answer));
}

}  // namespace stele::ingest
