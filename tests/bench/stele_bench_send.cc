// stele-bench-send: a fast sender of syslog messages for benchmarks, demonstrations and crash tests.
//
// Everything is generated before the first byte is sent, so the sender's own cost during the run is the kernel's copy.
// Prints one JSON object: what was sent, how long the sending took, and the processor time it took here.
// Exit status: 0 all sent (RELP: and all acknowledged), 1 not so, 2 wrong usage.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/bench/generator.h"
#include "tests/bench/wire.h"

namespace stele::bench {
namespace {

constexpr std::size_t kDatagramBatch = 64;
constexpr std::uint64_t kDistinctMax = 4'000'000;

constexpr std::string_view kUsage =
    R"(stele-bench-send (--tcp | --udp | --tls | --relp HOST:PORT, or --print) [options]
  --tcp HOST:PORT     RFC 6587 over TCP          --udp HOST:PORT   one datagram a message
  --tls HOST:PORT     RFC 5425; answers are read --relp HOST:PORT  RELP, one session; waits for every answer
  --print             one line a message to standard output
  --count N           messages (default 100000; with a file: all of it, once)
  --size N            exact bytes of every message (default 256; 0 = natural length)
  --seed N            seed of the generator (default 1)
  --tag TEXT          every message carries [run@32473 id="TEXT" n="0..N-1"]
  --needle-every N    every N-th message carries a word that occurs once; the words are printed by --needles
  --needles           print the needles that such a run plants, one a line, and send nothing
  --file PATH         send the lines of this file instead of generated ones
  --frames PATH       send the frames of this octet-counted file ("LEN SP BYTES") instead
  --framing octet|lf  framing over TCP and TLS (default octet)
  --connections N     TCP, TLS, RELP: connections, the messages dealt out in N contiguous parts (default 1)
  --seconds N         send the messages again and again for so long (RELP: in a new session each time)
  --rate N            messages a second over all (default 0 = as fast as it goes)
  --window N          RELP: transactions without an answer (default 128)
  --acknowledged FILE RELP: the numbers of the messages that were answered with 200, from 0, one a line
  --delays            RELP: also print how long answers took (median, 99th percentile and longest, in milliseconds)
  --ca FILE           TLS: check the server's certificate against this authority (default: any certificate)
  --hold MS           keep TCP connections open this long after the last byte (default 0)
  --from ADDRESS      send from this local address (any of 127.0.0.0/8 stands for another sender)
                      With --tcp and --count 0, --connections silent connections are held open.
)";

struct Options {
  std::string tcp, udp, tls, relp, file, frames, from, ca, acknowledged;
  bool print = false;
  bool needles = false;
  bool delays = false;
  bool lines = false;  // LF framing
  std::optional<std::uint64_t> count;
  std::uint64_t connections = 1;
  std::uint64_t window = 128;
  std::uint64_t rate = 0;
  std::uint64_t hold_ms = 0;
  std::uint64_t seconds = 0;
  GeneratorOptions generator{.seed = 1, .size_bytes = 256, .needle_every = 0, .tag = {}};
};

std::optional<std::uint64_t> ParseNumber(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Result<Options> ParseOptions(const std::vector<std::string>& words) {
  Options options;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& name = words[i];
    if (name == "--print") {
      options.print = true;
      continue;
    }
    if (name == "--needles") {
      options.needles = true;
      continue;
    }
    if (name == "--delays") {
      options.delays = true;
      continue;
    }
    if (++i == words.size()) return Fail(Code::kInvalid, "unknown option or missing value: " + name);
    const std::string& value = words[i];
    if (name == "--tcp")
      options.tcp = value;
    else if (name == "--udp")
      options.udp = value;
    else if (name == "--tls")
      options.tls = value;
    else if (name == "--relp")
      options.relp = value;
    else if (name == "--ca")
      options.ca = value;
    else if (name == "--acknowledged")
      options.acknowledged = value;
    else if (name == "--file")
      options.file = value;
    else if (name == "--frames")
      options.frames = value;
    else if (name == "--from")
      options.from = value;
    else if (name == "--tag")
      options.generator.tag = value;
    else if (name == "--framing" && (value == "octet" || value == "lf"))
      options.lines = value == "lf";
    else {
      const auto number = ParseNumber(value);
      if (!number) return Fail(Code::kInvalid, "not a number for " + name + ": " + value);
      if (name == "--count")
        options.count = *number;
      else if (name == "--size" && *number <= 1'000'000)
        options.generator.size_bytes = static_cast<std::uint32_t>(*number);
      else if (name == "--seed")
        options.generator.seed = *number;
      else if (name == "--needle-every")
        options.generator.needle_every = *number;
      else if (name == "--connections" && *number >= 1 && *number <= 4096)
        options.connections = *number;
      else if (name == "--window" && *number >= 1)
        options.window = *number;
      else if (name == "--rate")
        options.rate = *number;
      else if (name == "--hold")
        options.hold_ms = *number;
      else if (name == "--seconds" && *number <= 86'400)
        options.seconds = *number;
      else
        return Fail(Code::kInvalid, "unknown option or value out of range: " + name + " " + value);
    }
  }
  int ways = options.print ? 1 : 0;
  for (const std::string* way : {&options.tcp, &options.udp, &options.tls, &options.relp}) ways += way->empty() ? 0 : 1;
  if (!options.acknowledged.empty() && (options.connections != 1 || options.seconds != 0))
    return Fail(Code::kInvalid, "--acknowledged is for one connection and once through the messages");
  if (ways != 1 && !options.needles) return Fail(Code::kInvalid, "exactly one of --tcp, --udp, --tls, --relp, --print");
  return options;
}

Result<std::string> ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return FailErrno("open " + path);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

Result<Messages> FromLines(const std::string& path) {
  STELE_TRY(const std::string text, ReadAll(path));
  Messages out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    if (end > at) out.Add(std::string_view(text).substr(at, end - at));
    at = end + 1;
  }
  return out;
}

Result<Messages> FromFrames(const std::string& path) {
  STELE_TRY(const std::string text, ReadAll(path));
  Messages out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t space = text.find(' ', at);
    const auto length =
        space == std::string::npos ? std::nullopt : ParseNumber(std::string_view(text).substr(at, space - at));
    if (!length || *length > text.size() - space - 1) return Fail(Code::kInvalid, path + ": not octet-counted frames");
    out.Add(std::string_view(text).substr(space + 1, *length));
    at = space + 1 + *length;
  }
  return out;
}

Result<Messages> MakeMessages(const Options& options) {
  Messages source;
  if (!options.file.empty()) {
    STELE_TRY(source, FromLines(options.file));
  } else if (!options.frames.empty()) {
    STELE_TRY(source, FromFrames(options.frames));
  } else {
    const std::uint64_t count = options.count.value_or(100'000);
    if (count > kDistinctMax)
      return Fail(Code::kInvalid, "--count is at most 4000000 (run it several times with other seeds)");
    Generator generator(options.generator);
    source.ends.reserve(count);
    source.bytes.reserve(count * std::max<std::uint64_t>(options.generator.size_bytes, 160));
    for (std::uint64_t i = 0; i < count; ++i) source.Add(generator.Next());
    return source;
  }
  if (source.size() == 0) return Fail(Code::kInvalid, "the file holds no message");
  if (!options.count) return source;
  Messages out;
  for (std::uint64_t i = 0; i < *options.count; ++i) out.Add(source.at(i % source.size()));
  return out;
}

using Deadline = std::optional<SteadyClock::time_point>;

// From --seconds; without it once through the messages.
Deadline DeadlineOf(const Options& options, const Stopwatch& watch) {
  if (options.seconds == 0) return std::nullopt;
  return watch.started + std::chrono::seconds(options.seconds);
}

bool Passed(const Deadline& until) { return !until || SteadyClock::now() >= *until; }

Result<Sent> SendStream(int fd, const Messages& frames, std::uint64_t rate, std::uint64_t hold_ms,
                        const Deadline& until) {
  Sent sent;
  const auto start = SteadyClock::now();
  const std::uint64_t step =
      rate == 0 ? frames.size() : std::max<std::uint64_t>(1, rate / 200);  // with a rate: a write every 5 ms
  do {
    for (std::uint64_t at = 0; at < frames.size();) {
      Pace(start, sent.messages, rate);
      const std::uint64_t to = std::min(frames.size(), at + step);
      const std::uint64_t from_byte = at == 0 ? 0 : frames.ends[at - 1];
      const std::uint64_t bytes = frames.ends[to - 1] - from_byte;
      STELE_TRY_VOID(WriteAll(fd, std::string_view(frames.bytes).substr(from_byte, bytes)));
      sent.messages += to - at;
      sent.bytes += bytes;
      at = to;
    }
  } while (!Passed(until));
  if (hold_ms != 0) std::this_thread::sleep_for(std::chrono::milliseconds(hold_ms));
  return sent;
}

Result<Sent> HoldSilent(const Options& options, Stopwatch& watch) {
  std::vector<UniqueFd> sockets;
  watch.Start();
  for (std::uint64_t i = 0; i < options.connections; ++i) {
    STELE_TRY(UniqueFd socket, Connect(options.tcp, SOCK_STREAM, options.from));
    sockets.push_back(std::move(socket));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(options.hold_ms));
  return Sent{};
}

void Add(Sent& sum, const Sent& part) {
  sum.messages += part.messages;
  sum.bytes += part.bytes;
  sum.acknowledged += part.acknowledged;
  sum.refused += part.refused;
  if (sum.end.empty()) sum.end = part.end;
  sum.delays_ms.insert(sum.delays_ms.end(), part.delays_ms.begin(), part.delays_ms.end());
}

// One connection, from its first byte to its last. The rate is its own share.
Result<Sent> SendPart(const Options& options, std::uint64_t rate, const Messages& messages, const UniqueFd& socket,
                      const Deadline& until, Stopwatch& watch) {
  if (!options.tcp.empty()) {
    return SendStream(socket.get(), Framed(messages, options.lines), rate, options.hold_ms, until);
  }
  if (!options.tls.empty()) {
    const TlsSend how{options.tls, options.from, options.ca, until};
    return SendTls(how, Framed(messages, options.lines), watch);
  }
  RelpSend how;
  how.address = options.relp;
  how.from = options.from;
  how.window = options.window;
  how.rate = rate;
  how.acknowledged_file = options.acknowledged;
  how.delays = options.delays;
  Sent sum;
  do {
    STELE_TRY(const Sent sent, SendRelp(how, messages, watch));
    Add(sum, sent);
  } while (sum.end.empty() && !Passed(until));
  return sum;
}

Result<Sent> SendStreams(const Options& options, const Messages& messages, Stopwatch& watch) {
  const std::uint64_t parts = std::clamp<std::uint64_t>(messages.size(), 1, options.connections);
  const std::uint64_t rate = options.rate == 0 ? 0 : std::max<std::uint64_t>(1, options.rate / parts);
  std::vector<Messages> streams;
  std::vector<UniqueFd> sockets(parts);
  for (std::uint64_t part = 0; part < parts; ++part) {
    streams.push_back(Part(messages, messages.size() * part / parts, messages.size() * (part + 1) / parts));
    if (!options.tcp.empty()) {
      STELE_TRY(sockets[part], Connect(options.tcp, SOCK_STREAM, options.from));
    }
  }
  watch.Start();
  const Deadline until = DeadlineOf(options, watch);
  std::vector<std::optional<Result<Sent>>> results(parts);
  std::vector<Stopwatch> watches(parts);
  std::vector<std::thread> threads;
  for (std::size_t part = 0; part < parts; ++part) {
    threads.emplace_back(
        [&, part] { results[part] = SendPart(options, rate, streams[part], sockets[part], until, watches[part]); });
  }
  for (auto& thread : threads) thread.join();
  if (parts == 1 && options.tcp.empty()) watch = watches.front();  // a handshake is not counted
  Sent sum;
  for (auto& result : results) {
    STELE_TRY(const Sent sent, *result);
    Add(sum, sent);
  }
  return sum;
}

Result<Sent> SendUdp(const Options& options, const Messages& messages, Stopwatch& watch) {
  STELE_TRY(const UniqueFd socket, Connect(options.udp, SOCK_DGRAM, options.from));
  Sent sent;
  watch.Start();
  const std::uint64_t batch =
      options.rate == 0 ? kDatagramBatch : std::clamp<std::uint64_t>(options.rate / 1'000, 1, kDatagramBatch);
  std::vector<iovec> parts(kDatagramBatch);
  std::vector<mmsghdr> headers(kDatagramBatch);
  const Deadline until = DeadlineOf(options, watch);
  for (std::uint64_t next = 0; messages.size() != 0 && (next < messages.size() || !Passed(until));) {
    next %= messages.size();
    Pace(watch.started, sent.messages, options.rate);
    const std::uint64_t count = std::min<std::uint64_t>(batch, messages.size() - next);
    for (std::size_t i = 0; i < count; ++i) {
      const std::string_view message = messages.at(next + i);
      parts[i] = {const_cast<char*>(message.data()), message.size()};  // sendmmsg only reads
      headers[i] = {};
      headers[i].msg_hdr.msg_iov = &parts[i];
      headers[i].msg_hdr.msg_iovlen = 1;
    }
    const int done = ::sendmmsg(socket.get(), headers.data(), static_cast<unsigned>(count), 0);
    if (done < 0 && (errno == EINTR || errno == ENOBUFS)) continue;
    if (done < 0) return FailErrno("send datagram");
    for (std::size_t i = 0; i < static_cast<std::size_t>(done); ++i) sent.bytes += parts[i].iov_len;
    sent.messages += static_cast<std::uint64_t>(done);
    next += static_cast<std::uint64_t>(done);
  }
  return sent;
}

Result<Sent> Send(const Options& options, const Messages& messages, Stopwatch& watch) {
  if (!options.udp.empty()) return SendUdp(options, messages, watch);
  if (!options.tcp.empty() && messages.size() == 0) return HoldSilent(options, watch);
  return SendStreams(options, messages, watch);
}

int Run(const std::vector<std::string>& words) {
  if (words.empty() || words.front() == "--help") {
    std::cout << kUsage;
    return words.empty() ? 2 : 0;
  }
  const auto options = ParseOptions(words);
  if (!options) {
    std::cerr << "stele-bench-send: " << options.error().context << '\n';
    return 2;
  }
  if (options->needles) {
    const std::uint64_t every = options->generator.needle_every;
    const std::uint64_t needles = every == 0 ? 0 : options->count.value_or(100'000) / every;
    for (std::uint64_t n = 1; n <= needles; ++n) std::cout << Needle(options->generator.seed, n) << '\n';
    return 0;
  }
  const auto messages = MakeMessages(*options);
  if (!messages) {
    std::cerr << "stele-bench-send: " << Describe(messages.error()) << '\n';
    return 2;
  }
  if (options->print) {
    for (std::uint64_t i = 0; i < messages->size(); ++i) std::cout << messages->at(i) << '\n';
    return std::cout.flush() ? 0 : 1;
  }
  Stopwatch watch;
  const auto sent = Send(*options, *messages, watch);
  if (!sent) {
    std::cerr << "stele-bench-send: " << Describe(sent.error()) << '\n';
    return 1;
  }
  const double seconds = std::chrono::duration<double>(SteadyClock::now() - watch.started).count();
  std::printf(
      "{\"sent\":%llu,\"bytes\":%llu,\"seconds\":%.3f,\"per_second\":%.0f,\"cpu_seconds\":%.3f,\"started_ns\":%lld",
      static_cast<unsigned long long>(sent->messages), static_cast<unsigned long long>(sent->bytes), seconds,
      seconds > 0 ? static_cast<double>(sent->messages) / seconds : 0.0, CpuSeconds() - watch.cpu_seconds,
      static_cast<long long>(watch.wall_ns));
  if (!options->relp.empty()) {
    std::printf(",\"acknowledged\":%llu,\"refused\":%llu,\"end\":\"%s\"",
                static_cast<unsigned long long>(sent->acknowledged), static_cast<unsigned long long>(sent->refused),
                sent->end.c_str());
  }
  if (!sent->delays_ms.empty()) {
    std::vector<double> delays = sent->delays_ms;
    std::sort(delays.begin(), delays.end());
    const auto at = [&](std::size_t percent) { return delays[(delays.size() - 1) * percent / 100]; };
    std::printf(",\"delay_ms\":{\"p50\":%.2f,\"p99\":%.2f,\"max\":%.2f}", at(50), at(99), delays.back());
  }
  std::printf("}\n");
  if (!options->relp.empty() && (!sent->end.empty() || sent->acknowledged != sent->messages)) return 1;
  return 0;
}

}  // namespace
}  // namespace stele::bench

int main(int argc, char** argv) {
  (void)std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL: a peer that is gone shall be an error with words
  try {
    return stele::bench::Run(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::exception& error) {  // out of memory, a thread that could not start
    std::cerr << "stele-bench-send: " << error.what() << '\n';
    return 1;
  }
}
