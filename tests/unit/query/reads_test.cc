// The reading calls on a small real store: what is shown, in which order, with proofs that verify, and what is not shown.
#include "appliance/query/reads.h"

#include <gtest/gtest.h>

#include "appliance/base/text.h"
#include "appliance/ledger/merkle.h"
#include "tests/unit/query/query_fixture.h"

namespace stele::query {
namespace {

using Json = nlohmann::json;

class ReadsTest : public ::testing::Test {
 protected:
  Json Get(Call call, std::map<std::string, std::string> parameters, std::uint64_t sequence = 0, int status = 200) {
    if (!reads_) {
      auto opened = log_.OpenReads();
      EXPECT_TRUE(opened.has_value()) << opened.error().context;
      reads_ = std::move(*opened);
    }
    EXPECT_TRUE(reads_->Refresh(log_.size()).has_value());
    ReadRequest request;
    request.call = call;
    request.sequence = sequence;
    request.parameters = std::move(parameters);
    request.scope = scope_;
    request.status_json = status_json_;
    answer_ = reads_->Run(request, cancelled_);
    EXPECT_EQ(answer_.status, status) << answer_.body;
    return Json::parse(answer_.body, nullptr, false);
  }
  static std::vector<std::uint64_t> Sequences(const Json& answer) {
    std::vector<std::uint64_t> out;
    for (const Json& row : answer["rows"]) out.push_back(row["seq"]);
    return out;
  }

  QueryLog log_;
  Scope scope_;
  std::string status_json_;
  std::atomic<bool> cancelled_{false};
  std::unique_ptr<Reads> reads_;
  Answer answer_;
};

TEST_F(ReadsTest, NewestFirstWithProofsThatVerify) {
  const auto first = log_.Syslog("<38>Nov 21 03:00:00 fw1 sshd[12]: Accepted for anna");
  log_.Syslog("<4>Nov 21 03:00:01 fw2 kernel: denied");
  const auto third = log_.Syslog("<38>Nov 21 03:00:02 fw1 sshd[13]: Accepted for bob");
  const std::uint64_t size = log_.Checkpoint();
  const Json answer = Get(Call::kSearch, {{"q", "accepted"}});
  EXPECT_EQ(Sequences(answer), (std::vector<std::uint64_t>{third, first}));
  EXPECT_EQ(answer["checkpoint"]["size"], size);
  EXPECT_EQ(answer["limit_hit"], false);
  EXPECT_EQ(answer["timed_out"], false);
  EXPECT_TRUE(answer["next_before"].is_null());
  EXPECT_EQ(answer_.rows, 2U);
  const Hash root = ParseHash(answer["checkpoint"]["root"].get<std::string>()).value();
  for (const Json& row : answer["rows"]) {
    const Bytes entry = ParseBase64(row["entry_b64"].get<std::string>(), 1000).value();
    std::vector<Hash> proof;
    for (const Json& hash : row["proof"]) proof.push_back(ParseHash(hash.get<std::string>()).value());
    EXPECT_TRUE(ledger::VerifyInclusion(LeafHash(entry), row["seq"], size, proof, root));
    const auto decoded = record::DecodeEntry(entry);
    ASSERT_TRUE(decoded.has_value());
    record::Salt salt{};
    record::Peer peer{};
    const Bytes salt_bytes = ParseBase64(row["salt_b64"].get<std::string>(), 100).value();
    const Bytes peer_bytes = ParseBase64(row["peer_b64"].get<std::string>(), 100).value();
    std::copy(salt_bytes.begin(), salt_bytes.end(), salt.begin());
    std::copy(peer_bytes.begin(), peer_bytes.end(), peer.begin());
    const Bytes payload = ParseBase64(row["payload_b64"].get<std::string>(), 10'000).value();
    EXPECT_EQ(record::CommitPayload(salt, peer, payload), decoded->commitment);
    const std::string_view text = AsText(payload);
    EXPECT_EQ(text.substr(row["message"]["offset"], row["message"]["length"]).substr(0, 8), "Accepted");
  }
  EXPECT_EQ(answer["rows"][0]["host"], "fw1");
  EXPECT_EQ(answer["rows"][0]["app"], "sshd");
  EXPECT_EQ(answer["rows"][0]["severity"], 6);
  EXPECT_EQ(answer["rows"][0]["source"]["listener"], "syslog-udp");
  EXPECT_EQ(answer["rows"][0]["peer"], "192.0.2.7:0");
}

TEST_F(ReadsTest, PagesJoinWithoutGapOrOverlap) {
  std::vector<std::uint64_t> expected;
  for (int i = 0; i < 500; ++i) {
    const auto sequence = log_.Syslog("<13>Nov 21 03:00:00 h app: " + std::string(i % 3 == 0 ? "needle " : "hay ") + std::to_string(i));
    if (i % 3 == 0) expected.insert(expected.begin(), sequence);
    if (i % 50 == 49) log_.Commit();
  }
  log_.Checkpoint();
  std::vector<std::uint64_t> got;
  std::string before;
  std::string size;
  for (int page = 0; page < 100; ++page) {
    const Json answer = Get(Call::kSearch, {{"q", "needle"}, {"limit", "7"}, {"before", before}, {"size", size}, {"proofs", "0"}});
    for (const auto sequence : Sequences(answer)) got.push_back(sequence);
    if (answer["next_before"].is_null()) break;
    EXPECT_EQ(answer["limit_hit"], true);
    before = std::to_string(answer["next_before"].get<std::uint64_t>());
    size = std::to_string(answer["checkpoint"]["size"].get<std::uint64_t>());
    log_.Syslog("<13>Nov 21 03:00:00 h app: needle that came later");  // a frozen search never sees it
    log_.Checkpoint();
  }
  EXPECT_EQ(got, expected);
}

TEST_F(ReadsTest, TheLogsOwnTalkIsLeftOutUnlessNamed) {
  log_.Syslog("<13>Nov 21 03:00:00 h app: x");
  const auto access = log_.Add(record::Kind::kAccess, R"({"user":"anna","action":"search"})");
  log_.Checkpoint();
  log_.Syslog("<13>Nov 21 03:00:00 h app: y");
  log_.Checkpoint();
  for (const Json& row : Get(Call::kSearch, {})["rows"]) {
    EXPECT_NE(row["kind"], "access");
    EXPECT_NE(row["kind"], "checkpoint");
  }
  EXPECT_EQ(Sequences(Get(Call::kSearch, {{"q", "kind:access"}})), std::vector<std::uint64_t>{access});
  EXPECT_EQ(Sequences(Get(Call::kSearch, {{"q", "kind:checkpoint"}})).size(), 1U);
  EXPECT_TRUE(Get(Call::kSearch, {{"q", "json.user:anna"}})["rows"].empty());
}

TEST_F(ReadsTest, ATimeRangeHoldsItsBeginAndNotItsEnd) {
  const auto a = log_.Syslog("<13>Nov 21 03:00:00 h app: a");
  const std::int64_t time_a = log_.clock.wall_ns;
  log_.Syslog("<13>Nov 21 03:00:00 h app: b");
  const std::int64_t time_b = log_.clock.wall_ns;
  log_.Checkpoint();
  EXPECT_EQ(Sequences(Get(Call::kSearch, {{"from", std::to_string(time_a)}, {"to", std::to_string(time_b)}})), std::vector<std::uint64_t>{a});
  Get(Call::kSearch, {{"from", "yesterday"}}, 0, 400);
}

TEST_F(ReadsTest, ScopeHidesRecordsEverywhereAlike) {
  const auto udp = log_.Syslog("<13>Nov 21 03:00:00 h app: secret");
  const auto json = log_.Json(R"({"message":"secret"})");
  log_.Checkpoint();
  Identity viewer{"anna", Role::kViewer, "password", {"syslog-*"}};
  scope_ = ScopeOf(viewer);
  EXPECT_EQ(Sequences(Get(Call::kSearch, {{"q", "secret"}})), std::vector<std::uint64_t>{udp});
  EXPECT_EQ(Sequences(Get(Call::kSearch, {{"q", "secret OR kind:json"}})), std::vector<std::uint64_t>{udp});
  EXPECT_EQ(Get(Call::kHistogram, {{"q", "secret"}})["total"], 1);
  Get(Call::kRecord, {}, json, 404);
  Get(Call::kPayload, {}, json, 404);
  Get(Call::kContext, {}, json, 404);
  Get(Call::kProof, {}, json, 404);
  Get(Call::kRecord, {}, udp, 200);
  const Json sources = Get(Call::kSources, {});
  ASSERT_EQ(sources["sources"].size(), 1U);
  EXPECT_EQ(sources["sources"][0]["listener"], "syslog-udp");
  scope_ = Scope{};
  EXPECT_EQ(Get(Call::kSources, {})["sources"].size(), 2U);
}

// One message a second, each claiming to be sent a minute and a half later than it came.
TEST_F(ReadsTest, ASourceShowsItsNameItsHabitAndHowFarItsClockIsOff) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  log_.Add(record::Kind::kSource,
           R"({"source":3,"name":"core-switch","zone":"dmz","listener":"syslog-udp","transport":"udp","peer":"192.0.2.9","identity":""})", 3);
  const auto speak = [&] {
    const std::string claimed = FormatTime(log_.clock.wall_ns + kSecond + 90 * kSecond);
    log_.Add(record::Kind::kSyslog, "<13>1 " + claimed + " h app - - - kestrel", 3);
  };
  for (int i = 0; i < 120; ++i) speak();
  log_.Add(record::Kind::kLoss, R"({"cause":"oversize"})", 3);     // ours, about it
  log_.Add(record::Kind::kAlarm, R"({"alarm":"source_silent"})", 3);
  log_.Checkpoint();
  const auto row_of = [&](std::uint32_t id) {
    const Json answer = Get(Call::kSources, {});
    for (const Json& row : answer["sources"]) {
      if (row["id"] == id) return row;
    }
    return Json();
  };
  Json row = row_of(3);
  EXPECT_EQ(row["name"], "core-switch");
  EXPECT_EQ(row["events"], 120);
  EXPECT_EQ(row["interval_ms"], 1'000);
  EXPECT_EQ(row["gaps"], 0);
  EXPECT_EQ(row["skew_ms"], 90'000);
  EXPECT_EQ(row["skew_zone_known"], true);
  EXPECT_EQ(row["rate_per_minute"], 60);
  EXPECT_FALSE(row.contains("silent"));  // the ledger did not say
  log_.clock.wall_ns += 1'000 * kSecond;
  speak();
  log_.Checkpoint();
  status_json_ = R"({"sources":{"silent_numbers":[3],"silence_min_s":300,"silence_factor":10,"silence_messages":100}})";
  row = row_of(3);
  EXPECT_EQ(row["events"], 121);
  EXPECT_EQ(row["gaps"], 1);
  EXPECT_EQ(row["interval_ms_max"], 1'004'000);
  EXPECT_EQ(row["silent"], true);
  const auto found = Get(Call::kSearch, {{"q", "source:core-switch kestrel"}});
  EXPECT_EQ(found["rows"].size(), 100U);
  EXPECT_EQ(found["rows"][0]["source"]["name"], "core-switch");
}

TEST_F(ReadsTest, OthersAccessEntriesAreForAuditorsOnly) {
  const auto own = log_.Add(record::Kind::kAccess, R"({"user":"anna","action":"search"})");
  const auto other = log_.Add(record::Kind::kAccess, R"({"user":"bob","action":"search"})");
  const auto line = log_.Syslog("<13>Nov 21 03:00:00 h app: x");
  log_.Checkpoint();
  const auto visible = [&](Role role, std::vector<std::string> sources) {
    scope_ = ScopeOf(Identity{"anna", role, "password", std::move(sources)});
    return Sequences(Get(Call::kSearch, {{"q", "kind:access"}}));
  };
  EXPECT_EQ(visible(Role::kViewer, {}), std::vector<std::uint64_t>{own});
  EXPECT_EQ(visible(Role::kViewer, {"syslog-udp"}), std::vector<std::uint64_t>{own});
  EXPECT_EQ(visible(Role::kOperator, {}), std::vector<std::uint64_t>{own});
  EXPECT_EQ(visible(Role::kAuditor, {}), (std::vector<std::uint64_t>{other, own}));
  EXPECT_EQ(visible(Role::kSecurityOfficer, {}), (std::vector<std::uint64_t>{other, own}));
  EXPECT_EQ(Sequences(Get(Call::kSearch, {})), (std::vector<std::uint64_t>{other, own}));  // the officer sees nothing else
  Get(Call::kRecord, {}, line, 404);
}

TEST_F(ReadsTest, AWrongQueryIsAnErrorWithItsColumn) {
  log_.Checkpoint();
  const Json answer = Get(Call::kSearch, {{"q", "host:x foo:y"}}, 0, 400);
  EXPECT_EQ(answer["error"]["code"], "bad_query");
  EXPECT_EQ(answer["error"]["column"], 8);
}

TEST_F(ReadsTest, TheHistogramCountsBySeverity) {
  log_.Syslog("<11>Nov 21 03:00:00 h app: err");
  log_.Syslog("<12>Nov 21 03:00:00 h app: warn");
  log_.Syslog("<14>Nov 21 03:00:00 h app: info");
  log_.Json(R"({"level":"error"})");
  log_.Checkpoint();
  const Json answer = Get(Call::kHistogram, {{"q", "kind:(syslog json)"}, {"buckets", "3"}});
  std::array<std::uint64_t, 3> sums{};
  ASSERT_EQ(answer["buckets"].size(), 3U);
  for (const Json& bucket : answer["buckets"]) {
    for (std::size_t i = 0; i < 3; ++i) sums[i] += bucket[i].get<std::uint64_t>();
  }
  EXPECT_EQ(sums, (std::array<std::uint64_t, 3>{2, 1, 1}));
  EXPECT_EQ(answer["total"], 4);
}

TEST_F(ReadsTest, ContextIsTheSameSourceUnfiltered) {
  std::vector<std::uint64_t> udp;
  for (int i = 0; i < 10; ++i) {
    udp.push_back(log_.Syslog("<13>Nov 21 03:00:00 h app: " + std::to_string(i)));
    log_.Json("{}");
  }
  log_.Checkpoint();
  const Json answer = Get(Call::kContext, {{"count", "4"}}, udp[5]);
  EXPECT_EQ(Sequences(answer), (std::vector<std::uint64_t>{udp[3], udp[4], udp[5], udp[6], udp[7]}));
}

TEST_F(ReadsTest, ARecordShowsItsFieldsAndItsPayloadInPages) {
  const std::string payload = "<165>1 2026-11-21T03:00:00Z h app 9 ID [o@1 k=\"v\\\"w\"] {\"a\":{\"b\":[1,\"x\"]}}" + std::string(70'000, ' ');
  const auto sequence = log_.Syslog(payload);
  log_.Checkpoint();
  const Json answer = Get(Call::kRecord, {}, sequence);
  EXPECT_EQ(answer["payload_size"], payload.size());
  EXPECT_EQ(answer["fields"]["sd"]["o@1"]["k"], "v\"w");
  EXPECT_EQ(answer["fields"]["json"]["a.b.1"], "x");
  EXPECT_EQ(answer["row"]["payload_whole"], false);
  EXPECT_EQ(ParseBase64(answer["payload_b64"].get<std::string>(), 100'000)->size(), 65'536U);
  Get(Call::kPayload, {{"offset", "65536"}}, sequence);
  EXPECT_EQ(answer_.body, payload.substr(65'536));
  EXPECT_EQ(answer_.content_type, "application/octet-stream");
  Get(Call::kPayload, {{"offset", "999999"}}, sequence, 400);
  Get(Call::kRecord, {}, log_.size() + 5, 404);
}

TEST_F(ReadsTest, ConsistencyAndInclusionProofsVerify) {
  log_.Syslog("<13>Nov 21 03:00:00 h app: a");
  const std::uint64_t old_size = log_.Checkpoint();
  for (int i = 0; i < 20; ++i) log_.Syslog("<13>Nov 21 03:00:00 h app: b");
  const std::uint64_t size = log_.Checkpoint();
  const Json answer = Get(Call::kConsistency, {{"from", std::to_string(old_size)}, {"to", std::to_string(size)}});
  std::vector<Hash> proof;
  for (const Json& hash : answer["proof"]) proof.push_back(ParseHash(hash.get<std::string>()).value());
  EXPECT_TRUE(ledger::VerifyConsistency(old_size, size, ParseHash(answer["from_root"].get<std::string>()).value(),
                                        ParseHash(answer["to_root"].get<std::string>()).value(), proof));
  Get(Call::kConsistency, {{"from", "0"}, {"to", "3"}}, 0, 400);
  Get(Call::kConsistency, {{"from", "3"}, {"to", "99999"}}, 0, 400);
  const Json integrity = Get(Call::kIntegrity, {});
  EXPECT_EQ(integrity["checkpoints"].size(), 2U);
  EXPECT_EQ(integrity["checkpoint"]["size"], size);
  EXPECT_EQ(integrity["provisioning"]["software_tpm"], true);
  EXPECT_EQ(integrity["log_id"], HexOf(QueryLog::LogId()));
  EXPECT_FALSE(integrity["key_words"].get<std::string>().empty());
  const Json single = Get(Call::kProof, {{"size", std::to_string(size)}}, 3);
  std::vector<Hash> path;
  for (const Json& hash : single["proof"]) path.push_back(ParseHash(hash.get<std::string>()).value());
  EXPECT_TRUE(ledger::VerifyInclusion(ParseHash(single["leaf"].get<std::string>()).value(), 3, size, path,
                                      ParseHash(answer["to_root"].get<std::string>()).value()));
}

TEST_F(ReadsTest, OnlyACheckpointsSizeFreezesTheLog) {
  log_.Syslog("<13>Nov 21 03:00:00 h app: a");
  const std::uint64_t old_size = log_.Checkpoint();
  log_.Syslog("<13>Nov 21 03:00:00 h app: b");
  log_.Checkpoint();
  const Json answer = Get(Call::kSearch, {{"q", "app:app"}, {"size", std::to_string(old_size)}});
  EXPECT_EQ(answer["rows"].size(), 1U);
  EXPECT_EQ(answer["checkpoint"]["size"], old_size);
  Get(Call::kSearch, {{"size", std::to_string(old_size - 1)}}, 0, 400);
  Get(Call::kSearch, {{"size", "1000000"}}, 0, 400);
}

TEST_F(ReadsTest, ATailGivesEveryRecordOnceAndEveryCheckpoint) {
  const auto first = log_.Syslog("<13>Nov 21 03:00:00 h app: a");
  log_.Checkpoint();
  const auto second = log_.Syslog("<13>Nov 21 03:00:00 h app: b");
  log_.Commit();
  (void)Get(Call::kSearch, {});
  const Matcher matcher(Node{}, kQuietKinds);
  std::string text;
  std::uint64_t next = first;
  for (int i = 0; i < 10; ++i) {
    const TailSlice slice = reads_->Tail(matcher, next, cancelled_);
    text += slice.text;
    next = slice.next;
    if (!slice.more) break;
  }
  EXPECT_EQ(next, log_.size());
  EXPECT_NE(text.find("id: " + std::to_string(first) + "\n"), std::string::npos);
  EXPECT_NE(text.find("id: " + std::to_string(second) + "\n"), std::string::npos);
  EXPECT_NE(text.find("event: checkpoint\n"), std::string::npos);
  EXPECT_EQ(text.find("entry_b64"), std::string::npos);
}

TEST_F(ReadsTest, AnEmptyLogAnswersWithoutACheckpoint) {
  const Json answer = Get(Call::kSearch, {});
  EXPECT_TRUE(answer["checkpoint"].is_null());
  EXPECT_TRUE(answer["rows"].empty());
  EXPECT_EQ(Get(Call::kHistogram, {})["total"], 0);
}

}  // namespace
}  // namespace stele::query
