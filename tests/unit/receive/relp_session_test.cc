// Goal: a RELP client hears 200 for what is durable and never otherwise, in its own order; what it sends again after a
// reconnect is stored and flagged. Method: a client on the loopback against the real session, listener and link; the
// ledger of the fixture holds, commits, refuses.
#include <gtest/gtest.h>

#include "tests/unit/receive/receive_fixture.h"

namespace stele::receive {
namespace {

const std::string kOpen = "1 open 30 relp_version=0\ncommands=syslog\n";
const std::string kServerClose = "0 serverclose 0\n";

RigOptions RelpRig() {
  RigOptions options;
  options.way = Way::kRelp;
  return options;
}

std::string Syslog(std::uint64_t txnr, const std::string& payload) {
  return std::to_string(txnr) + " syslog " + std::to_string(payload.size()) + " " + payload + "\n";
}

template <typename Client>
void Open(Client& client) {
  ASSERT_TRUE(client.Send(kOpen));
  EXPECT_EQ(client.ReadLine(), "1 rsp 57 200 OK");
  for (const char* offer : {"relp_version=0", "relp_software=stele", "commands=syslog"})
    EXPECT_EQ(client.ReadLine(), offer);
}

// Nothing more can be read within a short time.
bool Silent(PlainClient& client) {
  timeval soon{0, 100'000};
  (void)::setsockopt(client.fd(), SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
  const std::string line = client.ReadLine();
  soon = {10, 0};
  (void)::setsockopt(client.fd(), SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
  return line == "<cut>";
}

TEST(RelpSession, NothingIsSaidBeforeTheCommit) {
  Rig rig(RelpRig());
  rig.ledger->Hold(true);
  PlainClient client(rig);
  Open(client);
  ASSERT_TRUE(client.Send(Syslog(2, "<13>a") + Syslog(3, "<13>b\nc")));
  ASSERT_TRUE(rig.Eventually([&] { return rig.ledger->held() == 1; })) << "two messages of one read are one frame";
  EXPECT_TRUE(Silent(client));
  rig.ledger->Hold(false);
  EXPECT_EQ(client.ReadLine(), "2 rsp 6 200 OK");
  EXPECT_EQ(client.ReadLine(), "3 rsp 6 200 OK");
  const auto records = rig.Records(2);
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].payload, "<13>a");
  EXPECT_EQ(records[0].flags, 0);
  EXPECT_EQ(records[1].payload, "<13>b\nc");
  EXPECT_EQ(records[1].kind, record::Kind::kSyslog);
}

TEST(RelpSession, FramesThatAreJudgedOutOfOrderAreAnsweredInOrder) {
  RigOptions options = RelpRig();
  options.relp_refusal = RelpRefusal::kAnswer;
  Rig rig(options);
  rig.ledger->Hold(true);
  PlainClient client(rig);
  Open(client);
  for (std::uint64_t txnr = 2; txnr <= 4; ++txnr) {
    ASSERT_TRUE(client.Send(Syslog(txnr, "x")));
    ASSERT_TRUE(rig.Eventually([&] { return rig.ledger->held() == txnr - 1; }));
  }
  rig.ledger->AnswerHeld(2, true);
  rig.ledger->AnswerHeld(1, false);
  EXPECT_TRUE(Silent(client));
  rig.ledger->AnswerHeld(0, true);
  EXPECT_EQ(client.ReadLine(), "2 rsp 6 200 OK");
  EXPECT_EQ(client.ReadLine(), "3 rsp 14 500 not stored");
  EXPECT_EQ(client.ReadLine(), "4 rsp 6 200 OK");
}

TEST(RelpSession, ARefusedMessageIsNotAnsweredAndEndsTheSessionAfterTheAnswersBeforeIt) {
  Rig rig(RelpRig());
  rig.ledger->Hold(true);
  PlainClient client(rig);
  Open(client);
  for (std::uint64_t txnr = 2; txnr <= 4; ++txnr) {
    ASSERT_TRUE(client.Send(Syslog(txnr, "x")));
    ASSERT_TRUE(rig.Eventually([&] { return rig.ledger->held() == txnr - 1; }));
  }
  rig.ledger->AnswerHeld(2, true);  // stored, but no answer may stand behind one that is missing
  rig.ledger->AnswerHeld(1, false);
  rig.ledger->AnswerHeld(0, true);
  EXPECT_EQ(client.ReadToEnd(), "2 rsp 6 200 OK\n" + kServerClose);
  EXPECT_EQ(rig.listener.refused, 1U);
}

TEST(RelpSession, CloseIsAnsweredAfterEverythingBeforeIt) {
  Rig rig(RelpRig());
  rig.ledger->Hold(true);
  PlainClient client(rig);
  Open(client);
  ASSERT_TRUE(client.Send(Syslog(2, "x") + "3 close 0\n"));
  EXPECT_TRUE(Silent(client));
  rig.ledger->Hold(false);
  EXPECT_EQ(client.ReadToEnd(), "2 rsp 6 200 OK\n3 rsp 0\n" + kServerClose);
  client.Close();
  EXPECT_TRUE(rig.Eventually([&] { return rig.listener.connections == 0; }));
  EXPECT_EQ(rig.listener.refused, 0U);
}

TEST(RelpSession, AClientThatHasSentItsLastOctetStillGetsItsAnswers) {
  Rig rig(RelpRig());
  rig.ledger->Hold(true);
  PlainClient client(rig);
  Open(client);
  ASSERT_TRUE(client.Send(Syslog(2, "x")));
  client.EndSending();
  ASSERT_TRUE(rig.Eventually([&] { return rig.ledger->held() == 1; }));
  rig.ledger->Hold(false);
  EXPECT_EQ(client.ReadToEnd(), "2 rsp 6 200 OK\n" + kServerClose);
}

TEST(RelpSession, WhatIsSentAgainAfterABrokenConnectionIsStoredAgainAndFlagged) {
  Rig rig(RelpRig());
  rig.ledger->Hold(true);
  {
    PlainClient client(rig);
    Open(client);
    ASSERT_TRUE(client.Send(Syslog(2, "first") + Syslog(3, "second")));
    ASSERT_TRUE(rig.Eventually([&] { return rig.ledger->held() == 1; }));
  }  // gone before an answer came
  PlainClient client(rig);
  Open(client);
  ASSERT_TRUE(client.Send(Syslog(2, "first") + Syslog(3, "second") + Syslog(4, "third") + Syslog(5, "first")));
  ASSERT_TRUE(rig.Eventually([&] { return rig.ledger->held() == 2; }));
  rig.ledger->Hold(false);
  for (int txnr = 2; txnr <= 5; ++txnr) EXPECT_EQ(client.ReadLine(), std::to_string(txnr) + " rsp 6 200 OK");
  const auto records = rig.Records(6);
  ASSERT_EQ(records.size(), 6U) << "nothing is dropped";
  const std::vector<std::uint16_t> expected{0, 0, record::kFlagPossibleDuplicate, record::kFlagPossibleDuplicate, 0, 0};
  for (std::size_t i = 0; i < 6; ++i) EXPECT_EQ(records[i].flags, expected[i]) << i;
}

TEST(RelpSession, WhatWasAnsweredButNotReadIsFlaggedWhenItComesAgain) {
  Rig rig(RelpRig());
  {
    PlainClient client(rig);
    Open(client);
    ASSERT_TRUE(client.Send(Syslog(2, "first")));
    ASSERT_TRUE(rig.Eventually([&] { return rig.listener.account->waited_stored == 1; }));
  }
  PlainClient client(rig);
  Open(client);
  ASSERT_TRUE(client.Send(Syslog(2, "first")));
  EXPECT_EQ(client.ReadLine(), "2 rsp 6 200 OK");
  EXPECT_EQ(rig.Records(2).at(1).flags, record::kFlagPossibleDuplicate);
}

TEST(RelpSession, EqualMessagesOfASessionThatEndedInOrderAreNotFlagged) {
  Rig rig(RelpRig());
  for (int i = 0; i < 2; ++i) {
    PlainClient client(rig);
    Open(client);
    ASSERT_TRUE(client.Send(Syslog(2, "same") + Syslog(3, "same") + "4 close 0\n"));
    EXPECT_TRUE(client.ReadToEnd().ends_with("4 rsp 0\n" + kServerClose));
  }
  for (const KeptRecord& record : rig.Records(4)) EXPECT_EQ(record.flags, 0);
}

TEST(RelpSession, ABrokenOrderEndsTheSessionAfterTheAnswersAndKeepsTheOctets) {
  Rig rig(RelpRig());
  PlainClient client(rig);
  Open(client);
  ASSERT_TRUE(client.Send(Syslog(2, "x") + Syslog(4, "y")));
  EXPECT_EQ(client.ReadToEnd(), "2 rsp 6 200 OK\n" + kServerClose);
  const auto records = rig.Records(2);
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[1].payload, Syslog(4, "y"));
  EXPECT_EQ(records[1].flags, record::kFlagFramingError);
  EXPECT_EQ(rig.listener.refused, 1U);
}

TEST(RelpSession, AMessageBeyondTheMaximumIsKeptUpToItWithALossEntryAndAnswered) {
  RigOptions options = RelpRig();
  options.message_bytes_max = 1'024;
  Rig rig(options);
  PlainClient client(rig);
  Open(client);
  ASSERT_TRUE(client.Send(Syslog(2, "before") + Syslog(3, std::string(5'000, 'x')) + Syslog(4, "after")));
  for (int txnr = 2; txnr <= 4; ++txnr) EXPECT_EQ(client.ReadLine(), std::to_string(txnr) + " rsp 6 200 OK");
  const auto records = rig.Records(4);
  ASSERT_EQ(records.size(), 4U);
  EXPECT_EQ(records[1].payload, std::string(1'024, 'x'));
  EXPECT_EQ(records[1].flags, record::kFlagTruncated);
  EXPECT_EQ(records[2].kind, record::Kind::kLoss);
  EXPECT_EQ(nlohmann::json::parse(records[2].payload)["full_length"], 5'000);
  EXPECT_EQ(records[3].payload, "after");
  EXPECT_EQ(rig.listener.received, 4U);
  EXPECT_TRUE(rig.Eventually([&] { return rig.listener.account->waited_stored == 3; }));  // the loss entry is in no balance
}

TEST(RelpSession, AMessageLargerThanAChannelFrameIsOneRecord) {
  Rig rig(RelpRig());
  PlainClient client(rig);
  Open(client);
  const std::string large(300'000, 'L');
  ASSERT_TRUE(client.Send(Syslog(2, large)));
  EXPECT_EQ(client.ReadLine(), "2 rsp 6 200 OK");
  EXPECT_EQ(rig.Records(1).at(0).payload, large);
}

TEST(RelpSession, HalfAMessageIsKeptAsIncompleteAndHasADeadline) {
  Rig rig(RelpRig());
  PlainClient client(rig);
  Open(client);
  ASSERT_TRUE(client.Send("2 syslog 100 <13>half"));
  ASSERT_TRUE(rig.Eventually([&] { return rig.listener.connections == 1; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(rig.GoneWithin(limits::kHalfFrameMs - 1'000));
  EXPECT_TRUE(rig.GoneWithin(2'000));
  const auto records = rig.Records(1);
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0].payload, "<13>half");
  EXPECT_EQ(records[0].flags, record::kFlagIncomplete);
}

TEST(RelpSession, AnHttpRequestIsKeptOnceAndTheConnectionEnds) {
  Rig rig(RelpRig());
  PlainClient client(rig);
  ASSERT_TRUE(client.Send("GET / HTTP/1.1\r\n\r\n"));
  EXPECT_EQ(client.ReadToEnd(), kServerClose);
  const auto records = rig.Records(1);
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0].flags, record::kFlagFramingError);
}

TEST(RelpSession, AWindowOfTenThousandIsAnsweredInOrder) {
  Rig rig(RelpRig());
  PlainClient client(rig);
  Open(client);
  std::string stream;
  for (std::uint64_t txnr = 2; txnr < 10'002; ++txnr) stream += Syslog(txnr, "<13>message " + std::to_string(txnr));
  std::thread sender([&] { EXPECT_TRUE(client.Send(stream + "10002 close 0\n")); });
  const std::string answers = client.ReadToEnd();
  sender.join();
  std::string expected;
  for (std::uint64_t txnr = 2; txnr < 10'002; ++txnr) expected += std::to_string(txnr) + " rsp 6 200 OK\n";
  EXPECT_TRUE(answers == expected + "10002 rsp 0\n" + kServerClose);
  EXPECT_EQ(rig.Records(10'000).size(), 10'000U);
}

TEST(RelpSession, AtTheStopWhatHasArrivedIsAnsweredBeforeServerclose) {
  Rig rig(RelpRig());
  rig.ledger->Hold(true);
  PlainClient client(rig);
  Open(client);
  ASSERT_TRUE(client.Send(Syslog(2, "x")));
  ASSERT_TRUE(rig.Eventually([&] { return rig.ledger->held() == 1; }));
  rig.Do([&] {
    rig.stream->Stop();
    return 0;
  });
  rig.ledger->Hold(false);
  EXPECT_EQ(client.ReadToEnd(), "2 rsp 6 200 OK\n" + kServerClose);
}

TEST(RelpSession, OverTlsACertificateThatDoesNotNameTheClaimedHostIsSaid) {
  RigOptions options = RelpRig();
  options.tls = ServerTls([](ingest::TlsOptions& tls) {
    tls.client_auth = ingest::ClientAuth::kRequire;
    tls.client_ca_pem = Pki().authority.CertificatePem();
  });
  Rig rig(options);
  TlsClientOptions with;
  with.certificate = &Pki().client;
  TlsClient client(rig, with);
  ASSERT_TRUE(client.Handshake());
  Open(client);
  ASSERT_TRUE(client.Send(Syslog(2, "<13>1 - web1.example.org app - - - own") +
                          Syslog(3, "<13>1 - web2.example.org app - - - another's")));
  EXPECT_EQ(client.ReadLine(), "2 rsp 6 200 OK");
  EXPECT_EQ(client.ReadLine(), "3 rsp 6 200 OK");
  const auto records = rig.Records(2);
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].flags, 0);
  EXPECT_EQ(records[1].flags, record::kFlagIdentityMismatch);
  EXPECT_EQ(records[0].source["identity"]["fingerprint"], "sha256:" + HexOf(Pki().client.Fingerprint()));
}

}  // namespace
}  // namespace stele::receive
