#include "appliance/sandbox/landlock.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

#include "appliance/base/fd.h"

namespace stele::sandbox {
namespace {

// From the kernel's include/uapi/linux/landlock.h: a stable interface, repeated here because a kernel may know more than
// the headers it was built with. DO NOT CHANGE.
struct RulesetAttr {
  std::uint64_t handled_access_fs = 0;
  std::uint64_t handled_access_net = 0;  // ABI 4
  std::uint64_t scoped = 0;              // ABI 6
};
struct [[gnu::packed]] PathBeneathAttr {
  std::uint64_t allowed_access = 0;
  std::int32_t parent_fd = -1;
};
constexpr unsigned kCreateRulesetVersion = 1;
struct NetPortAttr {  // ABI 4
  std::uint64_t allowed_access = 0;
  std::uint64_t port = 0;
};
constexpr int kRulePathBeneath = 1;
constexpr int kRuleNetPort = 2;

constexpr std::uint64_t kExecute = 1ULL << 0U;
constexpr std::uint64_t kWriteFile = 1ULL << 1U;
constexpr std::uint64_t kReadFile = 1ULL << 2U;
constexpr std::uint64_t kReadDir = 1ULL << 3U;
constexpr std::uint64_t kRemoveDir = 1ULL << 4U;
constexpr std::uint64_t kRemoveFile = 1ULL << 5U;
constexpr std::uint64_t kMakeDir = 1ULL << 7U;
constexpr std::uint64_t kMakeReg = 1ULL << 8U;
constexpr std::uint64_t kAllOfAbi1 = (1ULL << 13U) - 1;  // execute ... make_sym
constexpr std::uint64_t kRefer = 1ULL << 13U;            // ABI 2
constexpr std::uint64_t kTruncate = 1ULL << 14U;         // ABI 3
constexpr std::uint64_t kIoctlDevice = 1ULL << 15U;      // ABI 5
constexpr std::uint64_t kBindAndConnectTcp = 3;          // ABI 4
constexpr std::uint64_t kConnectTcp = 2;
constexpr std::uint64_t kAbstractUnixAndSignal = 3;      // ABI 6

constexpr std::uint64_t kMeaningfulForAFile = kExecute | kWriteFile | kReadFile | kTruncate | kIoctlDevice;

std::uint64_t HandledFiles(int abi) {
  std::uint64_t handled = kAllOfAbi1;
  if (abi >= 2) handled |= kRefer;
  if (abi >= 3) handled |= kTruncate;
  if (abi >= 5) handled |= kIoctlDevice;
  return handled;
}

std::uint64_t RightsOf(Access access) {
  const std::uint64_t read = kReadFile | kReadDir;
  const std::uint64_t append = read | kWriteFile | kTruncate | kMakeReg | kMakeDir;
  switch (access) {
    case Access::kRead: return read;
    case Access::kAppend: return append;
    case Access::kReplace: return append | kRemoveFile | kRemoveDir;
  }
  return 0;
}

Result<void> AddPath(int ruleset, const PathRule& rule, std::uint64_t handled) {
  const UniqueFd parent(::open(rule.path.c_str(), O_PATH | O_CLOEXEC));
  if (!parent.valid()) return FailErrno("sandbox: open " + rule.path.string());
  struct stat status {};
  if (::fstat(parent.get(), &status) != 0) return FailErrno("sandbox: stat " + rule.path.string());
  PathBeneathAttr beneath;
  beneath.allowed_access = RightsOf(rule.access) & handled;
  if (!S_ISDIR(status.st_mode)) beneath.allowed_access &= kMeaningfulForAFile;
  beneath.parent_fd = parent.get();
  if (::syscall(SYS_landlock_add_rule, ruleset, kRulePathBeneath, &beneath, 0U) != 0) {
    return FailErrno("sandbox: landlock rule for " + rule.path.string());
  }
  return {};
}

Result<void> AddPort(int ruleset, std::uint16_t port) {
  const NetPortAttr attributes{kConnectTcp, port};
  if (::syscall(SYS_landlock_add_rule, ruleset, kRuleNetPort, &attributes, 0U) != 0)
    return FailErrno("sandbox: landlock rule for port " + std::to_string(port));
  return {};
}

}  // namespace

int LandlockAbi() {
  const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, std::size_t{0}, kCreateRulesetVersion);
  return abi > 0 ? static_cast<int>(abi) : 0;
}

Result<void> EnterLandlock(int abi, const std::vector<PathRule>& paths, const std::vector<std::uint16_t>& connect_ports,
                           std::vector<std::string>& missing) {
  if (abi == 0) {
    missing.emplace_back("the kernel has no Landlock: files are limited by seccomp and permissions only");
    return {};
  }
  if (abi < 3) missing.emplace_back("Landlock " + std::to_string(abi) + " cannot limit truncation");
  RulesetAttr attributes;
  attributes.handled_access_fs = HandledFiles(abi);
  // Network and signals: seccomp refuses both already (no socket, no kill), so an older ABI loses nothing here, but for
  // who may connect.
  if (abi < 4 && !connect_ports.empty()) missing.emplace_back("Landlock " + std::to_string(abi) + " cannot limit where to connect");
  if (abi >= 4) attributes.handled_access_net = kBindAndConnectTcp;
  if (abi >= 6) attributes.scoped = kAbstractUnixAndSignal;
  const std::size_t attributes_bytes = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
  const UniqueFd ruleset(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, attributes_bytes, 0U)));
  if (!ruleset.valid()) return FailErrno("sandbox: create a Landlock ruleset");
  for (const PathRule& rule : paths) STELE_TRY_VOID(AddPath(ruleset.get(), rule, attributes.handled_access_fs));
  if (abi >= 4) {
    for (const std::uint16_t port : connect_ports) STELE_TRY_VOID(AddPort(ruleset.get(), port));
  }
  if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0U) != 0) return FailErrno("sandbox: enter Landlock");
  return {};
}

}  // namespace stele::sandbox
