// Goal: GET /api/v1/network shows the policy that runs, what the log says of it, and to each caller no more than the
// scope allows; and the entries behind the Network screen are found by the queries it makes. Method: a small real store
// with such entries, and a network as the supervisor renders it.
#include <gtest/gtest.h>

#include "appliance/query/reads.h"
#include "tests/unit/query/query_fixture.h"

namespace stele::query {
namespace {

using Json = nlohmann::json;
using record::Kind;

constexpr const char* kGuardReady = R"({"processes":[{"name":"stele-guard","event":"ready"}]})";
constexpr const char* kNoGuard = R"({"processes":[{"name":"stele-web","event":"ready"}]})";

// What the screen asks (web/viewer/src/network/entries.ts).
constexpr const char* kViolations =
    "kind:alarm json.alarm:(policy_violation OR policy_scan OR policy_crossing OR "
    "policy_violations_uncounted)";
constexpr const char* kHistory =
    "(kind:policy json.event:(policy_change OR policy_applied OR policy_failed)) OR (kind:alarm "
    "json.alarm:(policy_drift OR "
    "policy_restored OR policy_unapplied))";

class NetworkTest : public ::testing::Test {
 protected:
  NetworkTest() {
    const auto zone = [](const char* name, const char* kind, Json doors) {
      return Json{{"name", name}, {"kind", kind}, {"interface", "eth1"}, {"doors", std::move(doors)}};
    };
    const Json door{{"service", "syslog-udp"}, {"protocol", "udp"}, {"port", 514}};
    const Json other{{"service", "https-json"}, {"protocol", "tcp"}, {"port", 8443}};
    network_ = {{"configured", true},
                {"zones",
                 {zone("dmz", "ingest", Json::array({door})), zone("lan", "ingest", Json::array({other})),
                  zone("operator", "operator", Json::array())}},
                {"reach",
                 {{{"zone", "dmz"}, {"direction", "in"}},
                  {{"zone", "lan"}, {"direction", "in"}},
                  {{"zone", "operator"}, {"direction", "in"}}}},
                {"reach_total", 3},
                {"findings", {{{"severity", "warning"}, {"text", "zone lan: wide"}}}}};
  }

  Json Ask(Call call, std::map<std::string, std::string> parameters = {}, int status = 200) {
    if (!reads_) reads_ = std::move(*log_.OpenReads());
    log_.Commit();
    EXPECT_TRUE(reads_->Refresh(log_.size()).has_value());
    ReadRequest request;
    request.call = call;
    request.parameters = std::move(parameters);
    request.scope = scope_;
    request.status_json = status_json_;
    if (!network_.is_null()) request.network_json = std::make_shared<const std::string>(network_.dump());
    const Answer answer = reads_->Run(request, cancelled_);
    EXPECT_EQ(answer.status, status) << answer.body;
    return Json::parse(answer.body, nullptr, false);
  }
  Json Network() { return Ask(Call::kNetwork); }
  std::uint64_t Policy(const Json& entry) { return log_.Add(Kind::kPolicy, entry.dump()); }
  std::uint64_t Change(const char* digest) {
    return Policy({{"event", "policy_change"},
                   {"digest", digest},
                   {"policy", std::string(3'000, 'p')},
                   {"who", "anna"},
                   {"why", "a new plant"}});
  }

  QueryLog log_;
  Scope scope_;
  std::string status_json_ = kGuardReady;
  Json network_;
  std::atomic<bool> cancelled_{false};
  std::unique_ptr<Reads> reads_;
};

TEST_F(NetworkTest, WithoutAGuardAPolicyIsNotEnforcedWhateverTheLogSays) {
  Policy({{"event", "policy_applied"}, {"digest", "aa"}});
  status_json_ = kNoGuard;
  const Json network = Network();
  EXPECT_EQ(network["state"], "not_enforced");
  EXPECT_EQ(network["guard_runs"], false);
  EXPECT_EQ(network["zones"].size(), 3U);
  EXPECT_EQ(network["findings"].size(), 1U);
  EXPECT_EQ(network["limited"], false);
  status_json_ = "";
  EXPECT_EQ(Network()["state"], "unknown");
  EXPECT_TRUE(Network()["guard_runs"].is_null());
  network_["configured"] = false;
  EXPECT_EQ(Network()["state"], "none");
}

TEST_F(NetworkTest, AChangeWaitsUntilTheLogSaysWhatBecameOfIt) {
  EXPECT_EQ(Network()["state"], "not_enforced");
  EXPECT_TRUE(Network()["last"]["change"].is_null());
  const auto change = Change("aa");
  Json network = Network();
  EXPECT_EQ(network["state"], "pending");
  EXPECT_EQ(network["last"]["change"]["seq"], change);
  EXPECT_EQ(network["last"]["change"]["who"], "anna");
  EXPECT_EQ(network["last"]["change"]["why"], "a new plant");
  EXPECT_FALSE(network["last"]["change"].contains("policy"));  // long: of the record itself
  EXPECT_TRUE(network["last"]["outcome"].is_null());

  const auto applied = Policy({{"event", "policy_applied"}, {"digest", "aa"}});
  log_.Syslog("<13>1 - - - - - - anything");
  network = Network();
  EXPECT_EQ(network["state"], "applied");
  EXPECT_EQ(network["last"]["outcome"]["seq"], applied);
  EXPECT_EQ(network["last"]["change"]["seq"], change);

  Change("bb");
  EXPECT_EQ(Network()["state"], "pending");
  Policy({{"event", "policy_failed"}, {"digest", "bb"}, {"text", "no such interface"}});
  network = Network();
  EXPECT_EQ(network["state"], "failed");
  EXPECT_EQ(network["last"]["outcome"]["text"], "no such interface");
  EXPECT_EQ(network["last"]["complete"], true);
}

TEST_F(NetworkTest, WhatWasFoundOnceIsFoundByAReaderThatStartsAnew) {
  const auto change = Change("aa");
  Policy({{"event", "policy_applied"}, {"digest", "aa"}});
  for (int i = 0; i < 50; ++i) {
    log_.Syslog("<13>1 - - - - - - noise");
    log_.Add(Kind::kPolicy, R"({"event":"reload","config_sha256":"00"})");
    if (i % 10 == 9) log_.Commit();
  }
  EXPECT_EQ(Network()["last"]["change"]["seq"], change);
  reads_.reset();
  EXPECT_EQ(Network()["last"]["change"]["seq"], change);
  EXPECT_EQ(Network()["state"], "applied");
}

TEST_F(NetworkTest, MembersThatAreMissingOrOfAnotherTypeDoNotMatter) {
  log_.Add(Kind::kPolicy, "not JSON");
  log_.Add(Kind::kPolicy, R"({"event":7})");
  const auto change = log_.Add(Kind::kPolicy, R"({"event":"policy_change","who":["x"],"why":null})");
  const Json network = Network();
  EXPECT_EQ(network["last"]["change"]["seq"], change);
  EXPECT_FALSE(network["last"]["change"].contains("who"));
  status_json_ = R"({"processes":{"name":"stele-guard"}})";
  EXPECT_EQ(Network()["state"], "not_enforced");
}

TEST_F(NetworkTest, AScopeShowsItsZonesAndNothingOfTheOthers) {
  Change("aa");
  Policy({{"event", "policy_applied"}, {"digest", "aa"}});
  scope_ = ScopeOf({"vera", Role::kViewer, "password", {"dmz"}});
  Json network = Network();
  ASSERT_EQ(network["zones"].size(), 1U);
  EXPECT_EQ(network["zones"][0]["name"], "dmz");
  ASSERT_EQ(network["reach"].size(), 1U);
  EXPECT_EQ(network["reach_total"], 1);
  EXPECT_TRUE(network["findings"].empty());
  EXPECT_EQ(network["limited"], true);
  EXPECT_EQ(network["state"], "applied");
  EXPECT_TRUE(network["last"]["change"].is_null()) << "a policy entry has no source: it is in nobody's scope";
  EXPECT_EQ(network.dump().find("lan"), std::string::npos);

  scope_ = ScopeOf({"vera", Role::kViewer, "password", {"https-*"}});
  network = Network();
  ASSERT_EQ(network["zones"].size(), 1U);
  EXPECT_EQ(network["zones"][0]["name"], "lan");
  scope_ = ScopeOf({"otto", Role::kOperator, "password", {"dmz"}});  // sees all sources
  network = Network();
  EXPECT_EQ(network["zones"].size(), 3U);
  EXPECT_TRUE(network["last"]["change"].is_null());
  scope_ = ScopeOf({"sofia", Role::kSecurityOfficer, "password", {}});  // reads access entries only
  network = Network();
  EXPECT_EQ(network["zones"].size(), 3U);
  EXPECT_TRUE(network["last"]["change"].is_null());
  EXPECT_EQ(network["state"], "applied");
}

TEST_F(NetworkTest, AnUntoldNetworkIsSaidToBeUnknown) {
  network_ = nullptr;
  EXPECT_EQ(Ask(Call::kNetwork, {}, 503)["error"]["code"], "unavailable");
}

TEST_F(NetworkTest, TheScreensQueriesFindItsEntriesAndNoOthers) {
  const auto alarm = [this](Json entry) { return log_.Add(Kind::kAlarm, entry.dump()); };
  const std::vector<std::uint64_t> violations{
      alarm({{"alarm", "policy_violation"}, {"zone", "dmz"}, {"reason", "port"}, {"packets", 7}}),
      alarm({{"alarm", "policy_scan"}, {"zone", "dmz"}, {"ports", 900}}),
      alarm({{"alarm", "policy_crossing"}, {"zone", "lan"}}),
      alarm({{"alarm", "policy_violations_uncounted"}, {"zone", nullptr}})};
  alarm({{"alarm", "source_silent"}, {"text", "policy_violation"}});
  log_.Syslog(R"(<13>1 - - - - - - {"alarm":"policy_violation"})");
  std::vector<std::uint64_t> history{Change("aa"),
                                     Policy({{"event", "policy_applied"}}),
                                     Policy({{"event", "policy_failed"}}),
                                     alarm({{"alarm", "policy_drift"}}),
                                     alarm({{"alarm", "policy_restored"}}),
                                     alarm({{"alarm", "policy_unapplied"}})};
  Policy({{"event", "reload"}});
  log_.Checkpoint();
  const auto found = [this](const char* query) {
    std::vector<std::uint64_t> out;
    const Json answer = Ask(Call::kSearch, {{"q", query}});
    for (const Json& row : answer["rows"]) {
      EXPECT_TRUE(row.contains("proof"));
      out.insert(out.begin(), row["seq"].get<std::uint64_t>());
    }
    return out;
  };
  EXPECT_EQ(found(kViolations), violations);
  EXPECT_EQ(found(kHistory), history);
  scope_ = ScopeOf({"vera", Role::kViewer, "password", {"dmz"}});
  EXPECT_TRUE(found(kViolations).empty());
  EXPECT_TRUE(found(kHistory).empty());
}

}  // namespace
}  // namespace stele::query
