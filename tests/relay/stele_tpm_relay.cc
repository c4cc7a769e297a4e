// stele-tpm-relay: a software TPM with a relay in front of it that delays, fails and records (tests/relay/README.md).
//
//   stele-tpm-relay serve DIR [LINE...]    makes (at first) and runs an swtpm in DIR/tpm, serves it at DIR/tpm.sock,
//   obeys
//                                          the lines and then DIR/control.sock; writes DIR/exchanges.ndjson; ends at
//                                          SIGTERM
//   stele-tpm-relay tell DIR LINE          one line to it; prints its answer. Exit status 1: it refused
//
// Lines: tests/relay/meddling.h, and
//   gone        the connection ends and no new one is served, as when a chip is absent        back   they are served
//   again power-cut   swtpm is killed and started again                                             reboot orderly
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <thread>

#include "appliance/base/system.h"
#include "appliance/base/text.h"
#include "tests/relay/relay.h"
#include "tpm/swtpm.h"

namespace stele::tpm::test {
namespace {

namespace fs = std::filesystem;

std::atomic<bool> g_stop = false;

Result<sockaddr_un> AddressOf(const fs::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.native().size() >= sizeof address.sun_path) return Fail(Code::kInvalid, "too long: " + path.string());
  std::memcpy(address.sun_path, path.c_str(), path.native().size());
  return address;
}

Result<UniqueFd> Listen(const fs::path& path) {
  STELE_TRY(const sockaddr_un address, AddressOf(path));
  std::error_code ignored;  // a leftover, or nothing
  fs::remove(path, ignored);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid() || ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd.get(), 8) != 0) {
    return FailErrno("listen at " + path.string());
  }
  return fd;
}

// The relay with its TPM. One caller at a time, as swtpm itself.
class Relay {
 public:
  explicit Relay(fs::path dir) : dir_(std::move(dir)), record_(dir_ / "exchanges.ndjson", std::ios::app) {}
  ~Relay() {
    EndCaller();
    if (const auto stopped = StopSwtpm(process_); !stopped) LogWarning(Describe(stopped.error()));
  }

  Result<void> Start() {
    if (!HasSwtpmState(dir_ / "tpm")) STELE_TRY_VOID(MakeSwtpmState(dir_ / "tpm"));
    STELE_TRY(process_, StartSwtpm(dir_ / "tpm", dir_ / "swtpm.sock"));
    return {};
  }

  Result<std::string> Obey(std::string_view line) {
    if (line == "gone" || line == "back") {
      gone_ = line == "gone";
      if (gone_) EndCaller();
      return std::string("ok");
    }
    if (line == "power-cut" || line == "reboot") {
      EndCaller();
      if (line == "reboot") {
        STELE_TRY_VOID(StopSwtpm(process_));
      } else {
        KillSwtpm(process_);
      }
      STELE_TRY_VOID(Start());
      return std::string("ok");
    }
    return meddling_.Obey(line);
  }

  void Take(UniqueFd caller) {
    EndCaller();
    if (gone_) return;
    auto tpm = ConnectSwtpm(dir_ / "swtpm.sock");
    if (!tpm) return LogWarning(Describe(tpm.error()));
    caller_ = std::move(caller);
    tpm_ = std::move(*tpm);
    thread_ = std::thread([this] {
      const PumpEnd end =
          Pump(caller_.get(), tpm_.get(), meddling_, [this](const Exchange& exchange) { Record(exchange); });
      (void)::shutdown(caller_.get(), SHUT_RDWR);
      (void)::shutdown(tpm_.get(), SHUT_RDWR);
      if (end == PumpEnd::kTpmLeft) LogWarning("the TPM has left");
    });
  }

 private:
  void EndCaller() {
    if (!thread_.joinable()) return;
    (void)::shutdown(caller_.get(), SHUT_RDWR);
    (void)::shutdown(tpm_.get(), SHUT_RDWR);
    thread_.join();
    caller_.reset();
    tpm_.reset();
  }

  void Record(const Exchange& exchange) {
    SystemClock clock;
    record_ << R"({"ended":")" << FormatTime(clock.WallNs()) << R"(","command":")" << NameOfCommand(exchange.code)
            << R"(","act":")" << NameOfAct(exchange.act) << R"(","us":)" << exchange.duration_us << R"(,"request":")"
            << HexOf(*exchange.command) << R"(","answer":")" << HexOf(*exchange.answer) << "\"}\n"
            << std::flush;
  }

  fs::path dir_;
  std::ofstream record_;
  SwtpmProcess process_;
  Meddling meddling_;
  std::atomic<bool> gone_ = false;
  UniqueFd caller_;
  UniqueFd tpm_;
  std::thread thread_;
};

void Answer(Relay& relay, int fd) {
  std::array<char, 512> line{};
  const ssize_t got = ::read(fd, line.data(), line.size());
  if (got <= 0) return;
  std::string_view text(line.data(), static_cast<std::size_t>(got));
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  const auto said = relay.Obey(text);
  const std::string answer = said ? *said : "refused: " + Describe(said.error());
  (void)::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);  // whoever asked may be gone
}

Result<void> ServeAll(const fs::path& dir, const std::vector<std::string>& lines) {
  std::error_code error;
  fs::create_directories(dir, error);
  Relay relay(dir);
  STELE_TRY_VOID(relay.Start());
  for (const std::string& line : lines) {
    STELE_TRY_VOID(relay.Obey(line));
  }
  STELE_TRY(const UniqueFd control, Listen(dir / "control.sock"));
  STELE_TRY(const UniqueFd callers, Listen(dir / "tpm.sock"));  // last: who sees it can begin
  while (!g_stop) {
    std::array<pollfd, 2> waits = {{{control.get(), POLLIN, 0}, {callers.get(), POLLIN, 0}}};
    if (::poll(waits.data(), waits.size(), 200) <= 0) continue;
    for (const pollfd& one : waits) {
      if (one.revents == 0) continue;
      UniqueFd taken(::accept4(one.fd, nullptr, nullptr, SOCK_CLOEXEC));
      if (!taken.valid()) continue;
      if (one.fd == control.get()) {
        Answer(relay, taken.get());
      } else {
        relay.Take(std::move(taken));
      }
    }
  }
  return {};
}

Result<std::string> Tell(const fs::path& dir, const std::string& line) {
  STELE_TRY(const sockaddr_un address, AddressOf(dir / "control.sock"));
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid() || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return FailErrno("reach the relay in " + dir.string());
  }
  if (::send(fd.get(), line.data(), line.size(), MSG_NOSIGNAL) < 0) return FailErrno("tell the relay");
  std::array<char, 512> answer{};
  const ssize_t got = ::read(fd.get(), answer.data(), answer.size());
  if (got < 0) return FailErrno("hear the relay");
  return std::string(answer.data(), static_cast<std::size_t>(got));
}

int Main(const std::vector<std::string>& arguments) {
  if (arguments.size() >= 2 && arguments[0] == "serve") {
    const auto served = ServeAll(arguments[1], {arguments.begin() + 2, arguments.end()});
    if (!served) LogError(Describe(served.error()));
    return served ? 0 : 1;
  }
  if (arguments.size() == 3 && arguments[0] == "tell") {
    const auto answer = Tell(arguments[1], arguments[2]);
    if (!answer) LogError(Describe(answer.error()));
    if (!answer) return 1;
    std::puts(answer->c_str());
    return answer->rfind("refused", 0) == 0 ? 1 : 0;
  }
  std::fputs("usage: stele-tpm-relay serve DIR [LINE...] | tell DIR LINE\n", stderr);
  return 2;
}

}  // namespace
}  // namespace stele::tpm::test

int main(int argc, char** argv) {
  stele::SetLogName("stele-tpm-relay");
  const auto stop = [](int) { stele::tpm::test::g_stop = true; };
  (void)::signal(SIGTERM, stop);
  (void)::signal(SIGINT, stop);
  (void)::signal(SIGPIPE, SIG_IGN);
  try {
    return stele::tpm::test::Main({argv + 1, argv + argc});
  } catch (const std::exception& exception) {
    stele::LogError(exception.what());
  }
  return 1;
}
