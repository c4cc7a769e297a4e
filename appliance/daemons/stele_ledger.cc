// stele-ledger: the only writer of the store (docs/processes.md). Has the store for append and channels; no network, no
// TPM.

#include "appliance/daemons/ledger_startup.h"
#include "appliance/daemons/program.h"
#include "appliance/sandbox/profiles.h"

namespace stele::ledger_daemon {
namespace {

using nlohmann::json;

Result<Settings> ParseSettings(const std::string& text) {
  const json object = json::parse(text, nullptr, false);
  if (!object.is_object()) return Fail(Code::kInvalid, "configuration: not a JSON object");
  Settings settings;
  try {
    settings.place.directory = object.at("store_dir").get<std::string>();
    settings.place.partitions = object.value("partitions", settings.place.partitions);
    settings.segment_bytes = object.value("segment_bytes", settings.segment_bytes);
    settings.reserve_bytes = object.value("reserve_bytes", settings.reserve_bytes);
    const auto genesis = ParseBase64(object.at("genesis_payload_b64").get<std::string>(), limits::kMiB);
    if (!genesis) return Fail(Code::kInvalid, "configuration: genesis_payload_b64");
    settings.genesis_payload = std::string(AsText(*genesis));
    if (const json epoch = object.value("epoch", json()); epoch.is_object()) {
      const auto payload = ParseBase64(epoch.at("payload_b64").get<std::string>(), limits::kMiB);
      const auto root = ParseHash(epoch.at("root").get<std::string>());
      if (!payload || !root) return Fail(Code::kInvalid, "configuration: epoch");
      settings.epoch = {epoch.at("size").get<std::uint64_t>(), *root, std::string(AsText(*payload))};
    }
    settings.checkpoint_interval_ms = object.value("checkpoint_interval_ms", settings.checkpoint_interval_ms);
    settings.heartbeat_interval_ms = object.value("heartbeat_interval_ms", settings.heartbeat_interval_ms);
    settings.commit_window_ms = object.value("commit_window_ms", settings.commit_window_ms);
    settings.config_sha256 = object.value("config_sha256", "");
    STELE_TRY(settings.sources, channel::DecodeSourceRules(object.value("sources", json::object()).dump()));
    if (const json retention = object.value("retention", json()); retention.is_object()) {
      settings.retention.keep_s = retention.at("keep_s").get<std::int64_t>();
      settings.retention.epoch = retention.at("epoch").get<std::uint64_t>();
      settings.retention.ordered = retention.at("ordered").get<std::vector<std::uint32_t>>();
      settings.retention.reclaimed = retention.at("reclaimed").get<std::vector<std::uint32_t>>();
      for (const json& hold : retention.at("holds")) {
        settings.retention.holds.push_back({hold.at("name").get<std::string>(), hold.at("reason").get<std::string>(),
                                            hold.at("from_ns").get<std::int64_t>(), hold.at("to_ns").get<std::int64_t>()});
      }
    }
    const std::string codec = object.value("codec", "auto");
    if (codec == "none") settings.codec = ledger::Codec::kNone;
    if (codec == "lz4") settings.codec = ledger::Codec::kLz4;
    if (codec == "zstd") settings.codec = ledger::Codec::kZstd;
  } catch (const json::exception& problem) {
    return Fail(Code::kInvalid, std::string("configuration: ") + problem.what());
  }
  return settings;
}

Result<int> Main() {
  STELE_TRY_VOID(HashSelfTest());
  auto given = channel::ReceiveStartUp(channel::kControlFd);
  if (!given) {
    if (given.error().code == Code::kNotFound) return 0;
    return tl::unexpected(given.error());
  }
  STELE_TRY(Settings settings, ParseSettings(given->configuration_json));
  STELE_TRY(const store::Medium medium, store::Medium::Open(settings.place, store::MediumUse::kAppend));
  // Locked down before the first byte of the store is read: a hostile disk is hostile input.
  STELE_TRY(const sandbox::Report report,
            sandbox::LockDown(medium.on_partitions() ? sandbox::LedgerOnPartitionsProfile()
                                                     : sandbox::LedgerProfile(settings.place.directory)));
  STELE_TRY(const Hash log_id, LogIdOfGenesis(settings.genesis_payload));
  STELE_TRY(const store::OpenedShelf opened, medium.Shelf(log_id));
  DeviceShelf& shelf = *opened.shelf;
  settings.partitions = opened.partitions;
  if (opened.partitions != nullptr) {
    settings.segment_bytes = opened.partitions->Use().unit_bytes_min;
    if (settings.reserve_bytes == 0) settings.reserve_bytes = store::DefaultReserveBytes(settings.segment_bytes);
  }
  int anchor_fd = -1;
  for (const channel::GivenChannel& one : given->channels) {
    if (one.what.role == "anchor") anchor_fd = one.descriptor.get();
  }
  if (anchor_fd < 0) return Fail(Code::kInvalid, "no anchor channel was given");
  STELE_TRY_VOID(channel::SetBlocking(anchor_fd, true));
  SystemClock clock;
  SystemEntropy entropy;
  STELE_TRY(Started started, StartLedger(settings, shelf, anchor_fd, clock, entropy));
  const auto& verdict = started.recovered.verdict;
  LogInfo("recovered " + std::to_string(started.recovered.size) + " records: " + verdict.word +
          (verdict.detail.empty() ? "" : " (" + verdict.detail + ")"));
  Writer& writer = *started.writer;
  Service service(settings, std::move(started.recovered), std::move(started.writer), shelf, clock, entropy);
  writer.Start();
  for (channel::GivenChannel& one : given->channels) service.AddChannel(one.what, std::move(one.descriptor));
  STELE_TRY_VOID(channel::SendReady(channel::kControlFd, report.ToJson()));
  return service.Run() ? 0 : 3;
}

}  // namespace
}  // namespace stele::ledger_daemon

int main() { return stele::daemons::RunProgram("stele-ledger", stele::ledger_daemon::Main); }
