// What the senders of stele-bench-send share: messages in memory, connections, pace and time.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/base/fd.h"
#include "appliance/base/result.h"

namespace stele::bench {

inline constexpr std::size_t kWriteBytes = std::size_t{256} * 1024;

// All messages one after another, with the end of each.
struct Messages {
  std::string bytes;
  std::vector<std::uint64_t> ends;
  [[nodiscard]] std::uint64_t size() const { return ends.size(); }
  [[nodiscard]] std::string_view at(std::uint64_t i) const {
    const std::uint64_t from = i == 0 ? 0 : ends[i - 1];
    return std::string_view(bytes).substr(from, ends[i] - from);
  }
  void Add(std::string_view message) {
    bytes.append(message);
    ends.push_back(bytes.size());
  }
};

struct Sent {
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  // RELP only.
  std::uint64_t acknowledged = 0;  // 200 OK
  std::uint64_t refused = 0;       // any other answer
  std::string end;                 // why it ended before everything was acknowledged; empty: it did not
  std::vector<double> delays_ms;   // RelpSend::delays: from a message's last octet to its answer
};

// HOST:PORT or [ADDRESS]:PORT. `from`: a local IPv4 address to send from; empty leaves the choice to the kernel.
[[nodiscard]] Result<UniqueFd> Connect(const std::string& address, int type, const std::string& from);
[[nodiscard]] Result<void> WriteAll(int fd, std::string_view bytes);

using SteadyClock = std::chrono::steady_clock;
[[nodiscard]] double CpuSeconds();  // of this process

// Started with the first byte: what was generated and framed before is not counted.
struct Stopwatch {
  SteadyClock::time_point started{};
  double cpu_seconds = 0;
  std::int64_t wall_ns = 0;
  void Start();
};

// Sleeps until the n-th message is due at `rate` a second; rate 0 never sleeps.
void Pace(SteadyClock::time_point start, std::uint64_t sent, std::uint64_t rate);

// The messages [from, to) alone.
[[nodiscard]] Messages Part(const Messages& messages, std::uint64_t from, std::uint64_t to);

// RFC 6587 frames of the messages, with the end of each.
[[nodiscard]] Messages Framed(const Messages& messages, bool lines);

struct RelpSend {
  std::string address;
  std::string from;
  std::uint64_t window = 128;  // transactions without an answer
  std::uint64_t rate = 0;
  std::uint64_t stall_ms = 30'000;  // no answer for so long: give up
  std::string acknowledged_file;    // the numbers of the acknowledged messages, from 0, one a line
  bool delays = false;              // measure how long each answer takes
};
// One session: open, every message as a `syslog` transaction, close. Checks that answers come in the order of the
// transactions. A session that ends early is no error: what was acknowledged until then is told.
[[nodiscard]] Result<Sent> SendRelp(const RelpSend& how, const Messages& messages, Stopwatch& watch);

struct TlsSend {
  std::string address;
  std::string from;
  std::string ca_file;                           // the server's certificate is checked against it if there is one
  std::optional<SteadyClock::time_point> until;  // the frames are sent again and again until then; absent: once
};
// Frames over TLS, one connection. Answers are read, so that nobody waits for their reader, and not looked at.
[[nodiscard]] Result<Sent> SendTls(const TlsSend& how, const Messages& frames, Stopwatch& watch);

}  // namespace stele::bench
