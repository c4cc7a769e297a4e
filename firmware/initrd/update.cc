#include "firmware/initrd/update.h"

#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "firmware/initrd/system.h"
#include "firmware/update/efi_variables.h"

namespace stele::initrd {
namespace {

constexpr const char* kProgram = "/usr/lib/stele/stele-update";
constexpr const char* kWords = "/run/stele-boot/update";
constexpr const char* kEsp = "/run/stele-esp";  // where the program mounts it; the guard does not see writes through it
constexpr const char* kTrial = "/run/stele-boot/trial";
constexpr int kConfirmed = 10;  // what the program's exit status says
constexpr int kRestart = 11;

}  // namespace

bool BeginTrial() {
  if (auto mounted = Mount("efivarfs", update::kEfiVariables, "efivarfs", MS_NOSUID | MS_NODEV | MS_NOEXEC); !mounted) {
    Say(Describe(mounted.error()));
    return false;
  }
  const update::EfiVariables variables;
  const update::BootState boot = variables.ReadBootState();
  if (!update::IsTrial(boot)) return false;
  update::Note note = *boot.note;
  note.state = update::Note::State::kStarted;
  if (auto noted = variables.Write(update::kNote, update::EncodeNote(note)); !noted) {
    Say(Describe(noted.error()));
    return false;  // a trial that cannot be noted could go on for ever
  }
  Say("this start is the trial of version " + std::to_string(note.version));
  return true;
}

update::Slot LikelySlot() {
  const auto current = update::EfiVariables().ReadBootState().current;
  return (current ? update::SlotOf(*current) : std::nullopt).value_or(update::Slot::kA);
}

UpdateOutcome RunUpdate(update::Slot slot, bool trial) {
  const Partitions partitions = Partitions::OfThisMachine();  // a disk with an update may have come late
  std::vector<std::string> command = {kProgram, "--slot", update::NameOf(slot)};
  if (trial) command.emplace_back("--trial");
  const update::Slot other = update::OtherThan(slot);
  const auto add = [&](const char* option, const Result<Partition>& partition) {
    if (partition) command.insert(command.end(), {option, partition->node});
  };
  const auto offered = partitions.Only("stele-update");
  add("--esp", partitions.Only("stele-esp"));
  add("--other-root", partitions.Only(update::RootPartition(other)));
  add("--other-tree", partitions.Only(update::TreePartition(other)));
  add("--update", offered);
  const auto status = Run(command, kWords);
  UpdateOutcome outcome;
  if (::umount2(kEsp, 0) == 0) Say("stele-update ended and left the ESP mounted; it is not any more");
  outcome.facts = ReadText(kWords).value_or("");
  if (!offered && offered.error().code == Code::kDenied)
    outcome.facts += "update-disk refused: " + offered.error().context + "\n";
  if (!status || (*status != 0 && *status != kConfirmed && *status != kRestart))
    outcome.facts += "update-failed " +
                     (status ? "stele-update ended with " + std::to_string(*status) : Describe(status.error())) + "\n";
  outcome.restart = status && *status == kRestart;
  outcome.confirmed = status && *status == kConfirmed;
  return outcome;
}

std::uint64_t HandOutBootOrder(bool trial) {
  if (!trial) return 0;
  if (auto said = WriteText(kTrial, ""); !said) Say(Describe(said.error()));
  const std::string path = update::EfiVariables().PathOf(update::kBootOrder);
  struct stat order {};
  if (::stat(path.c_str(), &order) != 0 || ::chown(path.c_str(), kStele, kStele) != 0) {
    Say("the boot order cannot be handed out: this trial will not be confirmed");
    return 0;
  }
  return order.st_ino;
}

void RestartMachine() {
  ::sync();
  for (;;) {
    (void)::reboot(RB_AUTOBOOT);
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
}

}  // namespace stele::initrd
