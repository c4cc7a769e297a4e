// A real swtpm in a temporary directory, and a man in the middle who can be set between it and the device.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>

#include "appliance/base/bytes.h"
#include "appliance/base/fd.h"
#include "appliance/base/system.h"
#include "tpm/device.h"
#include "tpm/provision.h"
#include "tpm/swtpm.h"

namespace stele::tpm::test {

class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Made and started, not provisioned.
class Testbed {
 public:
  Testbed();
  ~Testbed();
  Testbed(const Testbed&) = delete;
  Testbed& operator=(const Testbed&) = delete;

  [[nodiscard]] UniqueFd Connect() const;
  void Provision();  // fills `key_pem` and `result`
  [[nodiscard]] std::unique_ptr<AnchorDevice> Device() const;
  void Reboot();    // orderly
  void PowerCut();  // SIGKILL
  // A shell command with tpm2-tools pointed at this TPM; its exit status. Output goes to <directory>/tool.log.
  [[nodiscard]] int Tool(const std::string& command) const;
  [[nodiscard]] std::filesystem::path File(const std::string& name, ByteView content) const;
  [[nodiscard]] const std::filesystem::path& directory() const { return directory_.path(); }

  std::string key_pem;
  ProvisionResult result;

 private:
  TemporaryDirectory directory_;
  SwtpmProcess process_;
};

// Forwards whole commands and answers, one connection. A rule may answer in the TPM's place (then the TPM never sees the
// command) or change the TPM's answer.
class Meddler {
 public:
  explicit Meddler(UniqueFd to_tpm);
  ~Meddler();
  Meddler(const Meddler&) = delete;
  Meddler& operator=(const Meddler&) = delete;

  [[nodiscard]] UniqueFd TakeDeviceEnd() { return std::move(device_end_); }
  // Call before the device talks, or between two calls of it.
  std::function<std::optional<Bytes>(std::uint32_t code, const Bytes& command)> instead;
  std::function<void(std::uint32_t code, Bytes& answer)> change;
  void Close();  // ends both connections: swtpm serves the next client
  [[nodiscard]] int Count(std::uint32_t code) const;  // commands of this code that came from the device

 private:
  void Run();
  UniqueFd to_tpm_;
  UniqueFd device_end_;
  UniqueFd our_end_;
  std::map<std::uint32_t, std::atomic<int>> counts_;
  std::thread thread_;
};

[[nodiscard]] Bytes ErrorAnswer(std::uint32_t rc);
[[nodiscard]] Hash Filled(std::uint8_t value);

inline constexpr std::uint32_t kCcNvIncrement = 0x134;
inline constexpr std::uint32_t kCcNvExtend = 0x136;
inline constexpr std::uint32_t kCcNvRead = 0x14e;
inline constexpr std::uint32_t kCcReadPublic = 0x173;
inline constexpr std::uint32_t kCcPcrRead = 0x17e;
inline constexpr std::uint32_t kCcPcrExtend = 0x182;

}  // namespace stele::tpm::test
