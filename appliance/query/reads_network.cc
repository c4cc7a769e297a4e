// The network: the zones that a caller may see, and what the log says about the policy: who changed it last, and
// whether that was applied.
#include <algorithm>

#include "appliance/base/text.h"
#include "appliance/query/language.h"
#include "appliance/query/reads.h"

namespace stele::query {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kChange = "policy_change";
constexpr std::string_view kApplied = "policy_applied";
constexpr std::string_view kFailed = "policy_failed";
constexpr std::string_view kGuard = "stele-guard";

std::string_view EventOf(RecordFields& fields) {
  std::string_view event;
  const auto object = fields.json();
  if (object && object->at_key("event").get_string().get(event) != simdjson::SUCCESS) return {};
  return event;
}

const Json& ListIn(const Json& object, const char* name) {
  static const Json kEmpty = Json::array();
  const auto at = object.is_object() ? object.find(name) : object.end();
  return object.is_object() && at != object.end() && at->is_array() ? *at : kEmpty;
}

std::string TextIn(const Json& object, const char* name) {
  const auto at = object.is_object() ? object.find(name) : object.end();
  return object.is_object() && at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

// Whether records that come in by a zone's listeners would be in scope: then the zone is no secret either.
bool ZoneInScope(const Json& zone, const Matcher& in_scope, JsonScratch& scratch) {
  SourceNames source;
  source.zone = TextIn(zone, "name");
  const auto seen = [&] {
    RecordView like;
    like.source = 1;
    const SourceLookup lookup = [&source](std::uint32_t, std::uint64_t) { return &source; };
    RecordFields fields(like, lookup, scratch);
    return in_scope.Matches(fields);
  };
  if (seen()) return true;
  const Json& doors = ListIn(zone, "doors");
  return std::any_of(doors.begin(), doors.end(), [&](const Json& door) {
    source.listener = TextIn(door, "service");
    return seen();
  });
}

// Only ingest zones have records; of the others who may not see all sources learns nothing.
void LeaveOutOfScope(const Matcher& in_scope, JsonScratch& scratch, Json& network) {
  std::vector<std::string> shown;
  Json zones = Json::array();
  for (const Json& zone : ListIn(network, "zones")) {
    if (TextIn(zone, "kind") != "ingest" || !ZoneInScope(zone, in_scope, scratch)) continue;
    shown.push_back(TextIn(zone, "name"));
    zones.push_back(zone);
  }
  Json reach = Json::array();
  for (const Json& row : ListIn(network, "reach")) {
    if (std::find(shown.begin(), shown.end(), TextIn(row, "zone")) != shown.end()) reach.push_back(row);
  }
  network["reach_total"] = reach.size();
  network["zones"] = std::move(zones);
  network["reach"] = std::move(reach);
  network["findings"] = Json::array();  // they name zones
}

// Null: the ledger did not say.
Json GuardRuns(const std::string& status_json) {
  const Json status = Json::parse(status_json, nullptr, /*allow_exceptions=*/false);
  if (!status.is_object()) return nullptr;
  const Json& processes = ListIn(status, "processes");
  return std::any_of(processes.begin(), processes.end(),
                     [](const Json& one) { return TextIn(one, "name") == kGuard && TextIn(one, "event") == "ready"; });
}

std::string_view StateOf(const Json& configured, const Json& guard_runs, const std::string& outcome, bool change_waits,
                         bool complete) {
  if (configured != true) return "none";
  if (guard_runs.is_null()) return "unknown";
  if (guard_runs == false) return "not_enforced";
  if (change_waits) return "pending";
  if (outcome == kApplied) return "applied";
  if (outcome == kFailed) return "failed";
  return complete ? "not_enforced" : "unknown";
}

}  // namespace

// Newest first and in boxes of time: what is new since the last call, then further down until both are found. A long
// log is looked through over several calls. True: nothing about the policy is still to be found.
Result<bool> Reads::FollowPolicy(const std::atomic<bool>& cancelled) {
  const Matcher about_policy(TextTerm(Field::kKind, record::KindName(record::Kind::kPolicy)));
  const ScanLimits scan_limits{clock_.BoottimeNs() + kNetworkTimeBoxNs, &cancelled};
  PolicyTrail found;
  const auto look = [&](RecordFields& fields) -> Result<bool> {
    const std::string_view event = EventOf(fields);
    const std::uint64_t sequence = fields.record().sequence;
    if (event == kChange && !found.change) found.change = sequence;
    if ((event == kApplied || event == kFailed) && !found.outcome) found.outcome = sequence;
    return !(found.change && found.outcome);
  };
  const std::uint64_t size = reader_->size();
  if (trail_.high < size) {
    STELE_TRY(const ScanOutcome above,
              scanner_.Scan({trail_.high, size}, Order::kNewestFirst, about_policy, scan_limits, look));
    const bool whole = above.ended == Ended::kDone || above.ended == Ended::kCaller;
    if (!whole)
      trail_ = PolicyTrail{above.resume_at, size, {}, {}};  // a gap below: what was found further down may be old
    trail_.high = size;
    if (found.change) trail_.change = found.change;
    if (found.outcome) trail_.outcome = found.outcome;
    if (!whole) return false;
  }
  if (trail_.low == 0 || (trail_.change && trail_.outcome)) return true;
  found = trail_;
  STELE_TRY(const ScanOutcome below,
            scanner_.Scan({0, trail_.low}, Order::kNewestFirst, about_policy, scan_limits, look));
  trail_.change = found.change;
  trail_.outcome = found.outcome;
  trail_.low = below.ended == Ended::kDone ? 0 : below.resume_at;
  return trail_.low == 0 || (trail_.change && trail_.outcome);
}

// An entry about the policy without its long members; null when there is none or it is out of scope.
Json Reads::PolicyEntry(std::optional<std::uint64_t> sequence, const Matcher* in_scope) {
  if (!sequence) return nullptr;
  const auto one = scanner_.RecordAt(*sequence);
  if (!one) return nullptr;
  RecordFields fields(one->record, scanner_.sources(), scanner_.scratch());
  if (in_scope != nullptr && !in_scope->Matches(fields)) return nullptr;
  const Json payload = Json::parse(fields.payload(), nullptr, /*allow_exceptions=*/false);
  Json out{{"seq", *sequence}, {"time", FormatTime(one->record.receive_wall_ns)}};
  for (const char* member : {"event", "digest", "who", "why", "text"}) {
    if (const std::string text = TextIn(payload, member); !text.empty()) out[member] = text.substr(0, kMemberBytesMax);
  }
  return out;
}

Answer Reads::Network(const ReadRequest& request, const std::atomic<bool>& cancelled) {
  Json network = request.network_json == nullptr
                     ? Json()
                     : Json::parse(*request.network_json, nullptr, /*allow_exceptions=*/false);
  if (!network.is_object()) return Refusal(503, "unavailable", "the network of the running configuration is not known");
  const auto complete = FollowPolicy(cancelled);
  if (!complete) return Refusal(503, "unavailable", Describe(complete.error()));

  const Matcher in_scope(request.scope.must);
  const bool limited = !request.scope.sources_all;
  if (limited) LeaveOutOfScope(in_scope, scanner_.scratch(), network);
  const Json outcome = PolicyEntry(trail_.outcome, nullptr);
  const bool change_waits = trail_.change && (!trail_.outcome || *trail_.change > *trail_.outcome);
  const Json guard_runs = GuardRuns(request.status_json);
  network["state"] =
      StateOf(network.value("configured", Json(false)), guard_runs, TextIn(outcome, "event"), change_waits, *complete);
  network["guard_runs"] = guard_runs;
  network["limited"] = limited;
  network["last"] = {{"complete", *complete},
                     {"change", PolicyEntry(trail_.change, &in_scope)},
                     {"outcome", PolicyEntry(trail_.outcome, &in_scope)}};
  Answer answer;
  answer.rows = network["zones"].size();
  answer.body = Dump(network);
  return answer;
}

}  // namespace stele::query
