// Goal: only modern TLS, and a client certificate is either good or the end of the connection.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cerrno>

#include "tests/unit/web/web_fixture.h"
#include "web/server/tls.h"

namespace stele::web::test {
namespace {

ClientOptions With(const Keys& keys, const std::string& name) {
  ClientOptions options;
  options.certificate_path = keys.dir.path() / "keys" / (name + ".pem");
  options.key_path = keys.dir.path() / "keys" / (name + ".key");
  return options;
}

TEST(Tls, Version13IsTheDefaultAnd12NeedsForwardSecrecyAndAead) {
  RunningServer server;
  EXPECT_EQ(Client(server.port()).version(), "TLSv1.3");
  ClientOptions older;
  older.max_version = TLS1_2_VERSION;
  Client client(server.port(), older);
  EXPECT_TRUE(client.connected());
  EXPECT_EQ(client.version(), "TLSv1.2");
  EXPECT_EQ(client.Ask(Get("/")).status, 200);
  for (const char* weak : {"ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "AES128-GCM-SHA256", "AES256-SHA"}) {
    older.ciphers = std::string(weak) + ":@SECLEVEL=0";
    EXPECT_FALSE(Client(server.port(), older).connected()) << weak;
  }
  for (const int version : {TLS1_1_VERSION, TLS1_VERSION}) {
    ClientOptions old;
    old.max_version = version;
    old.ciphers = "ALL:@SECLEVEL=0";
    EXPECT_FALSE(Client(server.port(), old).connected()) << version;
  }
}

TEST(Tls, AClientThatSpeaksOnlyHttp2IsTurnedAway) {
  RunningServer server;
  ClientOptions http2;
  http2.alpn = "h2";
  EXPECT_FALSE(Client(server.port(), http2).connected());
  ClientOptions none;
  none.alpn = "";
  EXPECT_TRUE(Client(server.port(), none).connected());
}

// Connects without TLS, sends `bytes`, and says whether the server closed within five seconds.
bool ClosedAfter(std::uint16_t port, std::string_view bytes) {
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit{5, 0};
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return false;
  if (!bytes.empty() && ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0) return true;
  char buffer[512];
  for (;;) {
    const ssize_t size = ::recv(fd.get(), buffer, sizeof buffer, 0);
    if (size > 0) {
      EXPECT_EQ(std::string_view(buffer, static_cast<std::size_t>(size)).find("HTTP"), std::string_view::npos);
    } else {
      return size == 0 || errno == ECONNRESET;
    }
  }
}

TEST(Tls, PlainTextSilenceAndHalfAHandshakeAreClosed) {
  ServerBounds bounds;
  bounds.handshake_ms = 1'500;
  RunningServer server(bounds);
  EXPECT_TRUE(ClosedAfter(server.port(), Get("/")));
  EXPECT_TRUE(ClosedAfter(server.port(), ""));
  EXPECT_TRUE(ClosedAfter(server.port(), std::string_view("\x16\x03\x01\x02\x00\x01", 6)));
  EXPECT_TRUE(Client(server.port()).connected());
}

TEST(Tls, AClientCertificateOfOursIsPassedOnAsItsDigestAndName) {
  RunningServer server;
  const auto query =
      server.Connect([](QueryPeer& peer, const channel::ApiRequest& request) { peer.Reply(request.id, "{}"); });
  std::size_t index = 0;
  for (const daemons::PersonCertificate& person : OurKeys().made.people) {
    Client client(server.port(), With(OurKeys(), person.name));
    EXPECT_EQ(client.Ask(Get("/api/v1/session")).status, 200) << person.name;
    const auto asked = query->WaitForRequest(index++);
    ASSERT_TRUE(asked);
    EXPECT_EQ(asked->certificate_name, person.name);
    EXPECT_EQ(asked->certificate_sha256, HexOf(person.sha256));
  }
}

TEST(Tls, ABadClientCertificateIsNeverTreatedAsNone) {
  RunningServer server;
  const auto query =
      server.Connect([](QueryPeer& peer, const channel::ApiRequest& request) { peer.Reply(request.id, "{}"); });
  for (int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    ClientOptions strange = With(StrangeKeys(), "auditor");
    strange.max_version = version;
    Client of_another_ca(server.port(), strange);
    EXPECT_EQ(of_another_ca.Ask(Get("/")).status, 0) << version;
    ClientOptions wrong_use = With(OurKeys(), "ingest");  // our CA, but EKU serverAuth
    wrong_use.max_version = version;
    Client server_certificate(server.port(), wrong_use);
    EXPECT_EQ(server_certificate.Ask(Get("/")).status, 0) << version;
    ClientOptions authority = With(OurKeys(), "ca");
    authority.max_version = version;
    Client as_authority(server.port(), authority);
    EXPECT_EQ(as_authority.Ask(Get("/")).status, 0) << version;
  }
  EXPECT_EQ(query->request_count(), 0U);
}

TEST(Tls, TheServersCertificateIsVerifiedByItsName) {
  RunningServer server;
  ClientOptions wrong;
  wrong.trusted_ca_pem = StrangeKeys().made.ca_pem;
  EXPECT_FALSE(Client(server.port(), wrong).connected());
  EXPECT_TRUE(Client(server.port()).connected());
}

TEST(Tls, WhatDoesNotFitTogetherIsRefusedAtTheStart) {
  const auto& made = OurKeys().made;
  TlsFiles good;
  good.certificate_pem = made.viewer.certificate_pem;
  good.key_pem = made.viewer.key_pem;
  good.client_ca_pem = made.ca_pem;
  EXPECT_TRUE(MakeServerContext(good));
  TlsFiles bad = good;
  bad.key_pem = made.ingest.key_pem;
  EXPECT_FALSE(MakeServerContext(bad)) << "another certificate's key";
  bad = good;
  bad.certificate_pem = "nonsense";
  EXPECT_FALSE(MakeServerContext(bad));
  bad = good;
  bad.client_ca_pem = "nonsense";
  EXPECT_FALSE(MakeServerContext(bad)) << "a broken client CA must not mean no check";
}

}  // namespace
}  // namespace stele::web::test
