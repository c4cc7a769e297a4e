// Goal: the whole flow on a real TPM implementation: provision, anchor, restart, reboot, rolled-back log, rolled-back
// TPM. Method: swtpm in a temporary directory; skips where it is not installed.
#include <gtest/gtest.h>
#include <stdlib.h>

#include "appliance/anchor/provisioning_record.h"
#include "appliance/base/system.h"
#include "tests/unit/anchor/rig.h"
#include "tpm/provision.h"
#include "tpm/signing.h"
#include "tpm/swtpm.h"

namespace stele::anchor {
namespace {

namespace fs = std::filesystem;

class OnSwtpm : public testing::Test {
 protected:
  void SetUp() override {
    char directory[] = "/tmp/stele-anchor-XXXXXX";
    ASSERT_NE(::mkdtemp(directory), nullptr);
    dir_ = directory;
    const auto made = tpm::MakeSwtpmState(dir_ / "tpm");
    if (!made && made.error().code == Code::kNotFound) GTEST_SKIP() << "swtpm is not installed";
    ASSERT_TRUE(made.has_value()) << Describe(made.error());
    PowerOn();
    auto key = tpm::MakeSigningKey();
    ASSERT_TRUE(key.has_value());
    tpm::ProvisionOptions options;
    options.provisioning_key_pem = *key;
    auto result = tpm::Provision(Connect(), options, entropy_);
    ASSERT_TRUE(result.has_value()) << Describe(result.error());
    auto made_record = SignRecord(EncodeRecord(RecordOf(*result, clock_.WallNs())), *key);
    ASSERT_TRUE(made_record.has_value());
    auto record = DecodeRecord(made_record->record);
    ASSERT_TRUE(record.has_value());
    log_.log_id = LogIdOf(made_record->record);
    log_.Append(1);
    config_.log_id = log_.log_id;
    config_.origin = OriginOf(*record, log_.log_id);
    config_.pins = PinsOf(*record, log_.log_id);
    device_config_ = DeviceConfigOf(*record, made_record->public_key_pem);
  }

  void TearDown() override {
    device_.reset();
    if (process_.pid > 0) tpm::KillSwtpm(process_);
    fs::remove_all(dir_);
  }

  void PowerOn() {
    auto process = tpm::StartSwtpm(dir_ / "tpm", dir_ / "s");
    ASSERT_TRUE(process.has_value()) << Describe(process.error());
    process_ = *process;
  }

  void Reboot() {
    device_.reset();
    EXPECT_TRUE(tpm::StopSwtpm(process_).has_value());
    PowerOn();
  }

  UniqueFd Connect() {
    auto connection = tpm::ConnectSwtpm(process_.socket);
    EXPECT_TRUE(connection.has_value());
    return connection ? std::move(*connection) : UniqueFd();
  }

  channel::Verdict Start() {
    device_.reset();
    auto device = tpm::AnchorDevice::Open(Connect(), device_config_);
    EXPECT_TRUE(device.has_value()) << (device ? "" : Describe(device.error()));
    if (!device) return {};
    device_ = std::move(*device);
    auto keys = DeriveKeys(Secret(Sha256Of(AsBytes("a seed for tests"))), config_.origin);
    anchor_ = std::make_unique<Anchor>(*device_, clock_, slots_[0], slots_[1], std::move(*keys), config_);
    channel::Verdict verdict = anchor_->Recover(log_.State());
    Take(verdict.late_receipt);
    return verdict;
  }

  void Take(const std::optional<std::string>& receipt) {
    if (!receipt) return;
    log_.AppendReceipt(*receipt);
    EXPECT_TRUE(anchor_->ReceiptDurable().has_value());
  }

  bool Checkpoint(bool want_anchor) {
    log_.Append(3);
    const auto intent = anchor_->Sign(log_.Request(anchor_->signed_size(), want_anchor));
    if (!intent) return false;
    log_.AppendIntent(intent->payload);
    const auto extended = anchor_->Confirm(intent->number);
    if (!extended) return false;
    status_ = extended->status_json;
    Take(extended->receipt);
    return true;
  }

  fs::path dir_;
  tpm::SwtpmProcess process_;
  SystemEntropy entropy_;
  SystemClock clock_;
  sim::SimSlot slots_[2];
  TestLog log_;
  AnchorConfig config_;
  tpm::AnchorConfig device_config_;
  std::unique_ptr<tpm::AnchorDevice> device_;
  std::unique_ptr<Anchor> anchor_;
  std::string status_;
};

TEST_F(OnSwtpm, TheWholeLifeOfALog) {
  auto verdict = Start();
  ASSERT_EQ(verdict.word, "OK") << verdict.detail;
  ASSERT_TRUE(Checkpoint(false));
  ASSERT_EQ(log_.receipts.size(), 1U) << status_;
  ASSERT_TRUE(Checkpoint(false));
  ASSERT_TRUE(Checkpoint(true));
  ASSERT_EQ(log_.receipts.size(), 2U) << status_;
  for (const std::string& payload : log_.receipts) {
    const auto checked = CheckReceipt(*DecodeReceipt(payload), config_.pins.receipt);
    EXPECT_TRUE(checked.has_value()) << (checked ? "" : Describe(checked.error()));
  }
  verdict = Start();
  EXPECT_EQ(verdict.word, "OK") << verdict.detail;
  ASSERT_TRUE(Checkpoint(false));

  // A stop between the durable intent and its extend, and a restart in the same boot.
  log_.Append(2);
  const auto intent = anchor_->Sign(log_.Request(anchor_->signed_size(), true));
  ASSERT_TRUE(intent.has_value());
  log_.AppendIntent(intent->payload);
  verdict = Start();
  EXPECT_EQ(verdict.word, "RECOVERED_CRASH") << verdict.detail;
  EXPECT_EQ(log_.receipts.size(), 3U);

  Reboot();
  verdict = Start();
  EXPECT_TRUE(verdict.may_anchor) << verdict.word << ": " << verdict.detail;
  ASSERT_TRUE(Checkpoint(false));
  EXPECT_EQ(log_.receipts.size(), 4U) << "the boot anchor";

  // The log, and the slots with it, rolled back across an anchor.
  const TestLog old = log_;
  const auto slot_0 = slots_[0].bytes();
  const auto slot_1 = slots_[1].bytes();
  ASSERT_TRUE(Checkpoint(true));
  const TestLog true_log = log_;
  const auto true_0 = slots_[0].bytes();
  const auto true_1 = slots_[1].bytes();
  log_ = old;
  slots_[0].Set(slot_0);
  slots_[1].Set(slot_1);
  EXPECT_EQ(Start().word, "ROLLED_BACK");
  Reboot();
  EXPECT_EQ(Start().word, "ROLLED_BACK");
  log_ = true_log;
  slots_[0].Set(true_0);
  slots_[1].Set(true_1);
  EXPECT_TRUE(Start().may_anchor);
}

TEST_F(OnSwtpm, ARolledBackTpmIsNamed) {
  ASSERT_EQ(Start().word, "OK");
  ASSERT_TRUE(Checkpoint(false));
  device_.reset();
  ASSERT_TRUE(tpm::StopSwtpm(process_).has_value());
  fs::copy(dir_ / "tpm", dir_ / "old", fs::copy_options::recursive);
  PowerOn();
  ASSERT_TRUE(Start().may_anchor);
  ASSERT_TRUE(Checkpoint(true));
  device_.reset();
  ASSERT_TRUE(tpm::StopSwtpm(process_).has_value());
  fs::remove_all(dir_ / "tpm");
  fs::rename(dir_ / "old", dir_ / "tpm");
  PowerOn();
  EXPECT_EQ(Start().word, "ROLLED_BACK");
}

TEST_F(OnSwtpm, APowerCutOfTheTpmLosesNothing) {
  ASSERT_EQ(Start().word, "OK");
  ASSERT_TRUE(Checkpoint(true));
  device_.reset();
  tpm::KillSwtpm(process_);
  PowerOn();
  const auto verdict = Start();
  EXPECT_TRUE(verdict.may_anchor) << verdict.word << ": " << verdict.detail;
  EXPECT_TRUE(Checkpoint(true));
}

}  // namespace
}  // namespace stele::anchor
