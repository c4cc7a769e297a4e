// stele-anchor: the process that holds the signing key and the TPM (docs/processes.md, appliance/anchor).
//
// It serves one ledger at a time; a new ledger channel replaces the old one. A lost TPM ends nothing: the anchor goes
// on degraded, tells the supervisor once (kNotice {"event":"tpm_lost"}), and takes a fresh descriptor (kTakeChannel,
// role tpm). kStop: the ledger has had its last anchor made before; exit 0.
#include <poll.h>
#include <signal.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "appliance/anchor/epoch_files.h"
#include "appliance/anchor/provisioning_record.h"
#include "appliance/anchor/sealed_seed.h"
#include "appliance/anchor/service.h"
#include "appliance/base/system.h"
#include "appliance/channel/control.h"
#include "appliance/daemons/program.h"
#include "appliance/sandbox/profiles.h"
#include "tpm/device.h"

namespace stele {
namespace {

using nlohmann::json;

// No command that the anchor sends makes a key; the slowest chips sign within a second. A TPM that is silent for longer
// hangs, and the log is told that it is unanchored.
constexpr int kCommandTimeoutMs = 10'000;

struct Configuration {
  std::filesystem::path state_dir;
  std::filesystem::path provisioning_path;
  std::string origin;  // empty: the record's
  std::uint32_t pcr = 0;
  std::int64_t anchor_interval_ms = 0;
  std::uint64_t nv_budget = 0;  // 0: the anchor's default
};

Result<Configuration> ParseConfiguration(std::string_view text) {
  const json object = json::parse(text, nullptr, false);
  if (!object.is_object()) return Fail(Code::kInvalid, "configuration: not a JSON object");
  for (const char* name : {"state_dir", "provisioning_path"}) {
    if (!object.contains(name) || !object[name].is_string())
      return Fail(Code::kInvalid, std::string("configuration: ") + name);
  }
  Configuration configuration;
  configuration.state_dir = object["state_dir"].get<std::string>();
  configuration.provisioning_path = object["provisioning_path"].get<std::string>();
  if (object.contains("origin") && object["origin"].is_string())
    configuration.origin = object["origin"].get<std::string>();
  if (object.contains("pcr") && object["pcr"].is_number_unsigned())
    configuration.pcr = object["pcr"].get<std::uint32_t>();
  if (object.contains("nv_budget") && object["nv_budget"].is_number_unsigned())
    configuration.nv_budget = object["nv_budget"].get<std::uint64_t>();
  configuration.anchor_interval_ms = limits::kAnchorIntervalMs;
  if (object.contains("anchor_interval_ms")) {
    if (!object["anchor_interval_ms"].is_number_unsigned() || object["anchor_interval_ms"] == 0) {
      return Fail(Code::kInvalid, "configuration: anchor_interval_ms");
    }
    configuration.anchor_interval_ms = object["anchor_interval_ms"].get<std::int64_t>();
  }
  return configuration;
}

// The TPM as it comes and goes.
class TpmKeeper {
 public:
  explicit TpmKeeper(tpm::AnchorConfig config) : config_(std::move(config)) {}

  void Take(UniqueFd connection) {
    device_.reset();
    told_ = false;
    auto device = tpm::AnchorDevice::Open(std::move(connection), config_);
    if (!device) {
      LogWarning("TPM: " + Describe(device.error()));
      return;
    }
    device_ = std::move(*device);
  }

  // True when the TPM behind current() has changed and everything must be read back. A connection that has failed is
  // given up, /dev/tpmrm0 too: the kernel keeps an unread answer with the open file.
  bool Check() {
    if (device_ != nullptr && device_->alive()) return false;
    const bool lost = device_ != nullptr;
    device_.reset();
    if (!told_) {
      told_ = true;
      (void)channel::Send(channel::kControlFd, channel::Type::kNotice,
                          AsBytes(R"({"event":"tpm_lost"})"));  // it may be gone too
      LogWarning("the connection to the TPM is lost; going on unanchored until a new one is handed in");
    }
    return lost;
  }

  Tpm& current() {
    if (device_ != nullptr) return *device_;
    return absent_;
  }

 private:
  tpm::AnchorConfig config_;
  std::unique_ptr<tpm::AnchorDevice> device_;
  anchor::AbsentTpm absent_;
  bool told_ = false;
};

tpm::AnchorConfig DeviceOf(const anchor::ProvisioningRecord& record, const anchor::SignedRecord& signed_record) {
  tpm::AnchorConfig device = anchor::DeviceConfigOf(record, signed_record.public_key_pem);
  device.timeout_ms = kCommandTimeoutMs;
  return device;
}

struct Parts {
  anchor::AnchorKeys keys;
  anchor::AnchorConfig config;
  tpm::AnchorConfig device;
};

// The seed as the supervisor holds it for every start of ours.
Result<anchor::Secret> TakeSeed(std::vector<channel::GivenChannel>& channels) {
  for (channel::GivenChannel& given : channels) {
    if (given.what.role != "seed") continue;
    const UniqueFd memory = std::move(given.descriptor);
    return anchor::ReadSeedMemory(memory.get());
  }
  return Fail(Code::kInvalid, "no seed was handed over");
}

Result<Parts> OpenParts(const Configuration& configuration, const anchor::Secret& seed) {
  STELE_TRY(const Bytes file, ReadFile(configuration.provisioning_path, anchor::kProvisioningBytesMax));
  STELE_TRY(const anchor::SignedRecord signed_record, anchor::DecodeSignedRecord(AsText(file)));
  STELE_TRY_VOID(anchor::VerifySignedRecord(signed_record));
  STELE_TRY(const anchor::ProvisioningRecord record, anchor::DecodeRecord(signed_record.record));
  // That it continues the log is the supervisor's to check: it alone reads the records of all epochs.
  if (configuration.pcr != 0 && configuration.pcr != record.pcr) {
    return Fail(Code::kInvalid, "configuration: pcr is not the one this log was provisioned with");
  }
  const Hash log_id = anchor::LogIdOf(record, signed_record.record);
  const std::string origin = configuration.origin.empty() ? anchor::OriginOf(record, log_id) : configuration.origin;
  STELE_TRY(anchor::AnchorKeys keys, anchor::DeriveKeys(seed, origin));
  if (!record.checkpoint_key.empty() && !SameBytes(record.checkpoint_key, keys.note_key.verify_key().public_key)) {
    return Fail(Code::kDenied, "the seed is not the one this log was provisioned with");
  }
  anchor::AnchorConfig config;
  config.origin = origin;
  config.log_id = log_id;
  config.pins = anchor::PinsOf(record, log_id);
  config.anchor_interval_ms = configuration.anchor_interval_ms;
  config.provisioned_wall_ns = record.created_ns;
  if (configuration.nv_budget != 0) config.nv_budget = configuration.nv_budget;
  // Who sets a budget for a software TPM wants to see it counted.
  config.wears = !record.software_tpm || config.nv_budget != anchor::AnchorConfig().nv_budget;
  if (record.epoch) {
    config.epoch = {record.epoch->number, record.epoch->log_size, record.epoch->log_root, record.epoch->log_frontier};
    config.earlier = anchor::EarlierVerdicts(record);
  }
  if (record.key_sealed()) {
    config.key = "tpm-sealed";
    config.key_policy = tpm::TextOf(record.seal_policy);
  }
  return Parts{std::move(keys), std::move(config), DeviceOf(record, signed_record)};
}

class Daemon {
 public:
  Daemon(anchor::Anchor& anchor, TpmKeeper& tpm) : anchor_(anchor), tpm_(tpm) {}

  void Take(channel::GivenChannel given) {
    if (given.what.role == "ledger") {
      (void)channel::SetBlocking(given.descriptor.get(), true);  // answers are few and small; the ledger waits for them
      ledger_ = std::move(given.descriptor);
      anchor_.Reset();
    } else if (given.what.role == "tpm") {
      tpm_.Take(std::move(given.descriptor));
      anchor_.UseTpm(tpm_.current());
    } else {
      LogWarning("a channel of an unknown role was handed in: " + given.what.role);
    }
  }

  Result<void> Run() {
    for (;;) {
      std::array<pollfd, 2> waits = {{{channel::kControlFd, POLLIN, 0}, {ledger_.get(), POLLIN, 0}}};
      if (::poll(waits.data(), ledger_.valid() ? 2 : 1, -1) < 0) {
        if (errno == EINTR) continue;
        return FailErrno("poll");
      }
      if (waits[0].revents != 0) {
        STELE_TRY(const bool go_on, ServeControl());
        if (!go_on) return {};
        continue;  // the ledger's descriptor may be another now
      }
      if (ledger_.valid() && waits[1].revents != 0) ServeLedger();
    }
  }

 private:
  // False: stop.
  Result<bool> ServeControl() {
    auto frame = channel::Receive(channel::kControlFd, /*wait=*/false, /*with_descriptors=*/true);
    if (!frame) {
      if (frame.error().code == Code::kUnavailable) return true;
      if (frame.error().code == Code::kNotFound) return false;  // the supervisor is gone
      return tl::unexpected(frame.error());
    }
    if (frame->type == channel::Type::kStop) return false;
    if (frame->type != channel::Type::kTakeChannel) return true;
    STELE_TRY(auto what, channel::DecodeTakeChannel(frame->body));
    if (frame->descriptors.size() == 1) Take({std::move(what), std::move(frame->descriptors.front())});
    return true;
  }

  void ServeLedger() {
    const auto served = ServeOneRequest();
    if (served) return;
    // A bad request or a closed channel ends the channel, never the anchor; the supervisor brings the next ledger.
    if (served.error().code != Code::kNotFound) LogWarning("ledger channel: " + Describe(served.error()));
    ledger_.reset();
  }

  Result<void> ServeOneRequest() {
    STELE_TRY(const channel::Frame frame, channel::Receive(ledger_.get(), /*wait=*/true));
    if (frame.type == channel::Type::kHello) {
      return channel::SendHello(ledger_.get(),
                                {channel::Role::kAnchor, limits::kChannelFrameBytes, limits::kChannelCredits});
    }
    if (frame.type != channel::Type::kAnchorRequest) return Fail(Code::kInvalid, "not an anchor request");
    if (tpm_.Check()) anchor_.UseTpm(tpm_.current());
    STELE_TRY(const std::vector<Bytes> answers, anchor::Serve(anchor_, frame.body));
    if (tpm_.Check()) anchor_.UseTpm(tpm_.current());  // a fresh connection is asked for at once
    for (const Bytes& answer : answers) {
      STELE_TRY_VOID(channel::Send(ledger_.get(), channel::Type::kAnchorAnswer, answer));
    }
    return {};
  }

  anchor::Anchor& anchor_;
  TpmKeeper& tpm_;
  UniqueFd ledger_;
};

Result<void> Main() {
  auto start_up = channel::ReceiveStartUp(channel::kControlFd);
  if (!start_up && start_up.error().code == Code::kNotFound) return {};
  if (!start_up) return tl::unexpected(start_up.error());
  STELE_TRY(const Configuration configuration, ParseConfiguration(start_up->configuration_json));
  SystemClock clock;
  STELE_TRY(Parts parts, [&]() -> Result<Parts> {
    STELE_TRY(const anchor::Secret seed, TakeSeed(start_up->channels));
    return OpenParts(configuration, seed);
  }());
  anchor::FileSlot first(anchor::SlotPath(configuration.state_dir, parts.config.epoch.number, 0));
  anchor::FileSlot second(anchor::SlotPath(configuration.state_dir, parts.config.epoch.number, 1));
  TpmKeeper tpm(std::move(parts.device));
  anchor::Anchor anchor(tpm.current(), clock, first, second, std::move(parts.keys), std::move(parts.config));
  Daemon daemon(anchor, tpm);
  for (channel::GivenChannel& given : start_up->channels) {
    if (given.descriptor.valid()) daemon.Take(std::move(given));  // the seed's is used up
  }

  STELE_TRY(const sandbox::Report report, sandbox::LockDown(sandbox::AnchorProfile(configuration.state_dir)));
  json ready = json::parse(report.ToJson(), nullptr, false);
  if (!ready.is_object()) ready = json::object();
  ready["vkey"] = anchor.verify_key().Vkey();
  STELE_TRY_VOID(channel::SendReady(channel::kControlFd, ready.dump()));
  return daemon.Run();
}

}  // namespace
}  // namespace stele

int main() {
  // The terminal's Ctrl-C goes to the whole group: the supervisor ends us, after the last anchor.
  (void)::signal(SIGINT, SIG_IGN);
  return stele::daemons::RunProgram("stele-anchor", stele::Main);
}
