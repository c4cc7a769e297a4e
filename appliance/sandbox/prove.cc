// The proof: forbidden calls, made for real. Each is chosen so that it has no effect even where it is allowed (a path that
// cannot exist, a descriptor that is not open, flags that contradict each other), and so that the answer of an
// unrestricted kernel differs from the sandbox's.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "appliance/sandbox/sandbox.h"
#include "appliance/sandbox/seccomp_filter.h"

namespace stele::sandbox {
namespace {

constexpr const char* kNoSuchPath = "/stele-sandbox-probe/none";

Error NotRefused(const Profile& profile, const char* what, long result) {
  return Error{Code::kCorrupt,
               profile.name + ": the sandbox does not hold: " + what +
                   (result < 0 ? std::string(" answered ") + std::strerror(errno) : std::string(" succeeded")),
               static_cast<std::uint32_t>(result < 0 ? errno : 0)};
}

// The filter's EPERM, or Landlock's EACCES where a path decides.
Result<void> MustBeRefused(const Profile& profile, const char* what, long result, bool by_path = false) {
  if (result < 0 && (errno == EPERM || (by_path && errno == EACCES))) return {};
  return tl::unexpected(NotRefused(profile, what, result));
}

Result<void> ProveNoNewPowers(const Profile& profile) {
  if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return Fail(Code::kCorrupt, profile.name + ": no_new_privs is off");
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
  if (::syscall(SYS_capget, &header, sets.data()) != 0) return FailErrno("sandbox: read the capabilities");
  for (const int kept : profile.capabilities) {
    const auto capability = static_cast<unsigned>(kept);
    auto& set = sets.at(static_cast<std::size_t>(CAP_TO_INDEX(capability)));
    set.effective &= ~CAP_TO_MASK(capability);
    set.permitted &= ~CAP_TO_MASK(capability);
  }
  for (const auto& set : sets) {
    if ((set.effective | set.permitted | set.inheritable) != 0) {
      return Fail(Code::kCorrupt, profile.name + ": a capability is left");
    }
  }
  STELE_TRY_VOID(MustBeRefused(profile, "execve", ::syscall(SYS_execve, kNoSuchPath, nullptr, nullptr)));
  // CLONE_NEWUSER with CLONE_FS is a contradiction: an open kernel says EINVAL and makes nothing.
  STELE_TRY_VOID(MustBeRefused(profile, "clone (a process)",
                               ::syscall(SYS_clone, CLONE_NEWUSER | CLONE_FS, nullptr, nullptr, nullptr, nullptr)));
  STELE_TRY_VOID(MustBeRefused(profile, "ptrace", ::syscall(SYS_ptrace, PTRACE_CONT, -1, nullptr, nullptr)));
  STELE_TRY_VOID(MustBeRefused(profile, "kill", ::syscall(SYS_kill, ::getpid(), 0)));
  STELE_TRY_VOID(MustBeRefused(profile, "setresuid", ::syscall(SYS_setresuid, -1, -1, -1)));
  return {};
}

Result<void> ProveNoNewCode(const Profile& profile) {
  const auto page_bytes = static_cast<std::size_t>(4096);
  void* mapped = ::mmap(nullptr, page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return FailErrno("sandbox: map a page");
  const auto executable = MustBeRefused(profile, "mprotect (executable)",
                                        ::mprotect(mapped, page_bytes, PROT_READ | PROT_EXEC));
  (void)::munmap(mapped, page_bytes);  // our own page, no longer needed
  return executable;
}

Result<void> ProveNoNewSockets(const Profile& profile) {
  STELE_TRY_VOID(MustBeRefused(profile, "socket (datagram)", ::syscall(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)));
  STELE_TRY_VOID(MustBeRefused(profile, "socket (unix)", ::syscall(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)));
  if (!Promises(profile, Promise::kConnect)) {
    STELE_TRY_VOID(MustBeRefused(profile, "socket (inet)", ::syscall(SYS_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
    STELE_TRY_VOID(MustBeRefused(profile, "connect", ::syscall(SYS_connect, -1, nullptr, 0)));
  }
  STELE_TRY_VOID(MustBeRefused(profile, "socket (other netlink)",
                               ::syscall(SYS_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT)));
  if (!Promises(profile, Promise::kNetfilter)) {
    STELE_TRY_VOID(MustBeRefused(profile, "socket (packet filter)",
                                 ::syscall(SYS_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER)));
    STELE_TRY_VOID(MustBeRefused(profile, "bind", ::syscall(SYS_bind, -1, nullptr, 0)));
  }
  STELE_TRY_VOID(MustBeRefused(profile, "listen", ::syscall(SYS_listen, -1, 0)));
  if (Promises(profile, Promise::kAccept)) return {};
  return MustBeRefused(profile, "accept", ::syscall(SYS_accept4, -1, nullptr, nullptr, 0));
}

Result<void> ProveNoOtherFiles(const Profile& profile, const Report& report) {
  const bool reads = Promises(profile, Promise::kReadFile);
  const bool writes = Promises(profile, Promise::kWriteFile);
  const bool landlock = report.landlock_abi > 0;
  if (!reads || landlock) {
    for (const char* path : {"/", "/proc/self/status"}) {
      STELE_TRY_VOID(MustBeRefused(profile, path, ::syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC), true));
    }
  }
  if (!writes || landlock) {
    STELE_TRY_VOID(MustBeRefused(profile, "open for writing",
                                 ::syscall(SYS_openat, AT_FDCWD, "/dev/null", O_WRONLY | O_CLOEXEC), true));
  }
  if (!writes) {
    for (const PathRule& rule : profile.paths) {
      STELE_TRY_VOID(MustBeRefused(profile, "open for writing in its own directory",
                                   ::syscall(SYS_openat, AT_FDCWD, rule.path.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600)));
    }
    STELE_TRY_VOID(MustBeRefused(profile, "truncate", ::syscall(SYS_ftruncate, -1, 0)));
  }
  if (!Promises(profile, Promise::kReplaceFile)) {
    STELE_TRY_VOID(MustBeRefused(profile, "unlink", ::syscall(SYS_unlinkat, AT_FDCWD, kNoSuchPath, 0)));
    STELE_TRY_VOID(MustBeRefused(profile, "rename", ::syscall(SYS_renameat2, AT_FDCWD, kNoSuchPath, AT_FDCWD, kNoSuchPath, 0)));
  }
  STELE_TRY_VOID(MustBeRefused(profile, "chmod", ::syscall(SYS_fchmodat, AT_FDCWD, kNoSuchPath, 0)));
  return MustBeRefused(profile, "link", ::syscall(SYS_linkat, AT_FDCWD, kNoSuchPath, AT_FDCWD, kNoSuchPath, 0));
}

}  // namespace

Result<void> Prove(const Profile& profile, const Report& report) {
  STELE_TRY_VOID(ProveNoNewPowers(profile));
  STELE_TRY_VOID(ProveNoNewCode(profile));
  STELE_TRY_VOID(ProveNoNewSockets(profile));
  return ProveNoOtherFiles(profile, report);
}

}  // namespace stele::sandbox
