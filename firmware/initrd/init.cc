// The first process: everything that happens between the signed image and systemd.
//
// In this order: modules, partitions, root behind dm-verity, root entered, state partition opened by the TPM,
// write-once guard armed with the seals of the log partitions, doors of the kernel closed, systemd. It takes no
// parameter from the command line or from any disk; what it needs to know is in the initial RAM disk. What goes wrong
// before there is a root file system stops the machine with one clear sentence on the console; what goes wrong with
// state or logs does not: systemd starts, says so and keeps nothing.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <thread>

#include "appliance/base/fd.h"
#include "firmware/guard/guard.h"
#include "firmware/guard/seal_mark.h"
#include "firmware/initrd/partitions.h"
#include "firmware/initrd/state.h"
#include "firmware/initrd/system.h"
#include "firmware/initrd/verity.h"

namespace stele::initrd {
namespace {

constexpr const char* kRoot = "/sysroot";
constexpr const char* kSystemd = "/usr/lib/systemd/systemd";
constexpr auto kDiskPatience = std::chrono::seconds(20);

void MountKernelFileSystems() {
  const auto mount = [](const char* type, const char* where, const char* options) {
    if (auto done = Mount(type, where, type, MS_NOSUID | MS_NOEXEC, options); !done) Say(Describe(done.error()));
  };
  mount("devtmpfs", "/dev", nullptr);
  mount("proc", "/proc", nullptr);
  mount("sysfs", "/sys", nullptr);
  mount("tmpfs", "/run", "mode=0755,nr_inodes=65536,size=64m");
}

// The names begin with a number: the order in which they need each other.
Result<void> LoadModules() {
  for (const std::string& name : Names("/modules")) {
    const UniqueFd file(::open(("/modules/" + name).c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.valid()) return FailErrno("open module " + name);
    const bool loaded = ::syscall(SYS_finit_module, file.get(), "", 0) == 0;
    if (!loaded && errno == ENODEV) continue;  // this machine has no such device, or no such instructions
    if (!loaded) return FailErrno("load module " + name);
  }
  return {};
}

Result<Partitions> WaitForRoot() {
  const auto end = std::chrono::steady_clock::now() + kDiskPatience;
  for (;;) {
    Partitions partitions = Partitions::OfThisMachine();
    const auto root = partitions.Only("stele-root-a");
    const auto tree = partitions.Only("stele-verity-a");
    if (root && tree && partitions.Only("stele-state")) return partitions;
    if (std::chrono::steady_clock::now() >= end) {
      if (!root) return tl::unexpected(root.error());
      if (!tree) return tl::unexpected(tree.error());
      return partitions;  // without state: said later
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

Result<void> MountRoot(const Partitions& partitions) {
  STELE_TRY(const std::string text, ReadText("/root.conf"));
  STELE_TRY(const RootDescription root, ParseRootDescription(text));
  STELE_TRY(const Partition data, partitions.Only("stele-root-a"));
  STELE_TRY(const Partition tree, partitions.Only("stele-verity-a"));
  STELE_TRY(const std::string node, OpenVerity(root, data.node, tree.node));
  Say("root " + data.node + " behind verity, root hash " + root.hash);
  return Mount(node, kRoot, "erofs", MS_RDONLY | MS_NOSUID | MS_NODEV);
}

Result<void> MountScratch() {
  for (const char* where : {"/tmp", "/var/tmp"}) {
    STELE_TRY_VOID(
        Mount("tmpfs", std::string(kRoot) + where, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=16m"));
  }
  return {};
}

Result<bool> IsSealed(const Partition& log) {
  const UniqueFd device(::open(log.node.c_str(), O_RDONLY | O_CLOEXEC));
  if (!device.valid()) return FailErrno("open " + log.node);
  const auto at = guard::SealMarkAt(log.size_bytes);
  if (!at) return Fail(Code::kInvalid, log.name + " is too small");
  std::array<std::byte, guard::kSealMarkBytes> mark{};
  if (::pread(device.get(), mark.data(), mark.size(), static_cast<off_t>(*at)) != static_cast<ssize_t>(mark.size()))
    return FailErrno("read " + log.node);
  return guard::DecodeSealMark(mark).has_value();
}

// A log partition that cannot be read is left out, and so is not writable. The second result is for a person.
std::pair<std::vector<guard::LogPartition>, std::string> SealsOf(const Partitions& partitions) {
  std::vector<std::string> refused;
  std::vector<guard::LogPartition> logs;
  std::size_t sealed = 0;
  for (const Partition& log : partitions.Logs(refused)) {
    const auto is_sealed = IsSealed(log);
    if (!is_sealed) {
      Say(Describe(is_sealed.error()));
      refused.push_back(log.name);
      continue;
    }
    if (*is_sealed) ++sealed;
    logs.push_back({log.device, *is_sealed});
  }
  std::string words = std::to_string(logs.size()) + " log partitions, " + std::to_string(sealed) + " sealed";
  for (const std::string& name : refused) words += ", " + name + " refused";
  return {std::move(logs), std::move(words)};
}

Result<guard::Guard> LoadGuard() {
  STELE_TRY_VOID(Mount("bpf", "/guard", "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"));
  STELE_TRY(const auto object, ReadAll("/write_once.bpf.o", 1 << 20));
  return guard::Guard::Load(object, "/guard");
}

Result<void> ArmGuard(guard::Guard& guard, const std::vector<guard::LogPartition>& logs) {
  STELE_TRY(const std::string devices, ReadText("/proc/devices"));
  STELE_TRY(const std::string misc, ReadText("/proc/misc"));
  return guard.Arm(logs, guard::OpenCharacters(devices, misc));
}

// None of these can be opened again before the machine restarts.
Result<void> CloseDoors() {
  STELE_TRY_VOID(WriteText("/proc/sys/kernel/yama/ptrace_scope", "3"));  // nobody attaches to PID 1, or to anybody
  STELE_TRY_VOID(
      WriteText("/proc/sys/kernel/kexec_load_disabled", "1"));  // no other kernel without the firmware's check
  STELE_TRY_VOID(
      WriteText("/proc/sys/kernel/unprivileged_bpf_disabled", "1"));  // for good, not until root says otherwise
  return WriteText("/proc/sys/kernel/modules_disabled", "1");         // all that is needed is loaded
}

// The old root stays below the new one, with the guard's pins in it; no path of the new system leads there.
Result<void> EnterRoot() {
  for (const char* moved : {"/dev", "/proc", "/sys", "/run"}) {
    if (::mount(moved, (std::string(kRoot) + moved).c_str(), nullptr, MS_MOVE, nullptr) != 0)
      return FailErrno(std::string("move ") + moved);
  }
  if (::chdir(kRoot) != 0 || ::mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 || ::chroot(".") != 0 ||
      ::chdir("/") != 0) {
    return FailErrno("enter the root file system");
  }
  return {};
}

Result<void> Start() {
  MountKernelFileSystems();
  STELE_TRY_VOID(LoadModules());
  STELE_TRY(const Partitions partitions, WaitForRoot());
  STELE_TRY(guard::Guard guard, LoadGuard());
  STELE_TRY_VOID(MountRoot(partitions));
  STELE_TRY_VOID(MountScratch());
  const auto [logs, log_words] = SealsOf(partitions);
  (void)::mkdir("/run/stele-boot", 0755);  // the next lines fail if it is not there
  KeepApproval();
  STELE_TRY_VOID(EnterRoot());
  const StateOutcome state = OpenState(partitions);
  STELE_TRY_VOID(WriteText("/run/stele-boot/facts", "state " + state.words + "\nlogs " + log_words + "\n"));
  if (state.mounted) STELE_TRY_VOID(WriteText("/run/stele-boot/state-is-mounted", ""));
  STELE_TRY_VOID(CloseDoors());
  Say("state partition: " + state.words);
  STELE_TRY_VOID(ArmGuard(guard, logs));
  Say("write-once guard armed: " + log_words);
  ::execl(kSystemd, kSystemd, nullptr);
  return FailErrno(std::string("start ") + kSystemd);
}

}  // namespace
}  // namespace stele::initrd

int main() {
  const auto started = stele::initrd::Start();
  for (;;) {  // a machine that restarts for ever tells nobody why
    if (!started) stele::initrd::Say("STOPPED: " + stele::Describe(started.error()));
    std::this_thread::sleep_for(std::chrono::seconds(30));
  }
}
