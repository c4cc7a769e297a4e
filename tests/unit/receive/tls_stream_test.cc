// Goal: over TLS only who may comes in, who it was goes into the source, and no handshake, however hostile, holds up
// the others. Method: OpenSSL clients of every version and certificate on the loopback against the real listener.
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <sys/socket.h>

#include <ctime>

#include "tests/unit/receive/receive_fixture.h"

namespace stele::receive {
namespace {

using nlohmann::json;

RigOptions TlsRig(const std::function<void(ingest::TlsOptions&)>& change = nullptr) {
  RigOptions options;
  options.way = Way::kSyslogTls;
  options.tls = ServerTls(change);
  return options;
}

void RequireClient(ingest::TlsOptions& tls) {
  tls.client_auth = ingest::ClientAuth::kRequire;
  tls.client_ca_pem = Pki().authority.CertificatePem();
}

// An honest sender is served.
void ExpectServed(Rig& rig, const std::string& word, const test::Material* certificate = nullptr) {
  const std::size_t before = rig.ledger->records().size();
  TlsClient client(rig, {.certificate = certificate});
  ASSERT_TRUE(client.Handshake());
  ASSERT_TRUE(client.Send(Counted("<13>1 - - - - - - " + word)));
  const auto records = rig.Records(before + 1);
  ASSERT_EQ(records.size(), before + 1);
  EXPECT_EQ(records.back().payload, "<13>1 - - - - - - " + word);
}

TEST(TlsStream, CountedFramesArriveAndAnythingElseIsAFramingErrorThatIsKept) {
  Rig rig(TlsRig());
  TlsClient client(rig);
  ASSERT_TRUE(client.Handshake());
  EXPECT_STREQ(SSL_get_version(client.ssl()), "TLSv1.3");
  const std::string large(300'000, 'x');  // many TLS records, more than one read
  ASSERT_TRUE(client.Send(Counted("<13>one") + Counted("<13>with\nline\nfeeds") + Counted(large) + "<13>a line\n"));
  const auto records = rig.Records(4);
  ASSERT_EQ(records.size(), 4U);
  EXPECT_EQ(records[1].payload, "<13>with\nline\nfeeds");
  EXPECT_EQ(records[2].payload, large);
  EXPECT_EQ(records[3].payload, "<13>a line\n");
  EXPECT_EQ(records[3].flags, record::kFlagFramingError);
  EXPECT_EQ(client.ReadToEnd(), "");
  EXPECT_TRUE(rig.Eventually([&] { return rig.listener.connections == 0; }));
}

TEST(TlsStream, OverIpv6Too) {
  RigOptions options = TlsRig();
  options.ipv6 = true;
  Rig rig(options);
  ExpectServed(rig, "six");
  EXPECT_EQ(rig.Records(1)[0].source["peer"], "::1");
}

TEST(TlsStream, AnEndWithoutCloseNotifyIsNoOrderlyEnd) {
  Rig rig(TlsRig());
  {
    TlsClient client(rig);
    ASSERT_TRUE(client.Handshake());
    ASSERT_TRUE(client.Send("100 <13>half"));
    ASSERT_TRUE(rig.Eventually([&] { return rig.listener.connections == 1; }));
  }  // the socket closes, TLS does not
  const auto records = rig.Records(1);
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0].payload, "<13>half");
  EXPECT_EQ(records[0].flags, record::kFlagIncomplete);
}

TEST(TlsStream, HalfATlsRecordIsWaitedForWithoutSpinning) {
  Rig rig(TlsRig());
  TlsClient client(rig);
  ASSERT_TRUE(client.Handshake());
  BIO* memory = BIO_new(BIO_s_mem());
  SSL_set0_wbio(client.ssl(), memory);  // what would be sent is kept instead
  ASSERT_TRUE(client.Send(Counted("<13>in two halves")));
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory, &data);
  const std::string record(data, static_cast<std::size_t>(size));
  ASSERT_GT(record.size(), 20U);
  ASSERT_EQ(::send(SSL_get_rfd(client.ssl()), record.data(), 10, 0), 10);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_LT(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC, 0.1) << "seconds of processor time";
  EXPECT_EQ(rig.ledger->records().size(), 0U);
  const auto rest = static_cast<ssize_t>(record.size() - 10);
  ASSERT_EQ(::send(SSL_get_rfd(client.ssl()), record.data() + 10, record.size() - 10, 0), rest);
  EXPECT_EQ(rig.Records(1).size(), 1U);
}

TEST(TlsStream, VersionsBelowTheConfiguredOneAreRefused) {
  Rig rig(TlsRig());
  for (const int version : {TLS1_1_VERSION, TLS1_2_VERSION}) {
    TlsClient old(rig, {.version_min = version, .version_max = version});
    EXPECT_FALSE(old.Handshake()) << version;
  }
  EXPECT_TRUE(rig.Eventually([&] { return rig.listener.handshakes_failed == 2; }));
  EXPECT_NE(rig.Do([&] { return rig.listener.handshake_failure; }).find("unsupported protocol"), std::string::npos);
  ExpectServed(rig, "new");
}

TEST(TlsStream, WhereItIsAllowedTls12ComesWithAeadAndWithoutRenegotiation) {
  Rig rig(TlsRig([](ingest::TlsOptions& tls) { tls.allow_tls12 = true; }));
  TlsClient old(rig, {.version_min = TLS1_1_VERSION, .version_max = TLS1_1_VERSION});
  EXPECT_FALSE(old.Handshake());
  TlsClient cbc(rig, {.version_max = TLS1_2_VERSION});
  ASSERT_EQ(SSL_set_cipher_list(cbc.ssl(), "ECDHE-ECDSA-AES128-SHA256"), 1);
  EXPECT_FALSE(cbc.Handshake());
  TlsClient client(rig, {.version_max = TLS1_2_VERSION});
  ASSERT_TRUE(client.Handshake());
  EXPECT_STREQ(SSL_get_version(client.ssl()), "TLSv1.2");
  ASSERT_TRUE(client.Send(Counted("<13>before")));
  ASSERT_EQ(rig.Records(1).size(), 1U);
  ASSERT_EQ(SSL_renegotiate(client.ssl()), 1);
  EXPECT_NE(SSL_do_handshake(client.ssl()), 1) << "the server answers no_renegotiation";
  ERR_clear_error();
  ExpectServed(rig, "after");
}

TEST(TlsStream, PlainTextOnTheTlsPortIsRefusedCountedAndHoldsUpNobody) {
  Rig rig(TlsRig());
  PlainClient plain(rig);
  ASSERT_TRUE(plain.Send("<13>1 2026-01-01T00:00:00Z host app - - - plain text\n"));
  (void)plain.ReadToEnd();  // an alert, and the end
  EXPECT_TRUE(rig.Eventually([&] { return rig.listener.handshakes_failed == 1; }));
  EXPECT_EQ(rig.listener.refused, 1U);
  EXPECT_NE(rig.Do([&] { return rig.listener.handshake_failure; }).find("127.0.0.1:"), std::string::npos);
  ExpectServed(rig, "honest");
  EXPECT_EQ(rig.ledger->records().size(), 1U);
}

TEST(TlsStream, AStuckHandshakeDelaysNobodyAndIsGivenUpAfterTenSeconds) {
  Rig rig(TlsRig());
  std::vector<std::unique_ptr<PlainClient>> stuck;
  for (int i = 0; i < 100; ++i) {
    stuck.push_back(std::make_unique<PlainClient>(rig));
    ASSERT_TRUE(stuck.back()->Send(std::string_view("\x16\x03\x01\x02\x00\x01\x00", 7)));  // the beginning of a hello
  }
  ASSERT_TRUE(rig.Eventually([&] { return rig.listener.connections == 100; }));
  ExpectServed(rig, "served");
  EXPECT_TRUE(rig.Eventually([&] { return rig.listener.connections == 100; }));
  EXPECT_FALSE(rig.GoneWithin(limits::kTlsHandshakeMs - 1'000));
  EXPECT_TRUE(rig.GoneWithin(2'000));
  EXPECT_EQ(rig.listener.handshakes_failed, 100U);
}

TEST(TlsStream, WithoutAnAcceptedClientCertificateNobodyComesIn) {
  Rig rig(TlsRig(RequireClient));
  struct {
    const char* who;
    const test::Material* certificate;
  } const refused[] = {{"no certificate", nullptr},
                       {"an authority of the same name and another key", &Pki().stranger},
                       {"expired", &Pki().expired_client},
                       {"self-signed", &Pki().self_signed}};
  std::uint64_t failed = 0;
  for (const auto& one : refused) {
    TlsClient client(rig, {.certificate = one.certificate});
    EXPECT_TRUE(!client.Handshake() || client.Refused()) << one.who;
    ERR_clear_error();
    ++failed;
    EXPECT_TRUE(rig.Eventually([&] { return rig.listener.handshakes_failed == failed; })) << one.who;
  }
  ExpectServed(rig, "known", &Pki().client);
  EXPECT_EQ(rig.ledger->records().size(), 1U);
}

TEST(TlsStream, WhereACertificateIsOnlyRequestedNoneWillDoButABadOneWillNot) {
  Rig rig(TlsRig([](ingest::TlsOptions& tls) {
    RequireClient(tls);
    tls.client_auth = ingest::ClientAuth::kRequest;
  }));
  ExpectServed(rig, "anonymous");
  EXPECT_EQ(rig.Records(1)[0].source["identity"], "");
  TlsClient stranger(rig, {.certificate = &Pki().stranger});
  EXPECT_TRUE(!stranger.Handshake() || stranger.Refused());
}

TEST(TlsStream, AListedFingerprintIsTrustedWithoutAnAuthorityButNotBeyondItsDates) {
  const test::Material expired = test::Issue({"pinned-old", "", false, -7'200, -3'600});
  Rig rig(TlsRig([&](ingest::TlsOptions& tls) {
    tls.client_auth = ingest::ClientAuth::kRequire;
    tls.client_fingerprints = {Pki().self_signed.Fingerprint(), expired.Fingerprint()};
  }));
  ExpectServed(rig, "pinned", &Pki().self_signed);
  EXPECT_EQ(rig.Records(1)[0].source["identity"]["fingerprint"], "sha256:" + HexOf(Pki().self_signed.Fingerprint()));
  for (const test::Material* one : {&Pki().client, &expired}) {
    TlsClient client(rig, {.certificate = one});
    EXPECT_TRUE(!client.Handshake() || client.Refused());
  }
}

TEST(TlsStream, TheCertificateIsTheSourceAndTwoCertificatesFromOneAddressAreTwo) {
  Rig rig(TlsRig(RequireClient));
  ExpectServed(rig, "first", &Pki().client);
  ExpectServed(rig, "second", &Pki().other_client);
  ExpectServed(rig, "first again", &Pki().client);
  const auto records = rig.Records(3);
  const json expected = {{"fingerprint", "sha256:" + HexOf(Pki().client.Fingerprint())},
                         {"cn", "web1"},
                         {"dns", {"web1.example.org"}},
                         {"ip", {"192.0.2.1"}}};
  EXPECT_EQ(records[0].source["identity"], expected);
  EXPECT_EQ(records[1].source["identity"]["cn"], "web2");
  EXPECT_EQ(records[2].source["identity"], expected);
  EXPECT_EQ(rig.ledger->source_count(), 2U);
}

TEST(TlsStream, AHostThatTheCertificateDoesNotNameIsFlagged) {
  Rig rig(TlsRig(RequireClient));
  TlsClient client(rig, {.certificate = &Pki().client});
  ASSERT_TRUE(client.Handshake());
  const struct {
    const char* message;
    bool flagged;
  } cases[] = {{"<13>1 2026-01-01T00:00:00Z web1.example.org a - - - named", false},
               {"<13>1 2026-01-01T00:00:00Z WEB1.Example.ORG a - - - named", false},
               {"<13>1 2026-01-01T00:00:00Z web1 a - - - the first label", false},
               {"<13>1 2026-01-01T00:00:00Z 192.0.2.1 a - - - the address", false},
               {"<13>1 2026-01-01T00:00:00Z - a - - - claims none", false},
               {"<13>1 2026-01-01T00:00:00Z web2.example.org a - - - another", true},
               {"<13>1 2026-01-01T00:00:00Z 192.0.2.2 a - - - another", true},
               {"<13>Jan  1 00:00:00 web1 a: named", false},
               {"<13>Jan  1 00:00:00 web3 a: another", true}};
  std::string all;
  for (const auto& one : cases) all += Counted(one.message);
  ASSERT_TRUE(client.Send(all));
  const auto records = rig.Records(std::size(cases));
  ASSERT_EQ(records.size(), std::size(cases));
  for (std::size_t i = 0; i < std::size(cases); ++i) {
    EXPECT_EQ(records[i].flags, cases[i].flagged ? record::kFlagIdentityMismatch : 0) << cases[i].message;
  }
}

TEST(TlsStream, ANewCertificateServesNewConnectionsAndOldOnesGoOn) {
  Rig rig(TlsRig());
  TlsClient before(rig);
  ASSERT_TRUE(before.Handshake());
  const test::Material fresh = test::Issue({"fresh.example.org", "", false, -10, 7 * 86'400}, &Pki().authority);
  const auto tls = ServerTls([&](ingest::TlsOptions& options) {
    options.certificate_pem = fresh.CertificatePem();
    options.key_pem = fresh.KeyPem();
  });
  EXPECT_NEAR(static_cast<double>(tls->not_after_s()), static_cast<double>(::time(nullptr) + 7 * 86'400), 60.0);
  rig.Do([&] {
    rig.stream->UseTls(tls);
    return 0;
  });
  TlsClient after(rig);
  ASSERT_TRUE(after.Handshake());
  const std::unique_ptr<X509, test::X509Free> shown(SSL_get1_peer_certificate(after.ssl()));
  EXPECT_EQ(X509_cmp(shown.get(), fresh.certificate.get()), 0);
  ASSERT_TRUE(before.Send(Counted("<13>from the old connection")));
  EXPECT_EQ(rig.Records(1).size(), 1U);
}

TEST(TlsStream, AClientCertificateStandsForAToken) {
  RigOptions options;
  options.way = Way::kJsonLines;
  options.tokens = {"a-token-of-sixteen"};
  options.tls = ServerTls([](ingest::TlsOptions& tls) {
    RequireClient(tls);
    tls.client_auth = ingest::ClientAuth::kRequest;
  });
  Rig rig(options);
  TlsClient known(rig, {.certificate = &Pki().client});
  ASSERT_TRUE(known.Handshake());
  ASSERT_TRUE(known.Send("{\"n\":1}\n"));
  EXPECT_EQ(known.ReadLine(), R"({"ack":1,"ranges":[[100,100]],"unparsed":[],"unparsed_count":0})");
  TlsClient unknown(rig);
  ASSERT_TRUE(unknown.Handshake());
  ASSERT_TRUE(unknown.Send("{\"n\":1}\n"));
  EXPECT_EQ(json::parse(unknown.ReadLine())["error"]["code"], "unauthorized");
  EXPECT_EQ(unknown.ReadToEnd(), "");
}

TEST(TlsStream, WhoSaysCloseNotifyAndWaitsGetsItsAnswer) {
  RigOptions options;
  options.way = Way::kJsonLines;
  options.tls = ServerTls();
  Rig rig(options);
  rig.ledger->Hold(true);
  TlsClient client(rig);
  ASSERT_TRUE(client.Handshake());
  ASSERT_TRUE(client.Send("{\"n\":1}\n"));
  client.EndSending();
  ASSERT_TRUE(rig.Eventually([&] { return rig.ledger->held() == 1; }));
  rig.ledger->Hold(false);
  EXPECT_EQ(client.ReadLine(), R"({"ack":1,"ranges":[[100,100]],"unparsed":[],"unparsed_count":0})");
  EXPECT_TRUE(rig.Eventually([&] { return rig.listener.connections == 0; }));
}

}  // namespace
}  // namespace stele::receive
