// The service between its neighbours: nothing is shown before the ledger has the access entry; who may do what; tails.
// The test plays the front and the ledger; store, reader, workers and password hashes are the real ones.
#include "appliance/query/service.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <fstream>

#include "appliance/channel/attest_messages.h"
#include "tests/unit/query/query_fixture.h"

namespace stele::query {
namespace {

using Json = nlohmann::json;
constexpr uid_t kOwner = 1000;

class Neighbours final : public Outlet {
 public:
  struct Got {
    std::optional<channel::ApiResponse> response;
    std::string body;
    bool ended = false;
  };
  void ToFront(FrontId front, channel::Type type, Bytes body) override {
    if (type == channel::Type::kApiResponse) {
      const auto response = channel::DecodeApiResponse(body).value();
      EXPECT_FALSE((answers[{front, response.id}].response.has_value())) << "two answers to one request";
      answers[{front, response.id}].response = response;
    } else {
      const auto part = channel::DecodeApiBody(body).value();
      Got& got = answers[{front, part.id}];
      EXPECT_TRUE(got.response.has_value()) << "a body before its head";
      EXPECT_FALSE(got.ended);
      got.body += AsText(part.bytes);
      got.ended = part.end;
    }
  }
  [[nodiscard]] std::size_t QueuedBytes(FrontId) const override { return queued_bytes; }
  [[nodiscard]] bool ToLedger(channel::Type type, ByteView body) override {
    if (!ledger_up) return false;
    if (type == channel::Type::kStatusRequest) {
      ++status_requests;
      return true;
    }
    if (type == channel::Type::kAttestRequest) {
      attests.push_back(channel::DecodeAttestQuestion(body).value());
      return true;
    }
    EXPECT_EQ(type, channel::Type::kRecords);
    channel::RecordsFrame frame;
    EXPECT_TRUE(channel::DecodeRecords(body, frame).has_value());
    EXPECT_TRUE(frame.wants_ack);
    EXPECT_EQ(frame.records.size(), 1U);
    EXPECT_EQ(frame.records[0].kind, record::Kind::kAccess);
    frames.push_back(frame.frame_id);
    entries.push_back(Json::parse(AsText(frame.records[0].payload)));
    return true;
  }
  std::map<std::pair<FrontId, std::uint64_t>, Got> answers;
  std::vector<std::uint64_t> frames;  // not yet committed
  std::vector<Json> entries;
  std::vector<channel::AttestQuestion> attests;  // nonces that reached the ledger
  std::size_t queued_bytes = 0;
  int status_requests = 0;
  bool ledger_up = true;
};

class ServiceTest : public ::testing::Test {
 protected:
  ServiceTest()
      : workers_([this] { return Reads::Open(std::make_unique<store::FileShelf>(log_.store_dir()), log_.clock, log_.config); }) {
    EXPECT_TRUE(workers_.Start().has_value());
    for (const char* name : {"anna", "vera"}) people_.emplace_back(name, std::string(name) == "anna" ? Role::kAuditor : Role::kViewer);
  }
  void Start() {
    UserBook users(log_.state_dir());
    EXPECT_TRUE(users.Refresh().has_value());
    service_ = std::make_unique<Service>(ServiceConfig{kOwner, "0.1", "test.invalid/log", "same-uid"}, log_.clock, entropy_, workers_,
                                         neighbours_, std::move(users), HashPassword("nobody").value());
    Announce();
  }
  void Announce() {
    EXPECT_TRUE(service_->OnLedgerFrame(channel::Type::kPosition, channel::EncodePosition({log_.size()})).has_value());
  }
  // Lets the workers finish what is under way.
  template <typename Until>
  void Pump(Until until) {
    for (int i = 0; i < 500 && !until(); ++i) {
      pollfd ready{workers_.done_fd(), POLLIN, 0};
      (void)::poll(&ready, 1, 20);
      workers_.RunDone();
    }
    EXPECT_TRUE(until());
  }
  void CommitFrames() {
    for (const std::uint64_t frame : std::exchange(neighbours_.frames, {})) {
      EXPECT_TRUE(service_->OnLedgerFrame(channel::Type::kCommitted, channel::EncodeCommitted({frame, 0, 1})).has_value());
    }
  }
  channel::ApiRequest Request(const std::string& path, std::map<std::string, std::string> query = {}) {
    channel::ApiRequest request;
    request.id = ++last_id_;
    request.method = "GET";
    request.path = "/api/v1/" + path;
    request.query = std::move(query);
    request.peer = "192.0.2.99:1";
    request.session_token = token_;
    return request;
  }
  Front Who() const { return local_ ? Front{1, kOwner} : Front{1, std::nullopt}; }
  // A whole call with a willing ledger.
  Neighbours::Got& Call(channel::ApiRequest request) {
    const std::pair<FrontId, std::uint64_t> key{1, request.id};
    service_->OnRequest(Who(), std::move(request));
    Pump([&] {
      CommitFrames();
      return neighbours_.answers[key].ended;
    });
    return neighbours_.answers[key];
  }
  Neighbours::Got& SignIn(const std::string& user, const std::string& password) {
    channel::ApiRequest request = Request("sign-in");
    request.method = "POST";
    request.headers["content-type"] = "application/json";
    request.body = Json{{"user", user}, {"password", password}}.dump();
    return Call(std::move(request));
  }

  QueryLog log_;
  SystemEntropy entropy_;
  Neighbours neighbours_;
  std::vector<std::pair<std::string, Role>> people_;
  Workers workers_;
  std::unique_ptr<Service> service_;
  std::uint64_t last_id_ = 0;
  std::string token_;
  bool local_ = true;
};

TEST_F(ServiceTest, NothingIsShownBeforeTheAccessEntryIsDurable) {
  log_.Syslog("<13>Nov 21 03:00:00 h app: secret");
  log_.Checkpoint();
  Start();
  service_->OnRequest(Who(), Request("search", {{"q", "secret"}}));
  Pump([&] { return !neighbours_.frames.empty(); });
  EXPECT_TRUE(neighbours_.answers.empty());
  EXPECT_EQ(neighbours_.entries[0]["action"], "search");
  EXPECT_EQ(neighbours_.entries[0]["query"], "secret");
  EXPECT_EQ(neighbours_.entries[0]["rows"], 1);
  EXPECT_EQ(neighbours_.entries[0]["user"], "local-operator");
  EXPECT_EQ(neighbours_.entries[0]["peer"], "uid:1000");
  EXPECT_EQ(neighbours_.entries[0]["result"], "ok");
  CommitFrames();
  const auto& got = neighbours_.answers.begin()->second;
  EXPECT_EQ(got.response->status, 200);
  EXPECT_EQ(Json::parse(got.body)["rows"].size(), 1U);
}

TEST_F(ServiceTest, WhatCannotBeRecordedIsNotShown) {
  log_.Syslog("<13>Nov 21 03:00:00 h app: secret");
  log_.Checkpoint();
  Start();
  const auto refused = [&](auto&& fail) {
    neighbours_.answers.clear();
    service_->OnRequest(Who(), Request("search", {{"q", "secret"}}));
    fail();
    Pump([&] { return !neighbours_.answers.empty() && neighbours_.answers.begin()->second.ended; });
    const auto& got = neighbours_.answers.begin()->second;
    EXPECT_EQ(got.response->status, 503);
    EXPECT_EQ(Json::parse(got.body)["error"]["code"], "cannot_record");
    EXPECT_EQ(got.body.find("secret"), std::string::npos);
  };
  refused([&] {  // the ledger says no
    Pump([&] { return !neighbours_.frames.empty(); });
    for (const auto frame : std::exchange(neighbours_.frames, {})) {
      EXPECT_TRUE(service_->OnLedgerFrame(channel::Type::kRefused, channel::EncodeRefused({frame, "full"})).has_value());
    }
  });
  refused([&] {  // the ledger dies
    Pump([&] { return !neighbours_.frames.empty(); });
    neighbours_.frames.clear();
    service_->OnLedgerGone();
  });
  refused([&] {  // the ledger is silent
    Pump([&] { return !neighbours_.frames.empty(); });
    neighbours_.frames.clear();
    log_.clock.boottime_ns += Service::kRecordTimeoutNs + 1;
    service_->OnTick();
  });
  neighbours_.ledger_up = false;
  refused([] {});  // there is no ledger
}

TEST_F(ServiceTest, OnlyTheCourierHasFeedsAndRecordsThatLeaveAreOnTheRecordFirst) {
  log_.config.feeds = {{"alarms", {}}, {"records", {false, {"core-switch"}}}};
  log_.Add(record::Kind::kPolicy, "{}");
  log_.Add(record::Kind::kAlarm, R"({"alarm":"clock_step"})");
  log_.Checkpoint();
  Start();
  EXPECT_EQ(Call(Request("feed/alarms")).response->status, 404);
  neighbours_.entries.clear();

  const Front courier{2, std::nullopt, true};
  const auto ask = [&](const std::string& flow) {
    const channel::ApiRequest request = Request("feed/" + flow);
    service_->OnRequest(courier, request);
    return std::pair<FrontId, std::uint64_t>{2, request.id};
  };
  const auto alarms = ask("alarms");
  Pump([&] { return neighbours_.answers[alarms].ended; });
  EXPECT_EQ(Json::parse(neighbours_.answers[alarms].body)["rows"].size(), 1U);
  EXPECT_TRUE(neighbours_.entries.empty()) << "an alarm leaves also when nothing can be recorded";

  log_.Add(record::Kind::kSource, R"({"source":1,"zone":"dmz","listener":"syslog-udp","peer":"192.0.2.7","name":"core-switch"})", 1);
  log_.Syslog("<13>Nov 21 03:00:00 h app: secret");
  log_.Commit();
  Announce();
  const auto records = ask("records");
  Pump([&] { return !neighbours_.frames.empty(); });
  EXPECT_FALSE(neighbours_.answers[records].response.has_value());
  EXPECT_EQ(neighbours_.entries.at(0)["user"], "stele-courier");
  EXPECT_EQ(neighbours_.entries.at(0)["action"], "feed");
  EXPECT_EQ(neighbours_.entries.at(0)["object"], "/api/v1/feed/records");
  EXPECT_EQ(neighbours_.entries.at(0)["rows"], 1);
  CommitFrames();
  EXPECT_EQ(Json::parse(neighbours_.answers[records].body)["rows"].size(), 2U);

  const channel::ApiRequest search = Request("search", {{"q", "secret"}});
  service_->OnRequest(courier, search);
  EXPECT_EQ((neighbours_.answers[{2, search.id}].response->status), 403);
}

TEST_F(ServiceTest, OnlyTheOwnersUidIsTheLocalOperator) {
  Start();
  service_->OnRequest(Front{2, kOwner + 1}, Request("search"));
  EXPECT_EQ((neighbours_.answers[{2, 1}].response->status), 401);
  channel::ApiRequest pretender = Request("session");
  pretender.peer = "uid:1000";
  service_->OnRequest(Front{3, std::nullopt}, pretender);
  EXPECT_EQ((neighbours_.answers[{3, 2}].response->status), 401);
  EXPECT_TRUE(neighbours_.entries.empty());
}

TEST_F(ServiceTest, ASignInGivesASessionAndASignOutEndsIt) {
  const auto passwords = CreateFirstUsers(log_.state_dir(), people_, entropy_).value();
  local_ = false;
  Start();
  EXPECT_EQ(Call(Request("session")).response->status, 401);
  EXPECT_EQ(SignIn("anna", "wrong").response->status, 401);
  EXPECT_EQ(SignIn("nobody", "wrong").response->status, 401);
  EXPECT_EQ(neighbours_.entries.back()["result"], "denied");
  EXPECT_EQ(neighbours_.entries.back()["action"], "sign-in");
  const auto in = SignIn("anna", passwords[0].password);
  EXPECT_EQ(in.response->status, 200);
  EXPECT_EQ(Json::parse(in.body), (Json{{"user", "anna"}, {"role", "auditor"}}));
  token_ = in.response->headers.at("set-session");
  EXPECT_EQ(in.body.find(token_), std::string::npos);
  const Json session = Json::parse(Call(Request("session")).body);
  EXPECT_EQ(session["via"], "password");
  EXPECT_EQ(session["permissions"].size(), 6U);

  const auto again = SignIn("anna", passwords[0].password);  // the old token ends with the new one
  EXPECT_EQ(Call(Request("session")).response->status, 401);
  token_ = again.response->headers.at("set-session");
  EXPECT_EQ(Call(Request("search")).response->status, 200);
  channel::ApiRequest out = Request("sign-out");
  out.method = "POST";
  const auto left = Call(out);
  EXPECT_EQ(left.response->status, 200);
  EXPECT_EQ(left.response->headers.at("clear-session"), "1");
  EXPECT_EQ(Call(Request("session")).response->status, 401);
}

TEST_F(ServiceTest, ManyFailuresMakeOneWait) {
  ASSERT_TRUE(CreateFirstUsers(log_.state_dir(), people_, entropy_).has_value());
  local_ = false;
  Start();
  for (int i = 0; i < SignInDelays::kFreeFailures; ++i) EXPECT_EQ(SignIn("anna", "wrong").response->status, 401);
  const auto waiting = SignIn("anna", "wrong");
  EXPECT_EQ(waiting.response->status, 429);
  EXPECT_EQ(waiting.response->headers.at("retry-after"), "1");
}

TEST_F(ServiceTest, ACertificateIsWhoTheFileSaysAndNoMore) {
  const std::string known = HexOf(Sha256Of(AsBytes("vera's")));
  ASSERT_TRUE(AddCertificate(log_.state_dir(), known, "vera", Role::kViewer).has_value());
  local_ = false;
  Start();
  channel::ApiRequest request = Request("session");
  request.certificate_sha256 = known;
  request.certificate_name = "local-operator";
  const Json session = Json::parse(Call(request).body);
  EXPECT_EQ(session["user"], "vera");
  EXPECT_EQ(session["role"], "viewer");
  EXPECT_EQ(session["permissions"], (Json{"search", "proof"}));
  channel::ApiRequest stranger = Request("session");
  stranger.certificate_sha256 = HexOf(Sha256Of(AsBytes("unknown")));
  EXPECT_EQ(Call(stranger).response->status, 401);
}

TEST_F(ServiceTest, AScrapersCertificateReadsTheMetricsAndNothingElse) {
  const std::string known = HexOf(Sha256Of(AsBytes("prometheus")));
  ASSERT_TRUE(AddCertificate(log_.state_dir(), known, "metrics", Role::kMetrics).has_value());
  local_ = false;
  Start();
  const auto ask = [&](std::string path) {
    channel::ApiRequest request = Request("session");
    request.path = std::move(path);
    request.certificate_sha256 = known;
    service_->OnRequest(Who(), request);
    if (neighbours_.status_requests > 0) {
      EXPECT_TRUE(service_->OnLedgerFrame(channel::Type::kStatusAnswer, AsBytes(R"({"committed_size":7})")).has_value());
    }
    return neighbours_.answers[{1, request.id}];
  };
  const Neighbours::Got metrics = ask("/metrics");
  ASSERT_TRUE(metrics.response.has_value());
  EXPECT_EQ(metrics.response->status, 200);
  EXPECT_EQ(metrics.response->content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
  EXPECT_NE(metrics.body.find("\nstele_log_records_total 7\n"), std::string::npos);
  EXPECT_TRUE(neighbours_.entries.empty());  // no access entry: nobody read a record
  neighbours_.status_requests = 0;
  for (const char* path : {"/api/v1/status", "/api/v1/search", "/api/v1/record/1", "/api/v1/sources", "/api/v1/network", "/api/v1/tail", "/log/checkpoint"}) {
    EXPECT_EQ(ask(path).response->status, 403) << path;
  }
  EXPECT_EQ(ask("/metrics/").response->status, 404);
}

TEST_F(ServiceTest, ARemovedUsersSessionEndsAtOnce) {
  const auto passwords = CreateFirstUsers(log_.state_dir(), people_, entropy_).value();
  local_ = false;
  Start();
  token_ = SignIn("vera", passwords[1].password).response->headers.at("set-session");
  EXPECT_EQ(Call(Request("session")).response->status, 200);
  std::ofstream(log_.state_dir() / "users.json") << R"({"version":1,"users":[]})";
  EXPECT_EQ(Call(Request("session")).response->status, 401);
}

TEST_F(ServiceTest, UnknownPathsAndMethodsAreAnswered) {
  Start();
  for (const char* path : {"nothing", "record/", "record/x", "record/1/x", "record/-1", "record/1/payload/2", "proof/", "proof/1/payload", "record/99999999999999999999"}) {
    EXPECT_EQ(Call(Request(path)).response->status, 404) << path;
  }
  channel::ApiRequest post = Request("search");
  post.method = "POST";
  EXPECT_EQ(Call(post).response->status, 405);
  channel::ApiRequest get = Request("sign-in");
  EXPECT_EQ(Call(get).response->status, 405);
  channel::ApiRequest head = Request("search");
  head.method = "HEAD";
  const auto& got = Call(head);
  EXPECT_EQ(got.response->status, 200);
  EXPECT_TRUE(got.body.empty());
}

TEST_F(ServiceTest, StatusIsTheLedgersWithOurOwnMembers) {
  Start();
  service_->OnRequest(Who(), Request("status"));
  EXPECT_EQ(neighbours_.status_requests, 1);
  EXPECT_TRUE(service_->OnLedgerFrame(channel::Type::kStatusAnswer, AsBytes(R"({"size":77,"verdict":{"word":"OK"}})")).has_value());
  CommitFrames();
  const Json status = Json::parse(neighbours_.answers[{1, 1}].body);
  EXPECT_EQ(status["size"], 77);
  EXPECT_EQ(status["verdict"]["word"], "OK");
  EXPECT_EQ(status["version"], "0.1");
  EXPECT_EQ(status["query"]["tails"], 0);
}

TEST_F(ServiceTest, TheNetworkIsTheNewestToldAndALookAtItIsRecorded) {
  Start();
  const auto ask = [this] {
    const channel::ApiRequest request = Request("network");
    service_->OnRequest(Who(), request);
    EXPECT_TRUE(service_->OnLedgerFrame(channel::Type::kStatusAnswer, AsBytes(R"({"processes":[]})")).has_value());
    Pump([&] {
      CommitFrames();
      return neighbours_.answers[{1, request.id}].ended;
    });
    return neighbours_.answers[{1, request.id}];
  };
  EXPECT_EQ(ask().response->status, 503);
  service_->SetNetwork(R"({"configured":true,"zones":[{"name":"old"}]})");
  EXPECT_EQ(Json::parse(ask().body)["zones"][0]["name"], "old");
  service_->SetNetwork(R"({"configured":true,"zones":[{"name":"new"}]})");
  const Json network = Json::parse(ask().body);
  EXPECT_EQ(network["zones"][0]["name"], "new");
  EXPECT_EQ(network["state"], "not_enforced");
  EXPECT_EQ(neighbours_.entries.back()["action"], "network");
  EXPECT_EQ(neighbours_.entries.back()["object"], "/api/v1/network");
}

TEST_F(ServiceTest, ATailShowsWhatComesAndIsRecordedAtBothEnds) {
  log_.Syslog("<13>Nov 21 03:00:00 h app: before");
  log_.Checkpoint();
  Start();
  const channel::ApiRequest request = Request("tail", {{"q", "app:app"}});
  service_->OnRequest(Who(), request);
  EXPECT_TRUE(neighbours_.answers.empty());
  EXPECT_EQ(neighbours_.entries.back()["action"], "tail-open");
  CommitFrames();
  auto& got = neighbours_.answers[{1, request.id}];
  ASSERT_TRUE(got.response.has_value());
  EXPECT_EQ(got.response->content_type, "text/event-stream");
  const auto sequence = log_.Syslog("<13>Nov 21 03:00:00 h app: after");
  log_.Commit();
  Announce();
  Pump([&] { return got.body.find("id: " + std::to_string(sequence) + "\n") != std::string::npos; });
  EXPECT_EQ(got.body.find("id: " + std::to_string(sequence - 1)), std::string::npos);
  log_.clock.boottime_ns += Service::kTailSummaryNs;
  service_->OnTick();
  EXPECT_EQ(neighbours_.entries.back()["action"], "tail-summary");
  EXPECT_EQ(neighbours_.entries.back()["rows"], 1);
  EXPECT_NE(got.body.find(": still here"), std::string::npos);
  CommitFrames();
  service_->OnCancel(1, request.id);
  EXPECT_EQ(neighbours_.entries.back()["action"], "tail-close");
  EXPECT_EQ(service_->tails(), 0U);
}

TEST_F(ServiceTest, ATailResumesAfterTheLastEventWithoutLoss) {
  std::vector<std::uint64_t> sequences;
  for (int i = 0; i < 300; ++i) sequences.push_back(log_.Syslog("<13>Nov 21 03:00:00 h app: " + std::to_string(i)));
  log_.Commit();
  Start();
  channel::ApiRequest request = Request("tail");
  request.headers["last-event-id"] = std::to_string(sequences[9]);
  service_->OnRequest(Who(), request);
  CommitFrames();
  auto& got = neighbours_.answers[{1, request.id}];
  Pump([&] { return got.body.find("id: " + std::to_string(sequences.back()) + "\n") != std::string::npos; });
  EXPECT_EQ(got.body.find("id: " + std::to_string(sequences[9]) + "\n"), std::string::npos);
  for (std::size_t i = 10; i < sequences.size(); ++i) EXPECT_NE(got.body.find("id: " + std::to_string(sequences[i]) + "\n"), std::string::npos) << i;
}

TEST_F(ServiceTest, AReaderThatTakesNothingIsToldWhatItMissed) {
  Start();
  const channel::ApiRequest request = Request("tail");
  service_->OnRequest(Who(), request);
  CommitFrames();
  auto& got = neighbours_.answers[{1, request.id}];
  neighbours_.queued_bytes = Service::kTailQueuedBytesMax;
  const std::uint64_t before = log_.size();
  EXPECT_TRUE(service_->OnLedgerFrame(channel::Type::kPosition, channel::EncodePosition({before + Service::kTailBehindMax + 1})).has_value());
  service_->OnTick();
  EXPECT_NE(got.body.find("event: lag\ndata: {\"skipped\":" + std::to_string(Service::kTailBehindMax + 1) + "}"), std::string::npos);
}

TEST_F(ServiceTest, ATailThatCanNoLongerBeRecordedEnds) {
  Start();
  const channel::ApiRequest request = Request("tail");
  service_->OnRequest(Who(), request);
  CommitFrames();
  neighbours_.ledger_up = false;
  log_.clock.boottime_ns += Service::kTailSummaryNs;
  service_->OnTick();
  EXPECT_TRUE((neighbours_.answers[{1, request.id}].ended));
  EXPECT_EQ(service_->tails(), 0U);
}

TEST_F(ServiceTest, AFrontThatLeavesCancelsItsRequests) {
  log_.Syslog("<13>Nov 21 03:00:00 h app: x");
  log_.Checkpoint();
  Start();
  service_->OnRequest(Who(), Request("search"));
  service_->OnRequest(Who(), Request("tail"));
  CommitFrames();
  service_->OnFrontGone(1);
  EXPECT_EQ(service_->open_requests(), 0U);
  EXPECT_EQ(service_->tails(), 0U);
  EXPECT_GE(neighbours_.entries.size(), 3U);  // begun reads are recorded all the same
  Pump([&] { return service_->Finish() || (CommitFrames(), false); });
}

TEST_F(ServiceTest, OnePersonCannotTakeEverySearch) {
  Start();
  int refused = 0;
  for (std::size_t i = 0; i < Service::kHeavyPerUser + 3; ++i) {
    const channel::ApiRequest request = Request("search");
    service_->OnRequest(Who(), request);
    const auto at = neighbours_.answers.find({1, request.id});
    refused += at != neighbours_.answers.end() && at->second.response->status == 429 ? 1 : 0;
  }
  EXPECT_EQ(refused, 3);
  Pump([&] {
    CommitFrames();
    return service_->open_requests() == 0;
  });
}

TEST_F(ServiceTest, AStrangeFrameFromTheLedgerIsAnError) {
  Start();
  EXPECT_FALSE(service_->OnLedgerFrame(channel::Type::kRecords, {}).has_value());
  EXPECT_FALSE(service_->OnLedgerFrame(channel::Type::kCommitted, AsBytes("short")).has_value());
  EXPECT_TRUE(service_->OnLedgerFrame(channel::Type::kCommitted, channel::EncodeCommitted({424242, 0, 1})).has_value());  // given up before
}

const std::string kNonce(64, 'a');

TEST_F(ServiceTest, AnAttestationLeavesOnlyAfterItsAccessEntry) {
  Start();
  service_->OnRequest(Who(), Request("attest", {{"nonce", kNonce}}));
  ASSERT_EQ(neighbours_.attests.size(), 1U);
  EXPECT_EQ(HexOf(neighbours_.attests[0].nonce), kNonce);
  EXPECT_TRUE(neighbours_.attests[0].demand);
  EXPECT_TRUE(neighbours_.frames.empty());
  const channel::AttestReply reply{neighbours_.attests[0].id, true, R"({"anchor":3})"};
  EXPECT_TRUE(service_->OnLedgerFrame(channel::Type::kAttestAnswer, channel::EncodeAttestReply(reply)));
  EXPECT_TRUE(neighbours_.answers.empty());
  ASSERT_EQ(neighbours_.entries.size(), 1U);
  EXPECT_EQ(neighbours_.entries[0]["action"], "attest");
  CommitFrames();
  EXPECT_EQ(neighbours_.answers.begin()->second.body, R"({"anchor":3})");
}

TEST_F(ServiceTest, AnAttestationNeedsANonceAPermissionAndALedgerThatAnswers) {
  Start();
  EXPECT_EQ(Call(Request("attest")).response->status, 400);
  EXPECT_EQ(Call(Request("attest", {{"nonce", "12"}})).response->status, 400);
  EXPECT_EQ(Call(Request("bundle", {{"range", "0..1"}})).response->status, 400);
  EXPECT_TRUE(neighbours_.attests.empty());

  const auto asked = [&](auto&& then) {
    neighbours_.answers.clear();
    service_->OnRequest(Who(), Request("attest", {{"nonce", kNonce}, {"anchor", "0"}}));
    then();
    Pump([&] {
      CommitFrames();
      return !neighbours_.answers.empty() && neighbours_.answers.begin()->second.ended;
    });
    EXPECT_EQ(neighbours_.answers.begin()->second.response->status, 503);
  };
  asked([&] {
    EXPECT_FALSE(neighbours_.attests.back().demand);
    const channel::AttestReply reply{neighbours_.attests.back().id, false, "the TPM is away"};
    EXPECT_TRUE(service_->OnLedgerFrame(channel::Type::kAttestAnswer, channel::EncodeAttestReply(reply)));
  });
  EXPECT_NE(neighbours_.answers.begin()->second.body.find("the TPM is away"), std::string::npos);
  asked([&] {
    log_.clock.boottime_ns += Service::kAttestTimeoutNs;
    service_->OnTick();
  });
  neighbours_.ledger_up = false;
  asked([] {});
}

TEST_F(ServiceTest, WhoMayNotTakeBundlesGetsNoNonceThrough) {
  const auto passwords = CreateFirstUsers(log_.state_dir(), people_, entropy_).value();
  Start();
  local_ = false;
  token_ = SignIn("vera", passwords[1].password).response->headers.at("set-session");
  for (const char* path : {"attest", "bundle"}) {
    EXPECT_EQ(Call(Request(path, {{"nonce", kNonce}, {"range", "0..1"}})).response->status, 403) << path;
  }
  EXPECT_TRUE(neighbours_.attests.empty());
}

}  // namespace
}  // namespace stele::query
