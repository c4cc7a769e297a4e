// Goal: the embedded TPM starts, stops, is alone on its state, belongs to its supervisor and works for an ordinary user.
// Method: real swtpm processes; as root the whole is repeated in a child that has become nobody.
#include "tpm/swtpm.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "tests/unit/tpm/testbed.h"
#include "tpm/signing.h"

namespace stele::tpm::test {
namespace {

bool Runs(pid_t pid) {
  const auto stat = ReadFile("/proc/" + std::to_string(pid) + "/stat", 4096);
  return stat.has_value() && AsText(*stat).find(") Z ") == std::string_view::npos;
}

TEST(Swtpm, IsPrivateAloneOnItsStateAndStopsCleanly) {
  const TemporaryDirectory dir;
  const auto state = dir.path() / "tpm";
  EXPECT_FALSE(HasSwtpmState(state));
  EXPECT_EQ(StartSwtpm(state, dir.path() / "s").error().code, Code::kNotFound);
  const auto made = MakeSwtpmState(state);
  ASSERT_TRUE(made.has_value()) << Describe(made.error());
  EXPECT_TRUE(HasSwtpmState(state));
  EXPECT_EQ(MakeSwtpmState(state).error().code, Code::kDenied);
  for (const char* name : {"", "/ca", "/state", "/swtpm.log", "/ca/signkey.pem", "/state/tpm2-00.permall"}) {
    struct stat info {};
    ASSERT_EQ(::stat((state.string() + name).c_str(), &info), 0) << name;
    EXPECT_EQ(info.st_mode & 077U, 0U) << name;
  }

  auto process = StartSwtpm(state, dir.path() / "s");
  ASSERT_TRUE(process.has_value()) << Describe(process.error());
  EXPECT_TRUE(Runs(process->pid));
  EXPECT_EQ(::getpgid(process->pid), process->pid);
  EXPECT_EQ(StartSwtpm(state, dir.path() / "s").error().code, Code::kDenied);
  EXPECT_EQ(StartSwtpm(state, dir.path() / "other").error().code, Code::kDenied);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(ConnectSwtpm(dir.path() / "s").has_value());  // one after the other
  const pid_t pid = process->pid;
  const auto stopped = StopSwtpm(*process);
  EXPECT_TRUE(stopped.has_value()) << Describe(stopped.error());
  EXPECT_FALSE(Runs(pid));
  EXPECT_EQ(process->pid, -1);
  EXPECT_TRUE(StopSwtpm(*process));  // twice is harmless
  EXPECT_EQ(ConnectSwtpm(dir.path() / "s").error().code, Code::kIo);
}

TEST(Swtpm, StopsInBoundedTimeWhileSomebodyIsStillConnected) {
  Testbed bed;
  const UniqueFd held = bed.Connect();
  SwtpmProcess process;
  // The test bed's own TPM is stopped through a second one on a copy: the bed keeps its process.
  std::filesystem::copy(bed.directory() / "tpm", bed.directory() / "copy", std::filesystem::copy_options::recursive);
  auto started = StartSwtpm(bed.directory() / "copy", bed.directory() / "c");
  ASSERT_TRUE(started.has_value()) << Describe(started.error());
  process = *started;
  const auto connection = ConnectSwtpm(bed.directory() / "c");
  ASSERT_TRUE(connection.has_value());
  const auto before = std::chrono::steady_clock::now();
  (void)StopSwtpm(process);
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(6));
  EXPECT_EQ(process.pid, -1);
}

TEST(Swtpm, TooLongASocketPathAndUnusablePathsAreNamed) {
  const TemporaryDirectory dir;
  ASSERT_TRUE(MakeSwtpmState(dir.path() / "tpm"));
  const auto long_path = dir.path() / std::string(100, 'x');
  const auto refused = StartSwtpm(dir.path() / "tpm", long_path);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Code::kInvalid);
  EXPECT_NE(refused.error().context.find("too long"), std::string::npos);
  EXPECT_EQ(ConnectSwtpm(long_path).error().code, Code::kInvalid);
  EXPECT_EQ(MakeSwtpmState(dir.path() / "a,b").error().code, Code::kInvalid);
  EXPECT_EQ(MakeSwtpmState(dir.path() / "no" / "such" / "parent").error().code, Code::kIo);
}

TEST(Swtpm, EndsWithItsSupervisorHoweverThatDies) {
  const TemporaryDirectory dir;
  ASSERT_TRUE(MakeSwtpmState(dir.path() / "tpm"));
  int pipe_fds[2] = {-1, -1};
  ASSERT_EQ(::pipe2(pipe_fds, O_CLOEXEC), 0);
  const pid_t supervisor = ::fork();
  ASSERT_GE(supervisor, 0);
  if (supervisor == 0) {
    const auto started = StartSwtpm(dir.path() / "tpm", dir.path() / "s");
    const pid_t pid = started ? started->pid : -1;
    (void)!::write(pipe_fds[1], &pid, sizeof pid);
    for (;;) ::pause();
  }
  pid_t pid = -1;
  ASSERT_EQ(::read(pipe_fds[0], &pid, sizeof pid), static_cast<ssize_t>(sizeof pid));
  ASSERT_GT(pid, 0);
  EXPECT_TRUE(Runs(pid));
  ::kill(supervisor, SIGKILL);
  ASSERT_EQ(::waitpid(supervisor, nullptr, 0), supervisor);
  for (int i = 0; i < 400 && Runs(pid); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_FALSE(Runs(pid));
  ::close(pipe_fds[0]);
  ::close(pipe_fds[1]);
}

TEST(Swtpm, WorksForAnOrdinaryUserWithSpacesInThePath) {
  if (::geteuid() != 0) GTEST_SKIP() << "the other tests ran as an ordinary user already";
  const TemporaryDirectory dir;
  ASSERT_EQ(::chown(dir.path().c_str(), 65534, 65534), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(10);
    ::unsetenv("HOME");
    const auto state = dir.path() / "a tpm";
    if (const auto made = MakeSwtpmState(state); !made) {
      std::fprintf(stderr, "%s\n", Describe(made.error()).c_str());
      ::_exit(11);
    }
    auto process = StartSwtpm(state, dir.path() / "s");
    if (!process) ::_exit(12);
    auto fd = ConnectSwtpm(dir.path() / "s");
    if (!fd) ::_exit(13);
    ProvisionOptions options;
    options.provisioning_key_pem = MakeSigningKey().value();
    SystemEntropy entropy;
    const auto result = Provision(std::move(*fd), options, entropy);
    if (!result || result->ek_certificate_der.empty()) ::_exit(14);
    ::_exit(StopSwtpm(*process) ? 0 : 15);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace stele::tpm::test
