// stele-state: opens the state partition, and makes it at the first start. Run once in a start by the init, as root,
// from the verified root file system, before the write-once guard is armed and before anything else runs.
//
//   stele-state --state DEVICE [--seed DEVICE] [--site DEVICE] [--confirmed]
//       0: /dev/mapper/stele-state is there;  1: it stays closed
//
// One line for people goes to standard output (a file of the init's), the recovery key to the console and nowhere else.
// Approval and PCR key are where the init has put them.
//
// A site is a seed that somebody brings along; where both are there, the site is looked at first.
//
//   what is on it       seed or site    then
//   zeros               yes             sealed, formatted, the seed's files copied, the seed wiped: the first start
//   unfinished          yes             the same again: a first start was cut off, and nothing was ever kept
//   zeros, unfinished   no              closed
//   ours                no key in it    unsealed and opened; a seed that is still there is wiped, a site left alone
//   ours                recovery.key    the same, and the seed's files copied first (site_files.h)
//   ours, not unsealed  recovery.key    sealed to this TPM and opened, the seed's files copied, the seed wiped
//   anything else       -               closed; never written to
//
// --confirmed: the image that runs is the one that updates have confirmed; where it opens the partition, the version
// index is raised to it, and older images open it no more.
//
// In every case that meets a TPM, PCR 11 is extended before this ends: from then on nobody unseals the key.
#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <optional>
#include <thread>

#include "appliance/base/system.h"
#include "firmware/state/luks.h"
#include "firmware/state/site_files.h"
#include "firmware/state/vault.h"

namespace {

using namespace stele;
using namespace stele::state;

constexpr const char* kTpm = "/dev/tpmrm0";
constexpr const char* kApproval = "/run/stele-boot/approval.json";
constexpr const char* kPcrKey = "/run/stele-boot/approval.pem";
constexpr const char* kSeedFolder = "/run/stele-seed";
constexpr const char* kSiteFolder = "/run/stele-site";
constexpr const char* kStateFolder = "/run/stele-state";  // while the seed's files are copied
constexpr SiteOwner kOwner{900, 900};                     // the user stele of the image
constexpr const char* kMakeFileSystem = "/usr/sbin/mke2fs";
constexpr int kTpmTimeoutMs = 120'000;
constexpr auto kTpmPatience = std::chrono::seconds(3);
constexpr std::size_t kSmallFileBytesMax = 65536;

struct Devices {
  std::string state;
  std::string seed;  // empty: there is none
  std::string site;  // the same on a disk that somebody brings along
  bool confirmed = false;
};

Result<std::string> TextOf(const std::string& path) {
  STELE_TRY(const Bytes bytes, ReadFile(path, kSmallFileBytesMax));
  return std::string(AsText(bytes));
}

// Files that say what the appliance is, mounted while this lives.
class Seed {
 public:
  Seed(std::string device, const char* folder) : device_(std::move(device)), folder_(folder) {
    if (device_.empty()) return;
    (void)::mkdir(folder_, 0700);  // the mount says what is wrong
    mounted_ = ::mount(device_.c_str(), folder_, "ext4", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) == 0;
  }
  Seed(const Seed&) = delete;
  Seed& operator=(const Seed&) = delete;
  ~Seed() { Unmount(); }

  [[nodiscard]] bool there() const { return mounted_; }
  [[nodiscard]] const char* folder() const { return folder_; }
  [[nodiscard]] std::optional<std::string> RecoveryKey() const {
    if (!mounted_) return std::nullopt;
    const std::string path = std::string(folder_) + "/recovery.key";
    std::error_code none;
    if (std::filesystem::symlink_status(path, none).type() != std::filesystem::file_type::regular) return std::nullopt;
    const auto text = TextOf(path);
    if (!text) return std::nullopt;
    return text->substr(0, text->find_first_of("\r\n"));
  }
  // Zeros over all of it: keys were in it.
  [[nodiscard]] Result<void> Wipe() {
    if (!mounted_) return {};
    Unmount();
    const UniqueFd file(::open(device_.c_str(), O_WRONLY | O_CLOEXEC));
    if (!file.valid()) return FailErrno("open " + device_);
    const off_t size = ::lseek(file.get(), 0, SEEK_END);
    const Bytes zeros(std::size_t{1} << 20U);
    for (off_t at = 0; at < size; at += static_cast<off_t>(zeros.size())) {
      const auto part = std::min<std::size_t>(zeros.size(), static_cast<std::size_t>(size - at));
      if (::pwrite(file.get(), zeros.data(), part, at) != static_cast<ssize_t>(part))
        return FailErrno("wipe " + device_);
    }
    if (::fsync(file.get()) != 0) return FailErrno("wipe " + device_);
    return {};
  }

 private:
  void Unmount() {
    if (mounted_ && ::umount(folder_) == 0) mounted_ = false;
  }
  std::string device_;
  const char* folder_;
  bool mounted_ = false;
};

Result<Vault> OpenVault() {
  const auto end = std::chrono::steady_clock::now() + kTpmPatience;
  UniqueFd tpm;
  for (;;) {
    tpm.reset(::open(kTpm, O_RDWR | O_CLOEXEC));
    if (tpm.valid()) break;
    if (std::chrono::steady_clock::now() >= end)
      return Fail(Code::kDenied,
                  "there is no TPM; switch it on in the firmware's set-up, or use the recovery key on another machine");
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return Vault::Open(std::move(tpm), kTpmTimeoutMs);
}

Result<void> TakeApproval(Vault& vault) {
  STELE_TRY(const std::string text, TextOf(kApproval));
  STELE_TRY(Approval approval, ParseApproval(text));
  STELE_TRY(const std::string key, TextOf(kPcrKey));
  return vault.Take(std::move(approval), key);
}

// 128 bits as eight groups of four digits, which is what is typed in.
std::string NewRecoveryKey() {
  std::array<std::byte, 16> random{};
  SystemEntropy().Fill(random);
  const std::string digits = HexOf(random);
  std::string text;
  for (std::size_t at = 0; at < digits.size(); at += 4) text += (at == 0 ? "" : "-") + digits.substr(at, 4);
  return text;
}

void ShowOnce(const std::string& recovery_key) {
  const UniqueFd console(::open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC));
  const std::string text =
      "\r\nstele: RECOVERY KEY of the state partition, shown this once and kept nowhere: " + recovery_key +
      "\r\nstele: write it down; without it nothing but this TPM opens the partition\r\n\r\n";
  (void)!::write(console.get(), text.data(), text.size());  // there is no other place to show it
}

Result<void> MakeFileSystem() {
  const std::string device = std::string("/dev/mapper/") + kMapped;
  const pid_t child = ::fork();
  if (child < 0) return FailErrno("fork");
  if (child == 0) {
    ::execl(kMakeFileSystem, kMakeFileSystem, "-q", "-F", "-t", "ext4", "-L", "stele-state", "-E",
            "root_owner=900:900,lazy_itable_init=1,nodiscard", device.c_str(), nullptr);
    ::_exit(127);
  }
  int status = 0;
  if (::waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return Fail(Code::kIo, "mke2fs could not make the file system");
  const UniqueFd made(::open(device.c_str(), O_RDWR | O_CLOEXEC));
  if (!made.valid() || ::fsync(made.get()) != 0) return FailErrno("keep the file system");
  return {};
}

// Into the open container.
Result<std::size_t> CopyFrom(const Seed& seed) {
  (void)::mkdir(kStateFolder, 0700);  // the mount says what is wrong
  const std::string device = std::string("/dev/mapper/") + kMapped;
  if (::mount(device.c_str(), kStateFolder, "ext4", MS_NOSUID | MS_NODEV | MS_NOEXEC, "errors=remount-ro") != 0)
    return FailErrno("mount the state partition");
  auto copied = CopySiteFiles(seed.folder(), kStateFolder, kOwner);
  if (::umount(kStateFolder) != 0) return FailErrno("unmount the state partition");
  return copied;
}

// What the TPM has to be asked for, before it is locked.
struct Key {
  Hash secret{};
  std::optional<SealedKey> fresh;  // sealed in this start, to be written to the header
  std::string recovery;            // that it was sealed with, at a recovery
  Key() = default;
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;
  ~Key() { OPENSSL_cleanse(secret.data(), secret.size()); }
};

Result<void> SealFresh(Vault& vault, Key& key) {
  SystemEntropy().Fill(key.secret);
  STELE_TRY(key.fresh, vault.Seal(key.secret));
  return {};
}

// What a start may be given: the partition of the disk's own, and one that was brought along.
struct Seeds {
  Seed own;
  Seed brought;
  [[nodiscard]] bool there() const { return own.there() || brought.there(); }
  [[nodiscard]] std::optional<std::string> RecoveryKey() const {
    auto key = brought.RecoveryKey();
    return key ? key : own.RecoveryKey();
  }
};

Result<void> Obtain(Vault& vault, const Devices& devices, const Seeds& seeds, Content content, Key& key) {
  if (content != Content::kOurs) return SealFresh(vault, key);
  const auto unsealed = [&]() -> Result<void> {
    STELE_TRY(const Container container, Container::Load(devices.state));
    STELE_TRY(const SealedKey sealed, container.Token());
    return vault.Unseal(sealed, key.secret);
  }();
  if (unsealed) return {};
  const auto recovery = seeds.RecoveryKey();
  if (!recovery) return unsealed;
  key.recovery = *recovery;
  return SealFresh(vault, key);
}

Result<std::string> FirstStart(const Devices& devices, Seeds& seeds, const Key& key) {
  const std::string recovery = NewRecoveryKey();
  STELE_TRY(Container container, Container::Format(devices.state, key.secret, *key.fresh, recovery));
  STELE_TRY_VOID(container.Open(key.secret));
  STELE_TRY_VOID(MakeFileSystem());
  STELE_TRY_VOID(CopyFrom(seeds.brought.there() ? seeds.brought : seeds.own));
  ShowOnce(recovery);
  STELE_TRY_VOID(container.Finish());
  STELE_TRY_VOID(seeds.own.Wipe());
  STELE_TRY_VOID(seeds.brought.Wipe());
  return "encrypted, sealed to this TPM; made at this start";
}

std::string WipeAfter(Seed& seed, const std::string& words) {
  const auto wiped = seed.Wipe();
  return words + (wiped ? "" : "; what brought them could NOT be wiped: " + wiped.error().context);
}

// A change of the site: whoever has the recovery key may. What is refused changes nothing and is left where it is.
std::string ChangeSite(const Container& container, Seed& seed) {
  const auto recovery = seed.RecoveryKey();
  if (!recovery) return "; files were brought without recovery.key and are left alone";
  constexpr const char* kNotTaken = "; the files that were brought are NOT taken: ";
  if (const auto opens = container.Recovers(*recovery); !opens) return kNotTaken + opens.error().context;
  const auto copied = CopyFrom(seed);
  if (!copied && copied.error().code == Code::kDenied) return kNotTaken + copied.error().context;
  if (!copied) return "; the files that were brought are taken IN PART: " + copied.error().context;
  return WipeAfter(seed, *copied == 0 ? "" : "; files of the site taken: " + std::to_string(*copied));
}

Result<std::string> LaterStart(const Devices& devices, Seeds& seeds, const Key& key) {
  STELE_TRY(Container container, Container::Load(devices.state));
  if (key.fresh) STELE_TRY_VOID(container.Reseal(key.recovery, key.secret, *key.fresh));
  STELE_TRY_VOID(container.Open(key.secret));
  std::string words =
      key.fresh ? "encrypted, sealed to this TPM anew with the recovery key" : "encrypted, sealed to this TPM";
  if (seeds.brought.there()) words += ChangeSite(container, seeds.brought);
  if (!seeds.own.there()) return words;
  // Without a recovery key: a first start has taken it, and was cut off before it wiped.
  return words + (seeds.own.RecoveryKey() ? ChangeSite(container, seeds.own) : WipeAfter(seeds.own, ""));
}

Result<std::string> OpenState(const Devices& devices) {
  STELE_TRY(Vault vault, OpenVault());
  Seeds seeds{{devices.seed, kSeedFolder}, {devices.site, kSiteFolder}};
  Key key;
  auto content = ContentOf(devices.state);
  const auto obtained = [&]() -> Result<void> {
    if (!content) return tl::unexpected(content.error());
    STELE_TRY_VOID(TakeApproval(vault));
    if (*content == Content::kForeign)
      return Fail(Code::kDenied,
                  "it holds something that is not ours and was not touched; give the machine the disk of this "
                  "appliance, or a new one");
    if (*content != Content::kOurs && !seeds.there())
      return Fail(Code::kDenied,
                  "it is empty and there is nothing to make it from (partition stele-seed); write a new disk");
    return Obtain(vault, devices, seeds, *content, key);
  }();
  const auto raised = obtained && devices.confirmed ? vault.RaiseVersion() : Result<void>();
  STELE_TRY_VOID(vault.Lock());
  if (!obtained) return tl::unexpected(obtained.error());
  STELE_TRY(std::string words,
            *content == Content::kOurs ? LaterStart(devices, seeds, key) : FirstStart(devices, seeds, key));
  if (!raised) words += "; OLDER IMAGES ARE NOT SHUT OUT: " + Describe(raised.error());
  return words;
}

}  // namespace

int main(int argc, char** argv) {
  Devices devices;
  CLI::App app{"Opens the state partition of an appliance; the init runs it"};
  app.add_option("--state", devices.state, "the partition")->required();
  app.add_option("--seed", devices.seed, "what the first start makes it from");
  app.add_option("--site", devices.site, "the same on a disk that was brought along");
  app.add_flag("--confirmed", devices.confirmed, "raise the version index to this image");
  try {
    app.parse(argc, argv);
    const auto opened = OpenState(devices);
    const std::string words = opened                                 ? *opened
                              : opened.error().code == Code::kDenied ? "CLOSED: " + opened.error().context
                                                                     : "CLOSED: " + Describe(opened.error());
    std::printf("%s\n", words.c_str());
    return std::fflush(stdout) == 0 && opened ? 0 : 1;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const std::exception& error) {
    std::printf("CLOSED: %s\n", error.what());
    return 1;
  }
}
