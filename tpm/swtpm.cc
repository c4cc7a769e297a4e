#include "tpm/swtpm.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <thread>
#include <vector>

#include "appliance/base/system.h"
#include "tpm/big_endian.h"
#include "tpm/tcti_fd.h"

namespace stele::tpm {
namespace {

namespace fs = std::filesystem;
using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kSetupTime{60'000};
constexpr milliseconds kStartTime{10'000};
constexpr milliseconds kConnectTime{2'000};
constexpr milliseconds kStopTime{3'000};
constexpr milliseconds kPollTime{5};
constexpr int kShutdownTimeMs = 1'000;
constexpr int kProbeTimeMs = 5'000;
constexpr std::size_t kLogBytesMax = 1 << 20;
constexpr std::string_view kControlSuffix = ".ctrl";

// tools

Result<fs::path> FindTool(const std::string& name) {
  const char* value = std::getenv("PATH");
  std::string_view path = value != nullptr ? value : "/usr/bin:/bin";
  while (!path.empty()) {
    const std::size_t colon = path.find(':');
    const fs::path candidate = fs::path(path.substr(0, colon)) / name;
    if (candidate.is_absolute() && ::access(candidate.c_str(), X_OK) == 0) return candidate;
    path = colon == std::string_view::npos ? std::string_view{} : path.substr(colon + 1);
  }
  return Fail(Code::kNotFound, name + " is not installed (Debian: swtpm and swtpm-tools)");
}

// swtpm parses its options and configuration files itself: a comma or a new line in a path would end an option, and $ or a
// leading ~ would be expanded.
Result<fs::path> UsablePath(const fs::path& path) {
  std::error_code error;
  const fs::path absolute = fs::absolute(path, error).lexically_normal();
  if (error || absolute.native().find_first_of(",\n$") != std::string::npos) {
    return Fail(Code::kInvalid, "swtpm cannot use the path " + path.string());
  }
  return absolute;
}

// children

struct Spawn {
  std::vector<std::string> arguments;  // [0] is the program's path
  fs::path log;                        // standard output and error, appended
  bool with_supervisor = true;         // SIGTERM when the calling thread ends
};

// Between fork and exec only async-signal-safe calls: the parent may have threads.
[[noreturn]] void BecomeChild(char* const* argv, const char* log, pid_t parent, bool with_supervisor) {
  (void)::setpgid(0, 0);
  sigset_t none;
  (void)::sigemptyset(&none);
  (void)::sigprocmask(SIG_SETMASK, &none, nullptr);
  (void)::signal(SIGPIPE, SIG_DFL);
  if (with_supervisor && (::prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || ::getppid() != parent)) ::_exit(126);
  (void)::umask(077);  // keys of the TPM and of its authority
  const int null = ::open("/dev/null", O_RDWR);  // NOLINT(android-cloexec-open): standard input of the child
  const int out = ::open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);  // NOLINT(android-cloexec-open): its output
  if (null < 0 || out < 0 || ::dup2(null, 0) < 0 || ::dup2(out, 1) < 0 || ::dup2(out, 2) < 0) ::_exit(126);
  (void)::close_range(3, ~0U, 0);
  ::execv(argv[0], argv);
  ::_exit(127);
}

Result<pid_t> Start(const Spawn& spawn) {
  std::vector<char*> argv;
  argv.reserve(spawn.arguments.size() + 1);
  for (const std::string& argument : spawn.arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return FailErrno("start " + spawn.arguments.front());
  if (pid == 0) BecomeChild(argv.data(), spawn.log.c_str(), parent, spawn.with_supervisor);
  (void)::setpgid(pid, pid);  // the child does it too: whoever comes first
  return pid;
}

// True once the child is gone (and reaped); `status` as from waitpid.
bool Gone(pid_t pid, int& status) {
  const pid_t reaped = ::waitpid(pid, &status, WNOHANG);
  return reaped == pid || (reaped < 0 && errno == ECHILD);
}

bool WaitGone(pid_t pid, milliseconds patience, int& status) {
  const auto deadline = SteadyClock::now() + patience;
  while (!Gone(pid, status)) {
    if (SteadyClock::now() > deadline) return false;
    std::this_thread::sleep_for(kPollTime);
  }
  return true;
}

void KillAndReap(pid_t pid) {
  (void)::kill(pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
}

std::string LastLogLine(const fs::path& log) {
  const auto bytes = ReadFile(log, kLogBytesMax);
  if (!bytes) return "no log";
  std::string_view text = AsText(*bytes);
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  const std::size_t line = text.rfind('\n');
  return std::string(line == std::string_view::npos ? text : text.substr(line + 1));
}

Result<void> WriteConfiguration(const fs::path& dir, const fs::path& localca) {
  const std::string ca = (dir / "ca").string();
  const std::string setup = "create_certs_tool = " + localca.string() + "\ncreate_certs_tool_config = " + ca +
                            "/swtpm-localca.conf\ncreate_certs_tool_options = " + ca +
                            "/swtpm-localca.options\nactive_pcr_banks = sha256\n";
  const std::string authority = "statedir = " + ca + "\nsigningkey = " + ca + "/signkey.pem\nissuercert = " + ca +
                                "/issuercert.pem\ncertserial = " + ca + "/certserial\n";
  const std::string options = "--platform-manufacturer Stele\n--platform-version 1\n--platform-model Embedded\n";
  STELE_TRY_VOID(WriteFileDurably(dir / "ca/swtpm_setup.conf", AsBytes(setup), 0600));
  STELE_TRY_VOID(WriteFileDurably(dir / "ca/swtpm-localca.conf", AsBytes(authority), 0600));
  return WriteFileDurably(dir / "ca/swtpm-localca.options", AsBytes(options), 0600);
}

Result<void> MakePrivateDirectory(const fs::path& dir) {
  if (::mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST) return FailErrno("make " + dir.string());
  if (::chmod(dir.c_str(), 0700) != 0) return FailErrno("make private " + dir.string());
  return {};
}

// The tools set modes of their own (0640) on keys and state, whatever the umask.
Result<void> MakeFilesPrivate(const fs::path& dir) {
  std::error_code error;
  for (auto entry = fs::directory_iterator(dir, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    if (::chmod(entry->path().c_str(), 0600) != 0) return FailErrno("make private " + entry->path().string());
  }
  if (error) return Fail(Code::kIo, "list " + dir.string(), static_cast<std::uint32_t>(error.value()));
  return {};
}

// sockets

fs::path ControlOf(const fs::path& socket) { return socket.string() + std::string(kControlSuffix); }

Result<void> CheckSocketPath(const fs::path& socket) {
  const std::size_t limit = sizeof(sockaddr_un::sun_path) - 1;
  const std::string control = ControlOf(socket).string();
  if (control.size() > limit) {
    return Fail(Code::kInvalid, "the path of the TPM's socket is too long (" + std::to_string(control.size()) +
                                    " of at most " + std::to_string(limit) + " characters): " + control);
  }
  return {};
}

// TPM2_GetCapability(TPM_CAP_TPM_PROPERTIES, TPM_PT_FIXED, 1): answered in every state a working TPM can be in.
bool Answers(const fs::path& socket) {
  auto fd = ConnectSwtpm(socket);
  if (!fd) return false;
  FdTcti tcti(std::move(*fd), kProbeTimeMs);
  Bytes command;
  BigWriter writer(command);
  writer.Int(std::uint16_t{0x8001});
  writer.Int(std::uint32_t{22});
  writer.Int(std::uint32_t{0x17a});
  writer.Int(std::uint32_t{6});
  writer.Int(std::uint32_t{0x100});
  writer.Int(std::uint32_t{1});
  const auto response = Transact(tcti, command);
  if (!response) return false;
  BigReader in(*response);
  (void)in.Raw(6);
  return in.Int<std::uint32_t>() == 0 && in.ok();
}

void ShutDown(const fs::path& socket) {
  auto fd = ConnectSwtpm(socket);
  if (!fd) return;
  FdTcti tcti(std::move(*fd), kShutdownTimeMs);
  Bytes command;
  BigWriter writer(command);
  writer.Int(std::uint16_t{0x8001});
  writer.Int(std::uint32_t{12});
  writer.Int(std::uint32_t{0x145});  // TPM2_Shutdown(TPM_SU_CLEAR)
  writer.Int(std::uint16_t{0});
  (void)Transact(tcti, command);  // not answered: somebody else is connected; the TPM will see a power cut
}

}  // namespace

bool HasSwtpmState(const fs::path& dir) {
  std::error_code error;
  return fs::exists(dir / "state/tpm2-00.permall", error);
}

Result<void> MakeSwtpmState(const fs::path& dir_in) {
  STELE_TRY(const fs::path dir, UsablePath(dir_in));
  if (HasSwtpmState(dir)) return Fail(Code::kDenied, "there is a software TPM already in " + dir.string());
  STELE_TRY_VOID(FindTool("swtpm"));  // swtpm_setup runs it
  STELE_TRY(const fs::path setup, FindTool("swtpm_setup"));
  STELE_TRY(const fs::path localca, FindTool("swtpm_localca"));
  STELE_TRY_VOID(MakePrivateDirectory(dir));
  STELE_TRY_VOID(MakePrivateDirectory(dir / "ca"));
  STELE_TRY_VOID(MakePrivateDirectory(dir / "state"));
  STELE_TRY_VOID(WriteConfiguration(dir, localca));
  Spawn spawn;
  spawn.arguments = {setup.string(), "--tpm2", "--config", (dir / "ca/swtpm_setup.conf").string(), "--tpm-state",
                     (dir / "state").string(), "--create-ek-cert", "--pcr-banks", "sha256", "--overwrite"};
  spawn.log = dir / "swtpm.log";
  STELE_TRY(const pid_t pid, Start(spawn));
  int status = 0;
  if (!WaitGone(pid, kSetupTime, status)) {
    (void)::kill(-pid, SIGKILL);  // its own group: swtpm and swtpm_localca with it
    KillAndReap(pid);
    return Fail(Code::kUnavailable, "swtpm_setup does not finish");
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || !HasSwtpmState(dir)) {
    return Fail(Code::kIo, "swtpm_setup failed: " + LastLogLine(spawn.log));
  }
  STELE_TRY_VOID(MakeFilesPrivate(dir / "ca"));
  return MakeFilesPrivate(dir / "state");
}

Result<std::string> SwtpmCaPem(const fs::path& dir) {
  STELE_TRY(const Bytes issuer, ReadFile(dir / "ca/issuercert.pem", kLogBytesMax));
  STELE_TRY(const Bytes root, ReadFile(dir / "ca/swtpm-localca-rootca-cert.pem", kLogBytesMax));
  return std::string(AsText(issuer)) + std::string(AsText(root));
}

Result<UniqueFd> ConnectSwtpm(const fs::path& socket) {
  STELE_TRY_VOID(CheckSocketPath(socket));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket.c_str(), socket.native().size());
  // Not blocking: with its short queue full (EAGAIN) swtpm would keep the caller until another client leaves.
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto deadline = SteadyClock::now() + kConnectTime;
  while (!fd.valid() || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (!fd.valid() || errno != EAGAIN || SteadyClock::now() > deadline) {
      return FailErrno("connect to the software TPM at " + socket.string());
    }
    std::this_thread::sleep_for(kPollTime);
  }
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags & ~O_NONBLOCK) != 0) return FailErrno("connect to the software TPM");
  return fd;
}

Result<SwtpmProcess> StartSwtpm(const fs::path& dir_in, const fs::path& socket_in) {
  STELE_TRY(const fs::path dir, UsablePath(dir_in));
  STELE_TRY(const fs::path socket, UsablePath(socket_in));
  STELE_TRY_VOID(CheckSocketPath(socket));
  if (!HasSwtpmState(dir)) return Fail(Code::kNotFound, "there is no software TPM in " + dir.string());
  STELE_TRY(const fs::path swtpm, FindTool("swtpm"));
  if (ConnectSwtpm(socket)) return Fail(Code::kDenied, "a software TPM already serves " + socket.string());
  std::error_code ignored;  // left by a power cut; swtpm makes them anew
  fs::remove(socket, ignored);
  fs::remove(ControlOf(socket), ignored);

  Spawn spawn;
  spawn.arguments = {swtpm.string(), "socket", "--tpm2", "--tpmstate", "dir=" + (dir / "state").string() + ",mode=0600",
                     "--server", "type=unixio,path=" + socket.string() + ",mode=0600",
                     "--ctrl", "type=unixio,path=" + ControlOf(socket).string() + ",mode=0600",
                     "--flags", "startup-clear,not-need-init"};
  spawn.log = dir / "swtpm.log";
  STELE_TRY(const pid_t pid, Start(spawn));
  SwtpmProcess process{pid, socket};
  const auto deadline = SteadyClock::now() + kStartTime;
  for (;;) {
    int status = 0;
    if (Gone(pid, status)) {
      return Fail(Code::kDenied, "swtpm ended at once (is another one using this state?): " + LastLogLine(spawn.log));
    }
    if (Answers(socket)) return process;
    if (SteadyClock::now() > deadline) {
      KillSwtpm(process);
      return Fail(Code::kUnavailable, "swtpm does not answer: " + LastLogLine(spawn.log));
    }
    std::this_thread::sleep_for(kPollTime);
  }
}

Result<void> StopSwtpm(SwtpmProcess& process) {
  if (process.pid <= 0) return {};
  ShutDown(process.socket);
  if (::kill(process.pid, SIGTERM) != 0 && errno != ESRCH) return FailErrno("stop swtpm");
  int status = 0;
  const bool gone = WaitGone(process.pid, kStopTime, status);
  if (!gone) KillAndReap(process.pid);
  process.pid = -1;
  if (!gone) return Fail(Code::kUnavailable, "swtpm had to be killed");
  return {};
}

void KillSwtpm(SwtpmProcess& process) {
  if (process.pid > 0) KillAndReap(process.pid);
  process.pid = -1;
}

}  // namespace stele::tpm
