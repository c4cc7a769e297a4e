#include "appliance/sandbox/sandbox.h"

#include <dirent.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "appliance/sandbox/landlock.h"
#include "appliance/sandbox/network.h"
#include "appliance/sandbox/sanitizers.h"
#include "appliance/sandbox/seccomp_filter.h"

namespace stele::sandbox {
namespace {

bool g_locked_down = false;  // read by the leak checker's hook below

std::size_t ThreadCount() {
  DIR* tasks = ::opendir("/proc/self/task");
  if (tasks == nullptr) return 1;  // no /proc: nothing can be said
  std::size_t count = 0;
  while (const dirent* entry = ::readdir(tasks)) count += entry->d_name[0] != '.' ? 1U : 0U;
  (void)::closedir(tasks);
  return count;
}

Result<void> SetLimit(__rlimit_resource resource, rlim_t value) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0) return FailErrno("sandbox: read a resource limit");
  limit.rlim_max = std::min(limit.rlim_max, value);
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(resource, &limit) != 0) return FailErrno("sandbox: set a resource limit");
  return {};
}

// All five sets. An ordinary user has nothing to drop from the bounding set and may not: no_new_privs covers it.
Result<void> DropCapabilities(const std::vector<int>& but) {
  for (int capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 && errno != EPERM) {
      return FailErrno("sandbox: drop a capability from the bounding set");
    }
  }
  (void)::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);  // absent before Linux 4.3, and empty then
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
  if (::syscall(SYS_capget, &header, sets.data()) != 0) return FailErrno("sandbox: read the capabilities");
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> kept{};
  for (const int capability : but) {
    const auto index = static_cast<std::size_t>(CAP_TO_INDEX(static_cast<unsigned>(capability)));
    const std::uint32_t bit = sets.at(index).permitted & CAP_TO_MASK(static_cast<unsigned>(capability));
    kept.at(index).permitted |= bit;
    kept.at(index).effective |= bit;
  }
  // A unit's filter may refuse the call; it is needed only where there is something to drop.
  if (std::memcmp(sets.data(), kept.data(), sizeof sets) == 0) return {};
  if (::syscall(SYS_capset, &header, kept.data()) != 0) return FailErrno("sandbox: drop the capabilities");
  return {};
}

}  // namespace

const char* NetworkName(Network network) {
  switch (network) {
    case Network::kHost:
      return "host";
    case Network::kEmptyNamespace:
      return "empty namespace";
    case Network::kZoneNamespace:
      return "zone namespace";
    case Network::kLoopback:
      return "loopback alone";
    case Network::kUnknown:
      break;
  }
  return "unknown";
}

std::string NetworkOfAll(const std::string& so_far, const std::string& one) {
  if (one.empty()) return so_far;
  if (so_far.empty() || so_far == one || so_far == NetworkName(Network::kZoneNamespace)) return one;
  if (one == NetworkName(Network::kZoneNamespace)) return so_far;
  return NetworkName(Network::kHost);
}

std::string Report::ToJson() const {
  return nlohmann::json{{"landlock_abi", landlock_abi},
                        {"complete", Complete()},
                        {"missing", missing},
                        {"network", NetworkName(network)},
                        {"pid", ::getpid()}}
      .dump();
}

Result<Report> Enter(const Profile& profile) {
  if (!kSanitized && ThreadCount() != 1) {
    return Fail(Code::kInvalid, profile.name + ": the sandbox must be entered before the first thread is made");
  }
  Report report;
  report.network = SeenNetwork(profile.interface);
  g_locked_down = true;
  STELE_TRY_VOID(SetLimit(RLIMIT_CORE, 0));
  if (profile.descriptors_max != 0) STELE_TRY_VOID(SetLimit(RLIMIT_NOFILE, profile.descriptors_max));
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return FailErrno("sandbox: no_new_privs");
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return FailErrno("sandbox: not dumpable");
  report.landlock_abi = LandlockAbi();
  STELE_TRY_VOID(EnterLandlock(report.landlock_abi, profile.paths, profile.connect_ports, report.missing));
  STELE_TRY_VOID(DropCapabilities(profile.capabilities));
  report.capabilities_dropped = true;
  STELE_TRY_VOID(EnterSeccomp(profile));
  return report;
}

Result<Report> LockDown(const Profile& profile) {
  STELE_TRY(Report report, Enter(profile));
  STELE_TRY_VOID(Prove(profile, report));
  return report;
}

Result<void> CloseStrayDescriptors(std::span<const int> keep) {
  std::vector<unsigned> kept;
  for (const int fd : keep) {
    if (fd >= 3) kept.push_back(static_cast<unsigned>(fd));
  }
  std::sort(kept.begin(), kept.end());
  unsigned from = 3;
  for (const unsigned fd : kept) {
    if (fd > from && ::syscall(SYS_close_range, from, fd - 1, 0U) != 0) return FailErrno("close stray descriptors");
    from = fd + 1;
  }
  if (::syscall(SYS_close_range, from, ~0U, 0U) != 0) return FailErrno("close stray descriptors");
  return {};
}

}  // namespace stele::sandbox

#ifdef STELE_SANITIZED
// The leak checker stops the process with ptrace, which no sandbox here allows: a locked-down process is not checked.
extern "C" int __lsan_is_turned_off();
extern "C" int __lsan_is_turned_off() { return stele::sandbox::g_locked_down ? 1 : 0; }
#endif
