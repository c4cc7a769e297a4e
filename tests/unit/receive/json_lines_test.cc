// Goal: every event is answered once, in order, after its commit and never otherwise; what is not JSON is kept and
// named. Method: a client on the loopback against the real session, listener and link; the ledger of the fixture holds,
// commits, refuses.
#include "appliance/ingest/json_lines.h"

#include <gtest/gtest.h>

#include "appliance/base/hash.h"
#include "tests/unit/receive/receive_fixture.h"

namespace stele::receive {
namespace {

using nlohmann::json;

RigOptions JsonRig() {
  RigOptions options;
  options.way = Way::kJsonLines;
  return options;
}

// Reads answers until `last` events have been answered; each answer must begin where the one before ended.
struct Answered {
  std::vector<std::pair<std::uint64_t, bool>> events;  // sequence number (0: none), stored
  std::vector<std::uint64_t> unparsed;
};
template <typename Client>
Answered ReadAnswers(Client& client, std::size_t last) {
  Answered all;
  while (all.events.size() < last) {
    const json answer = json::parse(client.ReadLine(), nullptr, false);
    if (!answer.is_object()) break;
    if (answer.contains("nack")) {
      EXPECT_EQ(answer["nack"][0], all.events.size() + 1);
      EXPECT_EQ(answer["retry_after_s"], 5);
      while (all.events.size() < answer["nack"][1].get<std::size_t>()) all.events.emplace_back(0, false);
      continue;
    }
    for (const auto& range : answer.at("ranges")) {
      for (auto sequence = range[0].get<std::uint64_t>(); sequence <= range[1].get<std::uint64_t>(); ++sequence)
        all.events.emplace_back(sequence, true);
    }
    EXPECT_EQ(answer.at("ack"), all.events.size());
    for (const auto& line : answer.at("unparsed")) all.unparsed.push_back(line.get<std::uint64_t>());
    EXPECT_EQ(answer.at("unparsed_count"), answer.at("unparsed").size());
  }
  return all;
}

TEST(JsonLines, EventsAreAnsweredAfterTheirCommitAndTheirBytesKept) {
  Rig rig(JsonRig());
  rig.ledger->Hold(true);
  PlainClient client(rig);
  ASSERT_TRUE(client.Send("{\"a\":1}\n\n  \r\nnot json\n{\"b\" : 2}\r\n"));
  ASSERT_TRUE(rig.Eventually([&] { return rig.ledger->held() == 1; }));
  timeval none{0, 100'000};
  (void)::setsockopt(client.fd(), SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none);
  EXPECT_EQ(client.ReadLine(), "<cut>") << "nothing is said before the commit";
  rig.ledger->Hold(false);
  none.tv_sec = 10;
  (void)::setsockopt(client.fd(), SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none);
  EXPECT_EQ(client.ReadLine(), R"({"ack":3,"ranges":[[100,102]],"unparsed":[2],"unparsed_count":1})");
  const auto records = rig.Records(3);
  ASSERT_EQ(records.size(), 3U);
  EXPECT_EQ(records[0].payload, "{\"a\":1}");
  EXPECT_EQ(records[1].payload, "not json");
  EXPECT_EQ(records[1].flags, record::kFlagUnparsed);
  EXPECT_EQ(records[2].payload, "{\"b\" : 2}");
  EXPECT_EQ(records[2].flags, 0);
  EXPECT_EQ(records[2].kind, record::Kind::kJson);
}

TEST(JsonLines, ARegisteredSenderIsItsOwnSource) {
  RigOptions options = JsonRig();
  options.senders = {{"gate-a", Sha256Of(AsBytes("token-of-gate-a-1")), std::nullopt}};
  Rig rig(options);
  PlainClient named(rig);
  ASSERT_TRUE(named.Send("{\"auth\":\"token-of-gate-a-1\"}\n{\"n\":1}\n"));
  EXPECT_EQ(named.ReadLine(), R"({"auth":"ok"})");
  EXPECT_EQ(rig.Records(1)[0].source["identity"], json({{"sender", "gate-a"}}));
  PlainClient nobody(rig);
  ASSERT_TRUE(nobody.Send("{\"n\":1}\n"));
  EXPECT_EQ(json::parse(nobody.ReadLine())["error"]["code"], "unauthorized");
}

TEST(JsonLines, SignedEventsCarryTheirVerdictAndABadOneRaisesOneAlarm) {
  auto keys = std::make_shared<ingest::SourceKeys>();
  ASSERT_TRUE(keys->Add("", "EdDSA", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"));
  RigOptions options = JsonRig();
  options.keys = keys;
  Rig rig(options);
  PlainClient client(rig);
  const std::string jws =  // RFC 8037 A.4 but for its last character
      "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
      "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KA";
  ASSERT_TRUE(client.Send("\"" + jws + "g\"\n\"" + jws + "w\"\n\"" + jws + "w\"\n{}\n"));
  const auto records = rig.Records(4);
  EXPECT_EQ(records[0].flags, record::kFlagSignatureValid);
  EXPECT_EQ(records[1].flags, record::kFlagSignatureInvalid);
  EXPECT_EQ(records[2].flags, record::kFlagSignatureInvalid);
  EXPECT_EQ(records[3].flags, 0);
  constexpr std::int64_t kNow = 1'768'478'400'000'000'000;
  for (const std::int64_t later_s : {1, 2, 30}) rig.Do([&] { rig.alarms().Tick(kNow + later_s * 1'000'000'000); });
  const auto with_alarm = rig.Records(5);
  ASSERT_EQ(with_alarm.size(), 5U);
  EXPECT_EQ(with_alarm[4].kind, record::Kind::kAlarm);
  const json alarm = json::parse(with_alarm[4].payload);
  EXPECT_EQ(alarm["alarm"], "signature_invalid");
  EXPECT_EQ(alarm["count"], 2);
  EXPECT_EQ(alarm["peer"], "127.0.0.1");
}

TEST(JsonLines, ALineThatManyReadsBringIsOneEvent) {
  Rig rig(JsonRig());
  PlainClient client(rig);
  const std::string event = "{\"text\":\"" + std::string(200'000, 'y') + "\"}";
  for (std::size_t at = 0; at < event.size(); at += 50'000) {
    ASSERT_TRUE(client.Send(event.substr(at, 50'000)));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  ASSERT_TRUE(client.Send("\n{\"next\":1}\n"));
  const auto answered = ReadAnswers(client, 2);
  EXPECT_EQ(answered.events.size(), 2U);
  const auto records = rig.Records(2);
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].payload, event);
  EXPECT_EQ(records[1].payload, "{\"next\":1}");
}

TEST(JsonLines, AFullStoreIsSaidPerEventAndTheConnectionStays) {
  Rig rig(JsonRig());
  PlainClient client(rig);
  ASSERT_TRUE(client.Send("{\"n\":1}\n"));
  EXPECT_EQ(client.ReadLine(), R"({"ack":1,"ranges":[[100,100]],"unparsed":[],"unparsed_count":0})");
  rig.ledger->Refuse(true);
  ASSERT_TRUE(client.Send("{\"n\":2}\noops\n"));
  EXPECT_EQ(client.ReadLine(), R"({"nack":[2,3],"retry_after_s":5})");
  rig.ledger->Refuse(false);
  ASSERT_TRUE(client.Send("{\"n\":2}\n"));
  EXPECT_EQ(client.ReadLine(), R"({"ack":4,"ranges":[[101,101]],"unparsed":[],"unparsed_count":0})");
  EXPECT_EQ(rig.Records(2).size(), 2U);
  EXPECT_EQ(rig.listener.refused, 2U);
}

TEST(JsonLines, AnswersKeepTheOrderOfTheEventsWhateverTheLedgerSaysFirst) {
  Rig rig(JsonRig());
  rig.ledger->Hold(true);
  PlainClient client(rig);
  for (std::size_t i = 1; i <= 3; ++i) {  // three frames: one a read
    ASSERT_TRUE(client.Send("{\"n\":" + std::to_string(i) + "}\n"));
    ASSERT_TRUE(rig.Eventually([&] { return rig.ledger->held() == i; }));
  }
  rig.ledger->AnswerHeld(1, false);  // the second is refused before anything is known of the first
  rig.ledger->AnswerHeld(1, true);
  rig.ledger->AnswerHeld(0, true);
  EXPECT_EQ(client.ReadLine(), R"({"ack":1,"ranges":[[101,101]],"unparsed":[],"unparsed_count":0})");
  EXPECT_EQ(client.ReadLine(), R"({"nack":[2,2],"retry_after_s":5})");
  EXPECT_EQ(client.ReadLine(), R"({"ack":3,"ranges":[[100,100]],"unparsed":[],"unparsed_count":0})");
}

TEST(JsonLines, ManyEventsInOneReadAreAllAnsweredOnce) {
  Rig rig(JsonRig());
  PlainClient client(rig);
  constexpr std::size_t kEvents = 20'000;
  std::string all;
  for (std::size_t i = 1; i <= kEvents; ++i) all += i % 1'000 == 0 ? "broken\n" : "{\"n\":" + std::to_string(i) + "}\n";
  std::thread sender([&] { (void)client.Send(all); });
  const auto answered = ReadAnswers(client, kEvents);
  sender.join();
  ASSERT_EQ(answered.events.size(), kEvents);
  ASSERT_EQ(answered.unparsed.size(), kEvents / 1'000);
  for (std::size_t i = 0; i < answered.unparsed.size(); ++i) EXPECT_EQ(answered.unparsed[i], (i + 1) * 1'000);
  const auto records = rig.Records(kEvents);
  ASSERT_EQ(records.size(), kEvents);
  for (std::size_t i = 0; i < kEvents; ++i) {  // the fixture numbers in the order it keeps
    ASSERT_EQ(answered.events[i].first, 100 + i);
    ASSERT_EQ(records[i].payload, (i + 1) % 1'000 == 0 ? "broken" : "{\"n\":" + std::to_string(i + 1) + "}");
  }
}

TEST(JsonLines, ALineThatIsTooLongIsKeptCutNamedAndItsLengthRecorded) {
  RigOptions options = JsonRig();
  options.message_bytes_max = 1'024;
  Rig rig(options);
  PlainClient client(rig);
  const std::string event = "{\"text\":\"" + std::string(5'000, 'z') + "\"}";
  ASSERT_TRUE(client.Send(event + "\n{\"n\":2}\n"));
  const auto answered = ReadAnswers(client, 2);
  EXPECT_EQ(answered.unparsed, std::vector<std::uint64_t>{1});
  const auto records = rig.Records(3);
  ASSERT_EQ(records.size(), 3U);
  EXPECT_EQ(records[0].payload, event.substr(0, 1'024));
  EXPECT_EQ(records[0].flags, record::kFlagTruncated | record::kFlagUnparsed);
  EXPECT_EQ(records[2].kind, record::Kind::kLoss);
  EXPECT_EQ(json::parse(records[2].payload)["full_length"], event.size());
}

TEST(JsonLines, WhoHalfClosesStillGetsTheLastAnswer) {
  Rig rig(JsonRig());
  rig.ledger->Hold(true);
  PlainClient client(rig);
  ASSERT_TRUE(client.Send("{\"n\":1}\n{\"n\":2}"));  // the last line has no LF: the orderly end makes it whole
  client.EndSending();
  ASSERT_TRUE(rig.Eventually([&] { return rig.ledger->records().size() == 2; }));
  rig.ledger->Hold(false);
  const auto answered = ReadAnswers(client, 2);
  EXPECT_EQ(answered.events.size(), 2U);
  EXPECT_EQ(rig.Records(2)[1].flags, 0);
  EXPECT_TRUE(rig.Eventually([&] { return rig.listener.connections == 0; }));
}

TEST(JsonLines, AnAnswerForAConnectionThatIsGoneHarmsNobody) {
  Rig rig(JsonRig());
  rig.ledger->Hold(true);
  {
    PlainClient client(rig);
    ASSERT_TRUE(client.Send("{\"n\":1}\n"));
    ASSERT_TRUE(rig.Eventually([&] { return rig.ledger->held() == 1; }));
    const linger at_once{1, 0};
    (void)::setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }
  ASSERT_TRUE(rig.Eventually([&] { return rig.listener.connections == 0; }));
  rig.ledger->Hold(false);
  EXPECT_TRUE(rig.Eventually([&] { return rig.listener.account->waited_stored == 1; }));
}

TEST(JsonLines, WhereATokenIsAskedForTheFirstLineIsTheLoginAndIsNotStored) {
  RigOptions options = JsonRig();
  options.tokens = {"a-token-of-sixteen"};
  Rig rig(options);
  PlainClient good(rig);
  ASSERT_TRUE(good.Send("{\"auth\":\"a-token-of-sixteen\"}\n{\"n\":1}\n"));
  EXPECT_EQ(good.ReadLine(), R"({"auth":"ok"})");
  EXPECT_EQ(good.ReadLine(), R"({"ack":1,"ranges":[[100,100]],"unparsed":[],"unparsed_count":0})");
  for (const char* first : {"{\"auth\":\"another-token-16\"}\n", "{\"n\":1}\n",
                            "{\"auth\":\"a-token-of-sixteen\",\"x\":1}\n", "GET / HTTP/1.1\n"}) {
    PlainClient bad(rig);
    ASSERT_TRUE(bad.Send(std::string(first) + "{\"n\":\"stranger\"}\n"));
    EXPECT_EQ(json::parse(bad.ReadLine())["error"]["code"], "unauthorized") << first;
    EXPECT_EQ(bad.ReadToEnd(), "");
  }
  EXPECT_EQ(rig.Records(1).size(), 1U);
  EXPECT_EQ(rig.listener.refused, 4U);
}

TEST(JsonLines, AnHttpRequestIsKeptOnceAsAFramingErrorAndAnswered) {
  Rig rig(JsonRig());
  PlainClient client(rig);
  ASSERT_TRUE(client.Send("POST /v1/events HTTP/1.1\r\nHost: x\r\n\r\n"));
  const auto answered = ReadAnswers(client, 1);
  EXPECT_EQ(answered.unparsed, std::vector<std::uint64_t>{1});
  EXPECT_EQ(client.ReadToEnd(), "");
  const auto records = rig.Records(1);
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0].flags, record::kFlagFramingError | record::kFlagUnparsed);
}

TEST(JsonLines, OnlyAnObjectOfTheOneMemberAuthIsALogin) {
  const auto token = [](std::string_view line) { return ingest::ParseLogin(AsBytes(line)).value_or("(none)"); };
  EXPECT_EQ(token(R"({"auth":"x"})"), "x");
  EXPECT_EQ(token(R"( { "auth" : "" } )"), "");
  EXPECT_EQ(token(R"({"auth":1})"), "(none)");
  EXPECT_EQ(token(R"({"auth":"x","b":1})"), "(none)");
  EXPECT_EQ(token(R"(["auth"])"), "(none)");
  EXPECT_EQ(token(R"({"auth":"x"}})"), "(none)");
  EXPECT_EQ(token("{\"auth\":\"" + std::string(ingest::kLoginLineBytes, 'x') + "\"}"), "(none)");
}

}  // namespace
}  // namespace stele::receive
