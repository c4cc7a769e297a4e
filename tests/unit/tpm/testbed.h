// A real swtpm in a temporary directory, and a man in the middle who can be set between it and the device.
#pragma once

#include <filesystem>
#include <string>
#include <thread>

#include "appliance/base/bytes.h"
#include "appliance/base/fd.h"
#include "appliance/base/system.h"
#include "tests/relay/relay.h"
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

// The relay of tests/relay on one connection, between a device and its TPM.
class Meddler : public Meddling {
 public:
  explicit Meddler(UniqueFd to_tpm);
  ~Meddler();
  Meddler(const Meddler&) = delete;
  Meddler& operator=(const Meddler&) = delete;

  [[nodiscard]] UniqueFd TakeDeviceEnd() { return std::move(device_end_); }
  void Close();  // ends both connections: swtpm serves the next client

 private:
  UniqueFd to_tpm_;
  UniqueFd device_end_;
  UniqueFd our_end_;
  std::thread thread_;
};

[[nodiscard]] Hash Filled(std::uint8_t value);

}  // namespace stele::tpm::test
