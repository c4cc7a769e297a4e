// A log and a machine around one Anchor on a real TPM implementation: swtpm, reached through the relay of tests/relay,
// so that a test can stop the world before or after any command. Each rig gets a copy of one provisioned TPM.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "appliance/anchor/anchor.h"
#include "appliance/base/system.h"
#include "tests/sim/sim_slot.h"
#include "tests/unit/anchor/rig.h"
#include "tests/unit/tpm/testbed.h"

namespace stele::anchor {

enum class Stop { kProcess, kPower };  // kill -9 of stele-anchor; the whole machine

class SwtpmRig {
 public:
  [[nodiscard]] static bool Available();  // swtpm is installed
  SwtpmRig();
  ~SwtpmRig();
  SwtpmRig(const SwtpmRig&) = delete;
  SwtpmRig& operator=(const SwtpmRig&) = delete;

  // A new anchor process on a fresh connection: Recover on the log as it is; a late receipt is appended.
  channel::Verdict Start();
  // One whole checkpoint. False: refused, or the TPM was in the way before the intent was durable.
  bool Checkpoint(bool want_anchor);
  // The same in steps, as far as `records appended, signed`, `intent durable`, and the rest.
  std::optional<channel::Intent> Sign(bool want_anchor);
  void MakeDurable(const channel::Intent& intent);
  // False: the anchor went down before its receipt was durable.
  bool Confirm(const channel::Intent& intent);

  // The anchor is gone without a word; its TPM connection too.
  void Kill();
  void Cut(Stop stop);
  void Reboot();    // orderly
  void PowerCut();  // of the TPM: SIGKILL
  // A fresh device beside the anchor, which must be down.
  [[nodiscard]] std::unique_ptr<tpm::AnchorDevice> Device();
  [[nodiscard]] int Tool(const std::string& command) const;  // tpm2-tools, the anchor being down
  [[nodiscard]] tpm::test::Meddler& relay() { return *relay_; }

  struct Disk {
    TestLog log;
    std::optional<Bytes> slots[2];
  };
  [[nodiscard]] Disk CopyDisk() const { return {log, {slots[0].bytes(), slots[1].bytes()}}; }
  void PutBack(const Disk& disk, bool log_too, bool slots_too);
  // The TPM's state directory, copied and put back while it is off; it is on afterwards (a new boot).
  void CopyTpm();
  void PutTpmBack();
  void ReplaceTpm();  // another chip, provisioned for another log

  TestLog log;
  sim::SimSlot slots[2];
  FakeClock clock;
  AnchorConfig config;
  tpm::AnchorConfig device_config;
  std::unique_ptr<Anchor> anchor;
  std::string status;
  std::function<void(tpm::test::Meddler&)> on_connect;  // before Start() judges, once the device is open

 private:
  void PowerOn();
  void PowerOff();
  [[nodiscard]] UniqueFd Connect() const;
  void Take(const std::optional<std::string>& receipt);

  tpm::test::TemporaryDirectory directory_;
  tpm::SwtpmProcess process_;
  std::unique_ptr<tpm::test::Meddler> relay_;
  std::unique_ptr<tpm::AnchorDevice> device_;
};

}  // namespace stele::anchor
