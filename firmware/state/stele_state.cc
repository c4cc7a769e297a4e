// stele-state: opens the state partition, and makes it at the first start. Run once in a start by the init, as root,
// from the verified root file system, before the write-once guard is armed and before anything else runs.
//
//   stele-state --state DEVICE [--seed DEVICE]     0: /dev/mapper/stele-state is there;  1: it stays closed
//
// One line for people goes to standard output (a file of the init's), the recovery key to the console and nowhere else.
// Approval and PCR key are where the init has put them.
//
//   what is on it       seed there      then
//   zeros               yes             sealed, formatted, the seed's files copied, the seed wiped: the first start
//   unfinished          yes             the same again: a first start was cut off, and nothing was ever kept
//   zeros, unfinished   no              closed
//   ours                -               unsealed and opened; a seed that is still there is wiped
//   ours, not unsealed  recovery.key    sealed to this TPM and opened, the seed wiped
//   anything else       -               closed; never written to
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
#include <optional>
#include <thread>

#include "appliance/base/system.h"
#include "firmware/state/luks.h"
#include "firmware/state/vault.h"

namespace {

using namespace stele;
using namespace stele::state;

constexpr const char* kTpm = "/dev/tpmrm0";
constexpr const char* kApproval = "/run/stele-boot/approval.json";
constexpr const char* kPcrKey = "/run/stele-boot/approval.pem";
constexpr const char* kSeedFolder = "/run/stele-seed";
constexpr const char* kMakeFileSystem = "/usr/sbin/mke2fs";
constexpr int kTpmTimeoutMs = 120'000;
constexpr auto kTpmPatience = std::chrono::seconds(3);
constexpr std::size_t kSmallFileBytesMax = 65536;

struct Devices {
  std::string state;
  std::string seed;  // empty: there is none
};

Result<std::string> TextOf(const std::string& path) {
  STELE_TRY(const Bytes bytes, ReadFile(path, kSmallFileBytesMax));
  return std::string(AsText(bytes));
}

// The files of the first start, mounted while this lives.
class Seed {
 public:
  explicit Seed(std::string device) : device_(std::move(device)) {
    if (device_.empty()) return;
    (void)::mkdir(kSeedFolder, 0700);  // the mount says what is wrong
    mounted_ =
        ::mount(device_.c_str(), kSeedFolder, "ext4", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) == 0;
  }
  Seed(const Seed&) = delete;
  Seed& operator=(const Seed&) = delete;
  ~Seed() { Unmount(); }

  [[nodiscard]] bool there() const { return mounted_; }
  [[nodiscard]] std::optional<std::string> RecoveryKey() const {
    if (!mounted_) return std::nullopt;
    const auto text = TextOf(std::string(kSeedFolder) + "/recovery.key");
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
    if (mounted_ && ::umount(kSeedFolder) == 0) mounted_ = false;
  }
  std::string device_;
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
            "root_owner=900:900,lazy_itable_init=1,nodiscard", "-d", kSeedFolder, device.c_str(), nullptr);
    ::_exit(127);
  }
  int status = 0;
  if (::waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return Fail(Code::kIo, "mke2fs could not make the file system");
  const UniqueFd made(::open(device.c_str(), O_RDWR | O_CLOEXEC));
  if (!made.valid() || ::fsync(made.get()) != 0) return FailErrno("keep the file system");
  return {};
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

Result<void> Obtain(Vault& vault, const Devices& devices, const Seed& seed, Content content, Key& key) {
  if (content != Content::kOurs) return SealFresh(vault, key);
  const auto unsealed = [&]() -> Result<void> {
    STELE_TRY(const Container container, Container::Load(devices.state));
    STELE_TRY(const SealedKey sealed, container.Token());
    return vault.Unseal(sealed, key.secret);
  }();
  if (unsealed) return {};
  const auto recovery = seed.RecoveryKey();
  if (!recovery) return unsealed;
  key.recovery = *recovery;
  return SealFresh(vault, key);
}

Result<std::string> FirstStart(const Devices& devices, Seed& seed, const Key& key) {
  const std::string recovery = NewRecoveryKey();
  STELE_TRY(Container container, Container::Format(devices.state, key.secret, *key.fresh, recovery));
  STELE_TRY_VOID(container.Open(key.secret));
  STELE_TRY_VOID(MakeFileSystem());
  ShowOnce(recovery);
  STELE_TRY_VOID(container.Finish());
  STELE_TRY_VOID(seed.Wipe());
  return "encrypted, sealed to this TPM; made at this start";
}

Result<std::string> LaterStart(const Devices& devices, Seed& seed, const Key& key) {
  STELE_TRY(Container container, Container::Load(devices.state));
  if (key.fresh) STELE_TRY_VOID(container.Reseal(key.recovery, key.secret, *key.fresh));
  STELE_TRY_VOID(container.Open(key.secret));
  STELE_TRY_VOID(seed.Wipe());
  return key.fresh ? "encrypted, sealed to this TPM anew with the recovery key" : "encrypted, sealed to this TPM";
}

Result<std::string> OpenState(const Devices& devices) {
  STELE_TRY(Vault vault, OpenVault());
  Seed seed(devices.seed);
  Key key;
  auto content = ContentOf(devices.state);
  const auto obtained = [&]() -> Result<void> {
    if (!content) return tl::unexpected(content.error());
    STELE_TRY_VOID(TakeApproval(vault));
    if (*content == Content::kForeign)
      return Fail(Code::kDenied,
                  "it holds something that is not ours and was not touched; give the machine the disk of this "
                  "appliance, or a new one");
    if (*content != Content::kOurs && !seed.there())
      return Fail(Code::kDenied,
                  "it is empty and there is nothing to make it from (partition stele-seed); write a new disk");
    return Obtain(vault, devices, seed, *content, key);
  }();
  STELE_TRY_VOID(vault.Lock());
  if (!obtained) return tl::unexpected(obtained.error());
  return *content == Content::kOurs ? LaterStart(devices, seed, key) : FirstStart(devices, seed, key);
}

}  // namespace

int main(int argc, char** argv) {
  Devices devices;
  CLI::App app{"Opens the state partition of an appliance; the init runs it"};
  app.add_option("--state", devices.state, "the partition")->required();
  app.add_option("--seed", devices.seed, "what the first start makes it from");
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
