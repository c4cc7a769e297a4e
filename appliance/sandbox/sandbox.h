// Locking a process down, once and for good, and proving it.
//
// Order in every daemon: open what is needed -> Enter() -> Prove() -> kReady -> serve. Enter() does, in this order:
//   looks at the network it was put in, resource limits (no core dumps, bounded descriptors), no_new_privs, every capability that the profile does not name dropped, Landlock (files, TCP
//   bind and connect, abstract sockets, signals: as much as the kernel knows), seccomp (an allow-list).
// Privilege only decreases. Works as root and as an ordinary user; a weaker kernel gives a Report that says so, never
// silence. Call it while the process has one thread: Landlock binds only the caller and threads it makes later.
//
// What seccomp answers: EPERM, logged by the kernel, for whatever is not allowed. Not death, for two reasons: the process
// proves its own sandbox by making forbidden calls, and a library that probes for an optional call must not give a remote
// sender a way to end the receiver. Calls no library of ours ever makes and an exploit would (mount, bpf, io_uring, kexec,
// module loading, another architecture's table, ...) end the process at once: the supervisor records and restarts it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "appliance/base/result.h"

namespace stele::sandbox {

// What a process may still do; the syscalls of each are in seccomp_filter.cc.
enum class Promise {
  kCore,      // memory (never executable), threads (never processes), futex, time, random, own signals, exit
  kStream,    // read, write, send, receive and close on descriptors it has; passed descriptors
  kEvents,    // poll, epoll, eventfd, timerfd, pipes to itself
  kAccept,    // accept on inherited listeners; never socket, bind, listen, connect
  kNetfilter,  // netlink sockets to the packet filter and the list of interfaces, and no other kind
  kConnect,   // TCP connections to elsewhere, and no other kind of socket; where the kernel can, only to Profile::connect_ports
  kReadFile,  // open for reading, stat, list; never for writing
  kWriteFile, // create, write, sync, allocate files; never remove
  kPartitions,  // read, write, flush and seal the block devices it has; nothing is opened
  kReplaceFile,  // write a file and rename it over its predecessor
};

enum class Access {
  kRead,     // files and lists below the path
  kAppend,   // and create and write files below it
  kReplace,  // and remove and rename files below it
};
struct PathRule {
  std::filesystem::path path;  // a file or a directory that exists when Enter() runs
  Access access = Access::kRead;
};

struct Profile {
  std::string name;
  std::vector<Promise> promises;
  std::vector<PathRule> paths;      // everything else is out of reach
  std::size_t descriptors_max = 0;  // RLIMIT_NOFILE, 0 = as inherited
  std::vector<std::uint16_t> connect_ports = {};  // with kConnect
  std::string interface = {};                     // the one that the process's network should hold; empty: none
  std::vector<int> capabilities = {};             // kept, by number; every other one is dropped
};

// What the process saw of the network when it locked itself down. Empty: no interface is up, not even the loopback, and
// there is no route: what it inherited is its only way out, whatever it may still call. Zone: beside the loopback,
// which is down, there is Profile::interface and no other. Loopback: there is the loopback and nothing else, as in a unit with
// PrivateNetwork=yes.
enum class Network { kUnknown, kHost, kEmptyNamespace, kZoneNamespace, kLoopback };
[[nodiscard]] const char* NetworkName(Network network);  // "unknown", "host", "empty namespace", "zone namespace", "loopback alone"
// What is true of all processes: of those so far (empty: none) and of one more (empty: it has not said anything). A receiver may
// have its zone's network.
[[nodiscard]] std::string NetworkOfAll(const std::string& so_far, const std::string& one);

struct Report {
  int landlock_abi = 0;             // 0: the kernel has none
  bool capabilities_dropped = false;
  Network network = Network::kUnknown;
  std::vector<std::string> missing;  // what this kernel could not enforce, one clause each; empty = everything
  [[nodiscard]] bool Complete() const { return missing.empty(); }
  // {"landlock_abi":N,"complete":bool,"missing":[...],"network":"empty namespace","pid":N}: the detail of kReady
  [[nodiscard]] std::string ToJson() const;
};

// kIo with errno when a step fails: the caller must exit. kInvalid: more than one thread.
[[nodiscard]] Result<Report> Enter(const Profile& profile);

// Makes forbidden calls, each harmless if it were allowed after all, and fails (kCorrupt, naming the call) if one is not
// refused. What `report` names as missing is not asked.
[[nodiscard]] Result<void> Prove(const Profile& profile, const Report& report);

// Enter, then Prove.
[[nodiscard]] Result<Report> LockDown(const Profile& profile);

// Closes every descriptor from 3 on that is not in `keep`.
[[nodiscard]] Result<void> CloseStrayDescriptors(std::span<const int> keep);

}  // namespace stele::sandbox
