// stele-update: applies an update to the slot that does not run, and looks after what became of the last one. Run once
// in a start by the init, as root, from the verified root file system, before the state partition is opened and before
// the write-once guard is armed.
//
//   stele-update --slot a|b [--trial] [--esp DEVICE] [--other-root DEVICE --other-tree DEVICE] [--update DEVICE]
//
// Exit status: 0 the start goes on; 10 the same, and the running image is the confirmed one; 11 an update is in its
// slot and its trial is ordered: restart. Standard output (a file of the init's) gets lines "KEY TEXT" for the console.
//
//   what happens               in this order; the power may go between any two
//   looked at                  head, signature, model, version; then all of it read once, every digest compared
//   taken out of BootOrder     the entry of the slot that is written: nothing starts it by itself
//   written and read back      root and tree to the slot's partitions, the kernel image to the ESP
//   ordered                    the slot's boot entry, the note, BootNext
//
// Whatever stands in the way of an update is said, and the start goes on.
#include <fcntl.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <optional>

#include "appliance/base/fd.h"
#include "appliance/base/system.h"
#include "firmware/state/vault.h"
#include "firmware/update/decision.h"
#include "firmware/update/efi_variables.h"
#include "firmware/update/offer.h"
#include "firmware/update/placing.h"

namespace {

using namespace stele;
using namespace stele::update;

constexpr const char* kOsRelease = "/etc/os-release";
constexpr const char* kTriedPath = "EFI/stele/tried";  // digest of the update that was ordered last
constexpr const char* kUpdateKey = "/usr/lib/stele/update-key.pem";
constexpr const char* kTpm = "/dev/tpmrm0";
constexpr int kTpmTimeoutMs = 60'000;
constexpr std::size_t kSmallFileBytesMax = 65536;
constexpr std::size_t kImageBytesMax = std::size_t{1} << 29U;
constexpr int kGoOn = 0;
constexpr int kGoOnConfirmed = 10;
constexpr int kRestart = 11;

struct Devices {
  std::string esp;
  std::string other_root;
  std::string other_tree;
  std::string update;  // empty: none is offered
};

Result<std::string> TextOf(const std::string& path) {
  STELE_TRY(const Bytes bytes, ReadFile(path, kSmallFileBytesMax));
  return std::string(AsText(bytes));
}

std::string Sentence(const Error& error) { return error.code == Code::kIo ? Describe(error) : error.context; }

// To the console at once: writing takes seconds, and what comes then may be a restart.
void SayNow(const std::string& text) { std::ofstream("/dev/kmsg") << "<5>stele-update: " << text << std::endl; }

std::optional<std::uint64_t> VersionIndex() {
  UniqueFd tpm(::open(kTpm, O_RDWR | O_CLOEXEC));
  if (!tpm.valid()) return std::nullopt;  // then the state partition says what is wrong
  auto vault = state::Vault::Open(std::move(tpm), kTpmTimeoutMs);
  if (!vault) return std::nullopt;
  const auto version = vault->VersionIndex();
  return version ? std::optional(*version) : std::nullopt;
}

Result<std::uint64_t> NumberIn(const std::string& path) {
  STELE_TRY(const std::string text, TextOf(path));
  return std::strtoull(text.c_str(), nullptr, 10);
}

// The ESP as a boot entry names it: by the GUID that the stub was started from.
Result<Esp> EspOf(const EfiVariables& variables, const std::string& device) {
  constexpr std::uint64_t kSectorBytes = 512;  // the unit of sysfs
  const std::string folder = "/sys/class/block/" + device.substr(device.rfind('/') + 1);
  STELE_TRY(const std::uint64_t block_bytes, NumberIn(folder + "/../queue/logical_block_size"));
  STELE_TRY(const std::uint64_t number, NumberIn(folder + "/partition"));
  STELE_TRY(const std::uint64_t start, NumberIn(folder + "/start"));
  STELE_TRY(const std::uint64_t size, NumberIn(folder + "/size"));
  if (block_bytes < kSectorBytes) return Fail(Code::kInvalid, "the disk's blocks have an impossible size");
  STELE_TRY(const Bytes guid, variables.Read(kStubPartition));
  Esp esp;
  STELE_TRY(esp.guid, ParseStubPartition(guid));
  esp.partition = static_cast<std::uint32_t>(number);
  esp.first_block = start * kSectorBytes / block_bytes;
  esp.blocks = size * kSectorBytes / block_bytes;
  return esp;
}

Result<void> Apply(const EfiVariables& variables, const BootState& boot, const Devices& devices, Slot slot,
                   const Offer& offer, const Payload& payload) {
  STELE_TRY(const Esp place, EspOf(variables, devices.esp));
  STELE_TRY_VOID(HasRoomOnDevice(devices.other_tree, payload.tree.size()));
  STELE_TRY_VOID(HasRoomOnDevice(devices.other_root, payload.root.size()));
  {
    STELE_TRY(const MountedEsp esp, MountedEsp::Mount(devices.esp));
    STELE_TRY_VOID(HasRoomForFileTwice(esp.PathOf(ImagePath(slot)), payload.uki.size()));
    const auto tried = ReadFile(esp.PathOf(kTriedPath), kSmallFileBytesMax);
    if (!boot.note && tried && AsText(*tried) == HexOf(offer.digest))
      return Fail(Code::kDenied, "it was tried already, and this machine's firmware forgets what it is told");
  }
  const auto order = Without(boot.order, EntryOf(slot));
  if (order != boot.order) STELE_TRY_VOID(variables.Write(kBootOrder, EncodeEntries(order)));
  SayNow("writing version " + std::to_string(offer.manifest.version) + " to slot " + NameOf(slot));
  STELE_TRY_VOID(PlaceOnDevice(devices.other_tree, payload.tree));
  STELE_TRY_VOID(PlaceOnDevice(devices.other_root, payload.root));
  {
    STELE_TRY(const MountedEsp esp, MountedEsp::Mount(devices.esp));
    STELE_TRY_VOID(PlaceAsFile(esp.PathOf(ImagePath(slot)), payload.uki));
  }
  STELE_TRY_VOID(variables.Write(EntryVariable(slot), EncodeEntry(slot, place)));
  const Note note{Note::State::kOrdered, offer.manifest.version, offer.digest};
  STELE_TRY_VOID(variables.Write(kNote, EncodeNote(note)));
  {  // also where the firmware forgets its variables the same update is ordered once
    STELE_TRY(const MountedEsp esp, MountedEsp::Mount(devices.esp));
    STELE_TRY_VOID(PlaceAsFile(esp.PathOf(kTriedPath), AsBytes(HexOf(offer.digest))));
  }
  STELE_TRY_VOID(variables.Write(kBootNext, EncodeEntries({EntryOf(slot)})));
  SayNow("version " + std::to_string(offer.manifest.version) + " is in slot " + NameOf(slot) +
         "; restarting for its trial");
  return {};
}

// From here on a machine whose firmware has lost its variables starts this image as well.
Result<void> MakeDefault(const Devices& devices, Slot slot) {
  STELE_TRY(const MountedEsp esp, MountedEsp::Mount(devices.esp));
  STELE_TRY(const Bytes image, ReadFile(esp.PathOf(ImagePath(slot)), kImageBytesMax));
  return PlaceAsFile(esp.PathOf(kDefaultImagePath), image);
}

// One start. What it says is in the lines.
class Start {
 public:
  Start(Running running, Devices devices) : running_(std::move(running)), devices_(std::move(devices)) {}

  [[nodiscard]] int Run() {
    boot_ = variables_.ReadBootState();
    running_.regular = IsRegular(boot_);
    Fact("version", std::to_string(running_.image.version) + " in slot " + NameOf(running_.slot));
    const auto confirmed = LookBack();
    if (!confirmed) Fact("update-default", "NOT kept, so no update is taken: " + Sentence(confirmed.error()));
    if (!running_.trial && !devices_.update.empty() && confirmed) {
      const auto applied = TakeOffer();
      if (applied) return kRestart;
      Fact("update-disk", "refused: " + Sentence(applied.error()));
    }
    return confirmed.value_or(false) ? kGoOnConfirmed : kGoOn;
  }

 private:
  static void Fact(const char* key, const std::string& text) { std::printf("%s %s\n", key, text.c_str()); }

  // True: the running image is the confirmed one.
  Result<bool> LookBack() {
    const Review review = ReviewNote(running_, boot_.note, !devices_.update.empty());
    if (!review.words.empty()) Fact("update", review.words);
    if (!review.now || *review.now == boot_.note->state) return review.confirmed;
    if (*review.now == Note::State::kConfirmed) STELE_TRY_VOID(MakeDefault(devices_, running_.slot));
    boot_.note->state = *review.now;
    STELE_TRY_VOID(variables_.Write(kNote, EncodeNote(*boot_.note)));
    return review.confirmed;
  }

  Result<void> TakeOffer() {
    const UniqueFd device(::open(devices_.update.c_str(), O_RDONLY | O_CLOEXEC));
    if (!device.valid()) return FailErrno("open " + devices_.update);
    STELE_TRY(const std::string key, TextOf(kUpdateKey));
    STELE_TRY(const Offer offer, ReadOffer(device.get(), key));
    const std::string why_not = WhyNot(running_, offer.manifest, offer.digest, boot_.note, VersionIndex());
    if (!why_not.empty()) return Fail(Code::kDenied, why_not);
    if (!boot_.current) return Fail(Code::kDenied, "this machine's firmware does not say how it was started");
    if (devices_.esp.empty() || devices_.other_root.empty() || devices_.other_tree.empty())
      return Fail(Code::kDenied, "this disk has no second slot, or no ESP of its own");
    SayNow("version " + std::to_string(offer.manifest.version) + " is offered; reading it");
    STELE_TRY(const Payload payload, ReadPayload(device.get(), offer));
    return Apply(variables_, boot_, devices_, OtherThan(running_.slot), offer, payload);
  }

  Running running_;
  Devices devices_;
  EfiVariables variables_;
  BootState boot_;
};

}  // namespace

int main(int argc, char** argv) {
  Devices devices;
  Running running;
  std::string slot;
  CLI::App app{"Applies an update to the slot that does not run; the init runs it"};
  app.add_option("--slot", slot, "the slot that runs")->required()->check(CLI::IsMember({"a", "b"}));
  app.add_flag("--trial", running.trial, "this start is the trial of an update");
  app.add_option("--esp", devices.esp, "the ESP");
  app.add_option("--other-root", devices.other_root, "partition for the root file system of the other slot");
  app.add_option("--other-tree", devices.other_tree, "partition for its hash tree");
  app.add_option("--update", devices.update, "the partition that holds an update");
  try {
    app.parse(argc, argv);
    const auto text = TextOf(kOsRelease);
    const auto image = text ? ParseIdentity(*text) : Result<Identity>(tl::unexpected(text.error()));
    if (!image) {
      std::printf("update refused: %s\n", Sentence(image.error()).c_str());
      return kGoOn;
    }
    running.image = *image;
    running.slot = slot == "a" ? Slot::kA : Slot::kB;
    const int status = Start(running, devices).Run();
    return std::fflush(stdout) == 0 ? status : 1;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const std::exception& error) {
    std::printf("update refused: %s\n", error.what());
    return kGoOn;
  }
}
