#include "appliance/daemons/process.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "appliance/channel/channel.h"
#include "appliance/channel/control.h"

extern char** environ;  // NOLINT(readability-redundant-declaration)  // POSIX says programs declare it themselves

namespace stele::daemons {
namespace {

// What a daemon may know of the operator's shell.
std::vector<char*> ShortEnvironment() {
  constexpr std::array kKept{"PATH=", "HOME=", "LANG=", "LC_ALL=", "TZ=", "TMPDIR=", "TSS2_LOG=",
                             "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "TSAN_OPTIONS=", "LSAN_OPTIONS="};
  std::vector<char*> kept;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    for (const char* name : kKept) {
      if (std::strncmp(*entry, name, std::strlen(name)) == 0) kept.push_back(*entry);
    }
  }
  kept.push_back(nullptr);
  return kept;
}

// How a process gets its empty network, tried in this order until one is permitted.
enum class Way { kNetwork, kUserAndNetwork, kShared, kGiven };

// Everything the child needs, made before the fork: between fork and exec nothing may be allocated.
struct ChildPlan {
  std::string path;
  std::string name;
  std::array<char*, 2> arguments{};
  std::vector<char*> environment;
  std::string user_map;   // "1000 1000 1": inside the user namespace everybody is who they were
  std::string group_map;
  pid_t parent = -1;
  int control = -1;
  int failure = -1;
  int network = -1;  // Way::kGiven
};

struct ChildFailure {
  int error = 0;
  bool network = false;  // the namespace was refused: another way may do
};

bool WriteProc(const char* path, const char* text, std::size_t size_bytes) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool written = ::write(fd, text, size_bytes) == static_cast<ssize_t>(size_bytes);
  const int error = errno;
  (void)::close(fd);  // nothing is buffered in procfs
  errno = error;
  return written;
}

// In the child. Returns an errno.
int EnterNetwork(Way way, const ChildPlan& plan) {
  if (way == Way::kShared) return 0;
  if (way == Way::kGiven) return ::setns(plan.network, CLONE_NEWNET) == 0 ? 0 : errno;
  if (way == Way::kNetwork) return ::unshare(CLONE_NEWNET) == 0 ? 0 : errno;
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return errno;
  if (!WriteProc("/proc/self/setgroups", "deny", 4) ||
      !WriteProc("/proc/self/uid_map", plan.user_map.data(), plan.user_map.size()) ||
      !WriteProc("/proc/self/gid_map", plan.group_map.data(), plan.group_map.size())) {
    return errno;
  }
  return 0;
}

// Runs in the child between fork and exec: async-signal-safe calls only. Returns what failed.
ChildFailure BecomeDaemon(const ChildPlan& plan, Way way) {
  // First: a change of credentials would undo the death signal.
  if (const int refused = EnterNetwork(way, plan); refused != 0) return {refused, true};
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return {errno};
  if (::getppid() != plan.parent) return {ESRCH};  // it died before the line above
  if (::setsid() < 0) return {errno};
  for (int signal = 1; signal < NSIG; ++signal) (void)::signal(signal, signal == SIGPIPE ? SIG_IGN : SIG_DFL);
  sigset_t none;
  (void)::sigemptyset(&none);
  if (::sigprocmask(SIG_SETMASK, &none, nullptr) != 0) return {errno};
  const int empty_input = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (empty_input < 0 || ::dup2(empty_input, STDIN_FILENO) < 0) return {errno};
  // Both may sit on a number the next lines overwrite: move them up first.
  const int moved_failure = ::fcntl(plan.failure, F_DUPFD_CLOEXEC, 10);
  const int moved_control = ::fcntl(plan.control, F_DUPFD_CLOEXEC, 10);
  if (moved_failure < 0 || moved_control < 0 || ::dup2(moved_control, channel::kControlFd) < 0) return {errno};
  // Close-on-exec for everything else: the supervisor's descriptors all are, but not necessarily those it inherited.
  if (::syscall(SYS_close_range, channel::kControlFd + 1, ~0U, 1U << 2U /* CLOSE_RANGE_CLOEXEC */) != 0) return {errno};
  (void)::execve(plan.path.c_str(), plan.arguments.data(), plan.environment.data());
  return {errno};
}

struct Started {
  pid_t pid = -1;
  ChildFailure failure;  // error 0: it runs
};

Result<Started> ForkAndExec(ChildPlan& plan, Way way) {
  std::array<int, 2> pipe_ends{-1, -1};
  if (::pipe2(pipe_ends.data(), O_CLOEXEC) != 0) return FailErrno("make a pipe");
  UniqueFd failure_read(pipe_ends[0]);
  UniqueFd failure_write(pipe_ends[1]);
  plan.failure = failure_write.get();
  Started started;
  started.pid = ::fork();
  if (started.pid < 0) return FailErrno("fork for " + plan.name);
  if (started.pid == 0) {
    const ChildFailure failure = BecomeDaemon(plan, way);
    (void)!::write(plan.failure, &failure, sizeof failure);  // the parent reads it or is gone
    ::_exit(127);
  }
  failure_write.reset();
  ssize_t size_bytes = 0;
  do {
    size_bytes = ::read(failure_read.get(), &started.failure, sizeof started.failure);  // end of file: exec has happened
  } while (size_bytes < 0 && errno == EINTR);
  if (size_bytes != static_cast<ssize_t>(sizeof started.failure)) started.failure = {};
  if (started.failure.error != 0) KillProcess(started.pid);
  return started;
}

}  // namespace

Result<Process> StartProcess(const std::filesystem::path& executable, ProcessNetwork network, int network_fd) {
  STELE_TRY(auto ends, channel::MakePair());
  ChildPlan plan;
  plan.path = executable.string();
  plan.name = executable.filename().string();
  plan.arguments = {plan.name.data(), nullptr};
  plan.environment = ShortEnvironment();
  const auto map_of = [](unsigned id) { return std::to_string(id) + " " + std::to_string(id) + " 1"; };
  plan.user_map = map_of(::geteuid());
  plan.group_map = map_of(::getegid());
  plan.parent = ::getpid();
  plan.control = ends.second.get();
  plan.network = network_fd;
  std::vector<Way> ways;
  switch (network) {
    case ProcessNetwork::kShared:
      ways = {Way::kShared};
      break;
    case ProcessNetwork::kEmptyWherePermitted:
      ways = {Way::kNetwork, Way::kUserAndNetwork, Way::kShared};
      break;
    case ProcessNetwork::kEmptyAlways:
      ways = {Way::kNetwork, Way::kUserAndNetwork};
      break;
    case ProcessNetwork::kGiven:
      ways = {Way::kGiven};
      break;
  }
  Started started;
  for (const Way way : ways) {
    STELE_TRY(started, ForkAndExec(plan, way));
    if (!started.failure.network) break;
  }
  if (started.failure.error != 0) {
    errno = started.failure.error;
    if (!started.failure.network) return FailErrno("start " + plan.path);
    return Fail(Code::kDenied, "start " + plan.name + ": no network namespace of its own is permitted: " + std::strerror(errno),
                static_cast<std::uint32_t>(started.failure.error));
  }
  STELE_TRY_VOID(channel::SetBlocking(ends.first.get(), false));
  return Process{started.pid, std::move(ends.first)};
}

Result<Process> JoinProcess(const std::filesystem::path& socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string& path = socket.native();
  if (path.size() >= sizeof address.sun_path) return Fail(Code::kInvalid, "the path " + path + " is too long for a socket");
  std::copy(path.begin(), path.end(), address.sun_path);
  UniqueFd control(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!control.valid()) return FailErrno("make a socket");
  if (::connect(control.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return FailErrno("join the process behind " + path);
  STELE_TRY_VOID(channel::SetBlocking(control.get(), false));
  return Process{-1, std::move(control)};
}

std::optional<std::string> Ended(pid_t pid, std::chrono::milliseconds wait) {
  const auto until = std::chrono::steady_clock::now() + wait;
  for (;;) {
    int status = 0;
    const pid_t ended = ::waitpid(pid, &status, WNOHANG);
    if (ended == pid) {
      if (WIFSIGNALED(status)) {
        return "signal " + std::to_string(WTERMSIG(status)) + " (" + ::strsignal(WTERMSIG(status)) + ")";
      }
      return "exit status " + std::to_string(WEXITSTATUS(status));
    }
    if (ended < 0 && errno == ECHILD) return "ended unseen";
    if (std::chrono::steady_clock::now() >= until) return std::nullopt;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

void KillProcess(pid_t pid) {
  (void)::kill(pid, SIGKILL);  // already dead is as good
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
}

Result<std::filesystem::path> FindExecutable(std::string_view name) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return Fail(Code::kIo, "read /proc/self/exe", static_cast<std::uint32_t>(error.value()));
  const std::filesystem::path folder = self.parent_path();
  for (const auto& place : {folder / name, folder.parent_path() / "libexec" / "stele" / name}) {
    if (::access(place.c_str(), X_OK) == 0) return place;
  }
  return Fail(Code::kNotFound, std::string(name) + " lies neither beside " + self.string() + " nor in ../libexec/stele");
}

}  // namespace stele::daemons
