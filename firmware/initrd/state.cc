#include "firmware/initrd/state.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "appliance/base/fd.h"
#include "firmware/initrd/system.h"

namespace stele::initrd {
namespace {

constexpr const char* kOpener = "/usr/lib/stele/stele-state";
constexpr const char* kMapped = "/dev/mapper/stele-state";
constexpr const char* kPlace = "/var/lib/stele";
constexpr const char* kWords = "/run/stele-boot/state";

// Its standard output is the file of the words; what its libraries may say goes to the console.
Result<int> RunOpener(const std::string& state, const std::string& seed) {
  const pid_t child = ::fork();
  if (child < 0) return FailErrno("fork");
  if (child == 0) {
    const int words = ::open(kWords, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (words < 0 || ::dup2(words, STDOUT_FILENO) < 0) ::_exit(126);
    const char* const with_seed = seed.empty() ? nullptr : "--seed";
    ::execl(kOpener, kOpener, "--state", state.c_str(), with_seed, seed.c_str(), nullptr);
    ::_exit(127);
  }
  int status = 0;
  if (::waitpid(child, &status, 0) != child) return FailErrno("wait for stele-state");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// By the kernel's own name of the device, which systemd will hear of; nobody will ever say the other.
Result<std::string> KernelNameOf(const std::string& mapped) {
  struct stat node {};
  if (::stat(mapped.c_str(), &node) != 0) return FailErrno("look for " + mapped);
  return "/dev/dm-" + std::to_string(minor(node.st_rdev));
}

Result<void> MountOpened() {
  STELE_TRY(const std::string node, KernelNameOf(kMapped));
  STELE_TRY_VOID(Mount(node, kPlace, "ext4", MS_NOSUID | MS_NODEV | MS_NOEXEC, "errors=remount-ro"));
  if (::chmod(kPlace, 0700) != 0) return FailErrno(std::string("close ") + kPlace + " to others");
  return {};
}

}  // namespace

void KeepApproval() {
  constexpr struct {
    const char* from;
    const char* to;
  } kKept[] = {{"/.extra/tpm2-pcr-signature.json", "/run/stele-boot/approval.json"},
               {"/.extra/tpm2-pcr-public-key.pem", "/run/stele-boot/approval.pem"}};
  for (const auto& each : kKept) {
    const auto text = ReadText(each.from);
    const auto kept = text ? WriteText(each.to, *text) : Result<void>(tl::unexpected(text.error()));
    if (!kept) Say(Describe(kept.error()));
  }
}

StateOutcome OpenState(const Partitions& partitions) {
  const auto state = partitions.Only("stele-state");
  if (!state) return {false, "missing: " + state.error().context};
  const auto seed = partitions.Only("stele-seed");
  const auto status = RunOpener(state->node, seed ? seed->node : std::string());
  if (!status) return {false, "CLOSED: " + status.error().context};
  std::string words = ReadText(kWords).value_or("");
  words = words.substr(0, words.find('\n'));
  if (words.empty()) words = "CLOSED: stele-state ended with " + std::to_string(*status) + " and said nothing";
  if (*status != 0) return {false, words};
  const auto mounted = MountOpened();
  if (!mounted) return {false, "opened, but unusable: " + mounted.error().context};
  return {true, words};
}

}  // namespace stele::initrd
