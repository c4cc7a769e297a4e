// The status that `stele status`, the viewer and the metrics show (docs/api.md, GET /api/v1/status).
#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>

#include "appliance/base/text.h"
#include "appliance/daemons/ledger_service.h"
#include "appliance/sandbox/sandbox.h"

namespace stele::ledger_daemon {
namespace {

using nlohmann::json;
constexpr std::int64_t kNsPerMs = 1'000'000;

std::uint64_t NumberOf(const json& object, const char* name) {
  const auto at = object.find(name);
  return at != object.end() && at->is_number_unsigned() ? at->get<std::uint64_t>() : 0;
}

// The files of a folder; nothing when it cannot be read.
std::optional<std::uint64_t> FileBytes(const std::filesystem::path& directory) {
  std::uint64_t bytes = 0;
  std::error_code failed;
  for (std::filesystem::directory_iterator at(directory, failed), end; !failed && at != end; at.increment(failed)) {
    if (!at->is_regular_file(failed)) continue;
    const std::uint64_t size = at->file_size(failed);
    if (!failed) bytes += size;
  }
  return failed ? std::nullopt : std::optional(bytes);
}

void TellPartitions(const store::PartitionsUse& use, json& store) {
  store["bytes"] = use.taken_bytes;
  store["free_bytes"] = use.empty_bytes;
  store["partitions"] = {{"taken", use.taken}, {"read_only", use.read_only}, {"empty", use.empty}, {"refused", use.refused}, {"unmarked", use.unmarked}};
}

}  // namespace

// The counters of all receivers, the sums of each zone, and the sum of all. The zone's name is the channel's, not the
// receiver's word.
void Service::TellListeners(json& status) const {
  constexpr std::array kSummed{"received", "stored", "lost", "unknown_losses", "refused", "connections", "sources"};
  json listeners = json::array();
  json zones = json::array();
  std::uint64_t losses = 0;
  std::uint64_t unknown_losses = 0;
  for (const auto& [name, counters] : listeners_) {
    json zone = {{"name", name}};
    zone["connected"] = std::any_of(appenders_.begin(), appenders_.end(), [&zone_name = name](const auto& one) {
      return one.second.role == channel::Role::kReceive && one.second.name == zone_name;
    });
    const auto list = counters.find("listeners");
    for (const json& listener : list != counters.end() && list->is_array() ? *list : json::array()) {
      if (!listener.is_object()) continue;
      for (const char* member : kSummed) zone[member] = NumberOf(zone, member) + NumberOf(listener, member);
      listeners.push_back(listener);
      listeners.back()["zone"] = name;
    }
    losses += NumberOf(zone, "lost");
    unknown_losses += NumberOf(zone, "unknown_losses");
    zones.push_back(std::move(zone));
  }
  status["listeners"] = std::move(listeners);
  status["zones"] = std::move(zones);
  status["losses"] = losses;
  status["unknown_losses"] = unknown_losses;
}

// Files and the disk they lie on.
void Service::TellDisk(json& store) {
  if (measured_segments_ != unit_ + 1 || room_bytes_ > measured_room_bytes_) {  // a segment has its full size from the start
    measured_segments_ = unit_ + 1;
    store_bytes_ = FileBytes(settings_.place.directory);
  }
  measured_room_bytes_ = room_bytes_;
  if (store_bytes_) store["bytes"] = *store_bytes_;
  std::error_code failed;
  if (const auto space = std::filesystem::space(settings_.place.directory, failed); !failed) {
    store["free_bytes"] = space.available;
  }
}

std::string Service::StatusJson() {
  const std::int64_t now = clock_.WallNs();
  json status;
  status["log_id"] = HexOf(recovered_.log_id);
  status["size"] = size_ + gathering_.batch.size() + (writing_ ? writing_->batch.size() : 0);
  status["committed_size"] = size_;
  status["uptime_ms"] = (clock_.BoottimeNs() - started_boottime_ns_) / kNsPerMs;
  status["store"] = {{"segments", unit_ + 1}, {"position_bytes", position_bytes_}, {"error", store_error_},
                     {"room_bytes", room_bytes_}, {"reserve_bytes", settings_.reserve_bytes}, {"full", refusing_}};
  status["retention"] = {{"keep_s", settings_.retention.keep_s},
                         {"holds", settings_.retention.holds.size()},
                         {"expired_units", shelf_.Expired().size()},
                         {"going_units", settings_.retention.ordered.size() + ordered_}};
  if (settings_.partitions != nullptr) {
    TellPartitions(settings_.partitions->Use(), status["store"]);
  } else {
    TellDisk(status["store"]);
  }
  status["verdict"] = {{"word", recovered_.verdict.word},
                       {"qualifiers", recovered_.verdict.qualifiers},
                       {"detail", recovered_.verdict.detail}};
  status["anchor"] = anchor_status_;
  status["anchor_present"] = anchor_fd_.valid() && anchor_judged_;
  if (!intent_payload_.empty()) {
    const json intent = json::parse(intent_payload_, nullptr, false);
    if (intent.is_object()) {
      status["checkpoint"] = {{"size", intent.value("size", std::uint64_t{0})},
                              {"root", intent.value("root", "")},
                              {"time", FormatTime(checkpoint_wall_ns_)}};
    }
  }
  // The maximum vulnerability window: what is not yet behind a PCR extend, and not yet behind an NV anchor.
  const auto window = [&](const char* size_name, const char* wall_name) {
    const std::uint64_t covered = NumberOf(anchor_status_, size_name);
    const auto at = anchor_status_.find(wall_name);
    const std::int64_t since = at != anchor_status_.end() && at->is_number() ? at->get<std::int64_t>() : 0;
    return json{{"records", size_ > covered ? size_ - covered : 0}, {"ms", since > 0 ? (now - since) / kNsPerMs : -1}};
  };
  status["mvw"] = {{"same_boot", window("extended_size", "extended_wall_ns")},
                   {"across_boot", window("anchored_size", "anchored_wall_ns")}};
  status["tpm"] = {{"nv_writes", NumberOf(anchor_status_, "nv_writes")},
                   {"nv_budget", NumberOf(anchor_status_, "nv_budget")},
                   {"unanchored_since", UnanchoredSince()}};
  status["key"] = anchor_status_.value("key", "");
  status["sandbox"] = "same-uid";
  TellListeners(status);
  status["refused_records"] = refused_records_;
  status["alarms"] = alarms_;
  status["sources"] = sources_.ToJson();
  json processes = json::array();
  std::string network;
  for (const auto& [name, notice] : processes_) {
    const json detail = notice.value("detail", json::object());
    // stele-courier must reach other machines, stele-guard the rules of this one.
    const bool outside = name == "stele-courier" || name == "stele-guard";
    if (!outside && detail.is_object()) network = sandbox::NetworkOfAll(network, detail.value("network", ""));
    processes.push_back({{"name", name},
                         {"pid", notice.value("pid", 0)},
                         {"restarts", notice.value("restarts", 0)},
                         {"event", notice.value("event", "")},
                         {"detail", notice.value("detail", json::object())}});
  }
  status["processes"] = processes;
  for (const auto& [member, words] : told_by_others_) {
    if (words.is_object()) status[member] = words;
  }
  status["network"] = network.empty() ? "unknown" : network;
  return status.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace stele::ledger_daemon
