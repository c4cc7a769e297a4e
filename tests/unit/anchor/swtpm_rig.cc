#include "tests/unit/anchor/swtpm_rig.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>

#include "appliance/anchor/provisioning_record.h"
#include "tpm/provision.h"
#include "tpm/signing.h"

namespace stele::anchor {
namespace {

namespace fs = std::filesystem;

constexpr int kTimeoutMs = 10'000;

void CopyState(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::remove_all(to, error);
  fs::copy(from, to, fs::copy_options::recursive, error);
  EXPECT_FALSE(error) << error.message();
}

// A TPM that was provisioned once for the whole test program, off.
struct Provisioned {
  tpm::test::TemporaryDirectory directory;
  SignedRecord signed_record;
  ProvisioningRecord record;

  Provisioned() {
    const fs::path home = directory.path() / "tpm";
    const fs::path socket = directory.path() / "s";
    STELE_CHECK(tpm::MakeSwtpmState(home).has_value());
    auto process = tpm::StartSwtpm(home, socket);
    STELE_CHECK(process.has_value());
    const std::string key = tpm::MakeSigningKey().value();
    tpm::ProvisionOptions options;
    options.provisioning_key_pem = key;
    SystemEntropy entropy;
    const auto result = tpm::Provision(tpm::ConnectSwtpm(socket).value(), options, entropy);
    STELE_CHECK(result.has_value());
    STELE_CHECK(tpm::StopSwtpm(*process).has_value());
    FakeClock clock;
    signed_record = SignRecord(EncodeRecord(RecordOf(*result, clock.WallNs())), key).value();
    record = DecodeRecord(signed_record.record).value();
  }
};

const Provisioned& TheProvisioned() {
  static const Provisioned provisioned;
  return provisioned;
}

}  // namespace

bool SwtpmRig::Available() {
  return std::system("command -v swtpm >/dev/null && command -v swtpm_setup >/dev/null") == 0;  // NOLINT(cert-env33-c)
}

SwtpmRig::SwtpmRig() {
  const Provisioned& made = TheProvisioned();
  CopyState(made.directory.path() / "tpm", directory_.path() / "tpm");
  log.log_id = LogIdOf(made.signed_record.record);
  log.Append(1);
  config.log_id = log.log_id;
  config.origin = OriginOf(made.record, log.log_id);
  config.pins = PinsOf(made.record, log.log_id);
  device_config = DeviceConfigOf(made.record, made.signed_record.public_key_pem);
  device_config.timeout_ms = kTimeoutMs;
  PowerOn();
}

SwtpmRig::~SwtpmRig() {
  Kill();
  tpm::KillSwtpm(process_);
}

void SwtpmRig::PowerOn() {
  auto process = tpm::StartSwtpm(directory_.path() / "tpm", directory_.path() / "s");
  ASSERT_TRUE(process.has_value()) << Describe(process.error());
  process_ = *process;
}

void SwtpmRig::PowerOff() {
  Kill();
  const auto stopped = tpm::StopSwtpm(process_);
  EXPECT_TRUE(stopped.has_value()) << Describe(stopped.error());
}

UniqueFd SwtpmRig::Connect() const {
  auto connection = tpm::ConnectSwtpm(process_.socket);
  EXPECT_TRUE(connection.has_value());
  return connection ? std::move(*connection) : UniqueFd();
}

void SwtpmRig::Kill() {
  anchor.reset();
  device_.reset();
  relay_.reset();
}

void SwtpmRig::Cut(Stop stop) {
  Kill();
  if (stop == Stop::kPower) PowerCut();
}

void SwtpmRig::Reboot() {
  PowerOff();
  PowerOn();
}

void SwtpmRig::PowerCut() {
  Kill();
  tpm::KillSwtpm(process_);
  PowerOn();
}

std::unique_ptr<tpm::AnchorDevice> SwtpmRig::Device() {
  Kill();
  auto device = tpm::AnchorDevice::Open(Connect(), device_config);
  EXPECT_TRUE(device.has_value()) << (device ? "" : Describe(device.error()));
  return device ? std::move(*device) : nullptr;
}

int SwtpmRig::Tool(const std::string& command) const {
  const std::string line = "export TPM2TOOLS_TCTI=swtpm:path=" + process_.socket.string() + "; cd " +
                           directory_.path().string() + " && { " + command + "; } >>tool.log 2>&1";
  const int status_of = std::system(line.c_str());  // NOLINT(cert-env33-c): a test, fixed commands
  return WIFEXITED(status_of) ? WEXITSTATUS(status_of) : -1;
}

channel::Verdict SwtpmRig::Start() {
  Kill();
  relay_ = std::make_unique<tpm::test::Meddler>(Connect());
  auto device = tpm::AnchorDevice::Open(relay_->TakeDeviceEnd(), device_config);
  EXPECT_TRUE(device.has_value()) << (device ? "" : Describe(device.error()));
  if (!device) return {};
  device_ = std::move(*device);
  auto keys = DeriveKeys(Secret(Sha256Of(AsBytes("a seed for tests"))), config.origin);
  anchor = std::make_unique<Anchor>(*device_, clock, slots[0], slots[1], std::move(*keys), config);
  if (on_connect) on_connect(*relay_);
  channel::Verdict verdict = anchor->Recover(log.State());
  Take(verdict.late_receipt);
  return verdict;
}

void SwtpmRig::Take(const std::optional<std::string>& receipt) {
  if (!receipt) return;
  log.AppendReceipt(*receipt);
  EXPECT_TRUE(anchor->ReceiptDurable().has_value());
}

std::optional<channel::Intent> SwtpmRig::Sign(bool want_anchor) {
  log.Append(3);
  clock.Advance(500);
  auto intent = anchor->Sign(log.Request(anchor->signed_size(), want_anchor));
  return intent ? std::optional(std::move(*intent)) : std::nullopt;
}

void SwtpmRig::MakeDurable(const channel::Intent& intent) { log.AppendIntent(intent.payload); }

bool SwtpmRig::Confirm(const channel::Intent& intent) {
  const auto extended = anchor->Confirm(intent.number);
  if (!extended) return false;
  status = extended->status_json;
  Take(extended->receipt);
  return intent.anchor == 0 || extended->receipt.has_value();
}

bool SwtpmRig::Checkpoint(bool want_anchor) {
  const auto intent = Sign(want_anchor);
  if (!intent) return false;
  MakeDurable(*intent);
  (void)Confirm(*intent);  // trouble is in the status
  return true;
}

void SwtpmRig::PutBack(const Disk& disk, bool log_too, bool slots_too) {
  Kill();
  if (log_too) log = disk.log;
  for (std::size_t i = 0; slots_too && i < 2; ++i) slots[i].Set(disk.slots[i]);
}

void SwtpmRig::CopyTpm() {
  PowerOff();
  CopyState(directory_.path() / "tpm", directory_.path() / "old");
  PowerOn();
}

void SwtpmRig::PutTpmBack() {
  PowerOff();
  CopyState(directory_.path() / "old", directory_.path() / "tpm");
  PowerOn();
}

void SwtpmRig::ReplaceTpm() {
  PowerOff();
  std::error_code ignored;
  fs::remove_all(directory_.path() / "tpm", ignored);
  ASSERT_TRUE(tpm::MakeSwtpmState(directory_.path() / "tpm").has_value());
  PowerOn();
}

}  // namespace stele::anchor
