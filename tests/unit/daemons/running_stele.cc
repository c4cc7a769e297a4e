#include "tests/unit/daemons/running_stele.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pty.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "appliance/base/fd.h"

namespace stele::daemons {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kStartLimit{90'000};  // a first run makes a TPM; sanitizers are slow
constexpr milliseconds kStopLimit{60'000};
constexpr milliseconds kCommandLimit{60'000};

const std::string kProgram = std::string(STELE_BINARY_DIR) + "/bin/stele";

std::string ReadText(const fs::path& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// argv for exec; lives as long as the strings.
std::vector<char*> Pointers(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (auto& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

int StatusOf(int wait_status) {
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

// Reads until end of file; a child that does not end in time is killed.
Outcome Collect(pid_t child, int fd) {
  Outcome outcome;
  const auto until = Clock::now() + kCommandLimit;
  std::array<char, 4096> part{};
  for (;;) {
    pollfd readable{fd, POLLIN, 0};
    if (::poll(&readable, 1, 200) > 0) {
      const ssize_t n = ::read(fd, part.data(), part.size());
      if (n <= 0) break;  // a pty gives EIO at its end
      outcome.output.append(part.data(), static_cast<std::size_t>(n));
    } else if (Clock::now() > until) {
      (void)::kill(child, SIGKILL);
      break;
    }
  }
  int status = 0;
  (void)::waitpid(child, &status, 0);
  outcome.status = StatusOf(status);
  return outcome;
}

}  // namespace

RunningStele::RunningStele() {
  std::string name = (fs::temp_directory_path() / "stele-up-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) std::abort();
  dir_ = name;
  std::ofstream(dir_ / "stele.toml") << "[ingest]\nsyslog_udp_port = 0\nsyslog_tcp_port = 0\nhttps_json_port = 0\nsyslog_tls_port = 0\njson_lines_tls_port = 0\nrelp_port = 0\n"
                                        "[viewer]\nport = 0\n"
                                        "[store]\nsegment_bytes = 1048576\n"
                                        "[checkpoint]\ninterval_ms = 100\n"
                                        "[anchor]\ntpm = \"embedded\"\n";
}

RunningStele::~RunningStele() {
  Kill();
  std::error_code ignored;
  fs::remove_all(dir_, ignored);
}

bool RunningStele::Start() {
  std::vector<std::string> words{kProgram, "up", "--dir", dir_.string()};
  auto arguments = Pointers(words);
  const std::string log = (dir_ / "up.log").string();
  pid_ = ::fork();
  if (pid_ == 0) {
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);  // NOLINT(android-cloexec-open)  // becomes 1, 2
    (void)::dup2(out, 1);
    (void)::dup2(out, 2);
    (void)::execv(kProgram.c_str(), arguments.data());
    ::_exit(127);
  }
  if (WaitReady(kStartLimit)) return true;
  std::fprintf(stderr, "%s\n", Output().c_str());
  return false;
}

bool RunningStele::WaitReady(milliseconds limit) {
  const auto until = Clock::now() + limit;
  while (Clock::now() < until) {
    if (fs::exists(dir_ / "run" / "ready.json")) return true;
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      std::fprintf(stderr, "stele up ended: %d\n", StatusOf(status));
      pid_ = -1;
      return false;
    }
    std::this_thread::sleep_for(milliseconds(20));
  }
  return false;
}

int RunningStele::Stop(int signal) {
  if (pid_ <= 0) return -1;
  (void)::kill(pid_, signal);
  const auto until = Clock::now() + kStopLimit;
  int status = 0;
  while (::waitpid(pid_, &status, WNOHANG) == 0) {
    if (Clock::now() > until) {
      Kill();
      return -1;
    }
    std::this_thread::sleep_for(milliseconds(20));
  }
  pid_ = -1;
  return StatusOf(status);
}

void RunningStele::Kill() {
  if (pid_ <= 0) return;
  (void)::kill(pid_, SIGKILL);
  int status = 0;
  (void)::waitpid(pid_, &status, 0);
  pid_ = -1;
}

json RunningStele::Ready() const { return json::parse(ReadText(dir_ / "run" / "ready.json"), nullptr, false); }
std::string RunningStele::Output() const { return ReadText(dir_ / "up.log"); }

Outcome RunningStele::Cli(const std::vector<std::string>& arguments) const {
  std::vector<std::string> words{kProgram};
  words.insert(words.end(), arguments.begin(), arguments.end());
  words.insert(words.end(), {"--dir", dir_.string()});
  auto pointers = Pointers(words);
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return {};
  const pid_t child = ::fork();
  if (child == 0) {
    (void)::dup2(ends[1], 1);
    (void)::dup2(ends[1], 2);
    (void)::execv(kProgram.c_str(), pointers.data());
    ::_exit(127);
  }
  const UniqueFd read_end(ends[0]);
  (void)::close(ends[1]);
  return Collect(child, read_end.get());
}

Outcome RunningStele::CliOnTerminal(const std::vector<std::string>& arguments) const {
  std::vector<std::string> words{kProgram};
  words.insert(words.end(), arguments.begin(), arguments.end());
  words.insert(words.end(), {"--dir", dir_.string()});
  auto pointers = Pointers(words);
  int master = -1;
  const pid_t child = ::forkpty(&master, nullptr, nullptr, nullptr);
  if (child < 0) return {};
  if (child == 0) {
    (void)::execv(kProgram.c_str(), pointers.data());
    ::_exit(127);
  }
  const UniqueFd terminal(master);
  return Collect(child, terminal.get());
}

bool RunningStele::SendUdp(const std::string& message, std::uint16_t port) const {
  const json ready = Ready();
  if (!ready.is_object()) return false;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port != 0 ? port : ready["ports"]["syslog-udp"].get<std::uint16_t>());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const UniqueFd sender(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return ::sendto(sender.get(), message.data(), message.size(), 0, reinterpret_cast<const sockaddr*>(&address),
                  sizeof address) == static_cast<ssize_t>(message.size());
}

json RunningStele::SearchUntil(const std::string& query, std::size_t row_count, milliseconds limit) const {
  const auto until = Clock::now() + limit;
  json rows = json::array();
  while (Clock::now() < until) {
    const Outcome found = Cli({"search", query, "--json"});
    const json answer = json::parse(found.output, nullptr, false);
    if (answer.is_object()) rows = answer.value("rows", json::array());
    if (rows.size() >= row_count) break;
    std::this_thread::sleep_for(milliseconds(100));
  }
  return rows;
}

}  // namespace stele::daemons
