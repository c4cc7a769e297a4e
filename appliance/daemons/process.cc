#include "appliance/daemons/process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

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

// Runs in the child between fork and exec: async-signal-safe calls only. Returns the errno of what failed.
int BecomeDaemon(const char* path, char* const* arguments, char* const* environment, int control, int failure, pid_t parent) {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return errno;
  if (::getppid() != parent) return ESRCH;  // it died before the line above
  if (::setsid() < 0) return errno;
  for (int signal = 1; signal < NSIG; ++signal) (void)::signal(signal, signal == SIGPIPE ? SIG_IGN : SIG_DFL);
  sigset_t none;
  (void)::sigemptyset(&none);
  if (::sigprocmask(SIG_SETMASK, &none, nullptr) != 0) return errno;
  const int empty_input = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (empty_input < 0 || ::dup2(empty_input, STDIN_FILENO) < 0) return errno;
  // Both may sit on a number the next lines overwrite: move them up first.
  const int moved_failure = ::fcntl(failure, F_DUPFD_CLOEXEC, 10);
  const int moved_control = ::fcntl(control, F_DUPFD_CLOEXEC, 10);
  if (moved_failure < 0 || moved_control < 0 || ::dup2(moved_control, channel::kControlFd) < 0) return errno;
  // Close-on-exec for everything else: the supervisor's descriptors all are, but not necessarily those it inherited.
  if (::syscall(SYS_close_range, channel::kControlFd + 1, ~0U, 1U << 2U /* CLOSE_RANGE_CLOEXEC */) != 0) return errno;
  (void)::execve(path, arguments, environment);
  return errno;
}

}  // namespace

Result<Process> StartProcess(const std::filesystem::path& executable) {
  STELE_TRY(auto ends, channel::MakePair());
  std::array<int, 2> pipe_ends{-1, -1};
  if (::pipe2(pipe_ends.data(), O_CLOEXEC) != 0) return FailErrno("make a pipe");
  UniqueFd failure_read(pipe_ends[0]);
  UniqueFd failure_write(pipe_ends[1]);
  const std::string path = executable.string();
  std::string name = executable.filename().string();
  const std::array<char*, 2> arguments{name.data(), nullptr};
  const std::vector<char*> environment = ShortEnvironment();
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return FailErrno("fork for " + name);
  if (pid == 0) {
    const int error = BecomeDaemon(path.c_str(), arguments.data(), environment.data(), ends.second.get(),
                                   failure_write.get(), parent);
    (void)!::write(failure_write.get(), &error, sizeof error);  // the parent reads it or is gone
    ::_exit(127);
  }
  failure_write.reset();
  ends.second.reset();
  int error = 0;
  ssize_t size_bytes = 0;
  do {
    size_bytes = ::read(failure_read.get(), &error, sizeof error);  // end of file: exec has happened
  } while (size_bytes < 0 && errno == EINTR);
  if (size_bytes == static_cast<ssize_t>(sizeof error)) {
    KillProcess(pid);
    errno = error;
    return FailErrno("start " + path);
  }
  STELE_TRY_VOID(channel::SetBlocking(ends.first.get(), false));
  return Process{pid, std::move(ends.first)};
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
