// stele status.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "appliance/base/text.h"
#include "appliance/daemons/cli/client.h"
#include "appliance/daemons/cli/commands.h"
#include "appliance/daemons/cli/output.h"

namespace stele::daemons::cli {
namespace {

using nlohmann::json;
using Pairs = std::vector<std::pair<std::string, std::string>>;

std::string Joined(const json& list) {
  std::string text;
  if (!list.is_array()) return text;
  for (const auto& member : list) {
    if (member.is_string()) text += (text.empty() ? "" : ", ") + Safe(member.get_ref<const std::string&>());
  }
  return text;
}

std::string VerdictText(const json& verdict) {
  std::string text = TextOf(verdict, "word");
  if (const auto qualifiers = Joined(verdict.value("qualifiers", json::array())); !qualifiers.empty()) {
    text += " (" + qualifiers + ")";
  }
  if (const auto detail = TextOf(verdict, "detail"); !detail.empty()) text += ": " + detail;
  return text;
}

std::string WindowText(const json& window) {
  const std::int64_t ms = NumberOf(window, "ms", -1);
  return fmt::format("{} records, {}", NumberOf(window, "records"), ms < 0 ? "since when is not known" : DurationText(ms));
}

std::string AnchorText(const json& anchor, const json& tpm) {
  std::string text = TextOf(anchor, "state");
  if (const auto since = TextOf(tpm, "unanchored_since"); !since.empty()) text = "unanchored since " + since;
  if (const auto number = NumberOf(anchor, "anchor", -1); number >= 0) text += fmt::format(", number {}", number);
  if (const auto size = NumberOf(anchor, "anchored_size", -1); size >= 0) text += fmt::format(", covers {} records", size);
  if (const auto time_ns = NumberOf(anchor, "anchored_wall_ns"); time_ns > 0) text += ", " + FormatTime(time_ns);
  if (const auto error = TextOf(anchor, "last_error"); !error.empty()) text += ", last error: " + error;
  return text;
}

std::string WearText(const json& tpm) {
  const auto budget = NumberOf(tpm, "nv_budget");
  return fmt::format("{} NV writes of a budget of {} ({:.1f} %)", NumberOf(tpm, "nv_writes"), budget,
                     budget > 0 ? 100.0 * static_cast<double>(NumberOf(tpm, "nv_writes")) / static_cast<double>(budget) : 0.0);
}

std::string KeyText(const json& status) {
  const std::string policy = TextOf(ObjectOf(status, "anchor"), "key_policy");
  return TextOf(status, "key") + (policy.empty() ? "" : ", unsealed only while unchanged: " + policy);
}

// What the answer does not know is left out, not shown as nothing.
std::string StoreText(const json& store) {
  std::string text = fmt::format("{} segments", NumberOf(store, "segments"));
  for (const auto& [name, unit] : {std::pair{"bytes", ""}, std::pair{"free_bytes", " free"}}) {
    if (const auto bytes = NumberOf(store, name, -1); bytes >= 0) text += ", " + SizeText(static_cast<std::uint64_t>(bytes)) + unit;
  }
  if (store.value("full", json(false)) == json(true)) {
    text += ", FULL: records are refused, " + SizeText(static_cast<std::uint64_t>(NumberOf(store, "room_bytes"))) + " kept in reserve";
  }
  if (const auto error = TextOf(store, "error"); !error.empty()) text += ", error: " + error;
  return text;
}

// The counted ones by cause, and whether there were any that nobody could count.
std::string LossText(const json& status) {
  std::string text = fmt::format("{}", NumberOf(status, "losses"));
  std::map<std::string, std::int64_t> causes;
  const json listeners = status.value("listeners", json::array());
  for (const auto& listener : listeners) {
    const json& losses = ObjectOf(listener, "losses");
    for (const auto& [cause, count] : losses.items()) causes[cause] += count.is_number_integer() ? count.get<std::int64_t>() : 0;
  }
  for (const auto& [cause, count] : causes) text += fmt::format(", {} {}", Safe(cause), count);
  if (NumberOf(status, "unknown_losses") > 0) text += ", and some whose number is not known (stele search kind:loss)";
  return text;
}

void PrintListeners(const json& listeners) {
  if (!listeners.is_array() || listeners.empty()) return;
  // A zone that is the only one need not be told.
  const std::string first_zone = TextOf(listeners.front(), "zone");
  const bool zones = std::any_of(listeners.begin(), listeners.end(),
                                 [&](const json& listener) { return TextOf(listener, "zone") != first_zone; });
  const auto zone_column = [zones](const std::string& text) {
    return zones ? fmt::format("{:<16} ", text) : std::string();
  };
  Print(fmt::format("\n{}{:<12} {:<11} {:<24} {:>12} {:>12} {:>9} {:>9}\n", zone_column("zone"), "listener",
                    "transport", "address", "received", "stored", "lost", "refused"));
  for (const auto& listener : listeners) {
    Print(fmt::format("{}{:<12} {:<11} {:<24} {:>12} {:>12} {:>9} {:>9}\n", zone_column(TextOf(listener, "zone")),
                      TextOf(listener, "name"), TextOf(listener, "transport"), TextOf(listener, "address"),
                      NumberOf(listener, "received"), NumberOf(listener, "stored"), NumberOf(listener, "lost"),
                      NumberOf(listener, "refused")));
  }
}

std::string SourcesText(const json& sources) {
  std::string text = fmt::format("{} known, {} heard since the start, {} silent", NumberOf(sources, "known"),
                                 NumberOf(sources, "heard"), NumberOf(sources, "silent"));
  if (TextOf(sources, "unknown") == "refuse") text += "; strangers are refused";
  return text;
}

void PrintSilent(const json& sources) {
  const json& list = sources.value("silent_list", json::array());
  if (!list.is_array() || list.empty()) return;
  Print("\nsilent\n");
  for (const auto& one : list) {
    const std::string peer = TextOf(one, "peer");
    const std::string last = TextOf(one, "last_time");
    Print(fmt::format("  {}{}, last heard {}\n", TextOf(one, "name"),
                      peer.empty() ? "" : " " + peer + " at " + TextOf(one, "listener"), last.empty() ? "never" : last));
  }
}

void PrintProcesses(const json& processes) {
  if (!processes.is_array() || processes.empty()) return;
  Print(fmt::format("\n{:<24} {:>8} {:>9}\n", "process", "pid", "restarts"));
  for (const auto& process : processes) {
    Print(fmt::format("{:<24} {:>8} {:>9}\n", TextOf(process, "name"), NumberOf(process, "pid"),
                      NumberOf(process, "restarts")));
  }
}

void PrintWitnesses(const json& witnesses) {
  if (witnesses.empty()) return;
  const json& quorum = ObjectOf(witnesses, "quorum");
  Print("\nwitnesses: " + (TextOf(quorum, "size").empty()
                                ? std::string("no checkpoint has its quorum yet")
                                : fmt::format("quorum for {} records, {}", TextOf(quorum, "size"), TextOf(quorum, "time"))) +
        "\n");
  const json list = witnesses.value("witnesses", json::array());
  for (const auto& one : list) {
    const std::string text = TextOf(one, "text");
    const std::string size = TextOf(one, "size");
    Print(fmt::format("  {:<15} {:<12}{}{}\n", TextOf(one, "name"), TextOf(one, "state"),
                      size.empty() ? "" : " " + size + " records, " + TextOf(one, "time"), text.empty() ? "" : " " + text));
  }
}

void PrintAlertFlows(const json& alerts) {
  if (alerts.empty()) return;
  Print("\nalerts out\n");
  const json flows = alerts.value("flows", json::array());
  for (const auto& flow : flows) {
    const std::string last = TextOf(flow, "last_seq");
    const std::string since = TextOf(flow, "failing_since");
    const std::string text = TextOf(flow, "text");
    Print(fmt::format("  {:<15} {:<10} {} delivered since the start{}{}{}, to {}\n", TextOf(flow, "name"),
                      TextOf(flow, "state"), NumberOf(flow, "delivered"), last.empty() ? "" : ", the last is entry " + last,
                      since.empty() ? "" : ", failing since " + since, text.empty() ? "" : ": " + text, TextOf(flow, "to")));
  }
  Print("  webhooks are signed with this key (keys/alerts.pub.pem):\n");
  std::istringstream pem(alerts.value("public_key_pem", std::string()));
  for (std::string line; std::getline(pem, line);) Print("    " + Safe(line) + "\n");
}

// The network policy, where one is enforced.
void PrintPolicy(const json& policy) {
  if (policy.empty()) return;
  const json& drift = ObjectOf(policy, "drift");
  std::string text = TextOf(policy, "state") == "in_force"
                         ? fmt::format("in force since {}, entry {}, by {}", TextOf(policy, "since"),
                                       NumberOf(policy, "entry"), TextOf(policy, "who"))
                         : std::string("none is in force yet");
  if (NumberOf(policy, "approvals") > 0) text += fmt::format("; a change needs {} approvals", NumberOf(policy, "approvals"));
  Print("\nnetwork policy: " + text + "\n  digest " + TextOf(policy, "digest") + "\n");
  const bool found = TextOf(drift, "state") == "found";
  Print(fmt::format("  drift: {}, found {} times, restored {} times\n", found ? "FOUND" : "none", NumberOf(drift, "found"),
                    NumberOf(drift, "restored")));
  if (found) Print("    " + TextOf(drift, "text") + "\n");
  if (const auto tables = Joined(drift.value("foreign_tables", json::array())); !tables.empty())
    Print("  other tables, not Stele's: " + tables + "\n");
  if (TextOf(policy, "configured") == "differs") Print("  stele.toml has other zones than the policy in force\n");
  const json& last = ObjectOf(policy, "last_change");
  if (const auto why = TextOf(last, "text"); !why.empty())
    Print("  last change, " + TextOf(last, "time") + ": not applied: " + why + "\n");
  const json drops = policy.value("drops", json::array());
  for (const auto& one : drops) {
    Print(fmt::format("  dropped {:<24} {:<12} {:>12}\n", TextOf(one, "zone"), TextOf(one, "reason"), NumberOf(one, "packets")));
  }
}

// The packets that were dropped, where they are watched.
void PrintViolations(const json& violations) {
  if (violations.empty()) return;
  Print(fmt::format("\nviolations of the network policy: {} packets since the start, {} of them told by entries of the log; {} the kernel could "
                    "not deliver, only count\n",
                    NumberOf(violations, "packets"), NumberOf(violations, "in_entries"), NumberOf(violations, "undelivered")));
}

void PrintAlarms(const json& alarms) {
  if (!alarms.is_array() || alarms.empty()) return;
  Print("\nalarms\n");
  for (const auto& alarm : alarms) {
    Print("  " + (alarm.is_string() ? Safe(alarm.get_ref<const std::string&>())
                                    : TextOf(alarm, "time") + " " + TextOf(alarm, "alarm") + ": " + TextOf(alarm, "text")) +
          "\n");
  }
}

void PrintStatus(const json& status) {
  const json& checkpoint = ObjectOf(status, "checkpoint");
  const json& window = ObjectOf(status, "mvw");
  const json& tpm = ObjectOf(status, "tpm");
  const Pairs pairs{
      {"verdict", VerdictText(ObjectOf(status, "verdict"))},
      {"log", TextOf(status, "log_id")},
      {"origin", TextOf(status, "origin")},
      {"records", fmt::format("{} ({} durable)", TextOf(status, "size"), TextOf(status, "committed_size"))},
      {"checkpoint", fmt::format("{} records, {}", NumberOf(checkpoint, "size"), TextOf(checkpoint, "time"))},
      {"anchor", AnchorText(ObjectOf(status, "anchor"), tpm)},
      {"unanchored, same boot", WindowText(ObjectOf(window, "same_boot"))},
      {"unanchored, across boots", WindowText(ObjectOf(window, "across_boot"))},
      {"TPM", WearText(tpm)},
      {"store", StoreText(ObjectOf(status, "store"))},
      {"losses", LossText(status)},
      {"sources", SourcesText(ObjectOf(status, "sources"))},
      {"signing key", KeyText(status)},
      {"sandbox", TextOf(status, "sandbox")},
      {"network", TextOf(status, "network")},
      {"up for", DurationText(NumberOf(status, "uptime_ms"))},
      {"version", TextOf(status, "version")},
  };
  PrintPairs(pairs);
  PrintListeners(status.value("listeners", json()));
  PrintSilent(ObjectOf(status, "sources"));
  PrintProcesses(status.value("processes", json()));
  PrintWitnesses(ObjectOf(status, "witnesses"));
  PrintAlertFlows(ObjectOf(status, "alerts"));
  PrintPolicy(ObjectOf(status, "policy"));
  PrintViolations(ObjectOf(status, "violations"));
  PrintAlarms(status.value("alarms", json()));
}

// 0 for the three good words, 1 for a bad verdict, 3 for none.
int ExitOf(const json& status) {
  const std::string word = TextOf(ObjectOf(status, "verdict"), "word");
  if (word == "OK" || word == "OK_UNANCHORED_TAIL" || word == "RECOVERED_CRASH") return kExitYes;
  return word.empty() || word == "CANNOT_TELL" ? kExitCannotTell : kExitNo;
}

}  // namespace

int RunStatus(const Home& home, bool as_json) {
  auto client = Client::Connect(home);
  if (!client) return Complain(client.error());
  const auto answer = client->Get("/api/v1/status");
  if (!answer) return Complain(answer.error());
  if (!answer->ok()) return Complain(*answer);
  const auto status = answer->Json();
  if (!status) return Complain(status.error());
  if (as_json) {
    PrintJson(*status);
  } else {
    PrintStatus(*status);
  }
  return ExitOf(*status);
}

}  // namespace stele::daemons::cli
