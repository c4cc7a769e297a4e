// Goal: what is told to a scraper is valid OpenMetrics, says what the status says, and cannot be bent by a name that
// somebody else chose. Method: a status with everything, read back by a small reader of the format (OpenMetrics 1.0,
// section 4.1).
#include "appliance/query/metrics.h"

#include <gtest/gtest.h>

#include <map>
#include <regex>
#include <set>
#include <sstream>

namespace stele::query {
namespace {

using Json = nlohmann::json;

// Samples by name and labels as written; the families' types. Fails the test where a line is not of the format.
struct Exposition {
  std::map<std::string, std::string> samples;
  std::map<std::string, std::string> types;
};

Exposition Parsed(const std::string& text) {
  static const std::regex kComment("# (TYPE|UNIT|HELP) (stele_[a-z_]+) (.+)");
  static const std::regex kSample(R"re((stele_[a-z_]+)(\{([a-z_]+="([^"\\\n]|\\["\\n])*",?)+\})? (-?[0-9.e+]+))re");
  Exposition out;
  std::istringstream lines(text);
  std::string family;
  bool ended = false;
  for (std::string line; std::getline(lines, line);) {
    EXPECT_FALSE(ended) << "a line behind the end: " << line;
    std::smatch match;
    if (line == "# EOF") {
      ended = true;
    } else if (std::regex_match(line, match, kComment)) {
      if (match[1] == "TYPE") {
        family = match[2];
        EXPECT_TRUE(out.types.emplace(family, match[3]).second) << family << " twice";
      }
      EXPECT_EQ(match[2], family);
      if (match[1] == "UNIT") {
        EXPECT_TRUE(family.ends_with("_" + match[3].str())) << line;
      }
    } else if (std::regex_match(line, match, kSample)) {
      const std::string& type = out.types[family];
      const std::string name = family + (type == "counter" ? "_total" : type == "info" ? "_info" : "");
      EXPECT_EQ(match[1], name) << line;
      EXPECT_TRUE(out.samples.emplace(match[1].str() + match[2].str(), match[5]).second) << "twice: " << line;
    } else {
      ADD_FAILURE() << "not a line of the format: " << line;
    }
  }
  EXPECT_TRUE(ended);
  EXPECT_TRUE(text.ends_with("# EOF\n"));
  return out;
}

Json Status() {
  return Json::parse(R"({
    "version": "0.1.0", "log_id": "7e17", "origin": "stele.invalid/log/7e17", "uptime_ms": 1500, "size": 120, "committed_size": 118,
    "checkpoint": {"size": 117, "root": "ab", "time": "2026-11-22T00:36:22.260Z"},
    "mvw": {"same_boot": {"records": 2, "ms": 430}, "across_boot": {"records": 100, "ms": -1}},
    "verdict": {"word": "ROLLED_BACK", "qualifiers": [], "detail": ""}, "alarms": [{}, {}], "refused_records": 3,
    "anchor_present": true, "tpm": {"nv_writes": 5, "nv_budget": 100000, "unanchored_since": "2026-11-22T00:36:22.260Z"},
    "witnesses": {"quorum": {"met": false}, "witnesses": [{"name": "w1", "state": "cosigned", "size": 110}, {"name": "w2", "state": "forked"}]},
    "store": {"segments": 2, "bytes": 268435456, "free_bytes": 5, "room_bytes": 6, "reserve_bytes": 7, "full": true},
    "listeners": [{"zone": "plant", "name": "syslog-udp", "received": 10, "stored": 8, "lost": 2, "losses": {"kernel_drop": 2},
                   "unknown_losses": 0, "refused": 1, "connections": 0, "sources": 3},
                  {"zone": "plant", "name": "syslog-tls", "received": 4, "stored": 4, "lost": null, "losses": {},
                   "tls": {"not_after_s": 1829608353, "handshakes_failed": 9}}],
    "alerts": {"flows": [{"name": "soc", "state": "failing", "delivered": 7, "next": 100, "failing_since_s": 1795300000},
                         {"name": "hook", "state": "delivered", "delivered": 9, "next": 130}]},
    "policy": {"state": "in_force", "digest": "5d3c", "entry": 42, "since_s": 1795200000, "configured": "in_force",
               "last_change": {"result": "failed"}, "drift": {"state": "found", "found": 4, "restored": 3},
               "drops": [{"zone": "plant", "reason": "port", "packets": 30}]},
    "violations": {"packets": 50, "undelivered": 6, "in_entries": 44},
    "sources": {"known": 5, "heard": 4, "silent": 1},
    "processes": [{"name": "stele-ledger", "restarts": 2, "detail": {"complete": true}}],
    "query": {"ledger_silent": false, "sessions": 1, "tails": 0, "requests": 1}})");
}

TEST(Metrics, TellWhatTheStatusTells) {
  const Exposition got = Parsed(MetricsText(Status()));
  const std::map<std::string, std::string> wanted = {
      {R"(stele_build_info{version="0.1.0",log_id="7e17",origin="stele.invalid/log/7e17"})", "1"},
      {"stele_uptime_seconds", "1.5"},
      {"stele_ledger_answers", "1"},
      {"stele_log_records_total", "118"},
      {"stele_checkpoint_records", "117"},
      {R"(stele_unanchored_records{window="across_boot"})", "100"},
      {R"(stele_unanchored_seconds{window="same_boot"})", "0.43"},
      {R"(stele_verdict{stele_verdict="ROLLED_BACK"})", "1"},
      {R"(stele_verdict{stele_verdict="OK"})", "0"},
      {"stele_alarms", "2"},
      {"stele_refused_records_total", "3"},
      {"stele_tpm_unanchored", "1"},
      {"stele_tpm_nv_writes_total", "5"},
      {"stele_witness_quorum_met", "0"},
      {R"(stele_witness_cosigned{witness="w2"})", "0"},
      {R"(stele_witness_records{witness="w1"})", "110"},
      {"stele_store_bytes", "268435456"},
      {"stele_store_full", "1"},
      {R"(stele_listener_received_records_total{zone="plant",listener="syslog-udp"})", "10"},
      {R"(stele_listener_losses_total{zone="plant",listener="syslog-udp",cause="kernel_drop"})", "2"},
      {R"(stele_listener_certificate_end_seconds{zone="plant",listener="syslog-tls"})", "1829608353"},
      {R"(stele_sources{state="silent"})", "1"},
      {R"(stele_alert_flow_delivered_records_total{flow="hook"})", "9"},
      {R"(stele_alert_flow_pending_records{flow="soc"})", "18"},
      {R"(stele_alert_flow_pending_records{flow="hook"})", "0"},
      {R"(stele_alert_flow_failing{flow="soc"})", "1"},
      {R"(stele_alert_flow_failing_since_seconds{flow="soc"})", "1795300000"},
      {R"(stele_policy_info{digest="5d3c"})", "1"},
      {"stele_policy_in_force", "1"},
      {"stele_policy_entry", "42"},
      {"stele_policy_since_seconds", "1795200000"},
      {"stele_policy_configured_differs", "0"},
      {"stele_policy_last_change_failed", "1"},
      {"stele_policy_drift", "1"},
      {"stele_policy_drift_found_total", "4"},
      {"stele_policy_drift_restored_total", "3"},
      {R"(stele_policy_dropped_packets_total{zone="plant",reason="port"})", "30"},
      {"stele_violations_packets_total", "50"},
      {"stele_violations_undelivered_packets_total", "6"},
      {"stele_violations_in_entries_packets_total", "44"},
      {R"(stele_process_restarts_total{process="stele-ledger"})", "2"},
  };
  for (const auto& [name, value] : wanted) {
    ASSERT_TRUE(got.samples.contains(name)) << name;
    EXPECT_EQ(got.samples.at(name), value) << name;
  }
  EXPECT_EQ(got.types.at("stele_verdict"), "stateset");
  // What is not known is not told: a time before the first anchor, a count of losses that died with its keeper.
  EXPECT_FALSE(got.samples.contains(R"(stele_unanchored_seconds{window="across_boot"})"));
  EXPECT_FALSE(got.samples.contains(R"(stele_alert_flow_failing_since_seconds{flow="hook"})"));
  EXPECT_FALSE(got.samples.contains(R"(stele_listener_lost_records_total{zone="plant",listener="syslog-tls"})"));
}

TEST(Metrics, ANameCannotForgeALine) {
  Json status = Status();
  status["listeners"][0]["zone"] = "a\"} 1\nstele_verdict{stele_verdict=\"OK\"} 1\n\\";
  const Exposition got = Parsed(MetricsText(status));
  EXPECT_EQ(got.samples.at(R"(stele_verdict{stele_verdict="OK"})"), "0");
}

TEST(Metrics, AnyStatusGivesAValidText) {
  EXPECT_EQ(MetricsText(Json()), MetricsText(Json::array()));
  (void)Parsed(MetricsText(Json::object()));
  const Json whole = Status();
  for (const auto& [name, ignored] : whole.items()) {  // every member absent, and of every wrong type
    Json status = whole;
    status.erase(name);
    (void)Parsed(MetricsText(status));
    for (const Json& wrong :
         {Json(), Json("x"), Json(-5), Json(1.5), Json(true), Json::array({1, "x", Json::object()}), Json::object()}) {
      status[name] = wrong;
      (void)Parsed(MetricsText(status));
    }
  }
}

}  // namespace
}  // namespace stele::query
