#include "firmware/initrd/state.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>

#include "firmware/initrd/system.h"

namespace stele::initrd {
namespace {

constexpr const char* kOpener = "/usr/lib/stele/stele-state";
constexpr const char* kMapped = "/dev/mapper/stele-state";
constexpr const char* kPlace = "/var/lib/stele";
constexpr const char* kDefaultName = "stele";
constexpr std::size_t kHostNameMax = 63;
constexpr const char* kWords = "/run/stele-boot/state";

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
  for (const char* folder : {"/network", "/time"}) {  // of the site; there before anybody else could make them
    if (::mkdir((std::string(kPlace) + folder).c_str(), 0755) != 0 && errno != EEXIST)
      return FailErrno(std::string("make ") + kPlace + folder);
  }
  return {};
}

// The site's file `hostname`: one label. It goes into the certificates that the appliance makes.
void NameMachine() {
  std::string name = ReadText(std::string(kPlace) + "/hostname").value_or("");
  name = name.substr(0, name.find_first_of("\r\n"));
  const bool usable = !name.empty() && name.size() <= kHostNameMax &&
                      name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos;
  if (!name.empty() && !usable) Say("the site's hostname is not used: at most 63 of a-z, 0-9 and -");
  if (!usable) name = kDefaultName;
  if (::sethostname(name.data(), name.size()) != 0) Say("the machine could not be given its name");
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

StateOutcome OpenState(const Partitions& partitions, bool confirmed) {
  const auto state = partitions.Only("stele-state");
  if (!state) return {false, "missing: " + state.error().context};
  std::vector<std::string> command = {kOpener, "--state", state->node};
  if (const auto seed = partitions.Only("stele-seed")) command.insert(command.end(), {"--seed", seed->node});
  if (const auto site = partitions.Only("stele-site")) command.insert(command.end(), {"--site", site->node});
  if (confirmed) command.emplace_back("--confirmed");
  const auto status = Run(command, kWords);
  if (!status) return {false, "CLOSED: " + status.error().context};
  std::string words = ReadText(kWords).value_or("");
  words = words.substr(0, words.find('\n'));
  if (words.empty()) words = "CLOSED: stele-state ended with " + std::to_string(*status) + " and said nothing";
  if (*status != 0) return {false, words};
  const auto mounted = MountOpened();
  if (!mounted) return {false, "opened, but unusable: " + mounted.error().context};
  NameMachine();
  return {true, words};
}

}  // namespace stele::initrd
