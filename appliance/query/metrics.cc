#include "appliance/query/metrics.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <utility>

namespace stele::query {
namespace {

using Json = nlohmann::json;
using Labels = std::initializer_list<std::pair<std::string_view, std::string>>;

constexpr double kMsPerSecond = 1e3;
constexpr std::array<std::string_view, 11> kVerdicts = {"OK",
                                                        "OK_UNANCHORED_TAIL",
                                                        "RECOVERED_CRASH",
                                                        "TAMPERED",
                                                        "ROLLED_BACK",
                                                        "FOREIGN_EXTEND",
                                                        "ANCHOR_REDEFINED",
                                                        "TPM_REPLACED",
                                                        "TPM_CLEARED",
                                                        "DAMAGED",
                                                        "CANNOT_TELL"};

class Text {
 public:
  // The family that the following samples belong to. A unit is the end of the name, as the standard wants it.
  void Family(std::string_view name, std::string_view type, std::string_view help, std::string_view unit = {}) {
    name_ = name;
    head_ = "# TYPE stele_" + name_ + " " + std::string(type) + "\n";
    if (!unit.empty()) head_ += "# UNIT stele_" + name_ + " " + std::string(unit) + "\n";
    head_ += "# HELP stele_" + name_ + " " + std::string(help) + "\n";
    suffix_ = type == "counter" ? "_total" : type == "info" ? "_info" : "";
  }

  void Sample(const Json& value, Labels labels = {}) {
    if (!value.is_number() && !value.is_boolean()) return;
    out_ += std::exchange(head_, {}) + "stele_" + name_ + suffix_;
    char before = '{';
    for (const auto& [label, text] : labels) {
      out_ += before + std::string(label) + "=\"" + Escaped(text) + "\"";
      before = ',';
    }
    if (before == ',') out_ += '}';
    out_ += " " + (value.is_boolean() ? std::string(value.get<bool>() ? "1" : "0") : value.dump()) + "\n";
  }

  std::string Take() && { return std::move(out_) + "# EOF\n"; }

 private:
  static std::string Escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
      if (c == '\n') {
        out += "\\n";
        continue;
      }
      if (c == '\\' || c == '"') out += '\\';
      out += c;
    }
    return out;
  }

  std::string name_;
  std::string suffix_;
  std::string head_;  // written before the first sample: a family without any is not told
  std::string out_;
};

const Json& At(const Json& object, const char* name) {
  static const Json kNothing;
  const auto at = object.is_object() ? object.find(name) : object.end();
  return object.is_object() && at != object.end() ? *at : kNothing;
}
std::string TextAt(const Json& object, const char* name) {
  const Json& value = At(object, name);
  return value.is_string() ? value.get<std::string>() : std::string();
}
// Of an array; nothing where it is none.
const Json& ListAt(const Json& object, const char* name) {
  static const Json kEmpty = Json::array();
  const Json& value = At(object, name);
  return value.is_array() ? value : kEmpty;
}
Json Seconds(const Json& ms) {
  return ms.is_number() && ms.get<double>() >= 0 ? Json(ms.get<double>() / kMsPerSecond) : Json();
}

void TellLog(const Json& status, Text& out) {
  out.Family("build", "info", "Version and identity of the appliance.");
  out.Sample(1, {{"version", TextAt(status, "version")},
                 {"log_id", TextAt(status, "log_id")},
                 {"origin", TextAt(status, "origin")}});
  out.Family("uptime_seconds", "gauge", "Since stele-ledger started.", "seconds");
  out.Sample(Seconds(At(status, "uptime_ms")));
  out.Family("ledger_answers", "gauge", "1 when the ledger answered in time.");
  if (const Json& silent = At(At(status, "query"), "ledger_silent"); silent.is_boolean())
    out.Sample(!silent.get<bool>());
  out.Family("log_records", "counter", "Entries that are durable.");
  out.Sample(At(status, "committed_size"));
  out.Family("checkpoint_records", "gauge", "Entries under the newest signed checkpoint.");
  out.Sample(At(At(status, "checkpoint"), "size"));
  out.Family("unanchored_records", "gauge",
             "Maximum vulnerability window: entries not yet behind the PCR or the NV anchor.");
  for (const char* window : {"same_boot", "across_boot"})
    out.Sample(At(At(At(status, "mvw"), window), "records"), {{"window", window}});
  out.Family("unanchored_seconds", "gauge", "The same as time.", "seconds");
  for (const char* window : {"same_boot", "across_boot"})
    out.Sample(Seconds(At(At(At(status, "mvw"), window), "ms")), {{"window", window}});
  out.Family("verdict", "stateset", "What the last recovery found.");
  if (const std::string word = TextAt(At(status, "verdict"), "word"); !word.empty()) {
    for (const std::string_view one : kVerdicts) out.Sample(one == word, {{"stele_verdict", std::string(one)}});
  }
  out.Family("alarms", "gauge", "Alarms since the start, of the newest 64.");
  if (At(status, "alarms").is_array()) out.Sample(At(status, "alarms").size());
  out.Family("refused_records", "counter", "Records that could not be written and were refused.");
  out.Sample(At(status, "refused_records"));
}

void TellTpm(const Json& status, Text& out) {
  out.Family("anchor_present", "gauge", "1 while the anchor serves.");
  out.Sample(At(status, "anchor_present"));
  out.Family("tpm_unanchored", "gauge", "1 while the TPM does not take anchors.");
  if (const Json& tpm = At(status, "tpm"); tpm.is_object()) out.Sample(!At(tpm, "unanchored_since").is_null());
  out.Family("tpm_nv_writes", "counter", "Writes to the TPM's NV memory.");
  out.Sample(At(At(status, "tpm"), "nv_writes"));
  out.Family("tpm_nv_budget", "gauge", "Writes it is trusted to endure.");
  out.Sample(At(At(status, "tpm"), "nv_budget"));
  const Json& witnesses = At(status, "witnesses");
  out.Family("witness_quorum_met", "gauge", "1 while enough witnesses cosign.");
  out.Sample(At(At(witnesses, "quorum"), "met"));
  out.Family("witness_records", "gauge", "Entries under the newest checkpoint that this witness cosigned.");
  for (const Json& one : ListAt(witnesses, "witnesses"))
    out.Sample(At(one, "size"), {{"witness", TextAt(one, "name")}});
  out.Family("witness_cosigned", "gauge", "1 while this witness cosigns.");
  for (const Json& one : ListAt(witnesses, "witnesses")) {
    out.Sample(TextAt(one, "state") == "cosigned", {{"witness", TextAt(one, "name")}});
  }
}

void TellStore(const Json& status, Text& out) {
  const Json& store = At(status, "store");
  const std::array<std::pair<const char*, const char*>, 4> kSizes = {
      {{"bytes", "Of all segments."},
       {"free_bytes", "Free on the file system."},
       {"room_bytes", "In segments that are there already."},
       {"reserve_bytes", "Kept for the appliance's own entries."}}};
  for (const auto& [member, help] : kSizes) {
    out.Family(std::string("store_") + member, "gauge", help, "bytes");
    out.Sample(At(store, member));
  }
  out.Family("store_segments", "gauge", "Segments.");
  out.Sample(At(store, "segments"));
  out.Family("store_full", "gauge", "1 while records are refused for want of room.");
  out.Sample(At(store, "full"));
}

void TellListeners(const Json& status, Text& out) {
  const Json& listeners = ListAt(status, "listeners");
  const auto tell = [&](const char* name, const char* type, const char* help, const auto& value_of,
                        const char* unit = "") {
    out.Family(name, type, help, unit);
    for (const Json& one : listeners) {
      out.Sample(value_of(one), {{"zone", TextAt(one, "zone")}, {"listener", TextAt(one, "name")}});
    }
  };
  const auto member = [](const char* name) { return [name](const Json& one) { return At(one, name); }; };
  const auto of_tls = [](const char* name) { return [name](const Json& one) { return At(At(one, "tls"), name); }; };
  tell("listener_received_records", "counter", "Taken off the socket.", member("received"));
  tell("listener_stored_records", "counter", "Of them durable.", member("stored"));
  tell("listener_lost_records", "counter", "Lost and counted.", member("lost"));
  tell("listener_unknown_losses", "counter", "Losses whose count is not known.", member("unknown_losses"));
  tell("listener_refused", "counter", "Connections and records that were refused.", member("refused"));
  tell("listener_connections", "gauge", "Open connections.", member("connections"));
  tell("listener_sources", "gauge", "Sources heard.", member("sources"));
  tell("listener_tls_handshake_failures", "counter", "TLS handshakes that failed.", of_tls("handshakes_failed"));
  tell("listener_certificate_end_seconds", "gauge", "When the listener's certificate ends, Unix time.",
       of_tls("not_after_s"), "seconds");
  out.Family("listener_losses", "counter", "Lost records by cause.");
  for (const Json& one : listeners) {
    if (!At(one, "losses").is_object()) continue;
    for (const auto& [cause, count] : At(one, "losses").items()) {
      out.Sample(count, {{"zone", TextAt(one, "zone")}, {"listener", TextAt(one, "name")}, {"cause", cause}});
    }
  }
  out.Family("sources", "gauge", "Sources: known to the log, heard since the start, silent for longer than is usual.");
  for (const char* state : {"known", "heard", "silent"})
    out.Sample(At(At(status, "sources"), state), {{"state", state}});
}

void TellAlerts(const Json& status, Text& out) {
  const Json& flows = ListAt(At(status, "alerts"), "flows");
  const auto tell = [&](const char* name, const char* type, const char* help, const auto& value_of,
                        const char* unit = "") {
    out.Family(name, type, help, unit);
    for (const Json& one : flows) out.Sample(value_of(one), {{"flow", TextAt(one, "name")}});
  };
  tell("alert_flow_delivered_records", "counter", "Entries that arrived, since stele-courier started.",
       [](const Json& one) { return At(one, "delivered"); });
  tell("alert_flow_pending_records", "gauge", "Entries of the log that this flow has not looked at or not delivered.",
       [&status](const Json& one) {
         const Json& next = At(one, "next");
         const Json& size = At(status, "committed_size");
         if (!next.is_number_unsigned() || !size.is_number_unsigned()) return Json();
         return Json(size.get<std::uint64_t>() - std::min(size.get<std::uint64_t>(), next.get<std::uint64_t>()));
       });
  tell("alert_flow_failing", "gauge", "1 while the receiver does not take what is sent.",
       [](const Json& one) { return Json(TextAt(one, "state") == "failing"); });
  tell("alert_flow_failing_since_seconds", "gauge", "Since when, Unix time; only while it fails.",
       [](const Json& one) { return At(one, "failing_since_s"); }, "seconds");
}

void TellPolicy(const Json& status, Text& out) {
  const Json& policy = At(status, "policy");
  if (policy.is_object()) {
    const Json& drift = At(policy, "drift");
    out.Family("policy", "info", "The network policy in force.");
    out.Sample(1, {{"digest", TextAt(policy, "digest")}});
    out.Family("policy_in_force", "gauge", "1 while a policy is in force.");
    out.Sample(TextAt(policy, "state") == "in_force");
    out.Family("policy_entry", "gauge", "The entry of the log by which it came into force.");
    out.Sample(At(policy, "entry"));
    out.Family("policy_since_seconds", "gauge", "When it came into force, Unix time.", "seconds");
    out.Sample(At(policy, "since_s"));
    out.Family("policy_configured_differs", "gauge", "1 while the zones of stele.toml are others.");
    out.Sample(TextAt(policy, "configured") == "differs");
    out.Family("policy_last_change_failed", "gauge", "1 when the last change was not applied.");
    if (const std::string result = TextAt(At(policy, "last_change"), "result"); !result.empty())
      out.Sample(result != "applied");
    out.Family("policy_drift", "gauge", "1 while the kernel has other rules than those of the policy in force.");
    out.Sample(TextAt(drift, "state") == "found");
    out.Family("policy_drift_found", "counter", "How often other rules were found, since stele-guard started.");
    out.Sample(At(drift, "found"));
    out.Family("policy_drift_restored", "counter", "How often they were put back.");
    out.Sample(At(drift, "restored"));
    out.Family("policy_dropped_packets", "counter", "Packets that the rules have dropped, by zone and reason.");
    for (const Json& one : ListAt(policy, "drops"))
      out.Sample(At(one, "packets"), {{"zone", TextAt(one, "zone")}, {"reason", TextAt(one, "reason")}});
  }
  const Json& violations = At(status, "violations");
  out.Family("violations_packets", "counter", "Dropped packets of which the kernel told, since Stele started.");
  out.Sample(At(violations, "packets"));
  out.Family("violations_undelivered_packets", "counter", "Of these: counted, but the kernel could not deliver them.");
  out.Sample(At(violations, "undelivered"));
  out.Family("violations_in_entries_packets", "counter", "Of these: told by entries that are in the log.");
  out.Sample(At(violations, "in_entries"));
}

void TellProcesses(const Json& status, Text& out) {
  out.Family("process_restarts", "counter", "How often a process was started again.");
  for (const Json& one : ListAt(status, "processes"))
    out.Sample(At(one, "restarts"), {{"process", TextAt(one, "name")}});
  out.Family("process_sandbox_complete", "gauge", "1 when the process proved its whole sandbox.");
  for (const Json& one : ListAt(status, "processes")) {
    out.Sample(At(At(one, "detail"), "complete"), {{"process", TextAt(one, "name")}});
  }
  out.Family("query_open", "gauge", "Readers at this moment.");
  for (const char* what : {"sessions", "tails", "requests"})
    out.Sample(At(At(status, "query"), what), {{"what", what}});
}

}  // namespace

std::string MetricsText(const Json& status) {
  Text out;
  TellLog(status, out);
  TellTpm(status, out);
  TellStore(status, out);
  TellListeners(status, out);
  TellAlerts(status, out);
  TellPolicy(status, out);
  TellProcesses(status, out);
  return std::move(out).Take();
}

}  // namespace stele::query
