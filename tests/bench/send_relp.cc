// RELP as a client speaks it, with a window of any size.
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>

#include "tests/bench/wire.h"

namespace stele::bench {
namespace {

constexpr std::uint64_t kFirstTxnr = 2;  // 1 is the open
constexpr std::string_view kOpen = "1 open 50 relp_version=0\nrelp_software=bench\ncommands=syslog\n";

struct Answer {
  std::uint64_t txnr = 0;
  bool hint = false;  // serverclose
  bool good = false;
};

// One answer from the front of `text`; nothing while it is not whole. Sets `wrong` when it is no answer.
std::optional<Answer> TakeAnswer(std::string_view& text, bool& wrong) {
  const char* const end = text.data() + text.size();
  Answer answer;
  auto [at, error] = std::from_chars(text.data(), end, answer.txnr);
  const std::string_view rest(at, static_cast<std::size_t>(end - at));
  const std::size_t command_end = rest.find(' ', 1);
  if (command_end == std::string_view::npos) return std::nullopt;
  std::uint64_t length = 0;
  const auto [length_end, length_error] = std::from_chars(rest.data() + command_end + 1, end, length);
  if (length_end == end) return std::nullopt;
  wrong = error != std::errc() || length_error != std::errc() || rest[0] != ' ';
  if (wrong) return std::nullopt;
  const std::size_t head = static_cast<std::size_t>(length_end - text.data()) + (length == 0 ? 0 : 1);
  if (text.size() < head + length + 1) return std::nullopt;
  answer.hint = answer.txnr == 0;
  answer.good = text.substr(head, 3) == "200" || (length == 0 && !answer.hint);
  text.remove_prefix(head + length + 1);
  return answer;
}

class Client {
 public:
  Client(const RelpSend& how, const Messages& messages) : how_(how), count_(messages.size()), input_(kWriteBytes) {
    frames_.ends.reserve(count_);
    frames_.bytes.reserve(messages.bytes.size() + count_ * 32);
    for (std::uint64_t i = 0; i < count_; ++i) {
      const std::string_view message = messages.at(i);
      frames_.bytes.append(std::to_string(kFirstTxnr + i)).append(" syslog ").append(std::to_string(message.size()));
      if (!message.empty()) frames_.bytes.append(" ").append(message);
      frames_.bytes.push_back('\n');
      frames_.ends.push_back(frames_.bytes.size());
    }
  }

  Result<Sent> Run(Stopwatch& watch) {
    STELE_TRY(socket_, Connect(how_.address, SOCK_STREAM, how_.from));
    STELE_TRY_VOID(WriteAll(socket_.get(), kOpen));
    while (!opened_ && sent_.end.empty()) STELE_TRY_VOID(Receive(/*wait=*/true));
    watch.Start();
    started_ = SteadyClock::now();
    while (answered_ < count_ && sent_.end.empty()) STELE_TRY_VOID(Turn());
    if (sent_.end.empty()) STELE_TRY_VOID(WriteAll(socket_.get(), std::to_string(kFirstTxnr + count_) + " close 0\n"));
    if (!how_.acknowledged_file.empty()) STELE_TRY_VOID(WriteAcknowledged());
    return sent_;
  }

 private:
  // Sends what the window and the rate allow, then takes answers; waits when there is nothing else to do.
  Result<void> Turn() {
    const std::uint64_t most = std::min(count_, answered_ + how_.window);
    std::uint64_t to = most;
    if (how_.rate != 0) {
      const auto due =
          std::chrono::duration<double>(SteadyClock::now() - started_).count() * static_cast<double>(how_.rate);
      to = std::clamp<std::uint64_t>(static_cast<std::uint64_t>(due) + 1, sent_.messages,
                                     std::max(most, sent_.messages));
    }
    const std::uint64_t end = to == 0 ? 0 : frames_.ends[to - 1];
    bool blocked = false;
    while (sent_.bytes < end && !blocked) {
      const std::size_t octets = std::min<std::size_t>(end - sent_.bytes, kWriteBytes);
      const ssize_t n = ::send(socket_.get(), frames_.bytes.data() + sent_.bytes, octets, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        blocked = true;
      } else if (n < 0) {
        return Ended("the connection broke");
      } else {
        sent_.bytes += static_cast<std::uint64_t>(n);
      }
    }
    while (sent_.messages < to && frames_.ends[sent_.messages] <= sent_.bytes) ++sent_.messages;
    if (how_.delays) sent_at_.resize(sent_.messages, SteadyClock::now());
    if (sent_.messages == answered_ && answered_ < count_ && !blocked) {  // only the rate holds us back
      Pace(started_, sent_.messages, how_.rate);
      return {};
    }
    pollfd one{socket_.get(), static_cast<short>(blocked ? POLLIN | POLLOUT : POLLIN), 0};
    const bool window_open = how_.rate != 0 && to < most;
    const int ready = ::poll(&one, 1, window_open ? 1 : static_cast<int>(how_.stall_ms));
    if (ready == 0 && !window_open) return Ended("no answer in time");
    if ((one.revents & (POLLIN | POLLHUP | POLLERR)) != 0) return Receive(/*wait=*/false);
    return {};
  }

  Result<void> Receive(bool wait) {
    const ssize_t n = ::recv(socket_.get(), input_.data() + held_, input_.size() - held_, wait ? 0 : MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return {};
    if (n <= 0) return Ended(n == 0 ? "the server closed the connection" : "the connection broke");
    std::string_view text(input_.data(), held_ + static_cast<std::size_t>(n));
    bool wrong = false;
    while (const auto answer = TakeAnswer(text, wrong)) {
      if (answer->hint) {
        if (answered_ < count_) return Ended("serverclose");
      } else if (!opened_) {
        opened_ = answer->good;
        if (!answer->good) return Ended("the open was refused");
      } else {
        if (answer->txnr != kFirstTxnr + answered_) return Fail(Code::kInvalid, "an answer out of order");
        ++(answer->good ? sent_.acknowledged : sent_.refused);
        if (answer->good && !how_.acknowledged_file.empty()) acknowledged_.push_back(answered_);
        if (answered_ < sent_at_.size()) {
          const std::chrono::duration<double, std::milli> delay = SteadyClock::now() - sent_at_[answered_];
          sent_.delays_ms.push_back(delay.count());
        }
        ++answered_;
      }
    }
    if (wrong || text.size() == input_.size()) return Fail(Code::kInvalid, "what came is no answer");
    held_ = text.size();
    std::copy(text.begin(), text.end(), input_.begin());
    return {};
  }

  Result<void> Ended(const char* why) {
    sent_.end = why;
    return {};
  }

  Result<void> WriteAcknowledged() const {
    std::ofstream out(how_.acknowledged_file);
    for (const std::uint64_t i : acknowledged_) out << i << '\n';
    if (!out.flush()) return FailErrno("write " + how_.acknowledged_file);
    return {};
  }

  RelpSend how_;
  std::uint64_t count_;
  Messages frames_;
  std::vector<char> input_;
  std::size_t held_ = 0;
  UniqueFd socket_;
  bool opened_ = false;
  std::uint64_t answered_ = 0;
  std::vector<std::uint64_t> acknowledged_;
  std::vector<SteadyClock::time_point> sent_at_;  // RelpSend::delays, of each message
  Sent sent_;
  SteadyClock::time_point started_;
};

}  // namespace

Result<Sent> SendRelp(const RelpSend& how, const Messages& messages, Stopwatch& watch) {
  return Client(how, messages).Run(watch);
}

}  // namespace stele::bench
