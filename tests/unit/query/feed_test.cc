// Goal: a feed gives what its flow may carry, all of it and nothing else, however it is cut into answers. Method: a small real
// store, read to its end in slices by rules of every kind.
#include <gtest/gtest.h>

#include "tests/unit/query/query_fixture.h"

namespace stele::query {
namespace {

using Json = nlohmann::json;

class FeedTest : public ::testing::Test {
 protected:
  void SetUp() override {
    log_.config.feeds = {{"alarms", {}}, {"losses", {true, {}}}, {"sources", {false, {"core-switch"}}}};
    log_.Add(record::Kind::kSource, R"({"source":1,"zone":"dmz","listener":"syslog-udp","peer":"192.0.2.7","name":"core-switch"})", 1);
    log_.Add(record::Kind::kAlarm, R"({"alarm":"before"})");
    policy_ = log_.Add(record::Kind::kPolicy, R"({"config_sha256":"00"})");
    alarm_ = log_.Add(record::Kind::kAlarm, R"({"alarm":"clock_step","zone":"dmz"})");
    loss_ = log_.Add(record::Kind::kLoss, R"({"cause":"overload"})");
    named_ = log_.Syslog("<34>Nov 21 03:00:00 fw1 sshd: denied");
    log_.Json(R"({"message":"of another source"})");
    log_.Add(record::Kind::kAccess, R"({"user":"anna"})");
    log_.Checkpoint();
  }
  Json Get(const std::string& feed, std::map<std::string, std::string> parameters = {}, int status = 200) {
    if (!reads_) reads_ = std::move(*log_.OpenReads());
    EXPECT_TRUE(reads_->Refresh(log_.size()).has_value());
    ReadRequest request;
    request.call = Call::kFeed;
    request.feed = feed;
    request.parameters = std::move(parameters);
    answer_ = reads_->Run(request, cancelled_);
    EXPECT_EQ(answer_.status, status) << answer_.body;
    return Json::parse(answer_.body, nullptr, false);
  }
  static std::vector<std::uint64_t> Sequences(const Json& answer) {
    std::vector<std::uint64_t> out;
    for (const Json& row : answer["rows"]) out.push_back(row["seq"]);
    return out;
  }

  using Sequence = std::vector<std::uint64_t>;
  QueryLog log_;
  std::uint64_t policy_ = 0, alarm_ = 0, loss_ = 0, named_ = 0;
  std::atomic<bool> cancelled_{false};
  std::unique_ptr<Reads> reads_;
  Answer answer_;
};

TEST_F(FeedTest, CarriesAlarmsAndBesideThemOnlyWhatItsFlowNames) {
  EXPECT_EQ(Sequences(Get("alarms")), (Sequence{alarm_}));
  EXPECT_EQ(answer_.rows, 0U) << "Stele's own words are no read of a record";
  EXPECT_EQ(Sequences(Get("losses")), (Sequence{alarm_, loss_}));
  const Json records = Get("sources");
  EXPECT_EQ(Sequences(records), (Sequence{alarm_, named_}));
  EXPECT_EQ(answer_.rows, 1U);
  EXPECT_EQ(records["rows"][1]["source"], "core-switch");
  EXPECT_EQ(records["rows"][1]["zone"], "dmz");
  EXPECT_EQ(records["rows"][1]["facility"], 4);
  EXPECT_EQ(records["rows"][1]["severity"], 2);
  EXPECT_EQ(records["checkpoint"], "test note\n");
}

TEST_F(FeedTest, BeginsAtTheConfigurationInForceOrWhereItIsAsked) {
  EXPECT_EQ(Sequences(Get("alarms", {{"from", "0"}})), (Sequence{policy_ - 1, alarm_}));
  EXPECT_EQ(Sequences(Get("alarms", {{"from", std::to_string(alarm_ + 1)}})), (Sequence{}));
  EXPECT_EQ(Get("alarms")["next"], log_.size());
}

TEST_F(FeedTest, ACursorBeyondTheLogIsAnsweredWithTheLogsSize) {
  const Json answer = Get("alarms", {{"from", "1000"}});
  EXPECT_EQ(answer["next"], 1000);
  EXPECT_EQ(answer["size"], log_.size());
}

TEST_F(FeedTest, ManyEntriesComeInBoundedAnswersThatLeaveNoneOut) {
  Sequence wanted{alarm_};
  const std::string text(1'000, 'x');
  for (int i = 0; i < 700; ++i) wanted.push_back(log_.Add(record::Kind::kAlarm, Json{{"alarm", "many"}, {"text", text}}.dump()));
  log_.Commit();
  Sequence got;
  std::string from;
  for (int i = 0; i < 100; ++i) {
    const Json answer = Get("alarms", from.empty() ? std::map<std::string, std::string>{} : std::map<std::string, std::string>{{"from", from}});
    EXPECT_LE(answer["rows"].size(), kFeedRows);
    EXPECT_LT(answer_.body.size(), 2 * kFeedBytes);
    for (const std::uint64_t sequence : Sequences(answer)) got.push_back(sequence);
    from = std::to_string(answer["next"].get<std::uint64_t>());
    if (answer["next"] == answer["size"]) break;
  }
  EXPECT_EQ(got, wanted);
}

TEST_F(FeedTest, ALongRecordIsCutAndSaysItsSize) {
  const auto sequence = log_.Syslog("<34>Nov 21 03:00:00 fw1 sshd: " + std::string(100'000, 'y'));
  log_.Commit();
  const Json answer = Get("sources", {{"from", std::to_string(sequence)}});
  EXPECT_EQ(answer["rows"][0]["size"], 100'030);
  EXPECT_EQ(ParseBase64(answer["rows"][0]["payload_b64"].get<std::string>(), 200'000)->size(), kFeedPayloadBytes);
}

TEST_F(FeedTest, WhoNamesNoFlowOrNonsenseGetsNothing) {
  EXPECT_FALSE(Get("other", {}, 404).contains("rows"));
  EXPECT_FALSE(Get("alarms", {{"from", "x"}}, 400).contains("rows"));
}

}  // namespace
}  // namespace stele::query
