// Goal: what ledger and anchor say to each other survives the channel, and no other bytes do.
// Method: round trip of every operation; every member removed or given another type.
#include "appliance/channel/anchor_messages.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "appliance/base/hash.h"

namespace stele::channel {
namespace {

using nlohmann::json;

Hash H(std::string_view text) { return Sha256Of(AsBytes(text)); }

std::vector<AnchorRequest> Requests() {
  std::vector<AnchorRequest> requests(5);
  requests[0].op = "keys";
  requests[0].keys = {{H("a"), H("b")}, H("new")};
  requests[1].op = "recovered";
  requests[1].state = {H("log"), 12, H("root"), {H("f1"), H("f2")}, "receipt", {"i1", "i2"}, false, 3, -5};
  requests[2].op = "checkpoint";
  requests[2].checkpoint = {20, H("root"), 12, {H("r")}, true};
  requests[3].op = "confirmed";
  requests[3].number = 7;
  requests[4].op = "receipt";
  requests[4].number = 1;
  return requests;
}

std::vector<AnchorAnswer> Answers() {
  std::vector<AnchorAnswer> answers(6);
  answers[0].op = "keys";
  answers[0].keys = {{H("k")}, H("new")};
  answers[1].op = "verdict";
  answers[1].verdict = {"OK", {"SOFTWARE_TPM"}, "fine", true, "late"};
  answers[1].signed_size = 9;
  answers[2].op = "intent";
  answers[2].intent = {"{}", 3, 1};
  answers[3].op = "extended";
  answers[3].extended = {3, std::nullopt, "{}"};
  answers[4].op = "refused";
  answers[4].refusal = "no";
  answers[4].signed_size = 4;
  answers[5].op = "status";
  answers[5].status_json = "{}";
  answers[5].alarm = "unanchored";
  return answers;
}

TEST(AnchorMessages, RequestsRoundTrip) {
  for (const AnchorRequest& request : Requests()) {
    const Bytes body = EncodeAnchorRequest(request);
    const auto decoded = DecodeAnchorRequest(body);
    ASSERT_TRUE(decoded.has_value()) << AsText(body);
    EXPECT_EQ(EncodeAnchorRequest(*decoded), body);
    EXPECT_EQ(decoded->state.intents, request.state.intents);
    EXPECT_EQ(decoded->state.last_receipt, request.state.last_receipt);
    EXPECT_EQ(decoded->state.tail_since_wall_ns, request.state.tail_since_wall_ns);
    EXPECT_EQ(decoded->checkpoint.range_hashes, request.checkpoint.range_hashes);
    EXPECT_EQ(decoded->keys.sessions, request.keys.sessions);
    EXPECT_EQ(decoded->number, request.number);
  }
}

TEST(AnchorMessages, AnswersRoundTrip) {
  for (const AnchorAnswer& answer : Answers()) {
    const Bytes body = EncodeAnchorAnswer(answer);
    const auto decoded = DecodeAnchorAnswer(body);
    ASSERT_TRUE(decoded.has_value()) << AsText(body);
    EXPECT_EQ(EncodeAnchorAnswer(*decoded), body);
    EXPECT_EQ(decoded->verdict.late_receipt, answer.verdict.late_receipt);
    EXPECT_EQ(decoded->signed_size, answer.signed_size);
    EXPECT_EQ(decoded->extended.receipt, answer.extended.receipt);
    EXPECT_EQ(decoded->alarm, answer.alarm);
  }
}

template <typename Decode>
void RefusesEveryDamagedMember(const Bytes& body, Decode decode) {
  const json good = json::parse(AsText(body));
  for (const auto& [name, value] : good.items()) {
    json bad = good;
    bad.erase(name);
    EXPECT_FALSE(decode(AsBytes(bad.dump())).has_value()) << "without " << name << ": " << bad.dump();
    bad = good;
    bad[name] = json::object();
    EXPECT_FALSE(decode(AsBytes(bad.dump())).has_value()) << "wrong type of " << name;
    if (value.is_number()) {
      bad[name] = 1.5;
      EXPECT_FALSE(decode(AsBytes(bad.dump())).has_value()) << "fraction in " << name;
    }
    if (value.is_array()) {
      bad[name] = json::array({1});
      EXPECT_FALSE(decode(AsBytes(bad.dump())).has_value()) << "number in " << name;
    }
  }
}

TEST(AnchorMessages, EveryMissingOrMistypedMemberIsRefused) {
  for (const AnchorRequest& request : Requests())
    RefusesEveryDamagedMember(EncodeAnchorRequest(request), DecodeAnchorRequest);
  for (const AnchorAnswer& answer : Answers())
    RefusesEveryDamagedMember(EncodeAnchorAnswer(answer), DecodeAnchorAnswer);
}

TEST(AnchorMessages, OtherBytesAreRefused) {
  for (const char* bad : {"", "{", "[]", "1", "null", "{\"op\":\"unknown\",\"number\":1}", "{\"op\":1}", "\xff"}) {
    EXPECT_FALSE(DecodeAnchorRequest(AsBytes(bad)).has_value()) << bad;
    EXPECT_FALSE(DecodeAnchorAnswer(AsBytes(bad)).has_value()) << bad;
  }
}

}  // namespace
}  // namespace stele::channel
