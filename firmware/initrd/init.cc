// The first process: everything that happens between the signed image and systemd.
//
// In this order: modules, drivers, partitions, root behind dm-verity, root entered, update looked for, state partition opened by
// the TPM, expired units of the log reclaimed, log partitions sealed and handed over, doors of the kernel closed,
// write-once guard armed with the seals, systemd. It takes no parameter from the command line or from any disk; what it
// needs to know is in the initial RAM disk. What goes wrong before there is a root file system stops the machine with
// one clear sentence on the console; what goes wrong with state, logs or an update does not: systemd starts, says so
// and keeps nothing. In the trial of an update the machine does not stop: it restarts, and the firmware takes the slot
// that ran before. A trial that hangs is restarted by the hardware's watchdog, where there is one.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "appliance/base/fd.h"
#include "firmware/guard/guard.h"
#include "firmware/initrd/logs.h"
#include "firmware/initrd/modules.h"
#include "firmware/initrd/partitions.h"
#include "firmware/initrd/reclaim.h"
#include "firmware/initrd/state.h"
#include "firmware/initrd/system.h"
#include "firmware/initrd/update.h"
#include "firmware/initrd/verity.h"
#include "firmware/initrd/watchdog.h"

namespace stele::initrd {
namespace {

using update::NameOf;
using update::OtherThan;
using update::RootPartition;
using update::Slot;
using update::TreePartition;

constexpr const char* kRoot = "/sysroot";
constexpr const char* kSystemd = "/usr/lib/systemd/systemd";
constexpr auto kDiskPatience = std::chrono::seconds(20);      // since a driver was loaded
constexpr auto kDiskPatienceMax = std::chrono::minutes(10);  // whatever goes on appearing

void MountKernelFileSystems() {
  const auto mount = [](const char* type, const char* where, const char* options) {
    if (auto done = Mount(type, where, type, MS_NOSUID | MS_NOEXEC, options); !done) Say(Describe(done.error()));
  };
  mount("devtmpfs", "/dev", nullptr);
  mount("proc", "/proc", nullptr);
  mount("sysfs", "/sys", nullptr);
  mount("tmpfs", "/run", "mode=0755,nr_inodes=65536,size=64m");
}

// Both slots and the state, and time for a disk that somebody plugged in; what is not there after some time is missed
// later, by who needs it. A trial is watched from the moment the watchdog has its driver.
Partitions WaitForDisk(Drivers& drivers, bool trial) {
  const auto begin = std::chrono::steady_clock::now();
  bool watched = false;
  for (;;) {
    drivers.LoadForWhatIsThere();
    if (trial && !watched) watched = ArmWatchdog();
    Partitions partitions = Partitions::OfThisMachine();
    bool complete = partitions.Only("stele-state").has_value();
    for (const Slot slot : {Slot::kA, Slot::kB})
      complete = complete && partitions.Only(RootPartition(slot)) && partitions.Only(TreePartition(slot));
    const auto now = std::chrono::steady_clock::now();
    const bool patient = now < drivers.last() + kDiskPatience && now < begin + kDiskPatienceMax;
    if ((complete && drivers.Settled()) || !patient) return partitions;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

// The slot is found by what it holds: the same image starts from both.
Result<Slot> MountRoot(const Partitions& partitions) {
  STELE_TRY(const std::string text, ReadText("/root.conf"));
  STELE_TRY(const RootDescription root, ParseRootDescription(text));
  const Slot likely = LikelySlot();
  for (const Slot slot : {likely, OtherThan(likely)}) {
    const auto data = partitions.Only(RootPartition(slot));
    const auto tree = partitions.Only(TreePartition(slot));
    if (!data || !tree) {
      Say("slot " + NameOf(slot) + ": " + (data ? tree : data).error().context);
      continue;
    }
    if (!HoldsRoot(root, data->node, tree->node)) continue;
    STELE_TRY(const std::string node, OpenVerity(root, data->node, tree->node));
    Say("root " + data->node + " behind verity, root hash " + root.hash);
    STELE_TRY_VOID(Mount(node, kRoot, "erofs", MS_RDONLY | MS_NOSUID | MS_NODEV));
    return slot;
  }
  return Fail(Code::kCorrupt, "no slot holds the root file system of this image, root hash " + root.hash);
}

Result<void> MountScratch() {
  for (const char* where : {"/tmp", "/var/tmp"}) {
    STELE_TRY_VOID(
        Mount("tmpfs", std::string(kRoot) + where, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=16m"));
  }
  return {};
}

Result<guard::Guard> LoadGuard() {
  STELE_TRY_VOID(Mount("bpf", "/guard", "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"));
  STELE_TRY(const auto object, ReadAll("/write_once.bpf.o", 1 << 20));
  return guard::Guard::Load(object, "/guard");
}

Result<void> ArmGuard(guard::Guard& guard, const std::vector<guard::LogPartition>& logs, std::uint64_t variable) {
  STELE_TRY(const std::string devices, ReadText("/proc/devices"));
  STELE_TRY(const std::string misc, ReadText("/proc/misc"));
  return guard.Arm(logs, guard::OpenCharacters(devices, misc), variable);
}

// What is plugged in later gets no driver; the guard keeps it so. Best effort: a machine without USB has none of these.
void CloseUsb() {
  constexpr const char* kUsb = "/sys/bus/usb/devices/";
  for (const std::string& name : Names(kUsb)) {
    if (!name.starts_with("usb")) continue;
    if (auto closed = WriteText(kUsb + name + "/authorized_default", "0"); !closed) Say(Describe(closed.error()));
  }
}

// None of these can be opened again before the machine restarts.
Result<void> CloseDoors() {
  CloseUsb();
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

// What is known of updates, to the console at once: a restart may follow.
void SayFacts(std::string_view facts) {
  while (!facts.empty()) {
    const std::string_view line = facts.substr(0, facts.find('\n'));
    facts.remove_prefix(std::min(facts.size(), line.size() + 1));
    Say(line);
  }
}

Result<void> Start(bool& trial) {
  MountKernelFileSystems();
  const auto loaded = LoadModules();
  trial = BeginTrial();
  STELE_TRY_VOID(loaded);
  Drivers drivers;
  const Partitions partitions = WaitForDisk(drivers, trial);
  STELE_TRY(guard::Guard guard, LoadGuard());
  STELE_TRY(const Slot slot, MountRoot(partitions));
  STELE_TRY_VOID(MountScratch());
  const Partitions settled = Partitions::OfThisMachine();  // the kernel finds them one after the other
  (void)::mkdir("/run/stele-boot", 0755);                  // the next lines fail if it is not there
  KeepApproval();
  STELE_TRY_VOID(EnterRoot());
  const UpdateOutcome update = RunUpdate(slot, trial);
  SayFacts(update.facts);
  if (update.restart) RestartMachine();
  const StateOutcome state = OpenState(settled, update.confirmed);
  // Before anything is sealed. Not in a trial: what ran before may have to read this log again.
  const std::string reclaimed = state.mounted && !trial ? Reclaim(settled) : std::string();
  const LogsOutcome logs = HandOverLogs(settled);
  std::string facts = update.facts + "state " + state.words + "\nlogs " + logs.words + "\n";
  if (!reclaimed.empty()) facts += "reclaimed " + reclaimed + "\n";
  STELE_TRY_VOID(WriteText("/run/stele-boot/facts", facts));
  if (state.mounted) STELE_TRY_VOID(WriteText("/run/stele-boot/state-is-mounted", ""));
  STELE_TRY_VOID(CloseDoors());
  Say("state partition: " + state.words);
  if (!reclaimed.empty()) Say("reclaimed: " + reclaimed);
  STELE_TRY_VOID(ArmGuard(guard, logs.logs, HandOutBootOrder(trial)));
  Say("write-once guard armed: " + logs.words);
  if (trial) (void)ArmWatchdog();  // all of its time for systemd
  ::execl(kSystemd, kSystemd, nullptr);
  return FailErrno(std::string("start ") + kSystemd);
}

}  // namespace
}  // namespace stele::initrd

int main() {
  bool trial = false;
  const auto started = stele::initrd::Start(trial);
  if (trial) {
    if (!started) stele::initrd::Say("the trial failed: " + stele::Describe(started.error()));
    stele::initrd::RestartMachine();
  }
  for (;;) {  // a machine that restarts for ever tells nobody why
    if (!started) stele::initrd::Say("STOPPED: " + stele::Describe(started.error()));
    std::this_thread::sleep_for(std::chrono::seconds(30));
  }
}
