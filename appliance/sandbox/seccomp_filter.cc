#include "appliance/sandbox/seccomp_filter.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/netlink.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <initializer_list>
#include <memory>

#include "appliance/sandbox/sanitizers.h"

namespace stele::sandbox {
namespace {

// Collects rules; the first error sticks. libseccomp gives negative errno values.
class Filter {
 public:
  Filter() : context_(::seccomp_init(SCMP_ACT_ERRNO(EPERM)), &::seccomp_release) {
    if (context_ == nullptr) error_ = ENOMEM;
  }

  void Attribute(scmp_filter_attr attribute, std::uint32_t value) {
    if (error_ == 0) Keep(::seccomp_attr_set(context_.get(), attribute, value));
  }
  void Allow(std::initializer_list<int> calls) {
    for (const int call : calls) Rule(SCMP_ACT_ALLOW, call, {});
  }
  void AllowWhen(int call, std::initializer_list<scmp_arg_cmp> conditions) { Rule(SCMP_ACT_ALLOW, call, conditions); }
  void Answer(int call, int error) { Rule(SCMP_ACT_ERRNO(static_cast<std::uint32_t>(error)), call, {}); }
  void Kill(std::initializer_list<int> calls) {
    for (const int call : calls) Rule(SCMP_ACT_KILL_PROCESS, call, {});
  }
  Result<void> Load() {
    if (error_ == 0) Keep(::seccomp_load(context_.get()));
    if (error_ == 0) return {};
    errno = error_;
    return FailErrno("sandbox: load the seccomp filter");
  }

 private:
  void Rule(std::uint32_t action, int call, std::initializer_list<scmp_arg_cmp> conditions) {
    if (error_ != 0 || call == __NR_SCMP_ERROR) return;
    Keep(::seccomp_rule_add_array(context_.get(), action, call, static_cast<unsigned>(conditions.size()),
                                  conditions.size() == 0 ? nullptr : conditions.begin()));
  }
  void Keep(int result) {
    if (result < 0 && error_ == 0) error_ = -result;
  }

  std::unique_ptr<void, decltype(&::seccomp_release)> context_;
  int error_ = 0;
};

scmp_arg_cmp Equals(unsigned argument, std::uint64_t value) { return {argument, SCMP_CMP_EQ, value, 0}; }
// Bits of `mask` in the argument are exactly `value`.
scmp_arg_cmp Bits(unsigned argument, std::uint64_t mask, std::uint64_t value) {
  return {argument, SCMP_CMP_MASKED_EQ, mask, value};
}

void AllowCore(Filter& filter) {
  // Memory: as much as needed, never executable after start-up (write xor execute, and no new code at all).
  filter.Allow({SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(mlock), SCMP_SYS(mlock2),
                SCMP_SYS(munlock)});
  filter.AllowWhen(SCMP_SYS(mmap), {Bits(2, PROT_EXEC, 0)});
  filter.AllowWhen(SCMP_SYS(mprotect), {Bits(2, PROT_EXEC, 0)});
  // Threads, never processes. clone3 hides its flags behind a pointer: "not implemented" makes the C library use clone.
  filter.AllowWhen(SCMP_SYS(clone), {Bits(0, CLONE_THREAD, CLONE_THREAD)});
  filter.Answer(SCMP_SYS(clone3), ENOSYS);
  filter.Allow({SCMP_SYS(futex), SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(sched_yield),
                SCMP_SYS(sched_getaffinity), SCMP_SYS(getcpu), SCMP_SYS(sigaltstack), SCMP_SYS(exit),
                SCMP_SYS(exit_group)});
  // Signals: handlers, and abort() on itself alone.
  filter.Allow({SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(restart_syscall)});
  filter.AllowWhen(SCMP_SYS(tgkill), {Equals(0, static_cast<std::uint64_t>(::getpid()))});
  // Time, randomness, and who am I.
  filter.Allow({SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep),
                SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(getrandom), SCMP_SYS(getpid), SCMP_SYS(gettid),
                SCMP_SYS(getppid), SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid),
                SCMP_SYS(getrusage), SCMP_SYS(sysinfo), SCMP_SYS(uname), SCMP_SYS(capget)});
  filter.AllowWhen(SCMP_SYS(prlimit64), {Equals(0, 0), Equals(2, 0)});  // ask about itself, never set
  for (const int question : {PR_SET_NAME, PR_GET_NAME, PR_GET_NO_NEW_PRIVS, PR_GET_SECCOMP}) {
    filter.AllowWhen(SCMP_SYS(prctl), {Equals(0, static_cast<std::uint64_t>(question))});
  }
}

void AllowStream(Filter& filter) {
  filter.Allow({SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(close), SCMP_SYS(recvmsg),
                SCMP_SYS(recvmmsg), SCMP_SYS(recvfrom), SCMP_SYS(sendmsg), SCMP_SYS(shutdown), SCMP_SYS(getsockopt),
                SCMP_SYS(setsockopt), SCMP_SYS(getsockname), SCMP_SYS(getpeername)});
  // send() is sendto() without an address. KNOWN HOLE: sendmsg's address lies in memory where seccomp cannot look, so a
  // datagram listener is shut down for writing by its owner.
  filter.AllowWhen(SCMP_SYS(sendto), {Equals(4, 0)});
  for (const int command : {F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC}) {
    filter.AllowWhen(SCMP_SYS(fcntl), {Equals(1, static_cast<std::uint64_t>(command))});
  }
  for (const unsigned long request : {static_cast<unsigned long>(FIONBIO), static_cast<unsigned long>(FIONREAD)}) {
    filter.AllowWhen(SCMP_SYS(ioctl), {Equals(1, request)});
  }
}

void AllowEvents(Filter& filter) {
  filter.Allow({SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait),
                SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(eventfd2), SCMP_SYS(timerfd_create),
                SCMP_SYS(timerfd_settime), SCMP_SYS(timerfd_gettime), SCMP_SYS(pipe2)});
}

// KNOWN HOLE: where to is in memory, where seccomp cannot look. Landlock limits the port (ABI 4), the network's own rules
// the address.
void AllowConnect(Filter& filter) {
  constexpr std::uint64_t kSocketTypeMask = 0xf;
  for (const int family : {AF_INET, AF_INET6}) {
    filter.AllowWhen(SCMP_SYS(socket), {Equals(0, static_cast<std::uint64_t>(family)), Bits(1, kSocketTypeMask, SOCK_STREAM)});
  }
  filter.Allow({SCMP_SYS(connect)});
}

// libnftables makes a socket for the list of interfaces whenever it needs one, and addresses what it sends to the kernel.
void AllowNetfilter(Filter& filter) {
  constexpr std::uint64_t kSocketTypeMask = 0xf;
  for (const int protocol : {NETLINK_NETFILTER, NETLINK_ROUTE}) {
    filter.AllowWhen(SCMP_SYS(socket), {Equals(0, AF_NETLINK), Bits(1, kSocketTypeMask, SOCK_RAW),
                                        Equals(2, static_cast<std::uint64_t>(protocol))});
  }
  filter.Allow({SCMP_SYS(bind), SCMP_SYS(sendto), SCMP_SYS(select), SCMP_SYS(pselect6)});
}

constexpr std::uint64_t kTemporaryFile = O_TMPFILE & ~O_DIRECTORY;
constexpr std::uint64_t kAnyWriting = O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND | kTemporaryFile;

void AllowReadFile(Filter& filter, bool and_write) {
  if (!and_write) filter.AllowWhen(SCMP_SYS(openat), {Bits(2, kAnyWriting, 0)});  // O_RDONLY is zero
  filter.Allow({SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(lseek), SCMP_SYS(pread64),
                SCMP_SYS(preadv), SCMP_SYS(preadv2), SCMP_SYS(getdents64), SCMP_SYS(readlink), SCMP_SYS(readlinkat),
                SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(statfs), SCMP_SYS(fstatfs),
                SCMP_SYS(fadvise64), SCMP_SYS(getcwd)});
}

void AllowWriteFile(Filter& filter) {
  filter.Allow({SCMP_SYS(openat), SCMP_SYS(pwrite64), SCMP_SYS(pwritev), SCMP_SYS(pwritev2), SCMP_SYS(fsync),
                SCMP_SYS(fdatasync), SCMP_SYS(sync_file_range), SCMP_SYS(ftruncate), SCMP_SYS(fallocate),
                SCMP_SYS(mkdir), SCMP_SYS(mkdirat), SCMP_SYS(fchmod), SCMP_SYS(umask), SCMP_SYS(flock)});
  for (const unsigned long request : {static_cast<unsigned long>(FS_IOC_GETFLAGS),
                                      static_cast<unsigned long>(FS_IOC_SETFLAGS)}) {  // the immutable flag of a seal
    filter.AllowWhen(SCMP_SYS(ioctl), {Equals(1, request)});
  }
}

// Of its descriptors' ioctls the seal and the question after it: what else a block device takes would move, discard or repartition.
void AllowPartitions(Filter& filter) {
  filter.Allow({SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(fdatasync)});
  for (const unsigned long request : {static_cast<unsigned long>(BLKROSET), static_cast<unsigned long>(BLKROGET)}) {
    filter.AllowWhen(SCMP_SYS(ioctl), {Equals(1, request)});
  }
}

// No library of ours makes these; an exploit would.
void KillTheRest(Filter& filter) {
  filter.Kill({SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot), SCMP_SYS(setns),
               SCMP_SYS(unshare), SCMP_SYS(fsopen), SCMP_SYS(fsmount), SCMP_SYS(move_mount), SCMP_SYS(open_tree),
               SCMP_SYS(mount_setattr), SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(init_module),
               SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(bpf), SCMP_SYS(perf_event_open),
               SCMP_SYS(userfaultfd), SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register),
               SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(pidfd_getfd), SCMP_SYS(add_key),
               SCMP_SYS(keyctl), SCMP_SYS(request_key), SCMP_SYS(iopl), SCMP_SYS(ioperm), SCMP_SYS(modify_ldt),
               SCMP_SYS(reboot), SCMP_SYS(swapon), SCMP_SYS(swapoff), SCMP_SYS(acct), SCMP_SYS(quotactl),
               SCMP_SYS(name_to_handle_at), SCMP_SYS(open_by_handle_at), SCMP_SYS(settimeofday),
               SCMP_SYS(clock_settime), SCMP_SYS(clock_adjtime), SCMP_SYS(adjtimex), SCMP_SYS(sethostname),
               SCMP_SYS(setdomainname), SCMP_SYS(syslog), SCMP_SYS(vhangup)});
}

}  // namespace

bool Promises(const Profile& profile, Promise promise) {
  return std::find(profile.promises.begin(), profile.promises.end(), promise) != profile.promises.end();
}

Result<void> EnterSeccomp(const Profile& profile) {
  Filter filter;
  filter.Attribute(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  filter.Attribute(SCMP_FLTATR_CTL_TSYNC, 1);
  filter.Attribute(SCMP_FLTATR_CTL_LOG, 1);
  filter.Attribute(SCMP_FLTATR_CTL_OPTIMIZE, 2);  // a binary tree of comparisons: every call of ours passes through it
  for (const Promise promise : profile.promises) {
    switch (promise) {
      case Promise::kCore: AllowCore(filter); break;
      case Promise::kStream: AllowStream(filter); break;
      case Promise::kEvents: AllowEvents(filter); break;
      case Promise::kAccept: filter.Allow({SCMP_SYS(accept), SCMP_SYS(accept4)}); break;
      case Promise::kConnect: AllowConnect(filter); break;
      case Promise::kNetfilter: AllowNetfilter(filter); break;
      case Promise::kReadFile: AllowReadFile(filter, Promises(profile, Promise::kWriteFile)); break;
      case Promise::kWriteFile: AllowWriteFile(filter); break;
      case Promise::kPartitions: AllowPartitions(filter); break;
      case Promise::kReplaceFile:
        filter.Allow({SCMP_SYS(rename), SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(unlink), SCMP_SYS(unlinkat)});
        break;
    }
  }
  if (kSanitized) {  // the sanitizers' own runtime: naming its mappings, its background thread, its bookkeeping
    filter.Allow({SCMP_SYS(prctl), SCMP_SYS(personality), SCMP_SYS(rt_sigtimedwait), SCMP_SYS(tkill)});
  }
  KillTheRest(filter);
  return filter.Load();
}

}  // namespace stele::sandbox
