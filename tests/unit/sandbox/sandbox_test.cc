// Goal: each profile refuses every forbidden call and still allows what its process needs, as root and as nobody.
// Method: a child process per profile locks itself down, makes the calls, and reports by its exit status.
#include "appliance/sandbox/sandbox.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <thread>

#include "appliance/base/bytes.h"
#include "appliance/base/fd.h"
#include "appliance/base/limits.h"
#include "appliance/base/system.h"
#include "appliance/sandbox/landlock.h"
#include "appliance/sandbox/profiles.h"
#include "appliance/sandbox/sanitizers.h"

namespace stele::sandbox {
namespace {

namespace fs = std::filesystem;

class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "stele-sandbox-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    path_ = name;
    for (const char* part : {"store", "state", "elsewhere"}) fs::create_directory(path_ / part);
    std::ofstream(path_ / "store" / "seg") << "segment";
    std::ofstream(path_ / "state" / "slot") << "slot";
    std::ofstream(path_ / "elsewhere" / "secret") << "secret";
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  fs::path operator/(const char* name) const { return path_ / name; }

 private:
  fs::path path_;
};

// Runs `body` in a child; its true return is exit 0. A wait status otherwise.
int InChild(const std::function<bool()>& body) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    const bool good = body();
    std::fflush(nullptr);
    ::_exit(good ? 0 : 1);
  }
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return status;
}

bool Check(bool condition, const char* what) {
  if (!condition) std::fprintf(stderr, "child: %s (errno %d %s)\n", what, errno, std::strerror(errno));
  return condition;
}
#define CHILD_CHECK(condition) \
  if (!Check((condition), #condition)) return false

bool Lock(const Profile& profile) {
  const auto report = LockDown(profile);
  if (!report) std::fprintf(stderr, "child: %s\n", Describe(report.error()).c_str());
  return report.has_value();
}

bool Refused(long result) { return result < 0 && (errno == EPERM || errno == EACCES); }

bool CommonCallsAreRefused(const Folder& folder) {
  CHILD_CHECK(Refused(::open((folder / "elsewhere" / "secret").c_str(), O_RDONLY | O_CLOEXEC)));
  CHILD_CHECK(Refused(::open("/etc/passwd", O_RDONLY | O_CLOEXEC)));
  CHILD_CHECK(Refused(::open("/proc/self/mem", O_RDWR | O_CLOEXEC)));
  CHILD_CHECK(Refused(::open("/dev/tpmrm0", O_RDWR | O_CLOEXEC)) || errno == ENOENT);
  CHILD_CHECK(Refused(::open((folder / "elsewhere" / "new").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)));
  for (const int family : {AF_INET, AF_INET6, AF_UNIX, AF_NETLINK, AF_PACKET, AF_VSOCK, AF_ALG}) {
    CHILD_CHECK(Refused(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)));
  }
  std::array<int, 2> ends{};
  CHILD_CHECK(Refused(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data())));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  CHILD_CHECK(Refused(::connect(0, reinterpret_cast<const sockaddr*>(&address), sizeof address)));
  CHILD_CHECK(Refused(::bind(0, reinterpret_cast<const sockaddr*>(&address), sizeof address)));
  CHILD_CHECK(Refused(::listen(0, 1)));
  CHILD_CHECK(Refused(::sendto(0, "x", 1, 0, reinterpret_cast<const sockaddr*>(&address), sizeof address)));
  std::array<char*, 2> arguments{const_cast<char*>("true"), nullptr};
  CHILD_CHECK(Refused(::execve("/bin/true", arguments.data(), nullptr)));
  CHILD_CHECK(Refused(::syscall(SYS_execveat, AT_FDCWD, "/bin/true", arguments.data(), nullptr, 0)));
  CHILD_CHECK(Refused(::fork()));
  CHILD_CHECK(Refused(::syscall(SYS_vfork)));
  CHILD_CHECK(Refused(::ptrace(PTRACE_ATTACH, ::getppid(), nullptr, nullptr)));
  CHILD_CHECK(Refused(::kill(::getppid(), 0)));
  CHILD_CHECK(Refused(::syscall(SYS_tgkill, ::getppid(), ::getppid(), 0)));
  CHILD_CHECK(Refused(::setuid(0)));
  CHILD_CHECK(Refused(::syscall(SYS_open, "/etc/passwd", O_RDONLY)));
  CHILD_CHECK(Refused(::syscall(SYS_creat, "/tmp/x", 0600)));
  CHILD_CHECK(Refused(::syscall(SYS_memfd_create, "x", 0)));
  CHILD_CHECK(Refused(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
                              MAP_FAILED
                          ? -1
                          : 0));
  const rlimit more{RLIM_INFINITY, RLIM_INFINITY};
  CHILD_CHECK(Refused(::setrlimit(RLIMIT_CORE, &more)));
  CHILD_CHECK(Refused(::symlink("/etc/passwd", "/tmp/stele-sandbox-link")));
  CHILD_CHECK(Refused(::ioctl(0, TIOCSTI, "x")));  // typing into the terminal it was started from
  return true;
}

bool CommonCallsWork() {
  std::vector<int> big(1'000'000, 7);  // memory
  big.resize(2'000'000);
  int seen = 0;
  std::thread thread([&seen] { seen = 1; });
  thread.join();
  CHILD_CHECK(seen == 1);
  SystemEntropy entropy;
  std::array<std::byte, 16> random{};
  entropy.Fill(random);
  SystemClock clock;
  CHILD_CHECK(clock.WallNs() > 0 && clock.BoottimeNs() > 0);
  const UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  CHILD_CHECK(epoll.valid());
  const UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  CHILD_CHECK(timer.valid());
  const UniqueFd event(::eventfd(1, EFD_CLOEXEC));
  CHILD_CHECK(event.valid());
  epoll_event wanted{};
  wanted.events = EPOLLIN;
  CHILD_CHECK(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, event.get(), &wanted) == 0);
  CHILD_CHECK(::epoll_wait(epoll.get(), &wanted, 1, 1000) == 1);
  LogInfo("a line from inside the sandbox");
  try {  // unwinding must not need a file
    throw std::runtime_error("x");
  } catch (const std::exception&) {
    return true;
  }
  return false;
}

UniqueFd Listener(sockaddr_in& address) {
  UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size_bytes = sizeof address;
  EXPECT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(::listen(listener.get(), 8), 0);
  EXPECT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size_bytes), 0);
  return listener;
}

// Accepts one inherited connection and one passed descriptor, as the network processes do.
void ExpectServes(const Profile& profile, const Folder& folder) {
  sockaddr_in address{};
  const UniqueFd listener = Listener(address);
  const UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::send(client.get(), "hello", 5, 0), 5);
  EXPECT_EQ(InChild([&] {
              if (!Lock(profile)) return false;
              const UniqueFd accepted(::accept(listener.get(), nullptr, nullptr));
              CHILD_CHECK(accepted.valid());
              std::array<char, 8> text{};
              CHILD_CHECK(::recv(accepted.get(), text.data(), text.size(), 0) == 5);
              CHILD_CHECK(::send(accepted.get(), "ok", 2, MSG_NOSIGNAL) == 2);
              CHILD_CHECK(::fcntl(accepted.get(), F_SETFL, O_NONBLOCK) == 0);
              CHILD_CHECK(::shutdown(accepted.get(), SHUT_WR) == 0);
              return CommonCallsWork() && CommonCallsAreRefused(folder);
            }),
            0);
}

TEST(Sandbox, ReceiveServesConnectionsAndOwnsNothing) {
  const Folder folder;
  ExpectServes(ReceiveProfile(), folder);
}

TEST(Sandbox, WebServesConnectionsAndOwnsNothing) {
  const Folder folder;
  ExpectServes(WebProfile(), folder);
}

TEST(Sandbox, NetworkProcessesOpenNoFileAtAllNotEvenTheStore) {
  const Folder folder;
  for (const Profile& profile : {ReceiveProfile(), WebProfile()}) {
    EXPECT_EQ(InChild([&] {
                if (!Lock(profile)) return false;
                CHILD_CHECK(Refused(::open((folder / "store" / "seg").c_str(), O_RDONLY | O_CLOEXEC)));
                struct stat status {};
                CHILD_CHECK(Refused(::stat((folder / "store" / "seg").c_str(), &status)));
                CHILD_CHECK(Refused(::unlink((folder / "store" / "seg").c_str())));
                return true;
              }),
              0)
        << profile.name;
  }
}

TEST(Sandbox, LedgerAppendsToTheStoreAndRemovesNothing) {
  const Folder folder;
  EXPECT_EQ(InChild([&] {
              if (!Lock(LedgerProfile(folder / "store"))) return false;
              const fs::path fresh = folder / "store" / "seg-1";
              const UniqueFd file(::open(fresh.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
              CHILD_CHECK(file.valid());
              CHILD_CHECK(::posix_fallocate(file.get(), 0, 4096) == 0);
              CHILD_CHECK(::pwrite(file.get(), "abc", 3, 0) == 3);
              CHILD_CHECK(::fdatasync(file.get()) == 0);
              const UniqueFd list(::open((folder / "store").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
              CHILD_CHECK(list.valid() && ::fsync(list.get()) == 0);
              CHILD_CHECK(fs::exists(folder / "store" / "seg"));
              CHILD_CHECK(ReadFile(fresh, 10'000).has_value());
              CHILD_CHECK(Refused(::unlink((folder / "store" / "seg").c_str())));
              CHILD_CHECK(Refused(::rename((folder / "store" / "seg").c_str(), fresh.c_str())));
              CHILD_CHECK(Refused(::open((folder / "state" / "slot").c_str(), O_RDONLY | O_CLOEXEC)));
              CHILD_CHECK(Refused(::truncate((folder / "store" / "seg").c_str(), 0)));
              return CommonCallsWork() && CommonCallsAreRefused(folder);
            }),
            0);
  EXPECT_TRUE(fs::exists(folder / "store" / "seg"));
}

TEST(Sandbox, LedgerOnPartitionsHasNothingButWhatItOpened) {
  const Folder folder;
  const UniqueFd medium(::open((folder / "store" / "seg").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(medium.valid());
  EXPECT_EQ(InChild([&] {
              if (!Lock(LedgerOnPartitionsProfile())) return false;
              std::array<char, 4> bytes{};
              CHILD_CHECK(::pwrite(medium.get(), "abcd", 4, 0) == 4);
              CHILD_CHECK(::fdatasync(medium.get()) == 0);
              CHILD_CHECK(::pread(medium.get(), bytes.data(), bytes.size(), 0) == 4 && bytes[3] == 'd');
              int value = 1;
              CHILD_CHECK(::ioctl(medium.get(), BLKROSET, &value) != 0 && errno == ENOTTY);  // asked, and no block device
              CHILD_CHECK(Refused(::ioctl(medium.get(), BLKZEROOUT, &value)));
              CHILD_CHECK(Refused(::ioctl(medium.get(), BLKRRPART)));
              CHILD_CHECK(Refused(::ftruncate(medium.get(), 0)));
              CHILD_CHECK(Refused(::fallocate(medium.get(), 0, 0, 4096)));
              for (const int flags : {O_RDONLY, O_RDWR}) {
                CHILD_CHECK(Refused(::open((folder / "store" / "seg").c_str(), flags | O_CLOEXEC)));
              }
              return CommonCallsWork() && CommonCallsAreRefused(folder);
            }),
            0);
}

TEST(Sandbox, AnchorReplacesItsSlotsAndNothingElse) {
  const Folder folder;
  EXPECT_EQ(InChild([&] {
              if (!Lock(AnchorProfile(folder / "state", {folder / "elsewhere" / "secret"}))) return false;
              const auto written = WriteFileDurably(folder / "state" / "slot", AsBytes("new"), 0600);
              CHILD_CHECK(written.has_value());
              CHILD_CHECK(ReadFile(folder / "elsewhere" / "secret", 100).has_value());  // named in its promise
              CHILD_CHECK(Refused(::open((folder / "elsewhere" / "secret").c_str(), O_WRONLY | O_CLOEXEC)));
              CHILD_CHECK(Refused(::unlink((folder / "elsewhere" / "secret").c_str())));
              CHILD_CHECK(Refused(::open((folder / "store" / "seg").c_str(), O_RDONLY | O_CLOEXEC)));
              CHILD_CHECK(Refused(::open((folder / "store" / "x").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)));
              return CommonCallsWork();
            }),
            0);
  EXPECT_EQ(AsText(*ReadFile(folder / "state" / "slot", 100)), "new");
}

TEST(Sandbox, QueryReadsTheStoreAndWritesNoFileAnywhere) {
  const Folder folder;
  EXPECT_EQ(InChild([&] {
              if (!Lock(QueryProfile(folder / "store", folder / "state"))) return false;
              CHILD_CHECK(ReadFile(folder / "store" / "seg", 100).has_value());
              CHILD_CHECK(ReadFile(folder / "state" / "slot", 100).has_value());
              std::size_t count = 0;
              for (const auto& entry : fs::directory_iterator(folder / "store")) count += entry.path().empty() ? 0U : 1U;
              CHILD_CHECK(count == 1);
              for (const char* part : {"store", "state", "elsewhere"}) {
                const fs::path there = folder / part;
                for (const int flags : {O_WRONLY, O_RDWR, O_RDONLY | O_CREAT, O_RDONLY | O_TRUNC, O_WRONLY | O_APPEND}) {
                  CHILD_CHECK(Refused(::open((there / "seg").c_str(), flags | O_CLOEXEC, 0600)));
                }
                CHILD_CHECK(Refused(::open(there.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600)));
                CHILD_CHECK(Refused(::mkdir((there / "d").c_str(), 0700)));
              }
              const UniqueFd open_file(::open((folder / "store" / "seg").c_str(), O_RDONLY | O_CLOEXEC));
              CHILD_CHECK(Refused(::ftruncate(open_file.get(), 0)));
              CHILD_CHECK(Refused(::fchmod(open_file.get(), 0777)));
              CHILD_CHECK(Refused(::unlink((folder / "store" / "seg").c_str())));
              CHILD_CHECK(Refused(::pwrite(open_file.get(), "x", 1, 0)));
              return CommonCallsWork() && CommonCallsAreRefused(folder);
            }),
            0);
}

TEST(Sandbox, CourierConnectsByTcpToItsPortsAndNothingElse) {
  const Folder folder;
  sockaddr_in allowed{};
  sockaddr_in other{};
  const UniqueFd listener = Listener(allowed);
  const UniqueFd second = Listener(other);
  EXPECT_EQ(InChild([&] {
              const Profile profile = CourierProfile(folder / "state", {ntohs(allowed.sin_port)});
              const auto report = LockDown(profile);
              if (!report) return Check(false, Describe(report.error()).c_str());
              const UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
              CHILD_CHECK(client.valid());
              const int begun = ::connect(client.get(), reinterpret_cast<const sockaddr*>(&allowed), sizeof allowed);
              CHILD_CHECK(begun == 0 || errno == EINPROGRESS);
              if (report->landlock_abi >= 4) {  // Linux 6.7
                const UniqueFd stray(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
                CHILD_CHECK(::connect(stray.get(), reinterpret_cast<const sockaddr*>(&other), sizeof other) != 0 && errno == EACCES);
              }
              for (const int type : {SOCK_DGRAM, SOCK_RAW}) CHILD_CHECK(Refused(::socket(AF_INET, type | SOCK_CLOEXEC, 0)));
              for (const int family : {AF_UNIX, AF_NETLINK, AF_PACKET}) {
                CHILD_CHECK(Refused(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)));
              }
              CHILD_CHECK(Refused(::listen(client.get(), 1)));
              CHILD_CHECK(Refused(::bind(client.get(), reinterpret_cast<const sockaddr*>(&other), sizeof other)));
              CHILD_CHECK(WriteFileDurably(folder / "state" / "w.note", AsBytes("new"), 0600).has_value());
              CHILD_CHECK(Refused(::open((folder / "store" / "seg").c_str(), O_RDONLY | O_CLOEXEC)));
              return CommonCallsWork();
            }),
            0);
}

TEST(Sandbox, GuardReachesThePacketFilterAndNothingElse) {
  const Folder folder;
  EXPECT_EQ(InChild([&] {
              CHILD_CHECK(Lock(GuardProfile(folder / "state")));
              for (const int protocol : {NETLINK_NETFILTER, NETLINK_ROUTE}) {
                const UniqueFd netlink(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
                CHILD_CHECK(netlink.valid() || errno == EPROTONOSUPPORT);  // a kernel without netfilter
              }
              for (const int protocol : {NETLINK_KOBJECT_UEVENT, NETLINK_AUDIT, NETLINK_XFRM, NETLINK_GENERIC}) {
                CHILD_CHECK(Refused(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)));
              }
              for (const int family : {AF_INET, AF_INET6, AF_UNIX, AF_PACKET}) {
                for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW})
                  CHILD_CHECK(Refused(::socket(family, type | SOCK_CLOEXEC, 0)));
              }
              CHILD_CHECK(Refused(::connect(0, nullptr, 0)));
              CHILD_CHECK(Refused(::listen(0, 1)));
              CHILD_CHECK(Refused(::fork()));
              CHILD_CHECK(Refused(::setuid(0)));
              CHILD_CHECK(WriteFileDurably(folder / "state" / "in_force.json", AsBytes("new"), 0600).has_value());
              CHILD_CHECK(ReadFile("/etc/passwd", limits::kMiB).has_value());
              CHILD_CHECK(Refused(::open("/etc/passwd", O_WRONLY | O_CLOEXEC)));
              CHILD_CHECK(Refused(::open("/etc/shadow", O_RDONLY | O_CLOEXEC)));
              CHILD_CHECK(Refused(::open((folder / "store" / "seg").c_str(), O_RDONLY | O_CLOEXEC)));
              return CommonCallsWork();
            }),
            0);
}

TEST(Sandbox, GuardKeepsOneCapabilityAndCannotEnterAnotherNamespace) {
  if (::getuid() != 0) GTEST_SKIP() << "needs a capability to keep";
  const Folder folder;
  EXPECT_EQ(InChild([&] {
              CHILD_CHECK(Lock(GuardProfile(folder / "state")));
              __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
              std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
              CHILD_CHECK(::syscall(SYS_capget, &header, sets.data()) == 0);
              CHILD_CHECK((sets[0].effective & ~(1U << static_cast<unsigned>(CAP_NET_ADMIN))) == 0);
              CHILD_CHECK(sets[0].permitted == sets[0].effective && sets[0].inheritable == 0);
              CHILD_CHECK(sets[1].effective == 0 && sets[1].permitted == 0);
              return true;
            }),
            0);
  const int status = InChild([&] {
    if (!Lock(GuardProfile(folder / "state"))) return false;
    (void)::setns(-1, CLONE_NEWNET);
    return true;
  });
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

TEST(Sandbox, WorksForAnOrdinaryUser) {
  if (::getuid() != 0) GTEST_SKIP() << "already run as an ordinary user by the other tests";
  const Folder folder;
  fs::permissions(folder / "store", fs::perms::all);
  fs::permissions((folder / "store").parent_path(), fs::perms::all);
  EXPECT_EQ(InChild([&] {
              CHILD_CHECK(::setgid(65'534) == 0 && ::setuid(65'534) == 0);
              return Lock(LedgerProfile(folder / "store")) && CommonCallsWork() && CommonCallsAreRefused(folder);
            }),
            0);
}

TEST(Sandbox, RootKeepsNoCapability) {
  if (::getuid() != 0) GTEST_SKIP() << "needs root";
  const Folder folder;
  EXPECT_EQ(::chown((folder / "state" / "slot").c_str(), 65'534, 65'534), 0);
  fs::permissions(folder / "state" / "slot", fs::perms::owner_read);
  EXPECT_EQ(InChild([&] {
              if (!Lock(QueryProfile(folder / "store", folder / "state"))) return false;
              return Check(Refused(::open((folder / "state" / "slot").c_str(), O_RDONLY | O_CLOEXEC)),
                           "another user's 0400 file stays closed to a root without capabilities");
            }),
            0);
}

TEST(Sandbox, AnExploitsCallEndsTheProcess) {
  for (const long call : {long{SYS_mount}, long{SYS_bpf}, long{SYS_unshare}, long{SYS_io_uring_setup}}) {
    const int status = InChild([&] {
      if (!Lock(WebProfile())) return false;
      (void)::syscall(call, 0, 0, 0, 0, 0);  // does not return
      return true;
    });
    ASSERT_TRUE(WIFSIGNALED(status)) << call;
    EXPECT_EQ(WTERMSIG(status), SIGSYS) << call;
  }
}

TEST(Sandbox, TheProofFailsWhereThereIsNoSandbox) {
  const Folder folder;
  for (const Profile& profile : {ReceiveProfile(), WebProfile(), LedgerProfile(folder / "store"), LedgerOnPartitionsProfile(),
                                 AnchorProfile(folder / "state"), QueryProfile(folder / "store", folder / "state")}) {
    EXPECT_EQ(InChild([&] {
                const auto proof = Prove(profile, Report{.landlock_abi = 7, .capabilities_dropped = true, .missing = {}});
                return Check(!proof && proof.error().code == Code::kCorrupt, "the proof found nothing");
              }),
              0);
  }
}

TEST(Sandbox, TheProofFailsInsideAWiderSandbox) {
  const Folder folder;
  EXPECT_EQ(InChild([&] {
              const Profile wider = AnchorProfile(folder / "state");
              if (!Lock(wider)) return false;
              const Report report{.landlock_abi = LandlockAbi(), .capabilities_dropped = true, .missing = {}};
              const auto proof = Prove(QueryProfile(folder / "store", folder / "state"), report);
              return Check(!proof, "a writer passed for a reader");
            }),
            0);
}

TEST(Sandbox, ASecondThreadIsRefused) {
  EXPECT_EQ(InChild([] {
              std::array<int, 2> ends{};
              CHILD_CHECK(::pipe2(ends.data(), O_CLOEXEC) == 0);
              std::thread other([&] {
                char byte = 0;
                (void)!::read(ends[0], &byte, 1);
              });
              const auto report = Enter(WebProfile());
              const bool refused = !report && report.error().code == Code::kInvalid;
              (void)!::write(ends[1], "x", 1);
              other.join();
              return refused || kSanitized;  // a sanitizer's own thread counts too, so there the check is off
            }),
            0);
}

TEST(Sandbox, TheReportSaysWhichNetworkTheProcessSees) {
  const auto seen_by = [](int namespaces, Network& network) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const UniqueFd in(ends[0]);
    const UniqueFd out(ends[1]);
    const int status = InChild([&] {
      if (namespaces != 0 && ::unshare(namespaces) != 0) return false;
      const auto report = LockDown(ReceiveProfile());
      CHILD_CHECK(report.has_value());
      CHILD_CHECK(report->ToJson().find(NetworkName(report->network)) != std::string::npos);
      return ::write(out.get(), &report->network, sizeof report->network) == sizeof report->network;
    });
    if (namespaces != 0 && status != 0) GTEST_SKIP() << "no network namespace is permitted here";
    ASSERT_EQ(status, 0);
    ASSERT_EQ(::read(in.get(), &network, sizeof network), static_cast<ssize_t>(sizeof network));
  };
  Network network = Network::kUnknown;
  ASSERT_NO_FATAL_FAILURE(seen_by(0, network));
  EXPECT_EQ(network, Network::kHost);
  network = Network::kUnknown;
  ASSERT_NO_FATAL_FAILURE(seen_by(::getuid() == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET, network));
  if (::testing::Test::IsSkipped()) return;
  EXPECT_EQ(network, Network::kEmptyNamespace);
}

TEST(Sandbox, AMissingPathIsAnError) {
  if (LandlockAbi() == 0) GTEST_SKIP() << "no Landlock here";
  EXPECT_EQ(InChild([] {
              const auto report = Enter(LedgerProfile("/stele-no-such-directory"));
              return Check(!report && report.error().code == Code::kIo, "entered without its directory");
            }),
            0);
}

TEST(Sandbox, AnOldKernelIsReportedNeverSilent) {
  std::vector<std::string> missing;
  EXPECT_TRUE(EnterLandlock(0, {}, {}, missing));
  ASSERT_EQ(missing.size(), 1U);
  Report report{.landlock_abi = 0, .capabilities_dropped = true, .missing = missing};
  EXPECT_FALSE(report.Complete());
  EXPECT_NE(report.ToJson().find("no Landlock"), std::string::npos);
}

TEST(Sandbox, SeccompAloneStillKeepsQueryFromWriting) {  // as on a kernel without Landlock
  const Folder folder;
  EXPECT_EQ(InChild([&] {
              Profile profile = QueryProfile(folder / "store", folder / "state");
              profile.paths = {{"/", Access::kReplace}};  // Landlock allows everything
              if (!Enter(profile)) return false;
              CHILD_CHECK(Refused(::open((folder / "store" / "seg").c_str(), O_WRONLY | O_CLOEXEC)));
              CHILD_CHECK(Refused(::open((folder / "store" / "new").c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0600)));
              return true;
            }),
            0);
}

TEST(Sandbox, StrayDescriptorsAreClosedAndKeptOnesStay) {
  EXPECT_EQ(InChild([] {
              std::array<int, 3> fds{};
              for (int& fd : fds) fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
              CHILD_CHECK(CloseStrayDescriptors(std::array{fds[1]}).has_value());
              CHILD_CHECK(::fcntl(fds[0], F_GETFD) < 0 && ::fcntl(fds[2], F_GETFD) < 0);
              CHILD_CHECK(::fcntl(fds[1], F_GETFD) >= 0 && ::fcntl(2, F_GETFD) >= 0);
              return true;
            }),
            0);
}

}  // namespace
}  // namespace stele::sandbox
