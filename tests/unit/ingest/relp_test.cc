// Goal: a RELP client hears "200 OK" for exactly the messages that were committed, in its own order, and every octet it
// sent as a message is delivered, however reads cut the stream. Method: sessions as librelp speaks them, each kind of
// damage, bounds, the vectors of the corpus, and comparison with a slow server on random streams.
#include "appliance/ingest/relp.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "appliance/base/hash.h"
#include "tests/unit/ingest/reference_relp.h"

namespace stele::ingest {
namespace {

using Kind = RelpEvent::Kind;

const std::string kOpen =
    "1 open 86 relp_version=0\nrelp_software=librelp,1.11.0,http://librelp.adiscon.com\ncommands=syslog\n";
const std::string kOpenAnswer = "1 rsp 57 200 OK\nrelp_version=0\nrelp_software=stele\ncommands=syslog\n";
const std::string kServerClose = "0 serverclose 0\n";

// The session in one piece, compared with the slow server and with other cuts and other orders of judgement.
RelpRun Session(const std::string& stream, const RelpServer::Options& options = {},
                EndReason reason = EndReason::kPeerClosed) {
  const RelpRun whole = FastRelp(stream, options, reason, {}, 0);
  EXPECT_EQ(whole, ReferenceRelp(stream, options, reason)) << stream.substr(0, 200);
  std::uint64_t seed = 1;
  for (const std::vector<std::size_t>& pieces : std::vector<std::vector<std::size_t>>{{1}, {3, 1, 7}, {64}}) {
    EXPECT_TRUE(SameButForTheRest(whole, FastRelp(stream, options, reason, pieces, seed++)))
        << "cut otherwise: " << stream.substr(0, 200);
  }
  return whole;
}

std::vector<std::string> Payloads(const RelpRun& run, Kind kind = Kind::kMessage) {
  std::vector<std::string> payloads;
  for (const auto& event : run.events) {
    if (event.kind == kind) payloads.push_back(event.payload);
  }
  return payloads;
}
using Strings = std::vector<std::string>;

std::string Syslog(std::uint64_t txnr, const std::string& payload) {
  return std::to_string(txnr) + " syslog " + std::to_string(payload.size()) + (payload.empty() ? "" : " " + payload) +
         "\n";
}

TEST(Relp, ASessionOfLibrelpIsAnsweredAsLibrelpExpects) {
  const RelpRun run = Session(kOpen + "2 syslog 5 <13>x\n3 close 0\n");
  EXPECT_EQ(Payloads(run), (Strings{"<13>x"}));
  EXPECT_EQ(run.answers, kOpenAnswer + "2 rsp 6 200 OK\n3 rsp 0\n" + kServerClose);
  EXPECT_TRUE(run.closing);
}

TEST(Relp, OnlyWhatWasCommittedIsAnsweredWithOk) {
  RelpServer server({});
  const std::string stream = kOpen + Syslog(2, "a") + Syslog(3, "b") + Syslog(4, "c");
  server.Feed(AsBytes(stream));
  std::vector<std::uint64_t> numbers;
  for (RelpEvent event; server.Next(event);) {
    if (event.kind == Kind::kMessage) numbers.push_back(event.number);
  }
  ASSERT_EQ(numbers.size(), 3U);
  EXPECT_EQ(AsText(server.answers()), kOpenAnswer);
  server.ClearAnswers();
  EXPECT_EQ(server.unanswered(), 3U);
  server.Committed(numbers[1], 1);
  EXPECT_TRUE(server.answers().empty()) << "an answer before its turn";
  server.Refused(numbers[2], 1, "the store\x01is full");
  EXPECT_TRUE(server.answers().empty());
  server.Committed(numbers[0], 1);
  EXPECT_EQ(AsText(server.answers()), "2 rsp 6 200 OK\n3 rsp 6 200 OK\n4 rsp 21 500 the store?is full\n");
  EXPECT_EQ(server.unanswered(), 0U);
  EXPECT_FALSE(server.closing());
}

TEST(Relp, AbandonedMessagesAreNeverAnsweredAndTheSessionEnds) {
  RelpServer server({});
  const std::string stream = kOpen + Syslog(2, "a") + Syslog(3, "b") + Syslog(4, "c");
  server.Feed(AsBytes(stream));
  for (RelpEvent event; server.Next(event);) {
  }
  server.ClearAnswers();
  server.Abandoned(2);     // the second message: numbers count from the open
  server.Committed(3, 1);  // committed all the same, but no answer can come before the one that is missing
  EXPECT_TRUE(server.answers().empty());
  EXPECT_FALSE(server.closing()) << "the first message is not judged yet";
  server.Committed(1, 1);
  EXPECT_EQ(AsText(server.answers()), "2 rsp 6 200 OK\n" + kServerClose);
  EXPECT_TRUE(server.closing());
  EXPECT_TRUE(server.over());
}

TEST(Relp, LineFeedsAndEverythingElseInsideTheDataAreKept) {
  const std::string odd("<13>a\nb\0\xff 3 syslog 1 x\n", 23);
  EXPECT_EQ(Payloads(Session(kOpen + Syslog(2, odd) + Syslog(3, "\n"))), (Strings{odd, "\n"}));
}

TEST(Relp, AnEmptyMessageIsAMessage) {
  const RelpRun run = Session(kOpen + "2 syslog 0\n3 syslog 1 x\n");
  EXPECT_EQ(Payloads(run), (Strings{"", "x"}));
  EXPECT_EQ(run.answers, kOpenAnswer + "2 rsp 6 200 OK\n3 rsp 6 200 OK\n");
}

TEST(Relp, AfterTheLastTransactionNumberComesOne) {
  RelpServer::Options options;
  options.first_txnr = 999'999'998;
  const std::string open = "999999998 open 30 relp_version=0\ncommands=syslog\n";
  const RelpRun run = Session(open + Syslog(999'999'999, "a") + Syslog(1, "b") + Syslog(2, "c"), options);
  EXPECT_EQ(Payloads(run), (Strings{"a", "b", "c"}));
  EXPECT_TRUE(run.answers.ends_with("999999999 rsp 6 200 OK\n1 rsp 6 200 OK\n2 rsp 6 200 OK\n"));
  EXPECT_TRUE(Session(open + Syslog(999'999'999, "a") + "1000000000 syslog 1 b\n", options).closing);
}

TEST(Relp, AGapOrARepeatedNumberEndsTheSessionAndTheFrameIsKeptAsItCame) {
  for (const char* second : {"4 syslog 1 y\n", "2 syslog 1 y\n", "1 syslog 1 y\n"}) {
    const RelpRun run = Session(kOpen + Syslog(2, "x") + second);
    EXPECT_EQ(Payloads(run), (Strings{"x"}));
    EXPECT_EQ(Payloads(run, Kind::kBroken), (Strings{second}));
    EXPECT_EQ(run.answers, kOpenAnswer + "2 rsp 6 200 OK\n" + kServerClose);
    EXPECT_TRUE(run.closing);
  }
}

TEST(Relp, WhatBreaksTheGrammarEndsTheSession) {
  for (const char* bad :
       {"2", "", "x", " 2 syslog 1 x\n", "2  syslog 1 x\n", "2 syslog  1 x\n", "2 syslog x\n", "2 syslog 1\n",
        "2 syslog 0 \n", "2 sys1og 1 x\n", "1234567890 syslog 1 x\n", "2 syslog 1234567890 x\n", "2 syslog -1 x\n",
        "2 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 0\n", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02"}) {
    const RelpRun run = Session(kOpen + bad);
    const bool only_cut = std::string(bad).size() < 2 && std::string(bad) != "x";
    EXPECT_EQ(run.closing, !only_cut) << bad;
    EXPECT_TRUE(Payloads(run, Kind::kBroken) == (only_cut ? Strings{} : Strings{bad})) << bad;
  }
}

TEST(Relp, ThirtyTwoLettersAreACommandAndItIsRefused) {
  const RelpRun run = Session(kOpen + "2 " + std::string(32, 'a') + " 3 xyz\n3 syslog 1 x\n");
  EXPECT_EQ(run.answers, kOpenAnswer + "2 rsp 19 500 unknown command\n3 rsp 6 200 OK\n");
  EXPECT_EQ(Payloads(run), (Strings{"x"}));
}

TEST(Relp, AFrameThatDoesNotEndInLfIsKeptButNotAnswered) {
  const RelpRun run = Session(kOpen + "2 syslog 3 <13>x\n3 syslog 1 y\n");
  ASSERT_EQ(Payloads(run), (Strings{"<13"}));
  EXPECT_TRUE(run.events[1].framing_error);
  EXPECT_FALSE(run.events[1].answerable);
  EXPECT_EQ(Payloads(run, Kind::kBroken), (Strings{">x\n3 syslog 1 y\n"}));
  EXPECT_EQ(run.answers, kOpenAnswer + kServerClose);
}

TEST(Relp, NothingButAnOpenMayComeFirst) {
  for (const char* first :
       {"1 close 0\n", "1 syslog 1 x\n", "2 open 30 relp_version=0\ncommands=syslog\n", "0 syslog 1 x\n"}) {
    const RelpRun run = Session(first);
    EXPECT_EQ(Payloads(run, Kind::kBroken), (Strings{first}));
    EXPECT_EQ(run.answers, kServerClose);
  }
}

TEST(Relp, AnOpenWithoutVersionOrSyslogIsRefusedWithTheReason) {
  const RelpRun versionless = Session("1 open 15 commands=syslog\n");
  EXPECT_EQ(versionless.answers, "1 rsp 53 500 the offer relp_version is missing or not a number\n" + kServerClose);
  const RelpRun mute = Session("1 open 32 relp_version=0\ncommands=eventlog\n2 syslog 1 x\n");
  EXPECT_EQ(mute.answers, "1 rsp 37 500 the command syslog is not offered\n" + kServerClose);
  EXPECT_EQ(Payloads(mute, Kind::kBroken), (Strings{"2 syslog 1 x\n"}))
      << "sent before the client knew: kept, not answered";
  EXPECT_TRUE(Payloads(mute).empty());
}

TEST(Relp, ASecondOpenInAnOpenSessionIsHarmless) {
  const RelpRun run = Session(kOpen + "2 open 30 relp_version=0\ncommands=syslog\n3 syslog 1 x\n");
  EXPECT_EQ(Payloads(run), (Strings{"x"}));
  EXPECT_TRUE(run.answers.ends_with("2 rsp 34 200 OK the session is open already\n3 rsp 6 200 OK\n")) << run.answers;
}

TEST(Relp, HintsHaveNoAnswerAndTakeNoNumber) {
  const RelpRun run = Session(kOpen + "0 foo 0\n0 serverclose 3 xyz\n0 syslog 1 h\n2 syslog 1 x\n");
  EXPECT_EQ(Payloads(run), (Strings{"h", "x"}));
  EXPECT_FALSE(run.events[1].answerable);
  EXPECT_EQ(run.answers, kOpenAnswer + "2 rsp 6 200 OK\n");
}

TEST(Relp, WhatFollowsCloseIsKeptButNotAnswered) {
  const RelpRun run = Session(kOpen + "2 close 0\n3 syslog 1 x\n");
  EXPECT_EQ(Payloads(run, Kind::kBroken), (Strings{"3 syslog 1 x\n"}));
  EXPECT_EQ(run.answers, kOpenAnswer + "2 rsp 0\n" + kServerClose);
}

TEST(Relp, EveryTruncationOfASessionLosesNoOctetOfAMessage) {
  const std::string stream =
      kOpen + Syslog(2, "<13>first") + "3 foo 3 abc\n" + Syslog(4, "R<13>refused") + "0 syslog 4 hint\n5 close 0\n";
  for (std::size_t length = 0; length <= stream.size(); ++length) {
    for (const EndReason reason : {EndReason::kPeerClosed, EndReason::kReset})
      (void)Session(stream.substr(0, length), {}, reason);
  }
  const RelpRun cut = Session(kOpen + "2 syslog 9 <13>fi");
  ASSERT_EQ(Payloads(cut), (Strings{"<13>fi"}));
  EXPECT_TRUE(cut.events[1].incomplete);
  EXPECT_EQ(cut.events[1].full_length, 9U);
  EXPECT_FALSE(cut.closing);
}

TEST(Relp, AMessageBeyondTheMaximumIsKeptUpToItAndHashedWhole) {
  RelpServer::Options options;
  options.message_bytes_max = 100;
  options.salt_key.fill(std::byte{7});
  const std::string exact(100, 'e');
  std::string longer(101, 'l');
  const std::string large(300'000, 'L');
  const RelpRun run =
      Session(kOpen + Syslog(2, exact) + Syslog(3, longer) + Syslog(4, large) + Syslog(5, "x"), options);
  EXPECT_EQ(Payloads(run), (Strings{exact, longer.substr(0, 100), large.substr(0, 100), "x"}));
  EXPECT_FALSE(run.events[1].truncated);
  EXPECT_TRUE(run.events[2].truncated);
  EXPECT_TRUE(run.events[3].truncated);
  EXPECT_EQ(run.events[3].full_length, 300'000U);
  EXPECT_EQ(run.events[3].whole_hash,
            Sha256Of({AsBytes("stele/whole/v1"), record::DeriveSalt(options.salt_key, 1), AsBytes(large)}));
  EXPECT_TRUE(run.answers.ends_with("5 rsp 6 200 OK\n")) << "the session goes on";
}

TEST(Relp, AClaimedLengthReservesNothing) {
  HeldBytes held;
  RelpServer::Options options;
  options.held = &held;
  RelpServer server(options);
  const std::string stream = kOpen + "2 syslog 999999999 x";
  server.Feed(AsBytes(stream));
  RelpEvent event;
  ASSERT_TRUE(server.Next(event));
  ASSERT_FALSE(server.Next(event));
  EXPECT_EQ(held.used_bytes, 0U);
  EXPECT_TRUE(server.inside_frame());
  server.End(EndReason::kStalled);
  ASSERT_TRUE(server.Next(event));
  EXPECT_TRUE(event.incomplete);
  EXPECT_EQ(AsText(event.payload), "x");
  EXPECT_EQ(event.full_length, 999'999'999U);
  EXPECT_FALSE(server.Next(event));
}

TEST(Relp, SessionsShareOneBudgetForHalfMessages) {
  HeldBytes held;
  held.limit_bytes = 50'000;
  RelpServer::Options options;
  options.held = &held;
  const std::string large(40'000, 'x');
  const std::string head = kOpen + "2 syslog 40001 " + large;
  {
    RelpServer first(options);
    RelpServer second(options);
    RelpEvent event;
    for (RelpServer* server : {&first, &second}) {
      server->Feed(AsBytes(head));
      while (server->Next(event)) {
      }
      EXPECT_LE(held.used_bytes, held.limit_bytes);
    }
    second.Feed(AsBytes("x\n"));
    ASSERT_TRUE(second.Next(event));
    EXPECT_TRUE(event.truncated) << "there was no room for a second one";
    EXPECT_EQ(event.full_length, 40'001U);
    EXPECT_GE(event.payload.size(), kHeldBytesFree);
    first.Feed(AsBytes("x\n"));
    ASSERT_TRUE(first.Next(event));
    EXPECT_FALSE(event.truncated);
    EXPECT_EQ(AsText(event.payload), large + "x");
  }
  EXPECT_EQ(held.used_bytes, 0U);
}

TEST(Relp, TooManyUnansweredTransactionsEndTheSession) {
  RelpServer::Options options;
  options.unanswered_max = 3;
  RelpServer server(options);
  std::string stream = kOpen;
  for (std::uint64_t txnr = 2; txnr <= 5; ++txnr) stream += Syslog(txnr, "x");
  server.Feed(AsBytes(stream));
  std::vector<Kind> kinds;
  for (RelpEvent event; server.Next(event);) kinds.push_back(event.kind);
  EXPECT_EQ(kinds, (std::vector<Kind>{Kind::kOpened, Kind::kMessage, Kind::kMessage, Kind::kMessage, Kind::kBroken}));
  server.Committed(1, 3);
  EXPECT_EQ(AsText(server.answers()), kOpenAnswer + "2 rsp 6 200 OK\n3 rsp 6 200 OK\n4 rsp 6 200 OK\n" + kServerClose);
}

TEST(Relp, AFloodOfRefusedCommandsBehindAWaitingMessageIsBounded) {
  RelpServer server({});
  std::string stream = kOpen + Syslog(2, "x");
  for (std::uint64_t txnr = 3; txnr < 3000; ++txnr) stream += std::to_string(txnr) + " foo 0\n";
  server.Feed(AsBytes(stream));
  RelpEvent event;
  std::size_t refused = 0;
  while (server.Next(event)) refused += event.kind == Kind::kUnknown ? 1 : 0;
  EXPECT_EQ(event.kind, Kind::kBroken);
  EXPECT_LE(refused, 1'024U);
}

TEST(Relp, ManyMessagesAreAnsweredAtOnceInOrder) {
  std::string stream = kOpen;
  std::string answers = kOpenAnswer;
  for (std::uint64_t txnr = 2; txnr <= 20'000; ++txnr) {
    stream += Syslog(txnr, "<13>x");
    answers += std::to_string(txnr) + " rsp 6 200 OK\n";
  }
  RelpServer server({});
  server.Feed(AsBytes(stream));
  for (RelpEvent event; server.Next(event);) {
  }
  server.Committed(1, 19'999);
  EXPECT_TRUE(AsText(server.answers()) == answers);
}

TEST(Relp, AgreesWithTheSlowServerOnRandomStreams) {
  const char* seed_text = std::getenv("STELE_SEED");  // NOLINT(concurrency-mt-unsafe)  // one thread
  const std::uint64_t seed = seed_text != nullptr ? std::stoull(seed_text) : std::random_device()();
  std::mt19937_64 random(seed);
  SCOPED_TRACE("STELE_SEED=" + std::to_string(seed));
  for (int round = 0; round < 3'000; ++round) {
    RelpServer::Options options;
    options.message_bytes_max = 64;
    std::uint64_t txnr = 1;
    if (random() % 4 == 0) txnr = options.first_txnr = static_cast<std::uint32_t>(999'999'999 - random() % 5);
    std::string stream;
    if (random() % 8 != 0) stream = std::to_string(txnr++) + " open 30 relp_version=0\ncommands=syslog\n";
    for (std::uint64_t frames = random() % 12; frames > 0; --frames) {
      static const std::vector<std::string> kCommands{"syslog", "syslog", "syslog", "syslog", "close",
                                                      "open",   "foo",    "rsp",    "Syslog"};
      const std::string& command = kCommands[random() % kCommands.size()];
      const std::string data(random() % 3 == 0 ? random() % 100 : random() % 6, "Rab\n 2"[random() % 6]);
      const std::uint64_t number = random() % 12 == 0 ? random() % 3 : txnr++;
      stream += std::to_string((number - 1) % 999'999'999 + 1) + " " + command + " " + std::to_string(data.size()) +
                (data.empty() ? "" : " " + data);
      if (random() % 24 != 0) stream += "\n";
    }
    if (random() % 3 == 0 && !stream.empty()) stream.resize(random() % stream.size());
    if (random() % 6 == 0 && !stream.empty()) stream[random() % stream.size()] = static_cast<char>(random());
    (void)Session(stream, options);
    if (::testing::Test::HasFailure()) FAIL() << "round " << round;
  }
}

struct Vector {
  std::string id;
  std::string client;
  std::string expect;
};

std::vector<Vector> LoadVectors() {
  const char* named = std::getenv("STELE_CORPUS");  // NOLINT(concurrency-mt-unsafe)  // one thread
  const std::filesystem::path corpus =
      named != nullptr ? std::filesystem::path(named) : std::filesystem::path(STELE_SOURCE_DIR "/../shared/corpus");
  std::ifstream file(corpus / "vectors" / "relp.ndjson");
  std::vector<Vector> vectors;
  for (std::string line; std::getline(file, line);) {
    const auto vector = nlohmann::json::parse(line);
    const auto client = ParseBase64(vector.at("client_b64").get<std::string>(), 1U << 20U);
    vectors.push_back({vector.at("id"), client ? std::string(AsText(*client)) : "", vector.at("expect")});
  }
  return vectors;
}

// What each vector must do here; the corpus says it in words.
struct Expectation {
  bool closes = false;       // serverclose
  std::size_t answered = 0;  // 200s, the open's included
  Strings messages;          // answered or not
};

TEST(Relp, AgreesWithTheVectorsOfTheCorpus) {
  const std::vector<Vector> vectors = LoadVectors();
  if (vectors.empty()) GTEST_SKIP() << "no corpus of vectors (set STELE_CORPUS): nothing was compared";
  const std::map<std::string, Expectation> expected{
      {"relp-nodata", {true, 0, {}}},
      {"relp-txn-gap", {true, 1, {}}},
      {"relp-txn-dup", {true, 2, {"<13>x"}}},
      {"relp-txn-10digits", {true, 0, {}}},
      {"relp-cmd-33", {true, 0, {}}},
      {"relp-cmd-digit", {true, 0, {}}},
      {"relp-len-short", {true, 1, {"<13"}}},
      {"relp-len-long", {false, 1, {"<13>x\n"}}},  // incomplete
      {"relp-len-10digits", {true, 1, {}}},
      {"relp-len-huge", {false, 1, {"x"}}},  // incomplete
      {"relp-lf-in-data", {false, 2, {"<13>a\nb\nc\nd"}}},
      {"relp-unknown-cmd", {false, 1, {}}},  // 500
      {"relp-hint", {false, 1, {}}},
      {"relp-open-nover", {true, 0, {}}},  // 500
      {"relp-crlf", {true, 1, {"<13>x"}}},
      {"relp-cut-before-ack", {false, 2, {"<13>x"}}},
      {"relp-window", {false, 1'001, Strings(1'000, "<13>x")}},
  };
  std::size_t compared = 0;
  for (const Vector& vector : vectors) {
    if (vector.id == "relp-txn-wrap") continue;  // no stream; see AfterTheLastTransactionNumberComesOne
    SCOPED_TRACE(vector.id + ": " + vector.expect);
    ASSERT_TRUE(expected.contains(vector.id)) << "a vector this test does not know";
    const Expectation& wanted = expected.at(vector.id);
    const RelpRun run = Session(vector.client);
    EXPECT_EQ(run.closing, wanted.closes);
    EXPECT_EQ(run.answers.ends_with(kServerClose), wanted.closes);
    EXPECT_EQ(Payloads(run), wanted.messages);
    std::size_t answered = 0;
    for (std::size_t at = 0; (at = run.answers.find(" 200 OK", at)) != std::string::npos; ++at) ++answered;
    EXPECT_EQ(answered, wanted.answered);
    if (vector.id == "relp-unknown-cmd") {
      EXPECT_TRUE(run.answers.ends_with("2 rsp 19 500 unknown command\n"));
    }
    EXPECT_EQ(run.events.back().incomplete, vector.id == "relp-len-long" || vector.id == "relp-len-huge");
    ++compared;
  }
  EXPECT_EQ(compared, expected.size());
}

}  // namespace
}  // namespace stele::ingest
