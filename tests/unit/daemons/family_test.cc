// Goal: members start with exactly what they are given, find each other again after a death, and stop in order.
// Method: real processes (family_member.cc), killed for real.
#include "appliance/daemons/family.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "appliance/base/bytes.h"

namespace stele::daemons {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using std::chrono::milliseconds;

class FamilyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "stele-family-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  void TearDown() override {
    std::error_code ignored;
    fs::remove_all(dir_, ignored);
  }

  [[nodiscard]] MemberSpec Spec(const std::string& name, const std::string& mode = "") const {
    const auto executable = FindExecutable("family_member");
    EXPECT_TRUE(executable.has_value());
    MemberSpec spec;
    spec.name = name;
    spec.executable = executable.value_or("");
    spec.configuration_json = json{{"out", (dir_ / name).string()}, {"mode", mode}}.dump();
    spec.stop_limit = milliseconds(500);
    return spec;
  }
  [[nodiscard]] static LinkSpec Link(std::size_t first, std::size_t second, const std::string& first_is,
                                     const std::string& second_is) {
    return {first, second, {second_is, second_is, ""}, {first_is, first_is, ""}};
  }
  [[nodiscard]] std::size_t Count(const std::string& name, const std::string& line) const {
    std::ifstream in(dir_ / name);
    std::size_t count = 0;
    for (std::string read; std::getline(in, read);) count += read == line ? 1U : 0U;
    return count;
  }
  template <typename Condition>
  [[nodiscard]] static bool PumpUntil(Family& family, Condition condition, milliseconds limit = milliseconds(10'000)) {
    const auto until = std::chrono::steady_clock::now() + limit;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > until) return false;
      family.Pump(milliseconds(20), {});
    }
    return true;
  }
  [[nodiscard]] Family::Listener Listener() {
    return [this](const FamilyEvent& event) { events_.push_back(event.event + " " + event.member.name); };
  }
  [[nodiscard]] std::size_t EventAt(const std::string& event) const {
    return static_cast<std::size_t>(std::find(events_.begin(), events_.end(), event) - events_.begin());
  }

  fs::path dir_;
  std::vector<std::string> events_;
};

TEST_F(FamilyTest, AMemberGetsItsChannelsAndNothingElse) {
  ::setenv("STELE_TEST_SECRET", "x", 1);
  const UniqueFd stray(::open("/dev/null", O_RDONLY));  // NOLINT(android-cloexec-open)  // a careless descriptor, on purpose
  auto specs = std::vector{Spec("a"), Spec("b")};
  specs[0].own.push_back({{"listener", "x", "{}"}, []() -> Result<UniqueFd> { return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }});
  Family family(std::move(specs), {Link(0, 1, "a", "b")}, Listener());
  ASSERT_TRUE(family.Start());
  ASSERT_TRUE(PumpUntil(family, [&] { return family.AllReady(); }));
  ::unsetenv("STELE_TEST_SECRET");
  const json seen = json::parse(family.Status()[0].detail_json);
  EXPECT_EQ(seen["descriptors"], 4);  // 0, 1, 2 and the control channel
  EXPECT_EQ(seen["own_session"], true);
  EXPECT_EQ(seen["signals_default"], true);
  EXPECT_EQ(seen["secret"], false);
  EXPECT_EQ(seen["channels"], (json{"listener", "b"}));
  EXPECT_TRUE(family.Stop(std::array<std::size_t, 2>{0, 1}));
}

TEST_F(FamilyTest, PeersTalkAndFindEachOtherAgainAfterADeath) {
  Family family({Spec("a"), Spec("b"), Spec("c")}, {Link(0, 1, "a", "b"), Link(1, 2, "b", "c")}, Listener());
  ASSERT_TRUE(family.Start());
  ASSERT_TRUE(PumpUntil(family, [&] { return family.AllReady(); }));
  ASSERT_TRUE(family.Tell(0, channel::Type::kNotice, "send b"));
  ASSERT_TRUE(PumpUntil(family, [&] { return Count("b", "got from a") == 1; }));

  const pid_t old = family.Status()[1].pid;
  ASSERT_EQ(::kill(old, SIGKILL), 0);
  ASSERT_TRUE(PumpUntil(family, [&] { return family.Status()[1].ready && family.Status()[1].pid != old; }));
  EXPECT_EQ(family.Status()[1].restarts, 1U);
  ASSERT_TRUE(PumpUntil(family, [&] { return Count("a", "take b") == 1 && Count("c", "take b") == 1; }));
  ASSERT_TRUE(family.Tell(0, channel::Type::kNotice, "send b"));
  ASSERT_TRUE(family.Tell(1, channel::Type::kNotice, "send c"));
  EXPECT_TRUE(PumpUntil(family, [&] { return Count("b", "got from a") == 2 && Count("c", "got from b") == 1; }));
  EXPECT_EQ(Count("a", "lost b"), 1U);
  EXPECT_TRUE(family.Stop(std::array<std::size_t, 3>{0, 1, 2}));
}

TEST_F(FamilyTest, TwoNeighboursThatDieTogetherFindEachOtherAgain) {
  Family family({Spec("a"), Spec("b")}, {Link(0, 1, "a", "b")}, Listener());
  ASSERT_TRUE(family.Start());
  ASSERT_TRUE(PumpUntil(family, [&] { return family.AllReady(); }));
  for (int round = 1; round <= 3; ++round) {
    const auto before = family.Status();
    for (const auto& member : before) ASSERT_EQ(::kill(member.pid, SIGKILL), 0);
    ASSERT_TRUE(PumpUntil(family, [&] {
      const auto now = family.Status();
      return family.AllReady() && now[0].pid != before[0].pid && now[1].pid != before[1].pid;
    }));
    ASSERT_TRUE(family.Tell(0, channel::Type::kNotice, "send b"));
    ASSERT_TRUE(family.Tell(1, channel::Type::kNotice, "send a"));
    ASSERT_TRUE(PumpUntil(family, [&] {
      return Count("b", "got from a") == static_cast<std::size_t>(round) && Count("a", "got from b") == static_cast<std::size_t>(round);
    })) << round;
  }
  EXPECT_TRUE(family.Stop(std::array<std::size_t, 2>{0, 1}));
}

TEST_F(FamilyTest, AMemberThatNeverServesIsNamedAndTriedMoreAndMoreSlowly) {
  Family family({Spec("a"), Spec("b", "dies")}, {Link(0, 1, "a", "b")}, Listener());
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_TRUE(family.Start());
  ASSERT_TRUE(PumpUntil(family, [&] { return family.CannotStart(4) != nullptr; }));
  EXPECT_EQ(family.CannotStart(4)->name, "b");
  EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds(100 + 200 + 400));
  EXPECT_FALSE(family.Stop(std::array<std::size_t, 2>{0, 1}));
}

TEST_F(FamilyTest, MembersStopInTheOrderGivenAndADeafOneIsKilled) {
  Family family({Spec("a"), Spec("b", "deaf"), Spec("c")}, {}, Listener());
  ASSERT_TRUE(family.Start());
  ASSERT_TRUE(PumpUntil(family, [&] { return family.AllReady(); }));
  EXPECT_FALSE(family.Stop(std::array<std::size_t, 3>{2, 1, 0}));
  EXPECT_LT(EventAt("stopped c"), EventAt("killed b"));
  EXPECT_LT(EventAt("killed b"), EventAt("stopped a"));
  EXPECT_EQ(Count("c", "stop"), 1U);
  EXPECT_EQ(Count("a", "stop"), 1U);
  for (const auto& member : family.Status()) EXPECT_EQ(member.pid, -1);
}

TEST_F(FamilyTest, AMemberInAnEmptyNetworkSeesNoInterfaceThatIsUpAndStillServesWhatItInherited) {
  auto specs = std::vector{Spec("a"), Spec("b")};
  specs[0].network = ProcessNetwork::kEmptyWherePermitted;
  Family family(std::move(specs), {Link(0, 1, "a", "b")}, Listener());
  ASSERT_TRUE(family.Start());
  ASSERT_TRUE(PumpUntil(family, [&] { return family.AllReady(); }));
  const json alone = json::parse(family.Status()[0].detail_json)["interfaces"];
  const json with_us = json::parse(family.Status()[1].detail_json)["interfaces"];
  EXPECT_NE(std::find(with_us.begin(), with_us.end(), "lo+"), with_us.end()) << with_us;
  if (::getuid() != 0 && alone == with_us) GTEST_SKIP() << "this system permits no network namespace to an ordinary user";
  EXPECT_NE(std::find(alone.begin(), alone.end(), "lo"), alone.end()) << alone;
  for (const json& name : alone) EXPECT_EQ(name.get<std::string>().find('+'), std::string::npos) << name;
  ASSERT_TRUE(family.Tell(0, channel::Type::kNotice, "send b"));
  EXPECT_TRUE(PumpUntil(family, [&] { return Count("b", "got from a") == 1; }));
  EXPECT_TRUE(family.Stop(std::array<std::size_t, 2>{0, 1}));
}

// By way of a user namespace: what `stele up` does for everybody but root.
TEST_F(FamilyTest, AnOrdinaryUserGetsAnEmptyNetworkTooOrAClearRefusal) {
  if (::getuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
  const auto executable = FindExecutable("family_member");
  ASSERT_TRUE(executable);
  const fs::path copy = dir_ / "family_member";
  fs::copy_file(*executable, copy);
  fs::permissions(dir_, fs::perms::all);
  fs::permissions(copy, fs::perms::all);
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setgid(65'534) != 0 || ::setuid(65'534) != 0) ::_exit(1);
    (void)::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);  // a shell's child is; one that changed its user may not write its own maps
    const auto process = StartProcess(copy, ProcessNetwork::kEmptyAlways);
    if (!process) ::_exit(process.error().code == Code::kDenied ? 77 : 2);
    std::error_code error;
    const auto namespace_of = [&error](const std::string& who) { return fs::read_symlink("/proc/" + who + "/ns/net", error).string(); };
    const std::string theirs = namespace_of(std::to_string(process->pid));
    if (error || theirs.empty()) ::_exit(3);
    if (theirs == namespace_of("self")) ::_exit(4);
    struct stat owner {};
    if (::stat(("/proc/" + std::to_string(process->pid)).c_str(), &owner) != 0 || owner.st_uid != 65'534) ::_exit(5);
    KillProcess(process->pid);
    ::_exit(0);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "this system permits no user namespaces";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(FamilyTest, AnExecutableThatIsMissingIsAnErrorWithItsPath) {
  auto spec = Spec("a");
  spec.executable = dir_ / "none";
  Family family({std::move(spec)}, {}, Listener());
  const auto started = family.Start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, Code::kIo);
  EXPECT_EQ(started.error().detail, static_cast<std::uint32_t>(ENOENT));
  EXPECT_NE(started.error().context.find("none"), std::string::npos);
}

TEST_F(FamilyTest, NobodySurvivesTheFamily) {
  std::vector<pid_t> pids;
  {
    Family family({Spec("a"), Spec("b")}, {Link(0, 1, "a", "b")}, Listener());
    ASSERT_TRUE(family.Start());
    for (const auto& member : family.Status()) pids.push_back(member.pid);
  }
  for (const pid_t pid : pids) EXPECT_NE(::kill(pid, 0), 0);
}

TEST_F(FamilyTest, AWakeDescriptorEndsTheWait) {
  Family family({Spec("a")}, {}, Listener());
  ASSERT_TRUE(family.Start());
  ASSERT_TRUE(PumpUntil(family, [&] { return family.AllReady(); }));
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd read_end(ends[0]);
  const UniqueFd write_end(ends[1]);
  ASSERT_EQ(::write(write_end.get(), "x", 1), 1);
  const auto begin = std::chrono::steady_clock::now();
  family.Pump(milliseconds(5'000), std::array{read_end.get()});
  EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(2'000));
}

}  // namespace
}  // namespace stele::daemons
